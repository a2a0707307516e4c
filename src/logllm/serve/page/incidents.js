// Incidents: the open ones first, with what can be done about them.

import { call } from "./api.js";
import { answerFor, mute, unmute } from "./answers.js";
import { byId, button, element, empty, menu } from "./elements.js";
import { streamCount } from "./filters.js";
import { follows, go, link, place } from "./place.js";
import { ago, counted, cut, duration, moment, score, seconds } from "./wording.js";

const MOST = 200; // that are remembered
const CLOSED = 20; // that are shown
const HOURS = [
  [1, "for 1 hour"],
  [8, "for 8 hours"],
  [168, "for 7 days"],
];

const incidents = new Map();
let changed = () => {};
let ready = false;
let frame = 0;

const newestFirst = (one, other) => (other.opened || "").localeCompare(one.opened || "");
const isOpen = (incident) => incident.state === "open";

/** Open incidents that nobody muted, and those that are muted. */
export function openIncidents() {
  const open = [...incidents.values()].filter(isOpen);
  return {
    loud: open.filter((incident) => !incident.muted),
    muted: open.filter((incident) => incident.muted),
  };
}

/** One that is known of. */
export const incidentOf = (number) => incidents.get(Number(number)) ?? null;

/** The most telling line of an incident, as it was written. */
function line(incident) {
  const evidence = Array.isArray(incident.evidence) ? incident.evidence[0] : incident.evidence;
  return evidence?.text ?? "";
}

/** When it began, how long it lasted or lasts, how many sessions, the highest score. */
function facts(incident) {
  const since = incident.start || incident.opened;
  const end = incident.end || incident.closed || incident.updated;
  const parts = [
    element("time", { datetime: since, title: since }, moment(since)),
    isOpen(incident)
      ? element("span", { data: { ago: incident.updated } }, `last ${ago(incident.updated)}`)
      : `closed after ${duration(seconds(since, end))}`,
    counted(incident.sessions, "session"),
    `score ${score(incident.score)}`,
    streamCount() > 1 ? incident.stream : null,
  ];
  return element(
    "p",
    { class: "facts" },
    parts.filter(Boolean).map((part) => element("span", {}, part)),
  );
}

/** Lines of other kinds that belong to it: they come in the same sessions. */
function otherKinds(incident, most) {
  const others = (incident.kinds ?? []).slice(1);
  if (!others.length) return null;
  const told = others.slice(0, most).map((one) => element("li", {}, cut(one.text, 200)[0]));
  const left = others.length - told.length;
  if (left) told.push(element("li", {}, `and ${counted(left, "other kind")}`));
  return element("ul", { class: "others", "aria-label": "Other kinds of line in it" }, told);
}

function muteMenu(incident) {
  const choices = HOURS.map(([hours, words]) => ({ words, act: () => mute(incident, hours) }));
  return menu("Mute", choices, { "aria-label": "Mute this kind of fault" });
}

/** What can be done about an incident. */
export function acts(incident) {
  const muted = incident.muted
    ? button("Unmute", () => unmute(incident), {
        title: incident.muted_until ? `muted until ${moment(incident.muted_until)}` : null,
      })
    : muteMenu(incident);
  return element(
    "p",
    { class: "acts" },
    muted,
    button("False alarm", () => answerFor(incident, "normal")),
    button("True alarm", () => answerFor(incident, "anomalous")),
  );
}

function card(incident) {
  const [title] = cut(incident.kind || incident.title || "A fault that no single line shows", 300);
  const anchor = element(
    "a",
    { href: link({ incident: incident.id, session: "", tab: "" }) },
    title,
  );
  follows(anchor, () => ({
    incident: String(incident.id),
    session: "",
    tab: "",
    since: "",
    until: "",
    q: "",
    state: "",
    stream: "",
    kind: "",
  }));
  const written = line(incident);
  const muted =
    incident.muted && incident.muted_until
      ? element("p", { class: "muted-until" }, `muted until ${moment(incident.muted_until)}`)
      : null;
  const classes = ["incident", incident.state, incident.muted ? "muted" : ""]
    .filter(Boolean)
    .join(" ");
  const row = element(
    "li",
    { class: classes, data: { id: incident.id } },
    element("h3", {}, anchor),
    facts(incident),
    written ? element("p", { class: "line" }, cut(written, 300)[0]) : null,
    otherKinds(incident, 2),
    muted,
    acts(incident),
  );
  if (String(incident.id) === place().incident) row.classList.add("chosen");
  return row;
}

