// Who is told of incidents: sinks, what waits, what could not be delivered, mutes.

import { call } from "./api.js";
import { tried } from "./answers.js";
import { byId, button, element, empty, note } from "./elements.js";
import { ago, count, counted, cut, moment, visible } from "./wording.js";

const section = byId("alerts");
const HOW = `logllm serve RUN --store STORE --alert https://hooks.example.org/logllm`;

function sinkRow(sink) {
  const dead = sink.dead ?? 0;
  const cells = [
    element(
      "th",
      { scope: "row" },
      element("strong", {}, visible(sink.name ?? sink.sink)),
      element("small", {}, visible(sink.kind ?? "")),
    ),
    element("td", { data: { name: "sent" } }, count(sink.sent ?? 0)),
    element("td", { data: { name: "waiting" } }, count(sink.waiting ?? 0)),
    element(
      "td",
      { data: { name: "dead" } },
      dead ? element("span", { class: "call wrong" }, count(dead)) : "0",
    ),
  ];
  const body = element("tbody", {}, element("tr", {}, cells));
  if (sink.error)
    body.append(
      element(
        "tr",
        { class: "under" },
        element("td", { colspan: 4 }, element("p", { class: "trouble" }, visible(sink.error))),
      ),
    );
  return body;
}

function sinkTable(sinks) {
  if (!sinks.length) {
    return element(
      "div",
      { class: "empty" },
      empty(
        "No one is told of incidents. A sink is a webhook, a Slack channel or an Alertmanager:",
        HOW,
      ),
    );
  }
  const heads = ["sink", "sent", "waiting", "dead"].map((name) =>
    element("th", { scope: "col" }, name),
  );
  return element(
    "div",
    { class: "wide" },
    element(
      "table",
      { class: "table" },
      element("thead", {}, element("tr", {}, heads)),
      sinks.map(sinkRow),
    ),
  );
}

async function retry(letter) {
  const path = `alerts/${encodeURIComponent(letter.message)}/${encodeURIComponent(letter.sink)}/retry`;
  const done = await tried("It could not be tried again", () =>
    call(path, { method: "POST", body: {} }),
  );
  if (done) note("It is tried again.");
  await showAlerts();
}

function letterRow(letter) {
  const title =
    letter.title ??
    letter.body?.title ??
    letter.body?.incident?.title ??
    `incident ${letter.incident ?? ""}`;
  return element(
    "li",
    {},
    element("p", { class: "line" }, cut(title, 300)[0]),
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
  const done = await tried("It could not be unmuted", () =>
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

/** How many alerts the hour still has, where there is a budget. */
function budget(told) {
  const given = told.budget;
  if (!given) return "";
  const words =
    typeof given === "object"
      ? `${count(given.used ?? 0)} of ${count(given.hourly ?? given.limit ?? 0)} alerts of this hour sent`
      : `at most ${count(given)} alerts an hour`;
  const back = given.held_back ? `; ${counted(given.held_back, "more")} in one summary` : "";
  return element("p", { class: "faint" }, words + back);
}

/** Fetch and draw them. */
export async function showAlerts() {
  const [told, { mutes = [] }] = await Promise.all([call("alerts"), call("mutes")]);
  const letters = told.dead_letters ?? told.dead ?? [];
  section.replaceChildren(
    element(
      "div",
      { class: "head" },
      element("h2", { id: "alerts-title" }, "Alerts"),
      budget(told),
    ),
    sinkTable(told.sinks ?? []),
    ...list(
      "Not delivered",
      (Array.isArray(letters) ? letters : []).map(letterRow),
      "Nothing was given up.",
    ),
    ...list(
      "Muted kinds",
      mutes.map(muteRow),
      "No kind of fault is muted. An incident can be muted where it is listed.",
    ),
  );
}
