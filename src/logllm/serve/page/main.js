// The page: what the server tells goes to the parts that show it.

import { showAlerts } from "./alerts.js";
import { Refused, call, forget, token } from "./api.js";
import { byId, note } from "./elements.js";
import { startFilters } from "./filters.js";
import {
  loadIncidents,
  openIncidents,
  showIncident,
  startIncidents,
  takeIncidents,
} from "./incidents.js";
import { startKeys } from "./keys.js";
import { showKinds } from "./kinds.js";
import { follows, onPlace, place } from "./place.js";
import { showRuns } from "./runs.js";
import { reload, showSession, takeSession } from "./session.js";
import { drawSources, loadSources, sources, takeSources, troubled } from "./sources.js";
import { Stream } from "./stream.js";
import { loadTimeline, startTimeline, touchTimeline } from "./timeline.js";
import { load, mark, startVerdicts, take, takeFeedback } from "./verdicts.js";
import { ago, counted, visible } from "./wording.js";

const VIEWS = ["now", "kinds", "sources", "alerts", "runs"];
const OFTEN = 10_000; // ms between two looks at what the stream does not tell
let about = {};
let newKinds = 0;
let stream = null;
let broken = ""; // what the server last refused

/** Errors are said, none is swallowed. */
function failed(error) {
  if (error?.name === "AbortError") return;
  if (!(error instanceof Refused)) {
    console.error(error);
    note(`The page: ${error}`, "trouble");
    return;
  }
  const reached = error.status !== 0; // that it is not is told beside the state
  if (reached && error.message !== broken) note(`The server: ${error.message}`, "trouble");
  broken = error.message;
}

const attempt = (act) => Promise.resolve().then(act).catch(failed);

/** The run that judges lines here, if there is one. */
const runName = () => about.run?.name ?? about.run ?? "";

/** The command that starts a watch of this store. */
function watchCommand() {
  const store = about.store ?? "app.db";
  const run = runName() || "runs/app";
  return `logllm watch ${run} /var/log/app.log --store ${store}`;
}

/** How it stands, in one sentence. */
function tellState() {
  const { loud, muted } = openIncidents();
  const trouble = troubled();
  const parts = [];
  if (loud.length) parts.push(counted(loud.length, "open incident"));
  if (trouble.length)
    parts.push(
      trouble.length === 1
        ? `trouble with ${visible(trouble[0].stream)}`
        : `trouble with ${counted(trouble.length, "source")}`,
    );
  const begun = sources().length || muted.length || byId("verdict-list").childElementCount;
  if (!parts.length) parts.push(begun ? "All quiet" : "Nothing is watched yet");
  if (muted.length && !loud.length) parts.push(`${counted(muted.length, "muted incident")}`);
  const sentence = parts.join(", ");
  const words = byId("sentence");
  if (words.textContent !== sentence) words.textContent = sentence;
  byId("state").dataset.state = loud.length ? "alarm" : trouble.length ? "trouble" : "quiet";
  byId("icon").setAttribute("href", `${loud.length ? "alarm" : "quiet"}.svg`);
  document.title = loud.length ? `(${loud.length}) logllm` : "logllm";
  tellTabs(trouble.length);
}

function tellTabs(trouble) {
  const badges = { kinds: newKinds, sources: trouble };
  for (const anchor of document.querySelectorAll("#tabs a")) {
    const number = badges[anchor.dataset.tab];
    if (number) anchor.dataset.number = number;
    else delete anchor.dataset.number;
  }
}

