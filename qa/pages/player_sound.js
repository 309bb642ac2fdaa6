// Sound: play, seek, speed, loop, and the place to come back to.
const SKIP = 5, RESUME_BACK = 1.5, LOOP_MARGIN = 3, SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3];
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

function withSound(p) {
  const audio = p.$("audio"), speed = p.$(".speed select");
  const placeKey = () => `huiting place ${p.data.me} ${p.data.call}`;
  const keepPlace = () => { if (p.sheet) localStorage.setItem(placeKey(), String(audio.currentTime)); };
  p.audio = audio;
  p.duration = () => p.sheet?.duration || audio.duration || 1;
  p.play = () => { if (p.data.sound) audio.play().catch((e) => e.name !== "AbortError" && p.tell(p.L.sound_failed, true)); };
  p.seek = (seconds, scroll = true) => {
    p.stepBack = false;
    audio.currentTime = Math.max(0, Math.min(seconds, p.duration()));
    p.tick(scroll);
  };
  p.toggle = () => {
    if (!audio.paused) { p.stepBack = true; return audio.pause(); } // its event comes a moment later
    if (p.stepBack) audio.currentTime = Math.max(0, audio.currentTime - RESUME_BACK);
    p.play();
  };
  p.loadSound = () => {
    const address = p.data.sound && `${p.data.sound}?hearing=${p.original ? "original" : "masked"}`;
    if (audio.dataset.address === address) return;
    const first = !audio.dataset.address, playing = !audio.paused;
    const at = first ? Number(localStorage.getItem(placeKey()) || 0) : audio.currentTime;
    audio.dataset.address = address;
    if (!address) return audio.removeAttribute("src");
    audio.src = address;
    audio.currentTime = at;
    audio.playbackRate = Number(speed.value) || 1;
    if (playing) p.play();
  };
  p.faster = (step) => { speed.selectedIndex = Math.min(SPEEDS.length - 1, Math.max(0, speed.selectedIndex + step)); speed.onchange(); };
  p.setLoop = (from, until) => {
    p.loop = from == null ? null : [Math.max(0, from), Math.min(until, p.duration())];
    p.$(".loop").setAttribute("aria-pressed", String(Boolean(p.loop)));
    p.$(".loop").textContent = p.loop ? `↻ ${p.L.looping} ${clock(p.loop[0])}–${clock(p.loop[1])}` : `↻ ${p.L.loop}`;
    p.redraw();
  };
  p.toggleLoop = () => {
    const stop = p.stop();
    if (p.loop || stop?.at == null) return p.setLoop(null);
    p.setLoop(stop.at - LOOP_MARGIN, (stop.until ?? stop.at) + LOOP_MARGIN);
    p.seek(p.loop[0]);
    p.play();
  };
  p.repeat = () => p.from(p.turnAt(audio.currentTime));
  p.drawBar = () => {
    p.$(".play").textContent = audio.paused ? `▶ ${p.L.play}` : `⏸ ${p.L.pause}`;
    p.$(".play").disabled = !p.data.sound;
    p.$(".speed span").textContent = p.L.speed;
    p.setLoop(...(p.loop ?? [null]));
  };
  if (!speed.options.length) speed.append(...SPEEDS.map((s) => Object.assign(new Option(`${s}×`, s), { selected: s === 1 })));
  speed.onchange = () => { audio.playbackRate = Number(speed.value); };
  p.$(".play").onclick = p.toggle;
  p.$(".loop").onclick = p.toggleLoop;
  audio.onerror = () => p.data.sound && p.sheet && p.tell(p.L.sound_failed, true);
  audio.onplay = () => { p.stepBack = false; p.drawBar(); p.animate(); };
  audio.onpause = () => { p.stepBack = true; p.drawBar(); keepPlace(); };
  audio.onseeked = keepPlace;
  audio.ontimeupdate = () => {
    if (p.loop && audio.currentTime > p.loop[1]) audio.currentTime = p.loop[0];
    keepPlace();
    p.tick();
  };
}
