// The run that judges, the one before it, and what the gate said of new ones.

import { call } from "./api.js";
import { tried } from "./answers.js";
import { byId, button, confirmed, element, empty, note } from "./elements.js";
import { counted, moment, visible } from "./wording.js";

const section = byId("runs");
const OF = {
  before: "earlier labelled data",
  answers: "answers that it has not learnt",
  quiet: "sessions never disputed",
  alarms: "alarms never called false",
};

function panel(title, name, when, act = null) {
  const words = name
    ? element("p", { class: "name" }, visible(name))
    : element("p", { class: "faint" }, "There is none.");
  const since = when ? element("p", { class: "faint" }, when) : null;
  return element(
    "div",
    { class: "panel" },
    element("div", { class: "head" }, element("h3", {}, title), act),
    words,
    since,
  );
}

const shown = (value) => (typeof value === "number" ? value.toFixed(3) : "–");
const signed = (value) => `${value > 0 ? "+" : ""}${shown(value)}`;

/** One figure of both runs, and the difference with its interval. */
function figureRow(of, name, figure, sessions) {
  const [estimate, lower, upper] = figure.difference;
  const cells = [
    element(
      "th",
      { scope: "row" },
      name.replaceAll("_", " "),
      element("small", {}, `${OF[of] ?? of}, ${counted(sessions, "session")}`),
    ),
    element("td", { data: { name: "now" } }, shown(figure.current)),
    element("td", { data: { name: "new run" } }, shown(figure.newer)),
    element(
      "td",
      { data: { name: "difference" } },
      `${signed(estimate)} (${signed(lower)} to ${signed(upper)})`,
    ),
  ];
  return element("tbody", {}, element("tr", {}, cells));
}

function figures(gate) {
  const rows = Object.entries(gate.figures ?? {}).flatMap(([of, told]) =>
    Object.entries(told)
      .filter(([, figure]) => Array.isArray(figure?.difference))
      .map(([name, figure]) => figureRow(of, name, figure, told.sessions)),
  );
  if (!rows.length) return null;
  const heads = ["", "judging then", "new run", "difference, 95 %"].map((name) =>
    element(name ? "th" : "td", name ? { scope: "col" } : {}, name),
  );
  return element(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": "Figures of both runs" },
    element("table", { class: "table" }, element("thead", {}, element("tr", {}, heads)), rows),
  );
}

function gateRow(gate) {
  const words = gate.promoted ? "promoted" : "refused";
  const facts = [
    element("span", { class: gate.promoted ? "call" : "call wrong" }, words),
    gate.newer ? element("strong", {}, visible(gate.newer)) : null,
    gate.answers?.new !== undefined
      ? element("span", {}, counted(gate.answers.new, "new answer"))
      : null,
    element("time", { datetime: gate.made }, moment(gate.made)),
  ];
  const reasons = (gate.reasons ?? []).map((reason) => element("li", {}, visible(reason)));
  return element(
    "li",
    {},
    element("p", { class: "facts" }, facts),
    reasons.length ? element("ul", { class: "reasons" }, reasons) : null,
    figures(gate),
  );
}

async function rollBack(former) {
  const text = `${former} judges everything from now on; stored verdicts stay as they are.`;
  if (!(await confirmed("Back to the former run?", text, "Roll back"))) return;
  const done = await tried("Could not roll back", () =>
    call("runs/rollback", { method: "POST", body: {} }),
  );
  if (done) note(`${former} judges from now on.`);
  await showRuns();
}

function draw(told) {
  const { current, former, changed, gates = [] } = told;
  const back = former ? button("Roll back", () => rollBack(former), { class: "quiet" }) : null;
  const none = empty(
    "No run has been trained with answers yet. The true and false alarms that people mark are labels for it:",
    "logllm retrain RUN --store STORE",
    "A new run takes over only if it is better on answers that it has not learnt, and no worse on what was labelled before.",
  );
  return [
    element(
      "div",
      { class: "panels" },
      panel("Judges now", current, changed ? `since ${moment(changed)}` : ""),
      panel("Previous run", former, "", back),
    ),
    element("h3", {}, "New runs, and what the gate said"),
    gates.length
      ? element("ol", { class: "rows" }, gates.map(gateRow))
      : element("div", { class: "empty" }, none),
  ];
}

/** Fetch and draw them. */
export async function showRuns() {
  const title = element("div", { class: "head" }, element("h2", { id: "runs-title" }, "Runs"));
  try {
    section.replaceChildren(title, ...draw(await call("runs")));
  } catch (error) {
    if (error.status !== 409) throw error;
    const words = empty(
      "This server was started without a run, so it cannot say which one judges:",
      "logllm serve RUN --store STORE",
    );
    section.replaceChildren(title, element("div", { class: "empty" }, words));
  }
}