/** Show the view that the address names. */
function showView() {
  const wanted = VIEWS.includes(place().tab) ? place().tab : "now";
  for (const view of VIEWS) byId(view).hidden = view !== wanted;
  for (const anchor of document.querySelectorAll("#tabs a")) {
    if (anchor.dataset.tab === wanted) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  document.body.dataset.view = wanted;
  if (wanted === "kinds") newKinds = 0;
  fill(wanted);
  tellState();
}

/** Fetch what a view shows. */
function fill(view) {
  if (view === "kinds") attempt(showKinds);
  if (view === "alerts") attempt(showAlerts);
  if (view === "runs") attempt(showRuns);
  if (view === "sources") drawSources(watchCommand());
}

function connection(state, wait = 0) {
  const words = {
    connecting: "connecting",
    live: "live",
    lost: wait > 3 ? `no connection, again in ${Math.round(wait)} s` : "no connection",
  };
  byId("connection").dataset.state = state;
  byId("connected").textContent = words[state];
  if (state === "live") broken = "";
}

/** A list in an event: under a name, or the object alone. */
const listed = (object, name) => object[name] ?? (Array.isArray(object) ? object : [object]);

const HEARD = {
  verdict(object) {
    const verdicts = listed(object, "verdicts");
    take(verdicts);
    attempt(() => takeSession(verdicts));
    touchTimeline();
    document.dispatchEvent(new CustomEvent("logllm-verdicts", { detail: verdicts }));
  },
  incident: (object) => takeIncidents(listed(object, "incidents")),
  source(object) {
    takeSources(listed(object, "sources"));
    tellState();
    if (document.body.dataset.view === "sources") drawSources(watchCommand());
  },
  kind(object) {
    newKinds += listed(object, "kinds").length;
    if (document.body.dataset.view === "kinds") fill("kinds");
    tellState();
  },
  feedback(object) {
    takeFeedback(listed(object, "feedback"));
    attempt(reload);
  },
  hello(object) {
    if (about.version && object.version && object.version !== about.version)
      note(`The server is now ${object.version}: reload this page.`);
  },
  reset: () => attempt(everything),
};

/** Show a session, or with none the list again, at the row that was open. */
async function turnTo(session, former) {
  await attempt(showSession);
  const row = mark(session || former);
  if (!session) row?.focus({ preventScroll: true });
}

/** Fetch all that is shown; the change up to which it is. */
async function everything() {
  // The verdicts have to be there; of what else cannot be had the rest is shown.
  const others = [call("about").then((told) => (about = told)), loadIncidents(), loadSources()];
  const settled = Promise.all(others.map((one) => one.catch(failed)));
  const change = await load();
  await settled;
  attempt(loadTimeline);
  attempt(showIncident);
  byId("foot").textContent = [
    `logllm ${about.version ?? ""}`,
    runName() && `run ${visible(runName())}`,
    "times are UTC",
  ]
    .filter(Boolean)
    .join(" · ");
  showView();
  return change ?? 0;
}

/** Fetch all, as often as it takes. */
async function begin() {
  for (let wait = 500; ; wait = Math.min(15_000, wait * 2)) {
    try {
      return await everything();
    } catch (error) {
      failed(error);
      connection("lost", wait / 1000);
      await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random() / 2)));
    }
  }
}

function startTabs() {
  const none = Object.fromEntries(
    ["session", "incident", "show", "stream", "state", "kind", "q", "since", "until"].map(
      (name) => [name, ""],
    ),
  );
  for (const anchor of document.querySelectorAll("#tabs a")) {
    const { tab } = anchor.dataset;
    follows(anchor, { tab: tab === "now" ? "" : tab, session: "" });
  }
  follows(byId("home"), { ...none, tab: "" });
}

async function start() {
  const told = {
    failed,
    judged: () => sources().reduce((sum, source) => sum + (source.sessions ?? 0), 0),
    command: watchCommand,
    changed: tellState,
  };
  startVerdicts(told);
  startIncidents(told);
  startKeys();
  startTabs();
  const filtersMoved = startFilters(() => attempt(load));
  const timelineMoved = startTimeline(failed);
  onPlace((now, before) => {
    filtersMoved(before);
    timelineMoved(now, before);
    if (now.tab !== before.tab) showView();
    if (now.incident !== before.incident) attempt(showIncident);
    if (now.session !== before.session) turnTo(now.session, before.session);
  });
  byId("forget").addEventListener("click", forget);
  setInterval(() => {
    for (const element of document.querySelectorAll("[data-ago]")) {
      const before = element.textContent.startsWith("last ") ? "last " : "";
      element.textContent = before + ago(element.dataset.ago);
    }
  }, 15_000);
  setInterval(
    () => document.hidden || attempt(() => loadSources().then(() => HEARD.source({ sources: [] }))),
    OFTEN,
  );

  attempt(showSession);
  const after = await begin();
  byId("forget").hidden = !token();
  stream = new Stream({ after, take: (event, object) => HEARD[event]?.(object), tell: connection });
  stream.run();
}

start();
