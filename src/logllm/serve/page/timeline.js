// Sessions and anomalous ones over time. A range that is drawn with the pointer becomes the filter.

import { call } from "./api.js";
import { byId, element } from "./elements.js";
import { go, place } from "./place.js";
import { count, counted, moment, short } from "./wording.js";

const SPANS = [
  ["15m", "15 minutes", 900],
  ["1h", "1 hour", 3600],
  ["6h", "6 hours", 21_600],
  ["24h", "24 hours", 86_400],
  ["7d", "7 days", 604_800],
  ["30d", "30 days", 2_592_000],
];
const DEFAULT = "1h";
const HEIGHT = 96;
const BAR = 7; // pixels a bin at least
const LEAST = 3; // pixels of an anomalous bar at least

const box = byId("plot");
const readout = byId("readout");
let plot = null;
let bins = [];
let width = 0; // of a bin, in seconds
let stale = false;
let busy = false;

const span = () => SPANS.find(([name]) => name === (place().span || DEFAULT)) ?? SPANS[1];

/** A colour of the style sheet as it is now. */
function colour(name) {
  const probe = element("span", { class: `probe ${name}` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** What the timeline says in words. */
function summary() {
  const sessions = bins.reduce((sum, bin) => sum + bin.sessions, 0);
  const anomalous = bins.reduce((sum, bin) => sum + bin.anomalous, 0);
  return `${counted(sessions, "session")}, ${count(anomalous)} anomalous in ${span()[1]}`;
}

/** Draw bars: all sessions, and over them those anomalous, never too small to be seen. */
function drawBars(u) {
  const context = u.ctx;
  context.save(); // uPlot remembers the colours that it set itself
  const ratio = devicePixelRatio;
  const floor = u.valToPos(0, "y", true);
  const colours = { sessions: colour("bars"), anomalous: colour("accent") };
  bins.forEach((bin, at) => {
    const left = u.valToPos(u.data[0][at], "x", true);
    const right = u.valToPos(u.data[0][at] + width, "x", true);
    const wide = Math.max(ratio, (right - left) * 0.82);
    for (const kind of ["sessions", "anomalous"]) {
      if (!bin[kind]) continue;
      const least = kind === "anomalous" ? LEAST * ratio : 1.5 * ratio;
      const high = Math.max(least, floor - u.valToPos(bin[kind], "y", true));
      context.fillStyle = colours[kind];
      context.fillRect(left, floor - high, wide, high);
    }
  });
  context.restore();
}

function tellBin(u) {
  const at = u.cursor.idx;
  const bin = at === null || at === undefined || u.cursor.left < 0 ? null : bins[at];
  readout.textContent = bin
    ? `${moment(bin.start)}: ${counted(bin.sessions, "session")}, ${count(bin.anomalous)} anomalous`
    : summary();
}

/** The range that was drawn becomes the filter of the verdicts. */
function pick(u) {
  if (u.select.width < 4) return;
  const iso = (pixels) =>
    new Date(u.posToVal(pixels, "x") * 1000).toISOString().replace("Z", "000Z");
  const changes = {
    since: iso(u.select.left),
    until: iso(u.select.left + u.select.width),
    session: "",
  };
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  go(changes);
}

/** The filter's range, shown behind the bars. */
function drawRange(u) {
  const { since, until } = place();
  if (!since && !until) return;
  const left = since ? u.valToPos(Date.parse(since) / 1000, "x", true) : u.bbox.left;
  const right = until
    ? u.valToPos(Date.parse(until) / 1000, "x", true)
    : u.bbox.left + u.bbox.width;
  const from = Math.max(left, u.bbox.left);
  const to = Math.min(right, u.bbox.left + u.bbox.width);
  u.ctx.save();
  u.ctx.fillStyle = colour("range");
  if (to > from) u.ctx.fillRect(from, u.bbox.top, to - from, u.bbox.height);
  u.ctx.restore();
}

function make() {
  const faint = colour("faint");
  const rule = colour("rule");
  const font = "12px system-ui, sans-serif";
  const axis = {
    stroke: faint,
    font,
    grid: { show: false },
    ticks: { stroke: rule, width: 1, size: 4 },
  };
  const nothing = () => null;
  const options = {
    width: box.clientWidth || 300,
    height: HEIGHT,
    padding: [6, 4, 0, 0],
    tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    scales: {
      x: { time: true, range: () => [bins.from, bins.to] },
      y: { range: (u, low, high) => [0, Math.max(1, high)] },
    },
    axes: [
      { ...axis, size: 26, values: axisTimes },
      {
        ...axis,
        size: 42,
        ticks: { show: false },
        splits: (u, at, low, high) => [0, high],
        values: (u, marks) => marks.map((mark) => (mark ? short(mark) : "")),
      },
    ],
    series: [
      {},
      { paths: nothing, points: { show: false } },
      { paths: nothing, points: { show: false } },
    ],
    hooks: { drawClear: [drawRange], draw: [drawBars], setSelect: [pick], setCursor: [tellBin] },
  };
  plot?.destroy();
  plot = new uPlot(options, columns(), box);
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", summary());
}

/** Marks of the time axis: hours and minutes, a date at midnight and for long times. */
function axisTimes(u, marks, at, space, step) {
  return marks.map((mark) => {
    const iso = new Date(mark * 1000).toISOString();
    return step >= 86_400 || iso.slice(11, 16) === "00:00"
      ? moment(iso, mark * 1000 - 86_400_000).split(",")[0]
      : iso.slice(11, step < 60 ? 19 : 16);
  });
}

const columns = () => [
  bins.map((bin) => Date.parse(bin.start) / 1000),
  bins.map((bin) => bin.sessions),
  bins.map((bin) => bin.anomalous),
];

/** Fetch the bars and draw them. */
export async function loadTimeline() {
  if (busy || !window.uPlot) return;
  busy = true;
  stale = false;
  try {
    const number = Math.max(30, Math.min(300, Math.floor((box.clientWidth - 46) / BAR)));
    const now = Date.now();
    const [, , length] = span();
    const since = new Date(now - length * 1000).toISOString().replace("Z", "000Z");
    const until = new Date(now).toISOString().replace("Z", "000Z");
    const answer = await call("timeline", {
      parameters: { stream: place().stream, since, until, bins: number },
    });
    bins = answer.bins;
    bins.from = now / 1000 - length;
    bins.to = now / 1000;
    width =
      bins.length > 1
        ? (Date.parse(bins[1].start) - Date.parse(bins[0].start)) / 1000
        : length / number;
    if (!plot) make();
    plot.setData(columns());
    plot.root.setAttribute("aria-label", summary());
    tellBin(plot);
  } finally {
    busy = false;
  }
}

/** Something came: the bars are drawn again soon. */
export const touchTimeline = () => (stale = true);

/** Start it. */
export function startTimeline(failed) {
  const select = byId("span");
  select.replaceChildren(
    ...SPANS.map(([name, words]) => element("option", { value: name }, words)),
  );
  select.value = span()[0];
  select.addEventListener("change", () =>
    go({ span: select.value === DEFAULT ? "" : select.value }),
  );
  const load = () => loadTimeline().catch(failed);
  const again = () => plot && (make(), plot.setData(columns()));
  addEventListener("themechange", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(
    () => plot && box.clientWidth && plot.setSize({ width: box.clientWidth, height: HEIGHT }),
  ).observe(box);
  let beats = 0;
  setInterval(() => {
    beats += 1;
    const due = stale ? span()[2] <= 3600 || beats % 5 === 0 : beats % 10 === 0;
    if (!document.hidden && due && box.clientWidth) load();
  }, 3000);
  return (now, before) => {
    select.value = span()[0];
    if (now.span !== before.span || now.stream !== before.stream) load();
    else plot?.redraw();
  };
}
