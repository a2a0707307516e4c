// The run that judges, the one before it, and what the gate said of new ones.

import { call } from "./api.js";
import { tried } from "./answers.js";
import { byId, button, confirmed, element, empty, note, terms } from "./elements.js";
import { count, moment, visible } from "./wording.js";

const section = byId("runs");

/** A value as it can be read. */
function told(value) {
  if (typeof value === "number")
    return Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(4)));
  if (typeof value === "string")
    return /^\d{4}-\d\d-\d\dT/.test(value) ? moment(value) : visible(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return value === null || value === undefined ? "" : visible(JSON.stringify(value));
}

const pairs = (object) =>
  Object.entries(object).map(([name, value]) => [name.replaceAll("_", " "), told(value)]);

function run(title, given, act = "") {
  const object = typeof given === "string" ? { run: given } : given;
  const body = object ? terms(pairs(object)) : element("p", { class: "faint" }, "There is none.");
  return element(
    "div",
    { class: "panel" },
    element("div", { class: "head" }, element("h3", {}, title), act),
    body,
  );
}

function gate(one) {
  const passed = one.passed ?? one.promoted ?? one.accepted;
  const words = passed ? "promoted" : "refused";
  const others = Object.entries(one).filter(
    ([name]) => !["passed", "promoted", "accepted", "run", "made"].includes(name),
  );
  return element(
    "li",
    {},
    element(
      "p",
      { class: "facts" },
      element("span", { class: passed ? "call" : "call wrong" }, words),
      element("strong", {}, visible(one.run ?? "")),
      one.made ? element("span", {}, moment(one.made)) : null,
    ),
    terms(pairs(Object.fromEntries(others))),
  );
}

async function rollBack(former) {
  const name =
    typeof former === "string" ? former : (former.run ?? former.name ?? "the former run");
  const text = `${name} judges what comes from then on; verdicts that are stored stay as they are.`;
  if (!(await confirmed("Back to the former run?", text, "Roll back"))) return;
  const done = await tried("It could not be rolled back", () =>
    call("runs/rollback", { method: "POST", body: {} }),
  );
  if (done) note("The former run judges from now on.");
  await showRuns();
}

/** Fetch and draw them. */
export async function showRuns() {
  const { current, former, gates = [] } = await call("runs");
  const back = former ? button("Roll back", () => rollBack(former), { class: "quiet" }) : "";
  const none = empty(
    "No run has been trained with answers yet. True and false alarms that people give are labels for it:",
    "logllm retrain RUN --store STORE",
    "A new run judges only if it is better on what was held back, and on the answers it was not trained on.",
  );
  section.replaceChildren(
    element("div", { class: "head" }, element("h2", { id: "runs-title" }, "Runs")),
    element(
      "div",
      { class: "panels" },
      run("It judges now", current),
      run("The one before", former, back),
    ),
    element("h3", {}, "New runs, and what the gate said"),
    gates.length
      ? element("ol", { class: "rows" }, gates.map(gate))
      : element("div", { class: "empty" }, none),
  );
}
