// A piece of a page made on the server. Links, buttons and forms in it come back as one trigger, so that the app is not
// loaded anew; a link's address can still be copied, or opened beside with Ctrl. Lines are played where they stand.
const states = new WeakMap();
const TYPING = "input:not([type=checkbox]), select, textarea, [contenteditable=true]";

export default function ({ data, parentElement: root, setTriggerValue }) {
  const box = root.querySelector(".block");
  const state = states.get(root) ?? { markup: null, audio: null, button: null, stop: 0 };
  states.set(root, state);
  if (state.markup !== data.markup) {
    const open = new Set([...box.querySelectorAll("details[open]")].map((one) => one.dataset.keep));
    const typed = filled();
    silence();
    box.innerHTML = data.markup;
    if (box.querySelector(".told.problem")) refill(typed); // a refusal loses nothing that was typed
    state.markup = data.markup;
    for (const one of box.querySelectorAll("details[data-keep]")) if (open.has(one.dataset.keep)) one.open = true;
    count();
  }

  function filled() {
    return [...box.querySelectorAll("form[data-form] [name]")].map((one) => [one.form.dataset.form, one.name, one.value, one.type === "checkbox" ? one.checked : null]);
  }
  function refill(typed) {
    for (const [form, name, value, checked] of typed) {
      const same = [...box.querySelectorAll(`form[data-form="${form}"] [name="${name}"]`)];
      const field = checked === null ? same[0] : same.find((one) => one.value === value);
      if (!field || field.tagName === "BUTTON" || field.type === "hidden") continue;
      if (checked === null) field.value = value;
      else field.checked = checked;
    }
  }

  const tell = (value) => setTriggerValue("did", value);
  function checked() {
    return [...box.querySelectorAll("input[name=row]:checked")].map((one) => one.value);
  }
  function count() {
    const chosen = box.querySelectorAll("input[name=row]:checked").length;
    for (const one of box.querySelectorAll("[data-count]")) one.textContent = chosen;
    for (const one of box.querySelectorAll("[data-needs-rows]")) one.disabled = chosen === 0;
    const all = box.querySelector("[data-all]");
    if (!all) return;
    const rows = box.querySelectorAll("input[name=row]").length;
    all.checked = rows > 0 && chosen === rows;
    all.indeterminate = chosen > 0 && chosen < rows;
  }

  box.onclick = (event) => {
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) && event.button === 0;
    const link = event.target.closest("a[href]");
    if (link && plain && !link.dataset.whole) {
      event.preventDefault();
      const go = link.getAttribute("href"), asked = new CustomEvent("huiting-go", { detail: go, cancelable: true });
      if (document.dispatchEvent(asked)) tell({ go }); // the router is not listening yet
      return;
    }
    const button = event.target.closest("button");
    if (button?.dataset.play) play(button);
    else if (button?.dataset.do) {
      if (button.dataset.ask && !button.classList.contains("asked")) {
        const before = button.textContent;
        button.classList.add("asked");
        button.textContent = button.dataset.ask;
        setTimeout(() => { button.classList.remove("asked"); button.textContent = before; }, 4000);
        return;
      }
      const form = button.form ? values(button.form, null) : {};
      tell({ do: button.dataset.do, value: button.dataset.value ?? "", rows: checked(), ...(button.form ? { form } : {}) });
    } else if (!link && !button && plain && !event.target.closest("label, input, select, summary")) {
      const row = event.target.closest("[data-row]");
      if (row && !String(getSelection())) row.querySelector("a[href]")?.click();
    }
  };
  box.onchange = (event) => {
    if (event.target.dataset.all !== undefined)
      for (const one of box.querySelectorAll("input[name=row]")) one.checked = event.target.checked;
    count();
    const form = event.target.form;
    if (form?.dataset.live !== undefined) tell({ form: form.dataset.form, values: values(form, null) });
  };
  box.onsubmit = (event) => {
    event.preventDefault();
    tell({ form: event.target.dataset.form, values: values(event.target, event.submitter), rows: checked() });
  };
  function values(form, submitter) {
    const found = {};
    for (const [name, value] of new FormData(form, submitter)) found[name] = name in found ? `${found[name]}\n${value}` : value;
    return found;
  }

  function silence() {
    state.audio?.pause();
    if (state.button) { state.button.classList.remove("on"); state.button.setAttribute("aria-pressed", "false"); }
    state.button = null;
  }
  function play(button) {
    const same = state.button === button;
    silence();
    if (same) return;
    state.audio ??= new Audio();
    state.button = button;
    state.stop = Number(button.dataset.end) || Infinity;
    button.classList.add("on");
    button.setAttribute("aria-pressed", "true");
    const start = Number(button.dataset.start) || 0;
    if (state.audio.dataset.at !== button.dataset.play) {
      state.audio.dataset.at = button.dataset.play;
      state.audio.src = button.dataset.play;
    }
    state.audio.currentTime = start;
    state.audio.ontimeupdate = () => { if (state.audio.currentTime >= state.stop) silence(); };
    state.audio.onended = silence;
    const failed = () => {
      silence();
      const place = button.parentElement.querySelector(".unplayed") ?? document.createElement("span");
      place.className = "unplayed";
      place.setAttribute("role", "alert");
      place.textContent = button.dataset.failed;
      button.after(place);
    };
    state.audio.onerror = failed;
    state.audio.play().catch((error) => { if (error.name !== "AbortError") failed(); });
  }

  // j k: the next and the previous row; x: choose it; Enter: open it; p: play it; /: the first field.
  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.keyCode === 229) return;
    const from = event.composedPath()[0];
    if (from instanceof Element && from.matches(TYPING)) return;
    const rows = [...box.querySelectorAll("[data-row]")];
    if (event.key === "/") {
      const field = box.querySelector("[data-first]");
      if (field) { field.focus(); field.select?.(); event.preventDefault(); }
      return;
    }
    if (!rows.length || !["j", "k", "x", "p"].includes(event.key)) return;
    const here = rows.findIndex((row) => row.contains(root.activeElement ?? box.getRootNode().activeElement));
    event.preventDefault();
    if (event.key === "x" && here >= 0) rows[here].querySelector("input[name=row]")?.click();
    if (event.key === "p" && here >= 0) rows[here].querySelector("button[data-play]")?.click();
    if (event.key === "j" || event.key === "k") {
      const next = rows[event.key === "j" ? Math.min(here + 1, rows.length - 1) : Math.max(here - 1, 0)];
      next.querySelector("a[href], button")?.focus();
      next.scrollIntoView({ block: "nearest" });
    }
  };
  document.addEventListener("keydown", onKey);
  return () => { document.removeEventListener("keydown", onKey); silence(); };
}
