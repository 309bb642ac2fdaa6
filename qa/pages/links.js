// Where the links of all blocks lead, told to the router. A block sends the event and waits for nothing.
export default function ({ setTriggerValue }) {
  const follow = (event) => {
    event.preventDefault(); // taken
    setTriggerValue("go", event.detail);
  };
  document.addEventListener("huiting-go", follow);
  return () => document.removeEventListener("huiting-go", follow);
}
