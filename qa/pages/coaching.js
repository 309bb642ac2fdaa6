// Makes a clip: choose lines of the call, trim to the tenth of a second on the waveform, listen, and write what it shows.
const STEP = 0.1, LEAP = 1, SHORTEST = 0.5, MARGIN = 4, HEIGHT = 110;
const COLOUR = { agent: "#0072b2", customer: "#e69f00", "": "#8a94a3" };
const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;
const states = new WeakMap(); // what is written and not yet saved survives a redraw

export default function ({ data, parentElement: root, setTriggerValue }) {
  const $ = (query) => root.querySelector(query);
  const L = data.labels, audio = $("audio"), canvas = $("canvas"), form = $("form"), list = $(".said ol");
  const make = (name, values = {}) => Object.assign(document.createElement(name), values);
  let state = states.get(root);
  const fresh = state?.key !== data.key;
  if (fresh) state = { key: data.key, start: data.start, end: data.end, peaks: null, view: null };
  states.set(root, state);

  // --- texts and fields
  $(".facts").textContent = data.facts;
  $(".said h3").textContent = L.lines;
  $(".hint").textContent = L.hint;
  for (const [place, label] of [...form.querySelectorAll(".wide > span")].entries()) label.textContent = [L.title, L.rule, L.note, L.say, L.tags][place];
  const [from, to] = root.querySelectorAll(".seconds span");
  from.textContent = L.start;
  to.textContent = L.end;
  $(".wider").title = L.wider;
  $(".closer").title = L.closer;
  $("form .primary").textContent = L.save;
  $(".handle.from").setAttribute("aria-label", L.start);
  $(".handle.to").setAttribute("aria-label", L.end);
  if (fresh) {
    $(".kind").replaceChildren(...["good", "bad"].map((kind) => {
      const label = make("label");
      label.append(make("input", { type: "radio", name: "kind", value: kind, checked: kind === data.kind }), ` ${kind === "good" ? "✓" : "✗"} ${L[kind]}`);
      return label;
    }));
    form.rule.replaceChildren(new Option(L.no_rule, ""), ...data.rules.map((rule) => new Option(rule.name, rule.id)));
    form.rule.value = data.rule;
    for (const name of ["title", "note", "say", "tags"]) form[name].value = data[name];
    state.offered = data.rules.find((rule) => rule.id === data.rule)?.say ?? "";
    audio.src = data.sound;
    fetch(data.peaks).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
      .then((peaks) => { state.peaks = peaks; draw(); }).catch(() => tell(L.no_sound, true));
  }
  form.rule.onchange = () => {
    const rule = data.rules.find((one) => one.id === form.rule.value);
    if (!form.say.value.trim() || form.say.value === state.offered) form.say.value = rule?.say ?? "";
    state.offered = rule?.say ?? "";
  };
  const tell = (text, problem = false) => { $(".state").textContent = text; $(".state").classList.toggle("problem", problem); };
  if (data.problem) tell(data.problem, true);

  // --- the stretch
  const duration = () => data.duration || audio.duration || 1;
  const set = (start, end, look = false) => {
    start = Math.max(0, Math.min(start, duration() - SHORTEST));
    end = Math.min(duration(), Math.max(end, start + SHORTEST));
    state.start = Math.round(start * 100) / 100;
    state.end = Math.round(end * 100) / 100;
    if (look || !state.view || state.start < state.view[0] || state.end > state.view[1]) state.view = [Math.max(0, state.start - MARGIN), Math.min(duration(), state.end + MARGIN)];
    show();
  };
  const show = () => {
    $("input.start").value = state.start.toFixed(2);
    $("input.end").value = state.end.toFixed(2);
    $(".length").textContent = `${clock(state.start)} – ${clock(state.end)} · ${(state.end - state.start).toFixed(1)} s`;
    for (const [place, line] of [...list.children].entries()) {
      const turn = data.turns[place], inside = turn.start < state.end && turn.end > state.start;
      line.classList.toggle("in", inside);
      line.querySelector("input").checked = inside;
    }
    for (const [name, value] of [["from", state.start], ["to", state.end]]) {
      const handle = $(`.handle.${name}`);
      handle.setAttribute("aria-valuenow", value.toFixed(1));
      handle.setAttribute("aria-valuetext", clock(value));
      handle.setAttribute("aria-valuemin", "0");
      handle.setAttribute("aria-valuemax", duration().toFixed(1));
    }
    draw();
  };
  for (const name of ["start", "end"]) $(`input.${name}`).onchange = () => {
    const value = Number($(`input.${name}`).value);
    if (Number.isFinite(value)) set(name === "start" ? value : state.start, name === "end" ? value : state.end);
    else show();
  };

  // --- lines
  if (fresh) {
    list.replaceChildren(...data.turns.map((turn, number) => {
      const line = make("li"), box = make("input", { type: "checkbox" });
      box.setAttribute("aria-label", `${L.choose} ${clock(turn.start)} ${turn.text}`);
      box.onchange = () => choose(number, box.checked);
      line.append(box, make("span", { className: "time", textContent: clock(turn.start).replace(/\.\d$/, "") }), make("span", { className: "who", textContent: turn.name }), make("span", { textContent: turn.text }));
      line.ondblclick = () => set(turn.start, turn.end, true);
      return line;
    }));
  }
  // A line that joins is joined with all between; one that leaves takes what is beyond it along.
  const choose = (number, on) => {
    const turn = data.turns[number], inside = data.turns.map((one, place) => (one.start < state.end && one.end > state.start ? place : -1)).filter((place) => place >= 0);
    if (!inside.length) set(turn.start, turn.end, true);
    else if (on) set(Math.min(state.start, turn.start), Math.max(state.end, turn.end), true);
    else if (inside.length === 1) show();
    else if (number - inside[0] < inside.at(-1) - number) set(data.turns[number + 1].start, state.end, true);
    else set(state.start, data.turns[number - 1].end, true);
  };

  // --- the waveform
  const x = (seconds) => ((seconds - state.view[0]) / (state.view[1] - state.view[0])) * canvas.clientWidth;
  const secondsAt = (event) => { const box = canvas.getBoundingClientRect(); return state.view[0] + ((event.clientX - box.left) / box.width) * (state.view[1] - state.view[0]); };
  const draw = () => {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth;
    if (!width || !state.view) return;
    if (canvas.width !== width * ratio) { canvas.width = width * ratio; canvas.height = HEIGHT * ratio; }
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, HEIGHT);
    c.fillStyle = "#0b5cad26";
    c.fillRect(x(state.start), 0, x(state.end) - x(state.start), HEIGHT);
    const waves = state.peaks?.channels ?? [];
    c.fillStyle = "#5f6b7a";
    waves.forEach((peaks, channel) => {
      const middle = waves.length > 1 ? 28 + channel * 38 : 47, high = waves.length > 1 ? 17 : 36;
      for (let pixel = 0; pixel < width; pixel++) {
        const at = state.view[0] + (pixel / width) * (state.view[1] - state.view[0]);
        const tall = ((peaks[Math.floor(at / state.peaks.seconds)] ?? 0) / 255) * high;
        c.fillRect(pixel, middle - tall, 1, Math.max(1, 2 * tall));
      }
    });
    for (const turn of data.turns) {
      if (turn.end < state.view[0] || turn.start > state.view[1]) continue;
      c.fillStyle = COLOUR[turn.role] ?? COLOUR[""];
      c.fillRect(x(turn.start), turn.role === "customer" ? 101 : 93, Math.max(1, x(turn.end) - x(turn.start)), 6);
    }
    c.fillStyle = "#d55e00";
    if (audio.currentTime > 0) c.fillRect(x(audio.currentTime) - 1, 0, 2, HEIGHT);
    $(".handle.from").style.left = `${Math.max(0, Math.min(width, x(state.start)))}px`;
    $(".handle.to").style.left = `${Math.max(0, Math.min(width, x(state.end)))}px`;
  };
  const zoom = (factor) => {
    const middle = (state.start + state.end) / 2, half = Math.max((state.view[1] - state.view[0]) * factor, state.end - state.start + 1) / 2;
    state.view = [Math.max(0, middle - half), Math.min(duration(), middle + half)];
    draw();
  };
  $(".wider").onclick = () => zoom(1.8);
  $(".closer").onclick = () => zoom(1 / 1.8);
  canvas.onclick = (event) => { audio.currentTime = Math.max(0, secondsAt(event)); draw(); };
  for (const [name, side] of [["from", "start"], ["to", "end"]]) {
    const handle = $(`.handle.${name}`), move = (value) => set(side === "start" ? Math.min(value, state.end - SHORTEST) : state.start, side === "end" ? Math.max(value, state.start + SHORTEST) : state.end);
    handle.onpointerdown = (event) => { handle.setPointerCapture(event.pointerId); handle.focus(); event.preventDefault(); };
    handle.onpointermove = (event) => { if (handle.hasPointerCapture(event.pointerId)) move(Math.min(Math.max(secondsAt(event), state.view[0]), state.view[1])); };
    handle.onkeydown = (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      move(state[side] + way * (event.shiftKey ? LEAP : STEP));
    };
  }

  // --- sound
  const label = () => { $(".play").textContent = audio.paused ? `▶ ${L.play}` : `❚❚ ${L.pause}`; };
  $(".play").onclick = () => {
    if (!audio.paused) { audio.pause(); return; }
    audio.currentTime = state.start;
    audio.play().catch(() => tell(L.no_sound, true));
    const watch = () => {
      if (audio.paused) return;
      if (audio.currentTime >= state.end) audio.pause();
      draw();
      requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
  };
  audio.onplay = audio.onpause = label;
  label();

  form.onsubmit = (event) => {
    event.preventDefault();
    const value = Object.fromEntries(new FormData(form));
    setTriggerValue("save", { ...value, start: state.start, end: state.end });
  };
  const sized = new ResizeObserver(draw);
  sized.observe(canvas);
  set(state.start, state.end, fresh);
  const first = fresh && list.querySelector("li.in");
  if (first) list.scrollTop = Math.max(0, first.offsetTop - list.clientHeight / 4);
  return () => { sized.disconnect(); setTimeout(() => { if (!root.isConnected) audio.pause(); }, 0); };
}
