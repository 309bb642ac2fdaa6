// The dialogue: one line a turn, cut at findings and doubtful words; what people wrote stands under it. Lines out of
// sight are not laid out (content-visibility), and after a command only the lines that it touched are made anew.
const SETTLING_FRAMES = 8;
const LINE_ACTIONS = [["c", "comment"], ["a", "add"], ["e", "correct"], ["g", "mark"]];

function withDialogue(p) {
  const list = p.$(".transcript ol");
  p.lines = [];
  p.now = -1;
  p.focused = 0;
  p.follows = true;
  p.turnAt = (t) => { let low = 0, high = p.sheet?.turns.length ?? 0; while (low < high) { const m = (low + high) >> 1; (p.sheet.turns[m].start ?? 0) <= t + 0.01 ? (low = m + 1) : (high = m); } return low - 1; };
  p.from = (number) => { const turn = p.sheet.turns[number]; if (turn?.start != null) { p.seek(turn.start, false); p.play(); } };
  p.showLine = (number) => {
    const line = p.lines[number];
    if (!line) return;
    // Lines get their true height when they come into sight, a frame or two later: until then the place is a guess.
    const showing = (p.showing = {});
    const place = (frames) => {
      if (p.showing !== showing || !line.isConnected) return;
      list.scrollTop += line.getBoundingClientRect().top - list.getBoundingClientRect().top - list.clientHeight / 3;
      if (frames) requestAnimationFrame(() => place(frames - 1));
    };
    place(SETTLING_FRAMES);
  };
  p.follow = (on) => { p.follows = on; p.showing = null; p.$(".follow").hidden = on; };
  p.mark = (number, scroll) => {
    if (number === p.now) return;
    const old = p.lines[p.now], line = p.lines[number];
    old?.classList.remove("now"); old?.removeAttribute("aria-current");
    line?.classList.add("now"); line?.setAttribute("aria-current", "true");
    p.now = number;
    if (line && p.follows && scroll && !inSight(line)) p.showLine(number);
  };
  const inSight = (line) => {
    const box = list.getBoundingClientRect(), own = line.getBoundingClientRect();
    return own.top >= box.top + 8 && own.bottom <= box.bottom - box.height / 4;
  };
  const kindOf = (found) => ["missed", "confirmed", "suspected", "mitigated"].find((status) => found.some((one) => !one.good && one.status === status)) ?? "good";
  const drawText = (said, turn, number, places) => {
    const edges = new Set([0, turn.text.length]);
    for (const [from, to] of turn.doubtful) edges.add(from).add(to);
    for (const { place } of places) edges.add(place.from).add(place.to);
    const cuts = [...edges].filter((edge) => edge >= 0 && edge <= turn.text.length).sort((a, b) => a - b);
    for (let i = 0; i + 1 < cuts.length; i++) {
      const [from, to] = [cuts[i], cuts[i + 1]], text = turn.text.slice(from, to);
      const found = places.filter(({ place }) => place.from <= from && to <= place.to).map(({ one }) => one);
      const unsure = turn.doubtful.some(([a, b]) => a <= from && to <= b);
      if (!found.length && !unsure) { said.append(text); continue; }
      const piece = p.make(found.length ? "mark" : "span", found.length ? kindOf(found) : "", text);
      if (unsure) piece.classList.add("doubtful");
      if (found.length) piece.dataset.findings = found.map((one) => one.number).join(" ");
      piece.title = [unsure && p.L.doubtful, ...found.map((one) => [one.name, one.statusName, one.why, one.say && `${p.L.say_instead}${one.say}`].filter(Boolean).join("\n"))].filter(Boolean).join("\n\n");
      said.append(piece);
    }
  };
  const notesOf = (number) => [
    ...p.state.marks.filter((one) => one.first != null && one.first <= number && number <= one.last).map((one) => ({ kind: one.kind, sign: one.kind === "good" ? "★" : "✗", told: [one.name, one.first !== one.last && `${one.first + 1}–${one.last + 1}`, one.note].filter(Boolean).join(" · "), one, command: "withdraw_mark" })),
    ...p.state.corrections.filter((one) => one.turn === number).map((one) => ({ kind: "corrected", sign: "✎", told: one.told, one, command: one.last && p.sheet.may.correct ? "undo_correction" : "" })),
    ...p.state.comments.filter((one) => one.turn === number).map((one) => ({ kind: "comment", sign: "❝", told: one.text, one, command: "withdraw_comment" })),
  ];
  const drawNote = ({ kind, sign, told, one, command }) => {
    const note = p.make("div", `note ${kind}`);
    note.append(p.make("span", "sign", sign), p.make("span", "told", told), p.make("span", "by", `${one.role} ${one.who} · ${one.when}`));
    if (command && (one.mine || command === "undo_correction")) {
      const back = p.button("back", p.L.withdraw, () => p.send(command, { id: one.id }));
      note.append(back);
    }
    return note;
  };
  const placesOf = (number) => p.byTurn.get(number) ?? [];
  const signature = (number) => JSON.stringify([placesOf(number).map(({ one, place }) => [one.number, one.status, one.good, place.from, place.to]), notesOf(number).map(({ told, one, command }) => [told, one.id, command]), p.sheet.transcript, p.sheet.unmasked]);
  const drawLine = (number) => {
    const turn = p.sheet.turns[number], line = p.make("li", turn.role), head = p.make("div", "head"), said = p.make("div", "said");
    head.append(p.make("span", "who", turn.name), p.make("time", "", turn.start == null ? "" : clock(turn.start)));
    for (const badge of turn.marks) head.append(p.make("span", "badge", badge));
    if (turn.emotion) head.append(p.make("span", `badge felt ${turn.negative ? "negative" : ""}`, turn.emotion));
    drawText(said, turn, number, placesOf(number).filter(({ place }) => place.from != null));
    line.append(head, said, ...notesOf(number).map(drawNote));
    line.dataset.turn = String(number);
    line.dataset.signature = signature(number);
    line.tabIndex = number === p.focused ? 0 : -1;
    if (number === p.now) { line.classList.add("now"); line.setAttribute("aria-current", "true"); }
    return line;
  };
  p.drawDialogue = () => {
    p.byTurn = new Map();
    for (const one of p.state.findings) for (const place of one.places) if (place.turn != null) p.byTurn.set(place.turn, [...(p.byTurn.get(place.turn) ?? []), { one, place }]);
    list.setAttribute("aria-label", p.L.transcript);
    if (p.drawn !== p.sheet) { // all of it
      p.drawn = p.sheet;
      p.focused = Math.min(p.focused, Math.max(0, p.sheet.turns.length - 1));
      p.lines = p.sheet.turns.map((_, number) => drawLine(number));
      const top = list.scrollTop;
      list.replaceChildren(...p.lines);
      list.scrollTop = top;
      if (!p.lines.length) list.append(p.make("li", "empty", p.L.no_turns));
      return;
    }
    p.lines.forEach((line, number) => {
      if (line.dataset.signature === signature(number)) return;
      const focus = line === p.active(), fresh = drawLine(number);
      line.replaceWith(fresh);
      p.lines[number] = fresh;
      if (focus) fresh.focus({ preventScroll: true });
    });
  };
  // What is selected: the turns, and the characters of the first.
  p.selected = () => {
    const chosen = p.root.getSelection?.() ?? getSelection();
    if (!chosen?.rangeCount || chosen.isCollapsed) return null;
    const range = chosen.getRangeAt(0), first = lineOf(range.startContainer), last = lineOf(range.endContainer);
    if (!first || !last) return null;
    const said = first.querySelector(".said"), from = offset(said, range.startContainer, range.startOffset);
    const text = p.sheet.turns[Number(first.dataset.turn)].text;
    const to = first === last ? offset(said, range.endContainer, range.endOffset) : text.length;
    if (from >= to) return null;
    return { first: Number(first.dataset.turn), last: Number(last.dataset.turn), from, to, text: text.slice(from, to), range };
  };
  const lineOf = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest("li[data-turn]");
  const offset = (said, node, within) => {
    if (!said.contains(node)) return said.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_PRECEDING ? 0 : said.textContent.length;
    const range = document.createRange();
    range.setStart(said, 0);
    range.setEnd(node, within);
    return range.toString().length;
  };
  const toolbar = p.$(".selection");
  p.drawToolbar = () => {
    const chosen = p.sheet?.may.note ? p.selected() : null;
    toolbar.hidden = !chosen;
    if (!chosen) return;
    toolbar.setAttribute("aria-label", p.L.line_actions);
    const allowed = LINE_ACTIONS.filter(([, name]) => p.allowed(name));
    toolbar.replaceChildren(...allowed.map(([key, name]) => { const b = p.button("", `${p.L[name]} `, () => p.openPanel(name, chosen)); b.append(p.make("kbd", "", key)); b.onmousedown = (event) => event.preventDefault(); return b; }));
    const box = p.$(".transcript").getBoundingClientRect(), own = chosen.range.getBoundingClientRect();
    toolbar.style.left = `${Math.max(0, Math.min(own.left - box.left, box.width - toolbar.offsetWidth - 8))}px`;
    toolbar.style.top = `${Math.max(0, own.top - box.top - toolbar.offsetHeight - 6)}px`;
  };
  list.addEventListener("mouseup", () => setTimeout(p.drawToolbar));
  list.addEventListener("click", (event) => {
    const line = event.target.closest("li[data-turn]");
    if (!line || event.target.closest("button")) return;
    focusLine(Number(line.dataset.turn), false);
    if (p.selected()) return;
    const found = event.target.closest("mark")?.dataset.findings?.split(" ")[0];
    if (found !== undefined) p.goTo(p.stops().findIndex((stop) => stop.finding?.number === Number(found)), { scroll: false, sound: false });
    p.from(Number(line.dataset.turn));
  });
  const focusLine = (number, show = true) => {
    const line = p.lines[number];
    if (!line) return;
    if (p.lines[p.focused]) p.lines[p.focused].tabIndex = -1;
    p.focused = number;
    line.tabIndex = 0;
    line.focus({ preventScroll: true });
    if (show && !inSight(line)) line.scrollIntoView({ block: "nearest" });
  };
  list.addEventListener("keydown", (event) => {
    if (!event.target.matches("li[data-turn]")) return;
    const number = Number(event.target.dataset.turn), step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? p.lines.length - 1 : step && Math.max(0, Math.min(number + step, p.lines.length - 1));
    if (to !== undefined) { event.preventDefault(); p.follow(false); focusLine(to); }
    if (event.key === "Enter") { event.preventDefault(); p.from(number); }
  });
  list.addEventListener("focusin", (event) => {
    const line = event.target.closest("li[data-turn]");
    if (!line || Number(line.dataset.turn) === p.focused) return;
    if (p.lines[p.focused]) p.lines[p.focused].tabIndex = -1;
    p.focused = Number(line.dataset.turn);
    line.tabIndex = 0;
  });
  // Scrolling by hand pauses following; scrolling by us does not come through these.
  list.addEventListener("wheel", () => p.follow(false), { passive: true });
  list.addEventListener("touchmove", () => p.follow(false), { passive: true });
  list.addEventListener("pointerdown", (event) => { if (event.target === list) p.follow(false); }); // its scroll bar
  p.$(".follow").onclick = () => { p.follow(true); p.showLine(p.now); };
}
