// The keyboard: j and k, Enter, Esc, / and ?.

import { byId } from "./elements.js";
import { go, place } from "./place.js";
import { neighbour } from "./verdicts.js";

/** Rows that j and k go through: those of the list where the focus is, else the verdicts. */
function rowsHere() {
  const list =
    document.activeElement?.closest?.("#incident-list, #closed-list, #verdict-list") ??
    byId("verdict-list");
  const choose = list.id === "verdict-list" ? "li > a" : "li h3 > a";
  return [...list.querySelectorAll(choose)];
}

function focus(anchor) {
  if (!anchor) return;
  if (anchor.hasAttribute("tabindex")) {
    anchor.closest("ol").querySelector("a[tabindex='0']")?.setAttribute("tabindex", "-1");
    anchor.setAttribute("tabindex", "0");
  }
  anchor.focus();
  anchor.closest("li").scrollIntoView({ block: "nearest" });
}

/** One row on, or back. */
function step(by) {
  const { session } = place();
  if (session) {
    const next = neighbour(session, by);
    if (next) go({ session: next }, { replace: true });
    return;
  }
  const rows = rowsHere();
  const at = rows.findIndex(
    (row) => row === document.activeElement || row.closest("li").contains(document.activeElement),
  );
  focus(at < 0 ? rows[0] : rows[Math.min(rows.length - 1, Math.max(0, at + by))]);
}

/** Close what is open, the innermost first. */
function escape() {
  const menu = document.querySelector("details.menu[open]");
  const here = place();
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (document.activeElement === byId("search") && byId("search").value) {
    byId("search").value = "";
    go({ q: "" }, { replace: true });
  } else if (here.session) go({ session: "" });
  else if (here.incident) go({ incident: "" });
  else document.activeElement?.blur();
}

const ACTS = {
  j: () => step(1),
  k: () => step(-1),
  i: () => focus(document.querySelector("#incident-list h3 > a")),
  v: () => focus(document.querySelector("#verdict-list a[tabindex='0']")),
  n: () => byId("fresh").hidden || byId("fresh").click(),
  "/": () => {
    if (place().tab || place().session) go({ tab: "", session: "" });
    byId("search").focus();
    byId("search").select();
  },
  "?": () => byId("help").showModal(),
};

/** Listen. */
export function startKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
      return;
    if (event.key === "Escape") return void escape();
    if (event.target.matches("input[type=search], input[type=password], textarea, select")) {
      if (event.key === "Enter" && event.target.id === "search") focus(rowsHere()[0]);
      return;
    }
    const act = ACTS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  byId("help-button").addEventListener("click", () => ACTS["?"]());
}
