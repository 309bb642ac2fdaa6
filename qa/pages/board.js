// Saves a chart of the page as a picture, once the server has written the export down and said so.
const saved = new WeakMap();
const SCALE = 2; // of a PNG

export default function ({ data, parentElement: root, setTriggerValue }) {
  const chart = () => document.querySelector(`.st-key-${data.chart} svg.marks`);
  root.querySelectorAll("button").forEach((button) => {
    button.textContent = data.labels[button.dataset.form];
    button.onclick = () => setTriggerValue("picture", button.dataset.form);
  });
  if (!data.granted || saved.get(root) === data.granted.number) return;
  saved.set(root, data.granted.number);
  const drawn = chart();
  if (!drawn) return;
  const { form } = data.granted, name = `huiting-${data.chart}.${form}`;
  const copy = drawn.cloneNode(true), box = drawn.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  Object.entries({ width: "100%", height: "100%", fill: "white" }).forEach(([key, value]) => ground.setAttribute(key, value));
  copy.prepend(ground);
  const picture = new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
  const save = (blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  if (form === "svg") { save(picture); return; }
  const image = new Image();
  image.onload = () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: box.width * SCALE, height: box.height * SCALE });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(save, "image/png");
    URL.revokeObjectURL(image.src);
  };
  image.src = URL.createObjectURL(picture);
}
