// Who is told of incidents: sinks, what waits, what could not be delivered, mutes.

import { call } from "./api.js";
import { tried } from "./answers.js";
import { byId, button, element, empty, note, table } from "./elements.js";
import { ago, count, counted, cut, moment, visible } from "./wording.js";

const section = byId("alerts");
const HOW = `logllm serve RUN --store STORE --alert https://hooks.example.org/logllm`;

function sinkRow(sink) {
  const number = (name) => (sink[name] ? element("strong", {}, count(sink[name])) : "0");
  const cells = [
    element(
      "th",
      { scope: "row" },
      element("strong", {}, visible(sink.name)),
      element("small", {}, visible(sink.kind)),
    ),
    element(
      "td",
      {},
      element(
        "span",
        { class: sink.error ? "call wrong" : "call" },
        sink.error ? "trouble" : "fine",
      ),
    ),
    element("td", { data: { name: "last hour" } }, count(sink.last_hour)),
    element("td", { data: { name: "sent" } }, count(sink.sent)),
    element("td", { data: { name: "waiting" } }, number("waiting")),
    element("td", { data: { name: "in a summary" } }, count(sink.held + sink.folded)),
    element("td", { data: { name: "given up" } }, number("dead")),
  ];
  const body = element("tbody", { class: sink.error ? "troubled" : "" }, element("tr", {}, cells));
  if (sink.error) body.append(trouble(sink, cells.length));
  return body;
}

/** What went wrong last, and when it is tried again. */
function trouble(sink, width) {
  const again = sink.due ? ` It is tried again at ${moment(sink.due)}.` : "";
  const times = sink.failures > 1 ? ` ${counted(sink.failures, "time")} in a row.` : "";
  const words = element(
    "p",
    { class: "trouble" },
    `${visible(sink.error)}.${times}${again}`.replace("..", "."),
  );
  return element("tr", { class: "under" }, element("td", { colspan: width }, words));
}

function sinkTable(sinks) {
  if (!sinks.length) {
    const words = empty(
      "Incidents are sent nowhere. They can go to a webhook, a Slack channel or an Alertmanager:",
      HOW,
    );
    return element("div", { class: "empty" }, words);
  }
  const names = ["place", "", "last hour", "sent", "waiting", "in a summary", "given up"];
  return table("Where incidents are sent", names, sinks.map(sinkRow));
}

async function retry(letter) {
  const path = `alerts/${encodeURIComponent(letter.message)}/${encodeURIComponent(letter.sink)}/retry`;
  const done = await tried("Could not try again", () =>
    call(path, { method: "POST", body: {} }),
  );
  if (done) note("Trying again.");
  await showAlerts();
}

function letterRow(letter) {
  return element(
    "li",
    {},
    element("p", { class: "line" }, cut(letter.title, 300)[0]),
    element(
      "p",
      { class: "facts" },
      element("span", {}, visible(letter.sink)),
      letter.event ? element("span", {}, letter.event) : null,
      element("span", {}, counted(letter.tries ?? 0, "try", "tries")),
      element("span", { data: { ago: letter.updated } }, ago(letter.updated)),
    ),
    letter.error ? element("p", { class: "trouble" }, visible(letter.error)) : "",
    element(
      "p",
      { class: "acts" },
      button("Try again", () => retry(letter)),
    ),
  );
}

async function end(muted) {
  const done = await tried("Could not unmute it", () =>
    call(`mutes/${muted.id}`, { method: "DELETE" }),
  );
  if (done) note("No longer muted.");
  await showAlerts();
}

function muteRow(muted) {
  const facts = [
    `until ${moment(muted.until)}`,
    muted.stream,
    muted.by && `by ${muted.by}`,
    muted.why,
  ].filter(Boolean);
  return element(
    "li",
    {},
    element("p", { class: "line" }, cut(muted.kind, 300)[0]),
    element(
      "p",
      { class: "facts" },
      facts.map((fact) => element("span", {}, visible(fact))),
    ),
    element(
      "p",
      { class: "acts" },
      button("Unmute", () => end(muted)),
    ),
  );
}

function list(title, rows, none) {
  return [
    element("h3", {}, title),
    rows.length ? element("ol", { class: "rows" }, rows) : element("p", { class: "faint" }, none),
  ];
}

/** Fetch and draw them. */
export async function showAlerts() {
  const [told, { mutes = [] }] = await Promise.all([call("alerts"), call("mutes")]);
  section.replaceChildren(
    element("div", { class: "head" }, element("h2", { id: "alerts-title" }, "Alerts")),
    sinkTable(told.sinks),
    ...list("Not delivered", told.dead_letters.map(letterRow), "Nothing has failed for good."),
    ...list(
      "Muted kinds",
      mutes.map(muteRow),
      "No kind of fault is muted. You can mute an incident in the list of incidents.",
    ),
  );
}