/** Draw them; a menu that is open, or a button in use, waits for its end. */
function draw() {
  frame = 0;
  const section = byId("incidents");
  if (section.querySelector("details.menu[open]")) return void setTimeout(schedule, 1000);
  const focus = section.contains(document.activeElement) ? focusOf(document.activeElement) : null;
  const sorted = [...incidents.values()].sort(newestFirst);
  const open = sorted.filter(isOpen);
  const loud = open.filter((incident) => !incident.muted);
  const closed = sorted.filter((incident) => !isOpen(incident));
  const quiet = open.filter((incident) => incident.muted);
  byId("incident-list").replaceChildren(...[...loud, ...quiet].map(card));
  byId("closed-list").replaceChildren(...closed.slice(0, CLOSED).map(card));
  byId("incidents-count").textContent = open.length
    ? `${loud.length} open${quiet.length ? `, ${quiet.length} muted` : ""}`
    : "";
  tellEmpty(open, closed);
  tellClosed(closed);
  if (focus) restore(focus);
  changed();
}

/** Which control of which card has the focus. */
function focusOf(control) {
  const row = control.closest("li.incident");
  const controls = row ? [...row.querySelectorAll("a, button, summary")] : [];
  return row ? { id: row.dataset.id, at: controls.indexOf(control) } : null;
}

function restore({ id, at }) {
  const row = byId("incidents").querySelector(`li.incident[data-id="${CSS.escape(id)}"]`);
  row?.querySelectorAll("a, button, summary")[at]?.focus({ preventScroll: true });
}

function tellEmpty(open, closed) {
  const box = byId("incidents-empty");
  box.hidden = open.length > 0 || !ready;
  if (box.hidden) return;
  const words = closed.length
    ? "All quiet: no incident is open."
    : "All quiet: there has been no incident.";
  box.replaceChildren(
    ...empty(
      words,
      "",
      "An incident is a group of anomalous sessions of one kind, close in time.",
    ),
  );
}

function tellClosed(closed) {
  const toggle = byId("closed-button");
  const open = toggle.getAttribute("aria-expanded") === "true";
  toggle.hidden = closed.length === 0;
  toggle.textContent = `${open ? "Hide" : "Show"} ${counted(Math.min(CLOSED, closed.length), "closed one")}`;
  byId("closed-list").hidden = !open;
}

const schedule = () => (frame ||= requestAnimationFrame(draw));

/** Take incidents, new or changed. */
export function takeIncidents(several) {
  for (const incident of several) {
    const before = incidents.get(incident.id);
    if (before && before.change > incident.change) continue;
    incidents.set(incident.id, { ...before, ...incident });
  }
  if (incidents.size > MOST) forget();
  schedule();
}

/** Closed ones that are long over are forgotten first. */
function forget() {
  const sorted = [...incidents.values()].sort(
    (one, other) => isOpen(other) - isOpen(one) || newestFirst(one, other),
  );
  for (const incident of sorted.slice(MOST)) incidents.delete(incident.id);
}

/** Fetch them: all that are open, and the last closed ones. */
export async function loadIncidents() {
  const asking = [
    { state: "open", limit: 100 },
    { state: "closed", limit: CLOSED },
  ];
  const answers = await Promise.all(asking.map((parameters) => call("incidents", { parameters })));
  incidents.clear();
  ready = true;
  takeIncidents(answers.flatMap((answer) => answer.incidents));
  return Math.min(...answers.map((answer) => answer.change ?? Infinity));
}

/** The head above the verdicts of one incident. */
export async function showIncident() {
  const box = byId("incident-open");
  const { incident: number } = place();
  box.hidden = !number;
  document.body.classList.toggle("with-incident", Boolean(number));
  byId("verdicts").classList.toggle("of-incident", Boolean(number));
  for (const row of document.querySelectorAll("li.incident"))
    row.classList.toggle("chosen", row.dataset.id === number);
  if (!number) return void box.replaceChildren();
  let incident = incidentOf(number);
  if (!incident) {
    box.replaceChildren(element("p", { class: "faint" }, `Incident ${number}`));
    incident = await call(`incidents/${encodeURIComponent(number)}`);
    if (place().incident !== number) return;
  }
  const back = button("All verdicts", () => go({ incident: "" }), { class: "quiet" });
  box.replaceChildren(
    element(
      "div",
      { class: "head" },
      element("h3", {}, cut(incident.kind || incident.title, 300)[0]),
      back,
    ),
    facts(incident),
    line(incident) ? element("p", { class: "line" }, cut(line(incident))[0]) : "",
    otherKinds(incident, 8) ?? "",
    acts(incident),
  );
}

/** Start them; `told.changed` is called after each drawing. */
export function startIncidents(told) {
  changed = told.changed;
  byId("closed-button").addEventListener("click", () => {
    const toggle = byId("closed-button");
    toggle.setAttribute("aria-expanded", String(toggle.getAttribute("aria-expanded") !== "true"));
    schedule();
  });
}
