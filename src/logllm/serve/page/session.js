// One session opened: its verdict, its lines with the guilty ones marked, and the answer to it.

import { Refused, call } from "./api.js";
import { answer, takeBack } from "./answers.js";
import { byId, button, element, note, terms } from "./elements.js";
import { incidentOf } from "./incidents.js";
import { logLines } from "./lines.js";
import { follows, go, link, place } from "./place.js";
import { count, counted, duration, moment, score, seconds, share, visible } from "./wording.js";

const CUTS = {
  start: "it may have begun before what was read",
  end: "it may go on after what was read",
  both: "it may have begun before what was read, and go on after it",
};
const STATES = {
  open: "open: it goes on, and is judged again as more comes",
  early: "closed before its end",
};

const section = byId("session");
let shown = null; // the session that is open
let loading = null;

/** The sentence that says what was found. */
function title(verdict) {
  const name = element("span", { class: "name" }, visible(verdict.session));
  return element("h2", { id: "session-title", tabindex: "-1" }, name);
}

function judgement(verdict) {
  const words = verdict.anomalous ? "anomalous" : "normal";
  const said = minds(verdict);
  const marks = [
    element("span", { class: verdict.anomalous ? "call anomalous" : "call" }, words),
    `score ${score(verdict.score)}${said ? ` (${said})` : ""}`,
  ];
  if (verdict.lines) marks.push(counted(verdict.lines.length, "line"));
  if (verdict.start) marks.push(moment(verdict.start));
  if (verdict.start && verdict.end) marks.push(duration(seconds(verdict.start, verdict.end)));
  return element(
    "p",
    { class: "facts" },
    marks.map((mark) => element("span", {}, mark)),
  );
}

/** What the single minds said. */
function minds(verdict) {
  const pairs = Object.entries(verdict.minds ?? {}).filter(([, value]) => value !== null);
  return pairs.map(([name, value]) => `${name} ${score(value)}`).join(", ");
}

function incidentLink(verdict) {
  if (!verdict.incident) return null;
  const number = String(verdict.incident);
  const words = incidentOf(number)?.kind ?? `number ${number}`;
  const anchor = element("a", { href: link({ incident: number, session: "" }) }, visible(words));
  return follows(anchor, { incident: number, session: "" });
}

/** What has to be known before its lines are read. */
function before(verdict) {
  const expected = verdict.expected?.length
    ? verdict.expected.map((message) => element("div", { class: "expected" }, visible(message)))
    : null;
  return terms([
    ["state", STATES[verdict.state]],
    ["cut", CUTS[verdict.cut]],
    ["did not come", expected],
    ["incident", incidentLink(verdict)],
  ]);
}

/** What else the verdict says. */
function details(verdict) {
  return terms([
    [
      "new words",
      typeof verdict.new_words === "number"
        ? `${share(verdict.new_words)} of its words were never seen in training`
        : "",
    ],
    [
      "as strange",
      typeof verdict.p === "number" ? `${share(verdict.p)} of the sessions learnt from` : "",
    ],
    [
      "from",
      `${visible(verdict.stream)}${verdict.partition && verdict.partition !== verdict.stream ? `, ${visible(verdict.partition)}` : ""}`,
    ],
    ["judged", `${moment(verdict.updated)} by ${visible(verdict.model)}`],
  ]);
}

async function copyLink() {
  const address = new URL(
    link({ tab: "", show: "", q: "", state: "", stream: "", since: "", until: "", span: "" }),
    location.href,
  ).href;
  try {
    await navigator.clipboard.writeText(address);
    note("Link copied.");
  } catch {
    note(address); // no clipboard on a page without TLS: it can be copied from here
  }
}

/** What was answered, or the buttons that answer. */
function answering(verdict, lines) {
  const given = verdict.feedback;
  if (given) {
    const words =
      given.answer === "normal" ? "You said: a false alarm." : "You said: a true alarm.";
    const back = given.id
      ? button("Take it back", () => takeBack(given.id).then((done) => done && reload()))
      : "";
    return element(
      "div",
      { class: "answer" },
      element("p", {}, words),
      element("p", { class: "acts" }, back),
    );
  }
  const picked = element("p", { class: "faint", role: "status" });
  const send = (value) =>
    answer(verdict.id, { answer: value, lines: value === "normal" ? [] : lines.picked() }).then(
      (done) => done && reload(),
    );
  const right = button(verdict.anomalous ? "True alarm" : "It is a fault", () => send("anomalous"));
  const wrong = button(verdict.anomalous ? "False alarm" : "It is normal", () => send("normal"));
  const tell = () => {
    const numbers = lines.picked();
    picked.textContent = numbers.length
      ? `${numbers.length === 1 ? "Line" : "Lines"} ${numbers.map(count).join(", ")} picked as guilty.`
      : lines.pickable
        ? "To mark the line that shows the fault, click its number."
        : "";
  };
  lines.onPick(tell);
  tell();
  return element("div", { class: "answer" }, element("p", { class: "acts" }, right, wrong), picked);
}

function draw(verdict) {
  const lines = logLines(verdict);
  const close = button("Close", () => go({ session: "" }), {
    class: "quiet",
    "aria-keyshortcuts": "Escape",
  });
  const copy = button("Copy link", copyLink, { class: "quiet" });
  section.classList.toggle("is-anomalous", verdict.anomalous);
  section.replaceChildren(
    element("div", { class: "head" }, title(verdict), copy, close),
    element(
      "div",
      { class: "scroll" },
      judgement(verdict),
      answering(verdict, lines),
      before(verdict),
      lines.element,
      details(verdict),
    ),
  );
}

/** Fetch it again: something about it changed. */
export async function reload() {
  const { session: id } = place();
  if (!id) return;
  loading?.abort();
  const mine = (loading = new AbortController());
  let verdict;
  try {
    verdict = await call(`sessions/${encodeURIComponent(id)}`, { signal: mine.signal });
  } catch (error) {
    // A later look has taken its place: that one draws.
    if (error.name === "AbortError") return;
    throw error;
  }
  if (loading !== mine || place().session !== id) return;
  const top = section.querySelector(".scroll")?.scrollTop ?? 0;
  const same = shown?.id === id;
  shown = verdict;
  draw(verdict);
  if (same) section.querySelector(".scroll").scrollTop = top;
  else section.querySelector("h2").focus({ preventScroll: true });
}

/** Show the session that the address names, or none. */
export async function showSession() {
  const { session: id } = place();
  document.body.classList.toggle("with-session", Boolean(id));
  section.hidden = !id;
  byId("verdicts").classList.toggle("behind", Boolean(id));
  if (!id) {
    shown = null;
    loading?.abort();
    section.replaceChildren();
    return;
  }
  if (shown?.id === id) return;
  try {
    await reload();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const words =
      error.status === 404
        ? "This session is not in the store: it was deleted because of its age, or the link is incomplete."
        : error.message;
    const close = button("Close", () => go({ session: "" }), { class: "quiet" });
    const heading = element("h2", { id: "session-title", tabindex: "-1" }, "Not there");
    section.replaceChildren(
      element("div", { class: "head" }, heading, close),
      element("p", { class: "empty" }, words),
    );
  }
}

/** Take what came of the session that is open. */
export function takeSession(verdicts) {
  const own = verdicts.find((verdict) => verdict.id === shown?.id && verdict.change > shown.change);
  if (own && !section.contains(getSelection().anchorNode)) return reload();
  return null;
}
