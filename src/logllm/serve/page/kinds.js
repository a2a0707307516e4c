// Kinds of message that training never saw, as they first came.

import { call } from "./api.js";
import { byId, element, empty } from "./elements.js";
import { follows, link } from "./place.js";
import { ago, counted, cut, moment, visible } from "./wording.js";

const MOST = 200;
const GRADES = { 1: "speaks of trouble", 2: "speaks of a fault" };
const AROUND = 300_000; // ms before and after it
const section = byId("kinds");

function row(kind) {
  const [written, more] = cut(kind.line_text || kind.kind, 600);
  const near = (step) =>
    new Date(Date.parse(kind.first_seen) + step).toISOString().replace("Z", "000Z");
  const then = {
    tab: "",
    q: "",
    stream: kind.stream,
    since: near(-AROUND),
    until: near(AROUND),
    show: "all",
  };
  const around = follows(element("a", { href: link(then) }, "what was judged then"), then);
  return element(
    "li",
    {},
    element(
      "p",
      { class: "line" },
      written,
      more ? element("small", {}, ` … ${counted(more, "character")} more`) : "",
    ),
    element(
      "p",
      { class: "facts" },
      element(
        "time",
        { datetime: kind.first_seen, title: kind.first_seen },
        moment(kind.first_seen),
      ),
      element("span", { data: { ago: kind.first_seen } }, ago(kind.first_seen)),
      kind.lines ? element("span", {}, counted(kind.lines, "line")) : null,
      element("span", {}, visible(kind.stream)),
      GRADES[kind.grade] ? element("strong", {}, GRADES[kind.grade]) : null,
      element("span", {}, around),
    ),
  );
}

/** Fetch and draw them. */
export async function showKinds() {
  const answer = await call("kinds", { parameters: { limit: MOST } });
  // What speaks of trouble stands first, the newest first among those and among the others.
  const kinds = (answer.kinds ?? []).sort((a, b) => (b.grade > 0) - (a.grade > 0));
  const head = element(
    "div",
    { class: "head" },
    element("h2", { id: "kinds-title" }, "New kinds of message"),
    element(
      "p",
      { class: "faint" },
      kinds.length ? `${counted(kinds.length, "kind")}${answer.next ? ", the newest" : ""}` : "",
    ),
  );
  const none = empty(
    "No message of a new kind has come yet: training has seen them all.",
    "",
    "Messages that a new release writes for the first time appear here, whether or not they are anomalous.",
  );
  const body = kinds.length
    ? element("ol", { class: "rows" }, kinds.map(row))
    : element("div", { class: "empty" }, none);
  section.replaceChildren(head, body);
}
