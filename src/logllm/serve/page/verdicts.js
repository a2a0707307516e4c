// The list of verdicts: newest first, live, never more than 500 rows whatever comes.

import { call } from "./api.js";
import { byId, button, element, empty } from "./elements.js";
import { filter, fits, narrowed, offerStream, parameters, streamCount } from "./filters.js";
import { follows, go, link, place } from "./place.js";
import { counted, cut, count, duration, moment, saying, score, seconds } from "./wording.js";

export const MOST = 500; // rows
const AT_FIRST = 200;
const PACE = 120; // ms between two redrawings at least
const POINTING = 3000; // ms for which a pointer that has moved over the list holds it

const list = byId("verdict-list");
const scroller = byId("verdict-scroll");
const fresh = byId("fresh");
const rows = new Map(); // by id, newest first in the document
const waiting = new Map(); // what came and is not shown yet
let missed = 0; // what waited and was too much
let newest = 0; // the newest change that is shown, or was taken into account
let loading = null;
let edge = null; // where older ones begin, as the server says it; none: after the last row
let whole = false; // the store has no older ones
let drawn = 0;
let frame = 0;
let pointed = -POINTING;

/** The words beside a verdict that are not its line. */
function tags(verdict) {
  const words = [];
  if (verdict.feedback)
    words.push(verdict.feedback.answer === "normal" ? "false alarm" : "true alarm");
  if (verdict.state && verdict.state !== "closed")
    words.push(verdict.state === "early" ? "closed early" : verdict.state);
  if (verdict.cut) words.push("cut");
  if (streamCount() > 1) words.push(verdict.stream);
  return words.map((word) => element("span", { class: "tag" }, word));
}

/** What a row says of a session: its most telling line, or how much of it there is. */
function telling(verdict) {
  const line = verdict.evidence?.[0]?.text;
  if (line) return cut(saying(line, verdict.kind), 400)[0];
  const lasts =
    verdict.start && verdict.end ? `, ${duration(seconds(verdict.start, verdict.end))}` : "";
  return `${counted(verdict.lines?.length ?? 0, "line")}${lasts}`;
}

function makeRow(verdict) {
  const anchor = element(
    "a",
    { href: link({ session: verdict.id }), tabindex: "-1" },
    element("span", { class: "score" }, score(verdict.score)),
    element(
      "time",
      { datetime: verdict.updated, title: `${verdict.updated}` },
      moment(verdict.updated),
    ),
    element("span", { class: "name" }, cut(verdict.session, 200)[0]),
    element("span", { class: "telling" }, telling(verdict)),
    element("span", { class: "tags" }, tags(verdict)),
  );
  follows(anchor, () => ({ session: verdict.id }));
  const kind = verdict.anomalous ? "verdict anomalous" : "verdict";
  const row = element(
    "li",
    { class: kind, data: { id: verdict.id, change: verdict.change } },
    anchor,
  );
  row.verdict = verdict;
  if (verdict.id === place().session) anchor.setAttribute("aria-current", "true");
  return row;
}

/** Whether a person is at the list, so that it must not move. */
function held() {
  const box = list.getBoundingClientRect();
  if (!box.width) return false; // not on view
  const scrolled =
    scroller.scrollTop > 4 || (scroller.scrollHeight <= scroller.clientHeight + 4 && box.top < 0);
  const holding = list.contains(document.activeElement) || performance.now() - pointed < POINTING;
  const selection = getSelection();
  return scrolled || holding || (!selection.isCollapsed && list.contains(selection.anchorNode));
}

function tellFresh() {
  const number = waiting.size + missed;
  fresh.hidden = number === 0;
  if (number) fresh.textContent = `${count(number)} new`;
}

