// What the watches read: how far they are, what they dropped, what is wrong.

import { call } from "./api.js";
import { byId, element, empty, table } from "./elements.js";
import { ago, count, visible } from "./wording.js";

const WAITING = "Waiting to be read: bytes of files, lines of other sources";
const section = byId("sources");
let known = [];

/** Sources that are in trouble, or whose watch says nothing any more. */
export const troubled = () => known.filter((source) => source.trouble || !source.alive);

/** All sources, as they were told last. */
export const sources = () => known;

function health(source) {
  if (!source.alive) return element("span", { class: "call dead" }, "silent");
  return source.trouble
    ? element("span", { class: "call wrong" }, "trouble")
    : element("span", { class: "call" }, "alive");
}

function cell(name, value, properties = {}) {
  return element("td", { data: { name }, ...properties }, value);
}

/** What was not read as it should have been. */
function counts(source) {
  const pairs = Object.entries(source.counts ?? {}).filter(([, number]) => number);
  if (!pairs.length) return null;
  const items = pairs.map(([name, number]) =>
    element("span", {}, `${count(number)} ${name.replaceAll("_", " ")}`),
  );
  return element("p", { class: "facts" }, items);
}

function row(source) {
  const waiting = source.lag ?? null;
  const what = [
    element("strong", {}, visible(source.stream)),
    element("small", {}, visible([source.run, source.owner].filter(Boolean).join(", by "))),
  ];
  const silent = !source.alive
    ? `Its watch said nothing for ${ago(source.updated).replace(" ago", "")}: start it again with the same command.`
    : "";
  const words = [silent, source.trouble && visible(source.trouble)]
    .filter(Boolean)
    .map((text) => element("p", { class: "trouble" }, text));
  const under = [...words, counts(source)].filter(Boolean);
  const cells = [
    element("th", { scope: "row" }, what),
    cell("", health(source)),
    cell("waiting", waiting === null ? "not known" : count(waiting), { title: WAITING }),
    cell("lines/s", source.rate === null || source.rate === undefined ? "–" : count(source.rate)),
    cell("lines", count(source.lines)),
    cell("sessions", count(source.sessions)),
    cell("anomalous", count(source.anomalous)),
    cell("open", count(source.open_sessions)),
  ];
  const body = element(
    "tbody",
    { class: source.alive && !source.trouble ? "" : "troubled" },
    element("tr", {}, cells),
  );
  if (under.length)
    body.append(element("tr", { class: "under" }, element("td", { colspan: cells.length }, under)));
  return body;
}

/** Draw what is known. */
export function drawSources(command) {
  const title = element(
    "div",
    { class: "head" },
    element("h2", { id: "sources-title" }, "Sources"),
  );
  if (!known.length) {
    const words = empty(
      "No watch has written to this store yet. One watch reads a log, judges it and stores the verdicts:",
      command,
    );
    section.replaceChildren(title, element("div", { class: "empty" }, words));
    return;
  }
  const names = ["source", "", "waiting", "lines/s", "lines", "sessions", "anomalous", "open"];
  section.replaceChildren(title, table("Sources", names, known.map(row)));
}

/** Take sources as the stream or the server tells them. */
export function takeSources(several) {
  const key = (source) => `${source.stream}\n${source.owner}`;
  const all = new Map(known.map((source) => [key(source), source]));
  for (const source of several) all.set(key(source), { alive: true, ...source });
  known = [...all.values()].sort((one, other) => one.stream.localeCompare(other.stream));
}

/** Fetch them: this also tells which have gone silent. */
export async function loadSources() {
  const answer = await call("sources");
  known = [];
  takeSources(answer.sources ?? []);
}
