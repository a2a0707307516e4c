// Which verdicts are shown: what the form, the chips and the address say is the same thing.

import { byId, button, element } from "./elements.js";
import { go, place } from "./place.js";
import { moment } from "./wording.js";

const FIELDS = ["show", "stream", "state", "kind", "q", "incident", "since", "until"];
const streams = new Set();

/** The filter that the address holds. */
export function filter() {
  const here = place();
  return Object.fromEntries(FIELDS.map((name) => [name, here[name]]));
}

/** Whether only anomalous ones are wanted: those of an incident always are. */
const onlyAnomalous = (wanted) => wanted.show !== "all";

/** The filter as the server takes it. */
export function parameters(wanted) {
  const { show, ...others } = wanted;
  return { ...others, anomalous: show === "all" ? "" : "true" };
}

/** Whether a verdict that came live is among those wanted, as the server would say. */
export function fits(verdict, wanted) {
  if (onlyAnomalous(wanted) && !verdict.anomalous) return false;
  if (wanted.stream && verdict.stream !== wanted.stream) return false;
  if (wanted.state && (verdict.state || "closed") !== wanted.state) return false;
  if (wanted.kind && verdict.kind !== wanted.kind) return false;
  if (wanted.incident && String(verdict.incident ?? "") !== wanted.incident) return false;
  if (wanted.since && verdict.updated < wanted.since) return false;
  if (wanted.until && verdict.updated >= wanted.until) return false;
  return !wanted.q || holds(verdict, wanted.q.toLowerCase());
}

/** Whether a verdict's name or lines hold some words. */
function holds(verdict, words) {
  const texts = [
    verdict.session,
    verdict.kind,
    ...(verdict.evidence || []).map((line) => line.text),
  ];
  return texts.some((text) => text && text.toLowerCase().includes(words));
}

/** Offer another stream; with only one there is nothing to choose. */
export function offerStream(name) {
  if (!name || streams.has(name)) return;
  streams.add(name);
  const select = byId("filters").elements.stream;
  const options = [...streams].sort().map((stream) => element("option", { value: stream }, stream));
  select.replaceChildren(element("option", { value: "" }, "every stream"), ...options);
  select.value = place().stream;
  byId("stream-choice").hidden = streams.size < 2 && !place().stream;
}

/** How many streams there are. */
export const streamCount = () => streams.size;

function chip(words, changes) {
  const label = `Remove this filter: ${words}`;
  return element(
    "span",
    { class: "chip" },
    words,
    button("×", () => go(changes), { "aria-label": label }),
  );
}

/** Show in the form what the address says. */
function tell() {
  const here = place();
  const form = byId("filters");
  offerStream(here.stream);
  form.elements.show.value = here.show;
  form.elements.state.value = here.state;
  form.elements.stream.value = here.stream;
  if (document.activeElement !== form.elements.q) form.elements.q.value = here.q;
  const chips = [];
  if (here.since || here.until) {
    const words = [here.since && moment(here.since), here.until && moment(here.until)]
      .map((time) => time || "…")
      .join(" – ");
    chips.push(chip(words, { since: "", until: "" }));
  }
  if (here.kind)
    chips.push(
      chip(here.kind.length > 40 ? `${here.kind.slice(0, 40)}…` : here.kind, { kind: "" }),
    );
  byId("chips").replaceChildren(...chips);
}

/** Whether something besides "anomalous or all" narrows the list. */
export const narrowed = (wanted) => FIELDS.some((name) => name !== "show" && wanted[name]);

/** Make the form act. */
export function startFilters(changed) {
  const form = byId("filters");
  let typing = null;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (event.target.name !== "q") go({ [event.target.name]: event.target.value });
  });
  form.elements.q.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => go({ q: form.elements.q.value.trim() }, { replace: true }), 250);
  });
  tell();
  return (before) => {
    tell();
    if (FIELDS.some((name) => place()[name] !== before[name])) changed();
  };
}
