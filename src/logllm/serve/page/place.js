// What is shown stands in the address: it can be sent to a colleague, and the back button works.

const NAMES = [
  "tab",
  "session",
  "incident",
  "show",
  "stream",
  "state",
  "kind",
  "q",
  "since",
  "until",
  "span",
];
const listeners = [];

/** What the address says; names that it lacks are empty. */
export function place() {
  const parameters = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, parameters.get(name) ?? ""]));
}

/** The address with some names changed. */
export function link(changes) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...place(), ...changes }))
    if (value) parameters.set(name, value);
  return `?${parameters}`;
}

/** Go there; `replace` leaves no step for the back button. */
export function go(changes, { replace = false } = {}) {
  const goal = link(changes);
  if (goal === (location.search || "?")) return;
  const before = place();
  history[replace ? "replaceState" : "pushState"](
    null,
    "",
    goal === "?" ? location.pathname : goal,
  );
  for (const listener of listeners) listener(place(), before);
}

/** Have something done when the address changes. */
export function onPlace(listener) {
  listeners.push(listener);
}

let last = place();
onPlace((now) => (last = now));
addEventListener("popstate", () => {
  const before = last;
  for (const listener of listeners) listener(place(), before);
});

/** Let a link act here, unless it is to open elsewhere. */
export function follows(anchor, changes) {
  anchor.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(typeof changes === "function" ? changes() : changes);
  });
  return anchor;
}