/** The state of the list in words, and what to do where it is empty. */
function tellList() {
  const number = rows.size;
  const anomalous = filter().show !== "all";
  const more = whole ? "" : "the newest ";
  byId("verdicts-count").textContent = number
    ? `${more}${anomalous ? `${count(number)} anomalous` : counted(number, "session")}`
    : "";
  byId("older").hidden = whole || (number === 0 && !edge);
  const nothing = number === 0 && !loading;
  byId("verdicts-empty").hidden = !nothing;
  if (nothing) byId("verdicts-empty").replaceChildren(...whatToDo());
}

let judged = () => 0;
let command = () => "";

function whatToDo() {
  const wanted = filter();
  const all = button("Show all sessions", () => go({ show: "all" }));
  const none = { stream: "", state: "", kind: "", q: "", incident: "", since: "", until: "" };
  if (narrowed(wanted)) {
    const without = button("Clear the filters", () => go(none));
    const acts = wanted.show === "all" ? [without] : [all, without];
    return [...empty("No verdict matches."), element("p", { class: "acts" }, acts)];
  }
  if (judged() > 0)
    return [...empty("No session is anomalous."), element("p", { class: "acts" }, all)];
  return empty(
    "No session has been judged yet. A watch judges a log while it is written, and this page shows it as it comes:",
    command(),
  );
}

/** Take what came from the stream. */
export function take(verdicts) {
  const wanted = filter();
  for (const verdict of verdicts) {
    offerStream(verdict.stream);
    const shown = rows.get(verdict.id)?.verdict ?? waiting.get(verdict.id);
    if (shown ? shown.change >= verdict.change : verdict.change < newest) continue; // had already
    if (!fits(verdict, wanted)) {
      waiting.delete(verdict.id);
      if (rows.has(verdict.id)) waiting.set(verdict.id, { ...verdict, gone: true });
      continue;
    }
    waiting.delete(verdict.id);
    waiting.set(verdict.id, verdict);
    if (waiting.size > MOST) {
      waiting.delete(waiting.keys().next().value);
      missed += 1;
    }
  }
  schedule();
}

function schedule() {
  if (frame || loading || !(waiting.size + missed)) return;
  frame = requestAnimationFrame((now) => {
    frame = 0;
    if (now - drawn < PACE) return void schedule();
    drawn = now;
    if (held()) {
      tellFresh();
      setTimeout(schedule, 500); // it goes on by itself when nobody holds it any more
      return;
    }
    show();
  });
}

/** Put what waited on top. */
function show() {
  const coming = [...waiting.values()].sort((one, other) => other.change - one.change);
  if (missed) clear(); // what lies between is not here: the older ones are asked for again
  waiting.clear();
  missed = 0;
  const fragment = document.createDocumentFragment();
  const order = new Map();
  for (const verdict of coming) {
    rows.get(verdict.id)?.remove();
    rows.delete(verdict.id);
    newest = Math.max(newest, verdict.change);
    if (verdict.gone) continue;
    const row = makeRow(verdict);
    fragment.append(row);
    order.set(verdict.id, row);
  }
  list.prepend(fragment);
  for (const [id, row] of rows) order.set(id, row);
  rows.clear();
  for (const [id, row] of order) rows.set(id, row);
  trim();
  tellFresh();
  tellList();
  offerFocus();
}

function clear() {
  rows.clear();
  list.replaceChildren();
  whole = false;
  edge = null;
}

/** Keep no more rows than there may be: the oldest go. */
function trim() {
  const many = rows.size - MOST;
  if (many <= 0) return;
  for (const id of [...rows.keys()].slice(-many)) {
    rows.get(id).remove();
    rows.delete(id);
  }
  whole = false;
  edge = null;
}

/** One row can be reached with the tabulator; j and k go on from it. */
function offerFocus() {
  if (list.querySelector("a[tabindex='0']")) return;
  list.querySelector("a")?.setAttribute("tabindex", "0");
}

