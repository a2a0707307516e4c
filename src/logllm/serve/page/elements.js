// Elements are made here and nowhere else: what comes from a log is only ever text.

/** An element. `properties`: `class`, `data` (an object), `on` (listeners), or attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "on")
      for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== ""),
  );
  return made;
}

/** The one element with an id. */
export const byId = (id) => document.getElementById(id);

/** A button that acts. */
export function button(words, act, properties = {}) {
  return element("button", { type: "button", on: { click: act }, ...properties }, words);
}

/** What is empty says what to do: a sentence, and a command where one helps. */
export function empty(sentence, command = "", after = "") {
  const parts = [element("p", {}, sentence)];
  if (command) parts.push(element("pre", {}, element("code", {}, command)));
  if (after) parts.push(element("p", { class: "faint" }, after));
  return parts;
}

/** A list of terms: pairs of a name and what it is, those that are nothing left out. */
export function terms(pairs, properties = {}) {
  const there = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element(
    "dl",
    properties,
    there.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

/** A table that scrolls where there is little room; a column without a name has no head. */
export function table(label, names, rows) {
  const heads = names.map((name) =>
    element(name ? "th" : "td", name ? { scope: "col" } : {}, name),
  );
  return element(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": label },
    element("table", { class: "table" }, element("thead", {}, element("tr", {}, heads)), rows),
  );
}

/** A menu under a button; it closes by itself. */
export function menu(words, choices, properties = {}) {
  const details = element("details", { class: "menu", ...properties });
  const act = (choice) => () => {
    details.open = false;
    choice.act();
  };
  const items = choices.map((choice) => button(choice.words, act(choice)));
  details.append(element("summary", {}, words), element("div", { class: "items" }, items));
  return details;
}

addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.menu[open]"))
    if (!open.contains(event.target)) open.open = false;
});

/** Tell something for some seconds at the foot of the page. */
export function note(words, kind = "") {
  const line = element("p", { class: kind }, words);
  byId("notes").append(line);
  setTimeout(() => line.remove(), 8000);
}

/** Ask before what cannot be undone at once; whether it is wanted. */
export function confirmed(title, text, yes) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
