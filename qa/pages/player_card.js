// The scorecard: three levels of score side by side, and every item with its evidence and everybody's verdicts.
const SIGN = { fail: "✗", pass: "✓", not_applicable: "–", not_evaluated: "?" };
const GROUPS = ["faults", "to_judge", "drawn", "passed", "rest"];

function withCard(p) {
  const card = p.$(".card");
  // Where `n` and `p` stop: findings that are no praise, in the order of the call, then items without a place.
  p.stops = () => p.stopList ?? [];
  p.stop = () => p.stops()[p.hit];
  p.signOf = (stop) => (stop.finding?.status === "missed" ? "□" : stop.finding?.status === "confirmed" || !stop.finding ? "▼" : "▽");
  p.collectStops = () => {
    const items = new Map((p.state.card?.items ?? []).map((item) => [item.rule, item]));
    const of = (item, finding) => ({
      item, finding, rule: item?.rule ?? finding.rule, name: item?.name ?? finding.name, at: finding?.at ?? null,
      until: finding?.places.at(-1)?.until ?? null, turn: finding?.places.find((place) => place.turn != null)?.turn ?? null,
    });
    const found = p.state.findings.filter((one) => !one.good).map((one) => of(items.get(one.rule), one));
    const bare = [...items.values()].filter((item) => (item.group === "faults" || item.group === "to_judge") && !item.findings.length);
    const before = p.stop(), same = (a, b) => a.rule === b.rule && a.finding?.finding === b.finding?.finding && a.at === b.at;
    const drawn = [...items.values()].filter((item) => item.group === "drawn"); // by a random audit: judged as a whole
    p.stopList = [...found, ...bare.map((item) => of(item, null)), ...drawn.map((item) => of(item, null))];
    p.hit = before ? p.stopList.findIndex((stop) => same(stop, before)) : -1;
  };
  p.goTo = (index, { scroll = true, sound = true } = {}) => {
    const stop = p.stops()[index];
    if (!stop) return;
    p.hit = index;
    p.setLoop(null);
    p.showStop(scroll);
    if (scroll && stop.turn != null) { p.follow(false); p.showLine(stop.turn); }
    if (sound && stop.at != null) p.seek(Math.max(0, stop.at - 0.3), false);
  };
  p.showStop = (scroll = false) => {
    const stop = p.stop();
    p.root.querySelectorAll(".here").forEach((e) => e.classList.remove("here"));
    if (!stop) return p.redraw();
    const number = String(stop.finding?.number);
    p.root.querySelectorAll("mark").forEach((e) => e.dataset.findings?.split(" ").includes(number) && e.classList.add("here"));
    const entry = (stop.finding && card.querySelector(`[data-finding="${number}"]`)) ?? card.querySelector(`[data-rule="${CSS.escape(stop.rule)}"]`);
    entry?.classList.add("here");
    entry?.closest("details")?.setAttribute("open", "");
    if (scroll && entry) {
      const box = card.getBoundingClientRect(), own = (entry.closest(".item") ?? entry).getBoundingClientRect();
      const head = card.querySelector(".levels")?.offsetHeight ?? 0; // the scores stay in sight
      if (own.top < box.top + head || own.bottom > box.bottom) card.scrollTop += own.top - box.top - head - 4;
    }
    p.redraw();
  };
  p.hop = (step) => {
    const stops = p.stops(), t = p.audio.currentTime;
    let next = p.hit + step;
    if (p.hit < 0) next = step > 0 ? 0 : stops.findLastIndex((stop) => stop.at != null && stop.at < t);
    if (next < 0 || next >= stops.length) p.go(step > 0 ? "next" : "previous");
    else p.goTo(next);
  };

  // --- verdicts
  const mine = (verdicts) => verdicts.find((one) => one.mine && one.verdict !== "missed" ) ?? verdicts.find((one) => one.mine);
  p.judge = (item, finding, verdict, note = "", draft = "") => {
    const target = finding?.choices.length ? finding : item, standing = mine(target.verdicts);
    if (standing && standing.verdict === verdict && !note) return p.send("withdraw_verdict", { id: standing.id });
    return p.send("verdict", { scorecard: p.state.scorecard, rule: item.rule, verdict, finding: finding?.choices.length ? finding.finding : null, known: p.state.known, note: note || "", draft, event: p.eventId() }, { retry: true });
  };
  p.judgeByKey = (number) => {
    const stop = p.stop();
    if (!stop?.item || !p.sheet.may.judge) return;
    const target = stop.finding?.choices.length ? stop.finding : stop.item, choice = target.choices[number - 1];
    if (choice) p.judge(stop.item, stop.finding, choice[0]);
  };
  const drawVerdicts = (item, finding) => {
    const target = finding ?? item, row = p.make("div", "verdicts");
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", `${p.L.judged}: ${item.name}${finding?.quote ? ` “${finding.quote}”` : ""}`);
    target.choices.forEach(([verdict, name], index) => {
      const pressed = mine(target.verdicts)?.verdict === verdict;
      const button = p.button(verdict, `${pressed ? "● " : ""}${name}`, () => p.judge(item, finding, verdict));
      button.append(p.make("kbd", "", String(index + 1)));
      button.setAttribute("aria-pressed", String(pressed));
      button.dataset.key = `${item.rule} ${finding?.finding ?? ""} ${verdict}`;
      row.append(button);
    });
    if (mine(target.verdicts)) row.append(p.button("why", p.L.note_for, () => p.openPanel("note", { item, finding, standing: mine(target.verdicts) })));
    return row;
  };
  const drawGiven = (one) => {
    const line = p.make("p", `given ${one.changed ? "changed" : ""}`);
    line.append(p.make("b", "", `${one.role} ${one.who}`), ` ${one.name}`, p.make("span", "by", ` · ${one.when}`));
    if (one.note) line.append(p.make("span", "note-text", ` — ${one.note}`));
    if (one.changed) line.append(p.make("span", "badge warn", `↻ ${p.L.machine_then} ${[one.then, one.thenStatus].filter(Boolean).join(" ")} → ${p.L.machine_now} ${one.now}`));
    if (one.mine && one.verdict === "missed") line.append(p.button("back", p.L.withdraw, () => p.send("withdraw_verdict", { id: one.id })));
    return line;
  };
  const drawFinding = (item, one) => {
    const box = p.make("div", `finding ${one.status}`), places = one.places.filter((place) => place.at != null);
    box.dataset.finding = String(one.number);
    const index = p.stops().findIndex((stop) => stop.finding?.number === one.number);
    const jump = p.button("hit", "", () => { if (index >= 0) p.goTo(index); else if (one.places[0]?.turn != null) { p.showLine(one.places[0].turn); p.seek(one.at ?? 0, false); } p.play(); });
    jump.append(p.make("span", "at", places.length ? `▶ ${clock(places[0].at)}` : "·"), one.quote ? ` “${one.quote}”` : "", ...(one.places.some((place) => place.window) ? [one.searched ? ` ${p.L.window}` : ` – ${clock(places[0]?.until ?? one.at ?? 0)}`] : []));
    jump.append(p.make("span", `badge ${one.status}`, one.statusName));
    jump.dataset.key = `${item?.rule} ${one.finding} jump ${one.number}`;
    box.append(jump);
    if (one.covered) box.append(p.make("p", "reason", one.covered));
    box.append(...one.verdicts.map(drawGiven));
    if (p.sheet.may.judge && one.choices.length) box.append(drawVerdicts(item, one));
    return box;
  };
  const drawItem = (item) => {
    const box = p.make("article", `item ${item.outcome} ${item.group}`), head = p.make("h4");
    box.dataset.rule = item.rule;
    head.append(p.make("span", "name", `${SIGN[item.outcome]} ${item.name}`), p.make("span", `badge ${item.outcome}`, item.outcomeName));
    if (item.fatal) head.append(p.make("span", "badge fatal", `‼ ${p.L.fatal}`));
    if (item.waits) head.append(p.make("span", "badge drawn", `⚂ ${p.L.drawn_waits}`));
    if (item.cost) head.append(p.make("span", "badge cost", `−${item.cost} ${p.L.points}`));
    head.title = item.rule;
    box.append(head);
    if (item.reason) box.append(p.make("p", "reason", item.reason));
    for (const number of item.findings) box.append(drawFinding(item, p.state.findings[number]));
    if (item.outcome === "fail" || item.group === "to_judge") {
      if (item.why) box.append(p.make("p", "why", `${p.L.why}${item.why}`));
      if (item.say) box.append(p.make("p", "say", `${p.L.say_instead}${item.say}`));
    }
    box.append(...item.verdicts.map(drawGiven));
    if (p.sheet.may.judge && item.choices.length) box.append(drawVerdicts(item, null));
    return box;
  };
  const drawLevel = (level) => {
    const box = p.make("div", `level ${level.level} ${level.score ? "" : "empty"}`);
    box.append(p.make("span", "name", level.name), p.make("strong", "", level.score ?? "—"));
    if (!level.score) { box.append(p.make("span", "by", p.L.not_yet)); return box; }
    if (level.fatal) box.append(p.make("span", "badge fatal", `‼ ${p.L.fatal}`));
    if (level.finished) box.append(p.make("span", "badge", `✓ ${p.L.finished}`));
    if (level.who.length) box.append(p.make("span", "by", `${level.who.join(", ")} · ${level.when}`));
    if (level.changed.length) { const line = p.make("span", "by", `${p.L.changed_items} ${level.changed.length}`); line.title = level.changed.join("\n"); box.append(line); }
    if (level.contested.length) box.append(p.make("span", "badge warn", `⚠ ${p.L.contested}: ${level.contested.join(", ")}`));
    return box;
  };
  // What a random audit drew. One press says of all that still wait that the machine missed nothing.
  const drawDrawn = (items) => {
    const box = p.make("section", "drawn"), waits = items.filter((item) => item.waits);
    box.append(p.make("h3", "", `⚂ ${p.L.drawn} (${items.length})`), ...items.map(drawItem));
    if (p.sheet.may.judge && waits.length > 1) {
      const rest = p.button("rest", `✓ ${p.L.drawn_rest} (${waits.length})`, async () => {
        rest.disabled = true;
        for (const item of waits) if (!(await p.judge(item, null, "right"))) break;
      });
      rest.dataset.key = "drawn rest";
      box.append(rest);
    }
    return box;
  };
  p.drawCard = () => {
    const top = card.scrollTop, pressed = p.active(), key = pressed?.dataset?.key, stood = pressed?.getBoundingClientRect().top;
    card.setAttribute("aria-label", p.L.scorecard);
    card.replaceChildren();
    if (!p.state.card) return card.append(p.make("p", "", p.L.no_card));
    const levels = p.make("div", "levels");
    levels.append(...p.state.levels.map(drawLevel));
    card.append(levels);
    if (p.state.scoring) card.append(p.make("p", "scoring", `⟳ ${p.L.scoring}`));
    const whole = p.state.marks.filter((one) => one.first == null);
    for (const one of whole) {
      const line = p.make("p", `note ${one.kind}`, `${one.kind === "good" ? "★" : "✗"} ${one.name}${one.note ? ` · ${one.note}` : ""} `);
      line.append(p.make("span", "by", `${one.role} ${one.who} · ${one.when}`));
      if (one.mine) line.append(p.button("back", p.L.withdraw, () => p.send("withdraw_mark", { id: one.id })));
      card.append(line);
    }
    for (const one of p.state.corrections.filter((one) => one.turn == null)) {
      const line = p.make("p", "note corrected", `✎ ${one.told} `);
      line.append(p.make("span", "by", `${one.role} ${one.who} · ${one.when}`));
      if (one.last && p.sheet.may.correct) line.append(p.button("back", p.L.withdraw, () => p.send("undo_correction", { id: one.id })));
      card.append(line);
    }
    card.append(folded("explain", p.L.why_score, [Object.assign(p.make("ul"), { className: "explain" })]));
    card.querySelector("ul.explain").append(...p.state.card.explain.map((line) => p.make("li", "", line)));
    for (const group of GROUPS) {
      const items = p.state.card.items.filter((item) => item.group === group);
      if (!items.length) continue;
      const title = `${p.L[group]} (${items.length})`;
      if (group === "faults" || group === "to_judge") card.append(p.make("h3", "", title), ...items.map(drawItem));
      else if (group === "drawn") card.append(drawDrawn(items));
      else card.append(folded(group, title, items.map(drawItem)));
    }
    if (p.state.card.gone.length) card.append(p.make("h3", "", p.L.gone), ...p.state.card.gone.map((one) => { const line = drawGiven(one); line.prepend(p.make("code", "", `${one.rule} `)); return line; }));
    card.scrollTop = top;
    const again = key && card.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!again) return;
    again.focus({ preventScroll: true });
    card.scrollTop += again.getBoundingClientRect().top - stood; // under the pointer that pressed it
  };
  const folded = (name, title, content) => {
    const box = p.make("details", name);
    box.open = Boolean(p.open[name]);
    box.ontoggle = () => { p.open[name] = box.open; };
    box.append(p.make("summary", "", title), ...content);
    return box;
  };
  p.$(".hit-before").onclick = () => p.hop(-1);
  p.$(".hit-after").onclick = () => p.hop(1);
}
