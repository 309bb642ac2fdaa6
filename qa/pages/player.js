// The call player: sound, timeline, dialogue and scorecard. Everything drawn comes as data; texts are set, never parsed.
const SKIP = 5, RESUME_BACK = 1.5, LOOP_MARGIN = 3, SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3];
const SIGN = { fail: "✗", pass: "✓", not_applicable: "–", not_evaluated: "?" };
const COLOUR = { agent: "#0072b2", customer: "#e69f00", "": "#8a94a3", fault: "#d55e00", overlap: "#cc79a7", silence: "#8a94a3" };
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
const states = new WeakMap(); // what survives a redraw: the place, what is followed, the loop

export default function ({ data, parentElement: root, setTriggerValue }) {
  const $ = (query) => root.querySelector(query);
  const audio = $("audio"), list = $(".transcript ol"), card = $(".card"), canvas = $("canvas"), tip = $(".tip");
  const state = states.get(root) ?? { follow: true, now: -1, hit: -1, loop: null, peaks: null, call: null };
  states.set(root, state);
  const L = data.labels;
  const make = (name, className = "", text = "") => Object.assign(document.createElement(name), { className, textContent: text });
  const duration = () => data.duration || audio.duration || 1;
  const placeKey = `huiting place ${data.call}`;

  // --- sound
  const tell = (text, problem = false) => { const s = $(".state"); s.textContent = text; s.classList.toggle("problem", problem); };
  const play = () => { if (data.sound) audio.play().catch(() => tell(L.sound_failed, true)); };
  const seek = (seconds, scroll = true) => { audio.currentTime = Math.max(0, Math.min(seconds, duration())); tick(scroll); };
  const toggle = () => {
    if (!audio.paused) return audio.pause();
    if (audio.currentTime > RESUME_BACK && state.paused) audio.currentTime -= RESUME_BACK;
    play();
  };
  if (audio.dataset.address !== data.sound) {
    const at = state.call === data.call ? audio.currentTime : Number(localStorage.getItem(placeKey) || 0);
    const playing = state.call === data.call && !audio.paused;
    audio.dataset.address = data.sound;
    if (data.sound) { audio.src = data.sound; audio.currentTime = at; if (playing) play(); } else audio.removeAttribute("src");
  }
  if (state.call !== data.call) { state.call = data.call; state.peaks = null; state.now = state.hit = -1; state.loop = null; state.turned = false; }
  audio.onerror = () => data.sound && tell(L.sound_failed, true);
  audio.onplay = () => { state.paused = false; $(".play").textContent = `⏸ ${L.pause}`; };
  audio.onpause = () => { state.paused = true; $(".play").textContent = `▶ ${L.play}`; localStorage.setItem(placeKey, String(audio.currentTime)); };
  audio.ontimeupdate = () => {
    if (state.loop && audio.currentTime > state.loop[1]) audio.currentTime = state.loop[0];
    localStorage.setItem(placeKey, String(audio.currentTime));
    tick();
  };

  // --- dialogue
  const turnAt = (t) => { let low = 0, high = data.turns.length; while (low < high) { const m = (low + high) >> 1; (data.turns[m].start ?? 0) <= t + 0.01 ? (low = m + 1) : (high = m); } return low - 1; };
  const into = (box, element) => { box.scrollTop = element.offsetTop - box.offsetTop - box.clientHeight / 3; };
  const tick = (scroll = true) => {
    const t = audio.currentTime, number = turnAt(t);
    $(".time").textContent = `${clock(t)} / ${clock(duration())}`;
    canvas.setAttribute("aria-valuenow", String(Math.round(t)));
    canvas.setAttribute("aria-valuetext", `${clock(t)} / ${clock(duration())}`);
    if (number !== state.now) {
      list.children[state.now]?.classList.remove("now");
      list.children[number]?.classList.add("now");
      state.now = number;
      if (state.follow && scroll && list.children[number]) { state.own = true; into(list, list.children[number]); }
    }
    draw();
  };
  const from = (number) => { const t = data.turns[number]; if (t?.start != null) { seek(t.start, false); play(); } };
  const follow = (on) => { state.follow = on; $(".follow").hidden = on; };
  const kindOf = (hits) => (!hits.length ? "" : ["confirmed", "suspected", "mitigated"].find((status) => hits.some((hit) => !hit.good && hit.status === status)) ?? "good");
  list.setAttribute("aria-label", L.transcript);
  list.replaceChildren(...data.turns.map((turn, number) => {
    const line = make("li", turn.role), said = make("span", "said"), who = make("span", "who", turn.name);
    for (const mark of [...turn.marks, turn.emotion].filter(Boolean)) who.append(make("span", "badge", mark));
    for (const part of turn.parts) {
      const hits = part.hits.map((n) => data.hits[n]);
      const piece = make(hits.length ? "mark" : "span", kindOf(hits), part.text);
      if (part.doubtful) { piece.classList.add("doubtful"); piece.title = L.doubtful; }
      if (hits.length) { piece.dataset.hits = part.hits.join(" "); piece.title = hits.map((h) => [h.name, h.statusName, h.why, h.say && `${L.say_instead}${h.say}`].filter(Boolean).join("\n")).join("\n\n"); }
      said.append(piece);
    }
    line.append(make("time", "", turn.start == null ? "" : clock(turn.start)), who, said);
    line.tabIndex = 0;
    line.onclick = () => { if (!String(root.getSelection?.() ?? getSelection())) from(number); };
    line.onkeydown = (event) => { if (event.key === "Enter") from(number); };
    return line;
  }));
  list.onwheel = list.ontouchmove = () => follow(false);
  $(".follow").onclick = () => { follow(true); state.now = -1; tick(); };

  // --- findings
  const show = (number, { sound = true } = {}) => {
    const hit = data.hits[number];
    if (!hit) return;
    state.hit = number;
    root.querySelectorAll(".here").forEach((e) => e.classList.remove("here"));
    root.querySelectorAll("mark").forEach((e) => e.dataset.hits?.split(" ").includes(String(number)) && e.classList.add("here"));
    const entry = card.querySelector(`[data-hit="${number}"]`);
    if (entry) { entry.classList.add("here"); entry.closest("details")?.setAttribute("open", ""); entry.scrollIntoView({ block: "nearest" }); }
    const line = hit.turn != null && list.children[hit.turn];
    if (line) { state.own = true; into(list, line); }
    if (sound && hit.at != null) seek(Math.max(0, hit.at - 0.3), false);
  };
  const faults = data.hits.filter((hit) => !hit.good).map((hit) => hit.number);
  const hop = (step) => {
    const next = step > 0 ? faults.find((n) => n > state.hit) : faults.findLast((n) => n < state.hit);
    if (next === undefined) setTriggerValue("go", step > 0 ? "next" : "previous");
    else show(next);
  };
  const loop = () => {
    const hit = data.hits[state.hit];
    if (state.loop || !hit || hit.at == null) { state.loop = null; return; }
    state.loop = [Math.max(0, hit.at - LOOP_MARGIN), (hit.until ?? data.turns[hit.turn]?.end ?? hit.at) + LOOP_MARGIN];
    seek(state.loop[0]); play();
  };

  // --- timeline
  const draw = () => {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth || 600, height = 96;
    if (canvas.width !== width * ratio) { canvas.width = width * ratio; canvas.height = height * ratio; }
    const c = canvas.getContext("2d"), x = (s) => (s / duration()) * width;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.fillStyle = COLOUR.silence + "33";
    for (const [a, b] of data.silences) c.fillRect(x(a), 10, Math.max(1, x(b) - x(a)), 64);
    const waves = state.peaks?.channels ?? [];
    waves.forEach((peaks, channel) => {
      const middle = waves.length > 1 ? 26 + channel * 32 : 42, high = waves.length > 1 ? 14 : 28;
      c.fillStyle = "#8a94a3";
      const step = x(state.peaks.seconds);
      for (let pixel = 0; pixel < width; pixel++) {
        const first = Math.floor(pixel / step), last = Math.max(first + 1, Math.floor((pixel + 1) / step));
        let top = 0;
        for (let i = first; i < last && i < peaks.length; i++) top = Math.max(top, peaks[i]);
        const tall = (top / 255) * high;
        c.fillRect(pixel, middle - tall, 1, Math.max(1, 2 * tall));
      }
    });
    for (const turn of data.turns) {
      if (turn.start == null) continue;
      c.fillStyle = COLOUR[turn.role] ?? COLOUR[""];
      c.fillRect(x(turn.start), turn.role === "customer" ? 84 : 77, Math.max(1, x(turn.end ?? turn.start) - x(turn.start)), 6);
      if (turn.negative) { c.fillStyle = COLOUR.fault; c.fillRect(x(turn.start), 92, Math.max(2, x(turn.end ?? turn.start) - x(turn.start)), 3); }
    }
    c.fillStyle = COLOUR.overlap;
    for (const [a, b] of data.overlaps) c.fillRect(x(a), 77, Math.max(1, x(b) - x(a)), 13);
    for (const hit of data.hits) {
      if (hit.at == null || hit.good) continue;
      const at = x(hit.at);
      c.beginPath(); c.moveTo(at - 5, 1); c.lineTo(at + 5, 1); c.lineTo(at, 10); c.closePath();
      c.strokeStyle = c.fillStyle = COLOUR.fault;
      if (hit.status === "confirmed") { c.fill(); c.fillRect(at - 0.5, 10, 1, 64); } else c.stroke();
    }
    c.fillStyle = "#0b5cad";
    c.fillRect(x(audio.currentTime) - 1, 0, 2, height);
  };
  canvas.setAttribute("aria-label", L.timeline);
  canvas.setAttribute("aria-valuemin", "0");
  canvas.setAttribute("aria-valuemax", String(Math.round(duration())));
  const under = (event) => (event.offsetX / canvas.clientWidth) * duration();
  canvas.onclick = (event) => seek(under(event));
  canvas.onmousemove = (event) => {
    const near = data.hits.filter((h) => h.at != null && !h.good && Math.abs((h.at / duration()) * canvas.clientWidth - event.offsetX) < 6);
    tip.hidden = false;
    tip.textContent = [clock(under(event)), ...near.map((h) => h.name)].join(" · ");
    tip.style.left = `${Math.min(event.offsetX, canvas.clientWidth - 160)}px`;
  };
  canvas.onmouseleave = () => { tip.hidden = true; };
  if (data.peaks && state.peaks === null) {
    state.peaks = false;
    fetch(data.peaks).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
      .then((peaks) => { state.peaks = peaks; draw(); })
      .catch(() => tell(L.sound_failed, true));
  }
  const sized = new ResizeObserver(draw);
  sized.observe(canvas);

  // --- scorecard
  const verdict = (item, given) => setTriggerValue("verdict", { rule: item.rule, verdict: given, finding: null, press: Date.now() });
  const drawItem = (item) => {
    const box = make("article", `item ${item.outcome} ${item.group}`), head = make("h4");
    head.append(make("span", "", `${SIGN[item.outcome]} ${item.name}`), make("span", "badge", item.outcomeName));
    if (item.fatal) head.append(make("span", "badge", `‼ ${L.fatal}`));
    if (item.cost) head.append(make("span", "badge", `−${item.cost} ${L.points}`));
    head.append(make("code", "", item.rule));
    box.append(head);
    if (item.reason) box.append(make("p", "", item.reason));
    for (const number of item.hits) {
      const hit = data.hits[number], entry = make("button", "hit", `${hit.at == null ? "" : `▶ ${clock(hit.at)} `}${hit.quote ? `“${hit.quote}”` : ""} `);
      entry.type = "button"; entry.dataset.hit = String(number);
      entry.append(make("span", "badge", hit.statusName));
      entry.onclick = () => { show(number); play(); };
      box.append(entry);
    }
    if (item.covered) box.append(make("p", "", item.covered));
    if (item.outcome === "fail" || item.group === "to_judge") {
      if (item.why) box.append(make("p", "", `${L.why}${item.why}`));
      if (item.say) box.append(make("p", "say", `${L.say_instead}${item.say}`));
    }
    for (const one of item.verdicts) {
      box.append(make("p", "given", `${one.role} ${one.who}: ${one.name} · ${one.at}${one.changed ? ` · ${L.changed}` : ""}${one.note ? ` · ${one.note}` : ""}`));
    }
    if (data.mayJudge) {
      const row = make("div", "verdicts");
      for (const given of ["right", "wrong", "not_applicable"]) {
        const button = make("button", "", L[given]), mine = item.verdicts.some((v) => v.who === data.me && v.verdict === given);
        button.type = "button";
        button.setAttribute("aria-pressed", String(mine));
        button.onclick = () => verdict(item, mine ? "withdrawn" : given);
        row.append(button);
      }
      box.append(row);
    }
    return box;
  };
  const place = card.scrollTop;
  card.setAttribute("aria-label", L.scorecard);
  card.replaceChildren();
  if (!data.card) card.append(make("p", "", L.no_card));
  else {
    const top = make("div", "score");
    top.append(make("strong", "", data.card.score ?? "—"), make("span", "", data.card.band));
    if (data.card.fatal) top.append(make("span", "badge", `‼ ${L.fatal}`));
    if (data.finished) top.append(make("span", "badge", `✓ ${L.finished}`));
    const why = make("details"), lines = make("ul");
    why.append(make("summary", "", L.why_score), lines);
    lines.append(...data.card.explain.map((line) => make("li", "", line)));
    card.append(top, why);
    for (const group of ["faults", "to_judge", "passed", "rest"]) {
      const items = data.card.items.filter((item) => item.group === group);
      if (!items.length) continue;
      const title = `${L[group]} (${items.length})`;
      if (group === "faults" || group === "to_judge") card.append(make("h3", "", title), ...items.map(drawItem));
      else {
        const folded = make("details");
        folded.open = Boolean(state[group]);
        folded.ontoggle = () => { state[group] = folded.open; };
        folded.append(make("summary", "", title), ...items.map(drawItem));
        card.append(folded);
      }
    }
  }
  card.scrollTop = place;

  // --- buttons and keys
  $(".play").textContent = audio.paused ? `▶ ${L.play}` : `⏸ ${L.pause}`;
  $(".play").disabled = !data.sound;
  $(".play").onclick = toggle;
  $(".follow").textContent = L.follow;
  $(".previous").textContent = `← ${L.previous}`;
  $(".next").textContent = `${L.next} →`;
  $(".previous").onclick = () => setTriggerValue("go", "previous");
  $(".next").onclick = () => setTriggerValue("go", "next");
  $(".finish").hidden = !data.mayJudge;
  $(".finish").textContent = L.finish;
  $(".finish").onclick = () => setTriggerValue("finish", true);
  $(".speed span").textContent = L.speed;
  const speed = $(".speed select");
  if (!speed.options.length) speed.append(...SPEEDS.map((s) => Object.assign(new Option(`${s}×`, s), { selected: s === 1 })));
  speed.onchange = () => { audio.playbackRate = Number(speed.value); };
  const faster = (step) => { speed.selectedIndex = Math.min(SPEEDS.length - 1, Math.max(0, speed.selectedIndex + step)); speed.onchange(); };
  const help = () => { const keys = $(".keys"); keys.textContent = L.keys_help; keys.hidden = !keys.hidden; $(".help").setAttribute("aria-expanded", String(!keys.hidden)); };
  $(".help").setAttribute("aria-label", L.keys);
  $(".help").onclick = help;
  const judged = (given) => {
    const hit = data.hits[state.hit], item = hit && data.card?.items.find((one) => one.rule === hit.rule);
    if (data.mayJudge && item) verdict(item, given);
  };
  const keys = {
    " ": toggle, ArrowLeft: () => seek(audio.currentTime - SKIP), ArrowRight: () => seek(audio.currentTime + SKIP),
    n: () => hop(1), p: () => hop(-1), r: () => from(turnAt(audio.currentTime)), l: loop, "[": () => faster(-1), "]": () => faster(1),
    1: () => judged("right"), 2: () => judged("wrong"), 3: () => judged("not_applicable"), u: () => judged("withdrawn"), "?": help,
  };
  const onKey = (event) => {
    const target = event.composedPath()[0];
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable || event.isComposing || event.keyCode === 229;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && /^(BUTTON|SUMMARY|A)$/.test(target.tagName)) return; // space presses what has the focus
    const act = keys[event.key];
    if (act) { event.preventDefault(); event.stopImmediatePropagation(); act(); }
  };
  document.addEventListener("keydown", onKey, true);
  if (!data.sound) tell(L.no_sound);
  if (data.saved) tell(`✓ ${data.saved}`);
  if (data.conflict) tell(data.conflict, true);
  if (data.turn != null && !state.turned) { state.turned = true; const t = data.turns[data.turn]; if (t) { audio.currentTime = t.start ?? 0; into(list, list.children[data.turn]); } }
  state.now = -1;
  tick(false);
  if (state.hit >= 0) show(state.hit, { sound: false });
  return () => { document.removeEventListener("keydown", onKey, true); sized.disconnect(); };
}