/** Fetch what the address asks for. */
export async function load() {
  loading?.abort();
  const mine = (loading = new AbortController());
  const wanted = filter();
  waiting.clear();
  missed = 0;
  list.setAttribute("aria-busy", "true");
  try {
    const answer = await call("verdicts", {
      parameters: { ...parameters(wanted), limit: AT_FIRST },
      signal: mine.signal,
    });
    if (loading !== mine) return null;
    clear();
    newest = answer.change ?? 0;
    whole = !answer.next;
    edge = answer.next;
    append(answer.verdicts);
    scroller.scrollTop = 0;
    return answer.change ?? 0;
  } finally {
    if (loading === mine) {
      loading = null;
      list.removeAttribute("aria-busy");
      const early = [...waiting.values()].filter((verdict) => verdict.change <= newest);
      for (const verdict of early) waiting.delete(verdict.id);
      tellFresh();
      tellList();
      schedule();
    }
  }
}

function append(verdicts) {
  const fragment = document.createDocumentFragment();
  for (const verdict of verdicts) {
    offerStream(verdict.stream);
    if (rows.has(verdict.id)) continue;
    const row = makeRow(verdict);
    rows.set(verdict.id, row);
    fragment.append(row);
  }
  list.append(fragment);
  offerFocus();
}

/** Older ones: where there would be too many rows, the newest ones go, and come back with "n new". */
async function older() {
  const last = [...rows.values()].at(-1)?.verdict;
  const before = edge ?? (last && `${last.change}.${last.id}`);
  if (!before || loading) return;
  const answer = await call("verdicts", {
    parameters: { ...parameters(filter()), before, limit: AT_FIRST },
  });
  whole = !answer.next;
  edge = answer.next;
  const focus = list.lastElementChild;
  append(answer.verdicts);
  const many = rows.size - MOST;
  for (const id of [...rows.keys()].slice(0, Math.max(0, many))) {
    rows.get(id).remove();
    rows.delete(id);
    missed += 1;
  }
  (focus?.nextElementSibling ?? focus)?.querySelector("a")?.focus();
  tellFresh();
  tellList();
}

/** Show what people said of sessions that are listed. */
export function takeFeedback(answers) {
  const same = ["stream", "partition", "session", "piece"];
  for (const { verdict } of [...rows.values()]) {
    const given = answers.find((one) => same.every((name) => one[name] === verdict[name]));
    if (!given) continue;
    verdict.feedback = { id: given.id, answer: given.answer, lines: given.lines };
    rows
      .get(verdict.id)
      .querySelector(".tags")
      .replaceChildren(...tags(verdict));
  }
}

/** Show what waits, and go to the top. */
async function showFresh() {
  document.activeElement?.blur?.();
  pointed = -POINTING;
  scroller.scrollTop = 0;
  if (missed) await load();
  else show();
  list.querySelector("a")?.scrollIntoView({ block: "nearest" });
}

/** The row after or before another one, by id. */
export function neighbour(id, step) {
  const row = rows.get(id);
  const next = step > 0 ? row?.nextElementSibling : row?.previousElementSibling;
  return next?.dataset.id ?? null;
}

/** Mark the row of the session that is open. */
export function mark(id) {
  for (const anchor of list.querySelectorAll("[aria-current]"))
    anchor.removeAttribute("aria-current");
  const anchor = rows.get(id)?.querySelector("a");
  anchor?.setAttribute("aria-current", "true");
  anchor?.scrollIntoView({ block: "nearest" });
  return anchor;
}

/** A verdict of one of the rows. */
export const verdictOf = (id) => rows.get(id)?.verdict ?? null;

/** Start it; `told.judged` gives how many sessions are known of, `told.command` what starts a watch. */
export function startVerdicts(told) {
  judged = told.judged;
  command = told.command;
  fresh.addEventListener("click", () => showFresh().catch(told.failed));
  byId("older").addEventListener("click", () => older().catch(told.failed));
  list.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") pointed = performance.now();
  });
  list.addEventListener("pointerdown", () => (pointed = performance.now()));
  list.addEventListener("pointerleave", () => (pointed = -POINTING));
}
