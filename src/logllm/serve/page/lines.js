// The lines of a session: the guilty ones marked, the others around them, repeats folded.

import { element } from "./elements.js";
import { alike, count, counted, cut, score, visible } from "./wording.js";

const AROUND = 4; // lines shown before and after a guilty one
const SHORT = 40; // a session of so many rows is shown whole
const LIKE = 3; // lines alike, one after the other, from which on they are folded

/** Lines as rows: number, file, text, how guilty; those alike in a row are one, with their number. */
function rowsOf(verdict) {
  const guilty = new Map(
    (verdict.evidence ?? []).map((line) => [`${line.file ?? ""}:${line.line}`, line.score]),
  );
  const given = new Set(verdict.feedback?.lines ?? []);
  const texts = verdict.texts ?? [];
  const rows = texts.map((text, at) => {
    const file = verdict.files?.[at] ?? "";
    const number = verdict.lines[at];
    const mark = guilty.get(`${file}:${number}`) ?? guilty.get(`:${number}`);
    return { number, file, text, mark, given: given.has(number) };
  });
  return rows.length
    ? rows
    : [...(verdict.evidence ?? [])].map(({ line, file, text, score: mark }) => ({
        number: line,
        file,
        text,
        mark,
      }));
}

/** Runs of lines that are alike, as `{rows}`; guilty lines stand alone. */
function folded(rows) {
  const groups = [];
  for (const row of rows) {
    const last = groups.at(-1);
    const key = row.mark === undefined && !row.given && row.text !== null ? alike(row.text) : null;
    if (last && key !== null && last.key === key) last.rows.push(row);
    else groups.push({ key, rows: [row] });
  }
  return groups;
}

/** Which groups are near a guilty one; all of a short session. */
function near(groups) {
  const shown = new Set();
  groups.forEach((group, at) => {
    const guilty = group.rows.some((row) => row.mark !== undefined || row.given);
    if (guilty) for (let other = at - AROUND; other <= at + AROUND; other++) shown.add(other);
  });
  if (groups.length <= SHORT || !shown.size)
    return new Set(groups.slice(0, Math.max(SHORT, 1)).keys());
  return shown;
}

/** How to see lines that the store does not hold. */
function elsewhere(verdict) {
  const numbers = verdict.lines ?? [];
  if (!numbers.length) return "";
  const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
  const path = verdict.partition?.startsWith("/") ? verdict.partition : "LOG";
  return `sed -n '${first},${last}p' ${path}`;
}

/** The lines as an element; `picked()` gives the numbers a person chose, `onPick` tells of changes. */
export function logLines(verdict) {
  const picked = new Set();
  let told = () => {};
  const several = new Set(verdict.files ?? []).size > 1;

  const line = (row) => {
    const [text, more] = cut(row.text ?? "(not kept)");
    const number = element(
      "button",
      { type: "button", class: "at", "aria-pressed": "false", title: "Pick as guilty" },
      count(row.number),
    );
    number.setAttribute("aria-label", `Line ${row.number}: pick as guilty`);
    number.addEventListener("click", () => {
      const on = !picked.delete(row.number);
      if (on) picked.add(row.number);
      number.setAttribute("aria-pressed", String(on));
      item.classList.toggle("picked", on);
      told();
    });
    const marked = row.mark !== undefined || row.given;
    const words = marked ? element("mark", {}, text) : element("span", {}, text);
    const item = element("li", { class: marked ? "marked" : null }, number);
    const told2 = element("span", { class: "text" }, words);
    if (row.mark !== undefined)
      told2.append(" ", element("small", {}, `speaks for it: ${score(row.mark)}`));
    if (more) told2.append(" ", element("small", {}, `… ${counted(more, "character")} more`));
    if (several && row.file) told2.append(" ", element("small", {}, visible(row.file)));
    item.append(told2);
    return item;
  };

  const opener = (words, rows) => {
    const open = element("button", { type: "button", class: "fold" }, words);
    const item = element("li", { class: "gap" }, open);
    open.addEventListener("click", () => {
      const made = rows.map(line);
      item.replaceWith(...made);
      made[0].querySelector("button").focus();
    });
    return item;
  };

  const list = element("ol", { class: "log" });
  const rows = rowsOf(verdict);
  const groups = folded(rows);
  const shown = near(groups);
  let far = [];
  const passOver = () => {
    if (far.length) list.append(opener(`${counted(far.length, "line")} in between`, far));
    far = [];
  };
  groups.forEach((group, at) => {
    if (!shown.has(at)) {
      far.push(...group.rows);
      return;
    }
    passOver();
    if (group.rows.length < LIKE) list.append(...group.rows.map(line));
    else
      list.append(
        line(group.rows[0]),
        opener(
          `${counted(group.rows.length - 1, "line")} more like this, to ${count(group.rows.at(-1).number)}`,
          group.rows.slice(1),
        ),
      );
  });
  passOver();

  const parts = [element("h3", {}, "Lines")];
  if (rows.length) parts.push(list);
  const left = (verdict.lines?.length ?? 0) - (verdict.texts?.length ?? 0);
  if (left > 0 || !rows.length) parts.push(...notKept(verdict, rows.length, left));
  return {
    element: element("div", { class: "lines" }, parts),
    pickable: rows.length > 0,
    picked: () => [...picked].sort((one, other) => one - other),
    onPick: (act) => (told = act),
  };
}

/** Why lines are not here, and where they are. */
function notKept(verdict, there, left) {
  const words = there
    ? `${counted(left, "more line")} of it ${left === 1 ? "is" : "are"} not kept in the store.`
    : "For sessions that are not anomalous the store keeps figures, not lines.";
  const command = elsewhere(verdict);
  const shell = command ? element("pre", {}, element("code", {}, command)) : "";
  return [
    element("p", { class: "faint" }, `${words}${command ? " They are among these lines:" : ""}`),
    shell,
  ].filter(Boolean);
}
