// A table of calls. A plain click opens the call without loading the app anew; the link's address can be shared.
const NUMBERS = new Set([5, 6]);
const LIST = 7;

export default function ({ data, parentElement: root, setTriggerValue }) {
  const make = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });
  root.querySelector("caption").textContent = data.caption;
  root.querySelector("thead tr").replaceChildren(
    ...data.columns.map((column) => Object.assign(make("th", column), { scope: "col" })),
  );
  root.querySelector("tbody").replaceChildren(
    ...data.rows.map((row) => {
      const line = make("tr");
      if (row.fatal) line.className = "fatal";
      row.cells.forEach((value, place) => {
        const cell = make("td");
        if (place === 0) cell.append(Object.assign(make("a", value), { href: row.href }));
        else if (place === LIST) {
          cell.className = "list";
          cell.append(...value.map((why) => Object.assign(make("span", why), { className: "why" })));
        } else {
          cell.textContent = value;
          if (NUMBERS.has(place)) cell.className = "number";
        }
        line.append(cell);
      });
      line.onclick = (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        setTriggerValue("open", row.id);
      };
      return line;
    }),
  );
}
