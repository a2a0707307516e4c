// The table of sessions sorts and filters; without this script it is all there, in the order of its scores.
"use strict";
const table = document.querySelector(".sessions");
const tools = document.querySelector(".tools");

if (table && tools) {
  const rows = [...table.tBodies];
  const words = document.querySelector("#filter");
  const call = document.querySelector("#call");
  const order = document.querySelector("#order");
  const told = document.querySelector("#shown");
  const every = document.querySelector("#every");
  const texts = new Map();

  const text = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = (!call.value || row.dataset.call === call.value) && wanted.every((word) => text(row).includes(word));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    told.textContent = `${shown} of ${rows.length} shown`;
  };

  const compare = (key, up) => (one, other) => {
    const [a, b] = [one.dataset[key], other.dataset[key]];
    const less = ["session", "call"].includes(key) ? a.localeCompare(b, undefined, { numeric: true }) : Number(a) - Number(b);
    return up ? less : -less;
  };

  const sort = (key, up) => {
    table.append(...[...rows].sort(compare(key, up)));
    for (const head of table.tHead.rows[0].cells) {
      if (head.dataset.key === key) head.setAttribute("aria-sort", up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    order.value = `${key} ${up ? "up" : "down"}`;
  };

  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const first = ["session", "call", "start"].includes(head.dataset.key);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      sort(head.dataset.key, before ? before === "descending" : first);
    });
  }

  // A link to a session leads to it, and opens it, whatever the filter is.
  const follow = () => {
    const goal = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const row = goal && goal.closest(".sessions tbody");
    if (!row) return;
    if (row.hidden) {
      words.value = call.value = "";
      filter();
    }
    row.querySelector("details").open = true;
    row.scrollIntoView();
  };

  words.addEventListener("input", filter);
  call.addEventListener("change", filter);
  order.addEventListener("change", () => {
    const [key, way] = order.value.split(" ");
    sort(key, way === "up");
  });
  every.addEventListener("click", () => {
    const open = every.getAttribute("aria-pressed") !== "true";
    every.setAttribute("aria-pressed", String(open));
    every.textContent = open ? "close all" : "open all";
    for (const row of rows) if (!row.hidden || !open) row.querySelector("details").open = open;
  });
  addEventListener("hashchange", follow);
  tools.hidden = false;
  filter();
  follow();
}
