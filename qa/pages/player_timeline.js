// The timeline: waves of both channels, who speaks, silence, overlap, emotion, findings. Each has a shape and a place of
// its own, not only a colour.
const COLOUR = { agent: "#0072b2", customer: "#c77700", "": "#7d8794", fault: "#c2410c", overlap: "#a3417f", silence: "#7d8794", people: "#00795c" };
const HEIGHT = 132, FLAGS = 14, WAVE_TOP = 16, WAVE_HEIGHT = 72, TURNS_TOP = 92, FELT_TOP = 118;

function withTimeline(p) {
  const canvas = p.$("canvas"), tip = p.$(".tip");
  let still = null; // everything but the playhead, drawn once
  const at = (s) => (s / p.duration()) * canvas.clientWidth;
  p.timelineX = at;
  p.redraw = () => { still = null; drawNow(); };
  const drawNow = () => {
    if (!p.sheet || !canvas.clientWidth) return;
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth;
    if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = HEIGHT * ratio; still = null; }
    still ??= paint(width, ratio);
    const c = canvas.getContext("2d");
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, canvas.width, canvas.height);
    c.drawImage(still, 0, 0);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const x = at(p.audio.currentTime);
    c.fillStyle = "#0b5cad";
    c.fillRect(x - 1, 0, 2, HEIGHT);
    c.beginPath(); c.arc(x, HEIGHT - 4, 4, 0, 7); c.fill();
  };
  const paint = (width, ratio) => {
    const layer = document.createElement("canvas");
    layer.width = Math.round(width * ratio); layer.height = HEIGHT * ratio;
    const c = layer.getContext("2d"), ink = getComputedStyle(canvas).color;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const span = (from, to, top, tall, least = 1) => c.fillRect(at(from), top, Math.max(least, at(to) - at(from)), tall);
    for (const one of p.sheet.silences) hatch(c, at(one.from), Math.max(2, at(one.to) - at(one.from)), one.music);
    if (p.loop) { c.fillStyle = "#0b5cad22"; span(p.loop[0], p.loop[1], 0, HEIGHT); }
    const waves = p.peaks?.channels ?? [];
    waves.forEach((peaks, channel) => wave(c, peaks, channel, waves.length, width));
    for (const turn of p.sheet.turns) {
      if (turn.start == null) continue;
      c.fillStyle = COLOUR[turn.role] ?? COLOUR[""];
      span(turn.start, turn.end ?? turn.start, turn.role === "customer" ? TURNS_TOP + 11 : TURNS_TOP, 8);
      if (turn.negative) { c.fillStyle = COLOUR.fault; span(turn.start, turn.end ?? turn.start, FELT_TOP, 4, 2); }
    }
    c.fillStyle = COLOUR.overlap;
    for (const one of p.sheet.overlaps) { span(one.from, one.to, TURNS_TOP + 7, 5, 2); if (one.interruption) span(one.from, one.to, TURNS_TOP - 2, 22, 2); }
    c.font = "11px sans-serif";
    const names = Object.fromEntries(p.sheet.roles);
    const label = (text, y) => { const w = c.measureText(text).width; c.fillStyle = getComputedStyle(canvas).getPropertyValue("--st-background-color") || "#fff"; c.globalAlpha = 0.8; c.fillRect(2, y - 9, w + 6, 12); c.globalAlpha = 1; c.fillStyle = ink; c.fillText(text, 5, y); };
    waves.forEach((_, channel) => waves.length > 1 && label(names[p.sheet.channels[channel]] ?? `${p.L.channel} ${channel + 1}`, WAVE_TOP + 10 + channel * (WAVE_HEIGHT / waves.length)));
    for (const stop of p.stops()) flag(c, stop);
    return layer;
  };
  const wave = (c, peaks, channel, of, width) => {
    const tall = WAVE_HEIGHT / of / 2, middle = WAVE_TOP + (2 * channel + 1) * tall, step = at(p.peaks.seconds);
    c.fillStyle = COLOUR[of > 1 ? p.sheet.channels[channel] : ""] ?? COLOUR[""];
    for (let pixel = 0; pixel < width; pixel++) {
      const first = Math.floor(pixel / step), last = Math.max(first + 1, Math.floor((pixel + 1) / step));
      let top = 0;
      for (let i = first; i < last && i < peaks.length; i++) top = Math.max(top, peaks[i]);
      const high = Math.sqrt(top / 255) * (tall - 2); // quiet speech stays visible
      c.fillRect(pixel, middle - high, 1, Math.max(1, 2 * high));
    }
  };
  const hatch = (c, x, wide, music) => {
    c.fillStyle = COLOUR.silence + "2e";
    c.fillRect(x, WAVE_TOP, wide, WAVE_HEIGHT);
    c.strokeStyle = COLOUR.silence + "88";
    c.lineWidth = 1;
    c.save(); c.beginPath(); c.rect(x, WAVE_TOP, wide, WAVE_HEIGHT); c.clip(); c.beginPath();
    for (let i = -WAVE_HEIGHT; i < wide; i += music ? 12 : 7) { c.moveTo(x + i, WAVE_TOP + WAVE_HEIGHT); c.lineTo(x + i + (music ? 0 : WAVE_HEIGHT), WAVE_TOP); }
    c.stroke(); c.restore();
  };
  const flag = (c, stop) => {
    if (stop.at == null) return;
    const x = at(stop.at), here = stop === p.stop();
    c.strokeStyle = c.fillStyle = stop.finding?.status === "missed" ? COLOUR.people : COLOUR.fault;
    c.lineWidth = 1.5;
    c.beginPath();
    if (stop.finding?.status === "missed") { c.rect(x - 5, 2, 10, 9); } else { c.moveTo(x - 6, 1); c.lineTo(x + 6, 1); c.lineTo(x, 12); c.closePath(); }
    const solid = stop.finding?.status === "confirmed";
    if (solid) c.fill(); else c.stroke();
    if (here || solid) { c.globalAlpha = here ? 1 : 0.45; c.fillRect(x - 0.75, 12, here ? 2.5 : 1.5, HEIGHT - 12 - FLAGS); c.globalAlpha = 1; }
    if (here) { c.lineWidth = 2; c.strokeStyle = "#0b5cad"; c.strokeRect(x - 9, 0.5, 18, 14); }
  };
  p.animate = () => { drawNow(); if (!p.audio.paused && canvas.isConnected) requestAnimationFrame(p.animate); };
  p.tick = (scroll = true) => {
    const t = p.audio.currentTime, told = `${clock(t)} / ${clock(p.duration())}`;
    p.$(".time").textContent = told;
    canvas.setAttribute("aria-valuenow", String(Math.round(t)));
    canvas.setAttribute("aria-valuetext", told);
    p.mark(p.turnAt(t), scroll);
    if (p.audio.paused) drawNow();
  };
  p.under = (seconds, slack) => [
    clock(seconds),
    ...p.stops().filter((stop) => stop.at != null && Math.abs(stop.at - seconds) < slack).map((stop) => `${p.signOf(stop)} ${stop.name}`),
    ...p.sheet.silences.filter((one) => one.from <= seconds && seconds < one.to).map((one) => `${one.music ? p.L.music : p.L.silence} ${(one.to - one.from).toFixed(1)} s`),
    ...(p.sheet.overlaps.some((one) => one.from <= seconds && seconds < one.to) ? [p.L.overlap] : []),
    ...p.sheet.turns.filter((turn) => turn.start != null && turn.start <= seconds && seconds < (turn.end ?? turn.start)).map((turn) => [turn.name, turn.emotion].filter(Boolean).join(" ")),
  ];
  p.labelTimeline = () => {
    canvas.setAttribute("aria-label", p.L.timeline);
    canvas.setAttribute("aria-valuemin", "0");
    canvas.setAttribute("aria-valuemax", String(Math.round(p.duration())));
    const signs = [["fault", "▼", "fault"], ["suspected", "▽", "suspected_fault"], ["people", "□", "by_people"], ["silence", "▨", "silence"], ["overlap", "▮", "overlap"], ["negative", "▬", "negative"]];
    const names = Object.fromEntries(p.sheet.roles);
    p.$(".legend").replaceChildren(
      ...["agent", "customer"].map((role) => legend(`turns ${role}`, role === "agent" ? "▔" : "▁", names[role])),
      ...signs.map(([name, sign, label]) => legend(name, sign, p.L[label])),
    );
  };
  const legend = (name, sign, label) => {
    const entry = p.make("li", name), mark = p.make("span", "sign", sign);
    mark.setAttribute("aria-hidden", "true");
    entry.append(mark, ` ${label}`);
    return entry;
  };
  const secondsAt = (event) => (event.offsetX / canvas.clientWidth) * p.duration();
  canvas.onclick = (event) => p.seek(secondsAt(event));
  canvas.onmousemove = (event) => {
    if (!p.sheet) return;
    tip.hidden = false;
    tip.textContent = p.under(secondsAt(event), (6 / canvas.clientWidth) * p.duration()).join(" · ");
    tip.style.left = `${Math.max(0, Math.min(event.offsetX, canvas.clientWidth - tip.offsetWidth - 4))}px`;
  };
  canvas.onmouseleave = () => { tip.hidden = true; };
  p.loadPeaks = () => {
    if (!p.data.peaks || p.peaks !== undefined) return;
    p.peaks = null;
    fetch(p.data.peaks).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
      .then((peaks) => { p.peaks = peaks; p.redraw(); })
      .catch(() => p.tell(p.L.sound_failed, true));
  };
  new ResizeObserver(() => p.redraw()).observe(canvas);
}
