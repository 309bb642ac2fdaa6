// What a person writes: comment, missed fault, correction, example, the reason of a verdict. One panel at a time, over the
// end of the transcript, so that nothing moves; what is typed is kept as a draft every second.
const DRAFT_AFTER = 1000; // ms

function withPanel(p) {
  const panel = p.$(".panel");
  let open = null, timer = null, sent = "";
  p.allowed = (name) => ({ comment: p.sheet.may.note, mark: p.sheet.may.note, add: p.sheet.may.judge, correct: p.sheet.may.correct, note: p.sheet.may.judge })[name];
  const titled = (name, at) => p.L[name].replace("#", at.first + 1); // of the line that it is about
  const field = (label, input) => { const box = p.make("label", "", ""); box.append(p.make("span", "", label), input); return box; };
  const area = (text = "", rows = 2) => Object.assign(p.make("textarea"), { value: text, rows });
  const select = (options, chosen) => { const box = p.make("select"); box.append(...options.map(([value, name]) => Object.assign(new Option(name, value), { selected: value === chosen }))); return box; };
  const turnOptions = () => p.sheet.turns.map((turn, number) => [String(number), `${number + 1} · ${turn.start == null ? "" : clock(turn.start)} ${turn.name}：${turn.text.slice(0, 18)}`]);
  const itemOptions = () => p.state.card.items.map((item) => [item.rule, item.name]);

  // Each kind: the draft's field, what is asked, and what is sent.
  const kinds = {
    comment: (at) => {
      const words = area(p.state.drafts[`comment:${at.first}`] ?? "", 3);
      return { title: titled("comment_title", at), draft: `comment:${at.first}`, text: words, body: [field(p.L.comment_text, words)],
        send: () => p.send("comment", { turn: at.first, text: words.value, draft: open.draft }) };
    },
    add: (at) => {
      const quote = area(at.text ?? p.sheet.turns[at.first].text, 1), rule = select(itemOptions()), note = area(p.state.drafts[`add:${at.first}`] ?? "", 1);
      return { title: titled("missed_title", at), draft: `add:${at.first}`, text: note, first: rule,
        body: [field(p.L.missed_quote, quote), field(p.L.missed_rule, rule), field(p.L.note, note)],
        send: () => {
          const said = p.sheet.turns[at.first].text, from = at.text === quote.value ? at.from : said.indexOf(quote.value);
          if (!quote.value || from < 0) { p.tell(p.L.missed_not_there, true); quote.focus(); return null; }
          return p.send("verdict", { scorecard: p.state.scorecard, rule: rule.value, verdict: "missed", place: { turn: at.first, from, to: from + quote.value.length }, known: p.state.known, note: note.value, draft: open.draft, event: p.eventId() }, { retry: true });
        } };
    },
    correct: (at) => {
      const turn = p.sheet.turns[at.first], words = area(p.state.drafts[`correct:${at.first}`] ?? turn.text, 3), known = p.sheet.roles.some(([role]) => role === turn.role);
      const who = select(known ? p.sheet.roles : [[turn.role, turn.name], ...p.sheet.roles], turn.role);
      const swap = p.button("swap", p.L.correct_swap, () => { if (confirm(p.L.correct_swap_sure)) p.send("correct", { kind: "channels" }).then((ok) => ok && p.closePanel()); });
      return { title: titled("correct_title", at), draft: `correct:${at.first}`, text: words, body: [field(p.L.correct_text, words), field(p.L.correct_who, who), p.make("p", "hint", p.L.correct_hint)], extra: [swap],
        send: async () => {
          const draft = open.draft, role = who.value !== turn.role;
          if (role && !(await p.send("correct", { kind: "role", turn: at.first, role: who.value, draft: words.value === turn.text ? draft : "" }))) return false;
          if (words.value.trim() === turn.text && role) return true;
          return p.send("correct", { kind: "words", turn: at.first, text: words.value, draft });
        } };
    },
    mark: (at) => {
      const kind = select([["good", `★ ${p.L.mark_good}`], ["bad", `✗ ${p.L.mark_bad}`]], at.kind ?? "good"), draft = `mark:${at.first}`;
      const whole = Object.assign(p.make("input"), { type: "checkbox" }), first = select(turnOptions(), String(at.first)), last = select(turnOptions(), String(at.last ?? at.first)), note = area(p.state.drafts[draft] ?? "", 2);
      whole.onchange = () => { first.disabled = last.disabled = whole.checked; };
      return { title: p.L.mark_title, draft, text: note, first: kind, body: [field(p.L.mark_kind, kind), field(p.L.mark_from, first), field(p.L.mark_to, last), field(p.L.mark_all, whole), field(p.L.note, note)],
        send: () => p.send("mark", { kind: kind.value, note: note.value, draft, ...(whole.checked ? {} : { first: Number(first.value), last: Number(last.value) }) }) };
    },
    note: (at) => {
      const draft = `note:${at.item.rule}`.slice(0, 100), words = area(p.state.drafts[draft] ?? at.standing.note ?? "", 3);
      return { title: `${p.L.note_title} ${at.item.name}`, draft, text: words, body: [field(p.L.note, words)],
        send: () => p.judge(at.item, at.finding, at.standing.verdict, words.value.trim() || " ", draft) };
    },
  };
  p.openPanel = (name, at) => {
    if (!p.sheet || !p.allowed(name)) return;
    if (!at) { const number = p.lines.includes(p.active()) ? p.focused : Math.max(0, p.now); at = p.selected() ?? { first: number, last: number }; }
    if (at.first !== undefined && !p.sheet.turns[at.first]) return;
    if (name === "correct" && p.state.scoring) return p.tell(p.L.scoring);
    keepDraft();
    open = kinds[name](at);
    sent = open.text.value;
    const head = p.make("h3", "", open.title), row = p.make("div", "row");
    head.id = "panel-title";
    const save = p.make("button", "primary", ""); save.type = "submit"; save.append(`${p.L.save} `, p.make("kbd", "", "Ctrl+⏎"));
    row.append(save, p.button("", p.L.cancel, p.closePanel), p.make("span", "grow"), ...(open.extra ?? []), p.make("span", "kept", ""));
    panel.replaceChildren(head, ...open.body, row);
    panel.setAttribute("aria-labelledby", "panel-title");
    panel.hidden = false;
    p.$(".selection").hidden = true;
    (open.first ?? open.text).focus();
    if (!open.first) open.text.setSelectionRange(open.text.value.length, open.text.value.length);
    if (name === "add" || name === "comment") p.lines[at.first]?.scrollIntoView({ block: "nearest" });
  };
  p.closePanel = () => {
    if (!open) return;
    keepDraft();
    open = null;
    panel.hidden = true;
    p.drawDrafts();
    p.lines[p.focused]?.focus({ preventScroll: true });
  };
  // A draft that could not be kept stays in its field; the next change tries again.
  const keepDraft = () => {
    clearTimeout(timer);
    timer = null;
    if (!open || open.text.value === sent) return;
    const { draft, text } = open, value = text.value;
    sent = value;
    if (value.trim()) p.state.drafts[draft] = value; else delete p.state.drafts[draft];
    p.post("draft", { field: draft, text: value }, { keepalive: true })
      .then((answer) => { const kept = panel.querySelector(".kept"); if (kept) kept.textContent = answer.ok ? `✓ ${p.L.kept_draft}` : ""; if (!answer.ok) sent = null; })
      .catch(() => { sent = null; });
    p.drawDrafts();
  };
  panel.addEventListener("input", () => { timer ??= setTimeout(keepDraft, DRAFT_AFTER); });
  panel.addEventListener("submit", async (event) => {
    event.preventDefault();
    const mine = open;
    clearTimeout(timer); timer = null;
    if (!mine || mine.busy) return;
    mine.busy = true;
    const ok = await mine.send();
    mine.busy = false;
    if (ok) { delete p.state.drafts[mine.draft]; p.drawDrafts(); if (open === mine) { sent = mine.text.value; p.closePanel(); } }
  });
  panel.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); p.closePanel(); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); panel.requestSubmit(); }
  });
  p.flushDraft = keepDraft;
  // Drafts of before: told, and one press opens the newest.
  p.drawDrafts = () => {
    const left = Object.keys(p.state.drafts).filter((name) => /^(comment|add|correct|mark):\d+$/.test(name));
    const button = p.$(".drafts") ?? p.button("drafts", "", () => { const [name, turn] = p.draftLeft.split(":"); p.openPanel(name, { first: Number(turn), last: Number(turn) }); });
    p.draftLeft = left.at(-1);
    button.textContent = `✎ ${p.L.drafts} (${left.length})`;
    button.hidden = !left.length || !panel.hidden;
    if (!button.isConnected) p.$(".told .grow").before(button);
  };
}
