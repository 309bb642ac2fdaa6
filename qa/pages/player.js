// The call player: what is heard, said and judged of one call, and every command on it. The page hands over the call's
// address; everything else is fetched from /api/call, so that nothing waits for a rerun and the sound plays on.
// Texts are set, never parsed.
const RETRY_AFTER = 2000, SCORING_ASKED_AFTER = 1000, SCORING_PATIENCE = 180; // ms, ms, times
const REPEATED = /^(Arrow.*|[[\]])$/; // keys that go on while they are held
const TAKEN_BACK = { withdraw_verdict: ["take_back_verdict"], withdraw_comment: ["withdraw_comment"], withdraw_mark: ["withdraw_mark"], undo_correction: ["undo_correction"] };
const players = new WeakMap(); // what survives a redraw of the page
let newest; // the player drawn last: for a moment the one of the call before stands beside it, and takes no keys any more

function newPlayer(root) {
  const p = { root, $: (query) => root.querySelector(query), hit: -1, open: {}, undos: [], L: {}, original: false, unmasked: false };
  p.make = (name, className = "", text = "") => Object.assign(document.createElement(name), { className, textContent: text });
  p.button = (className, text, act) => Object.assign(p.make("button", className, text), { type: "button", onclick: act });
  p.active = () => root.activeElement ?? document.activeElement;
  p.tell = (text, problem = false) => { const s = p.$(".state"); s.textContent = text; s.classList.toggle("problem", problem); p.$(".undo").hidden = true; };
  p.eventId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  p.go = (way) => { p.flushDraft(); p.setTriggerValue("go", way); };
  withSound(p); withTimeline(p); withDialogue(p); withCard(p); withPanel(p);

  // --- the server
  p.post = (command, body, options = {}) => fetch(`/api/call/${command}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, ...options,
    body: JSON.stringify({ call: p.data.call, transcript: p.sheet.transcript, unmasked: p.unmasked, ...body }),
  });
  // Send a command; true once it is saved. With `retry`, what the server keeps once however often it comes is sent until
  // it answers.
  p.send = async (command, body, { retry = false, undoing = false } = {}) => {
    for (;;) {
      let answer, told;
      try {
        answer = await p.post(command, body);
        told = await answer.json();
      } catch {
        p.tell(retry ? `⚠ ${p.L.retrying}` : `⚠ ${p.L.unsaved}`, true);
        if (!retry) return false;
        await new Promise((then) => setTimeout(then, RETRY_AFTER));
        continue;
      }
      if (told.state) p.apply(told);
      if (!answer.ok) { p.tell(`⚠ ${told.message ?? p.L.unsaved}`, true); return false; }
      if (command === "state") return true;
      p.undos = p.undos.filter((one) => one.id !== body.id || !TAKEN_BACK[command]?.includes(one.command)); // by its own button
      if (told.undo) p.undos.push(told.undo);
      p.tell(`✓ ${undoing ? p.L.undone : p.L.saved} ${new Date().toLocaleTimeString("en-GB")}`);
      p.$(".undo").hidden = !p.undos.length;
      return true;
    }
  };
  p.undo = async () => {
    const last = p.undos.pop();
    if (!last) return p.tell(p.L.nothing_to_undo);
    await p.send(last.command, { id: last.id }, { undoing: true });
  };
  p.apply = ({ sheet, state }) => {
    if (sheet) { p.sheet = sheet; p.L = { ...sheet.labels, saved: p.data.labels.saved }; }
    p.state = state;
    p.collectStops();
    p.drawDialogue();
    p.drawCard();
    p.drawDrafts();
    p.showStop();
    p.tick(false);
    awaitScore();
  };
  let asked = 0, waiting = null;
  const awaitScore = () => {
    if (!p.state.scoring) { if (asked) p.tell(`✓ ${p.L.scored}`); asked = 0; return; }
    if (waiting || asked > SCORING_PATIENCE) { if (!waiting) p.tell(p.L.scoring_late, true); return; }
    asked += 1;
    waiting = setTimeout(() => { waiting = null; if (root.isConnected !== false) p.post("state", {}).then((answer) => answer.json()).then((told) => told.state && p.apply(told)).catch(() => awaitScore()); }, SCORING_ASKED_AFTER);
  };
  p.load = async () => {
    let told;
    try {
      const answer = await fetch(`/api/call?call=${encodeURIComponent(p.data.call)}${p.unmasked ? "&unmasked=1" : ""}`);
      told = await answer.json();
      if (!answer.ok) return p.tell(told.message ?? p.data.labels.failed, true);
    } catch {
      return p.tell(p.data.labels.failed, true);
    }
    p.apply(told);
    p.drawFrame();
    p.loadSound();
    p.loadPeaks();
    arrive();
    p.$(".player").dataset.call = p.sheet.call;
    p.$(".player").setAttribute("aria-busy", "false");
  };
  // Where to begin: the turn that the address names, else the place of before.
  const arrive = () => {
    if (p.arrived) return;
    p.arrived = true;
    const turn = p.sheet.turns[p.data.turn];
    if (turn) { p.seek(turn.start ?? 0, false); p.showLine(p.data.turn); } else if (p.audio.currentTime > 0) p.showLine(p.turnAt(p.audio.currentTime));
    if (!p.data.sound) p.tell(p.L.no_sound);
    p.tick(false);
  };

  // --- what stands still
  p.drawFrame = () => {
    const L = p.L, may = p.sheet.may;
    for (const [query, sign, name] of [[".previous", "←", "previous"], [".list", "☰", "list"], [".finish", "✓", "finish"], [".undo", "↶", "undo"], [".follow", "⇣", "follow"]]) p.$(query).textContent = `${sign} ${L[name]}`;
    p.$(".next").textContent = `${L.next} →`;
    p.$(".hit-before").title = L.previous_hit; p.$(".hit-before").setAttribute("aria-label", L.previous_hit);
    p.$(".hit-after").title = L.next_hit; p.$(".hit-after").setAttribute("aria-label", L.next_hit);
    p.$(".help").setAttribute("aria-label", L.keys);
    p.$(".finish").hidden = !may.judge;
    p.$(".unmask").hidden = !may.unmask; p.$(".unmask").textContent = `${p.unmasked ? "●" : "○"} ${L.unmask}`; p.$(".unmask").setAttribute("aria-pressed", String(p.unmasked));
    p.$(".original").hidden = !may.original || !p.data.sound; p.$(".original").textContent = `${p.original ? "●" : "○"} ${L.original}`; p.$(".original").setAttribute("aria-pressed", String(p.original));
    p.labelTimeline();
    p.drawBar();
    drawKeys();
  };
  const drawKeys = () => {
    const box = p.$(".keys");
    box.setAttribute("aria-label", p.L.keys);
    const may = p.sheet.may, needs = { "1 2 3": may.judge, u: may.judge || may.note, a: may.judge, F: may.judge, c: may.note, "g b": may.note, e: may.correct };
    const lines = p.L.keys_help.split("\n").map((line) => line.split("\t")).filter(([key]) => needs[key] ?? true);
    box.replaceChildren(...lines.map(([key, ...told]) => { const entry = p.make("div"); entry.append(p.make("kbd", "", key), ` ${told.join(" ")}`); return entry; }));
  };
  p.help = () => { const keys = p.$(".keys"); keys.hidden = !keys.hidden; p.$(".help").setAttribute("aria-expanded", String(!keys.hidden)); };
  p.finish = () => { p.flushDraft(); p.setTriggerValue("finish", p.state.scorecard); };
  p.$(".help").onclick = p.help;
  p.$(".undo").onclick = p.undo;
  p.$(".previous").onclick = () => p.go("previous");
  p.$(".next").onclick = () => p.go("next");
  p.$(".list").onclick = () => p.go("list");
  p.$(".finish").onclick = p.finish;
  p.$(".unmask").onclick = () => { p.unmasked = !p.unmasked; p.load(); };
  p.$(".original").onclick = () => { p.original = !p.original; p.loadSound(); p.drawFrame(); };

  // --- keys
  const keys = {
    " ": p.toggle, ArrowLeft: () => p.seek(p.audio.currentTime - SKIP), ArrowRight: () => p.seek(p.audio.currentTime + SKIP),
    n: () => p.hop(1), p: () => p.hop(-1), r: p.repeat, l: p.toggleLoop, "[": () => p.faster(-1), "]": () => p.faster(1),
    1: () => p.judgeByKey(1), 2: () => p.judgeByKey(2), 3: () => p.judgeByKey(3), u: p.undo,
    c: () => p.openPanel("comment"), a: () => p.openPanel("add"), e: () => p.openPanel("correct"),
    g: () => p.openPanel("mark", markAt("good")), b: () => p.openPanel("mark", markAt("bad")),
    f: () => { p.follow(true); p.showLine(p.now); }, "?": p.help, N: () => p.go("next"), P: () => p.go("previous"), F: () => p.sheet.may.judge && p.finish(),
  };
  const markAt = (kind) => { const number = p.lines.includes(p.active()) ? p.focused : Math.max(0, p.now); return { ...(p.selected() ?? { first: number, last: number }), kind }; };
  p.onKey = (event) => {
    const target = event.composedPath()[0];
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable || event.isComposing || event.keyCode === 229;
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !p.sheet || p !== newest) return;
    if (event.key === " " && /^(BUTTON|SUMMARY|A)$/.test(target.tagName)) return; // space presses what has the focus
    const act = keys[event.key];
    if (act && event.repeat && !REPEATED.test(event.key)) return event.preventDefault(); // held down: judged and finished once
    if (act) { event.preventDefault(); event.stopImmediatePropagation(); act(); }
  };
  p.onHide = () => { if (document.visibilityState === "hidden") p.flushDraft(); };
  return p;
}

export default function ({ data, parentElement: root, setTriggerValue }) {
  let p = players.get(root);
  const before = p?.data;
  if (!p) players.set(root, (p = newPlayer(root)));
  newest = p;
  p.data = data;
  p.setTriggerValue = setTriggerValue;
  if (before && before.call !== data.call) { p.audio.pause(); Object.assign(p, { arrived: false, peaks: undefined, hit: -1, undos: [], loop: null, unmasked: false, original: false, now: -1 }); }
  if (!before || before.call !== data.call || before.language !== data.language) p.load();
  if (data.notice) p.tell(data.notice, data.problem);
  document.addEventListener("keydown", p.onKey, true);
  document.addEventListener("visibilitychange", p.onHide);
  return () => {
    document.removeEventListener("keydown", p.onKey, true);
    document.removeEventListener("visibilitychange", p.onHide);
    setTimeout(() => { if (!p.audio.isConnected) { p.flushDraft(); p.audio.pause(); p.audio.removeAttribute("src"); } });
  };
}
