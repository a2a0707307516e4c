"""A table's results: one object with every figure, spread over seeds, beside the paper's."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from logllm.evaluate.tables.cell import Cell
from logllm.evaluate.tables.cell_data import CellData
from logllm.evaluate.tables.published import REMARKS, SESSIONS, published

FIGURES = ("precision", "recall", "f1", "average_precision")
"""Figures of each cell, each with its 95 % interval over sessions."""
VERSION = 1
"""Of the object's layout."""
_KEPT = (
    *FIGURES,
    "tp",
    "fp",
    "tn",
    "fn",
    "threshold",
    "threshold_chosen",
    "intervals",
    "unseen",
    "sessions",
    "sessions_seen_in_train",
)
_SURROUNDINGS = (
    "seconds",
    "peak_memory",
    "interruptions",
    "threads",
    "data",
    "logllm",
    "versions",
    "machine",
    "recipe",
    "commands",
)

Reports = Mapping[str, Mapping[str, Any]]
"""Reports of finished cells by slug."""


def results(
    table: str,
    cells: Sequence[Cell],
    *,
    reports: Reports,
    failed: Mapping[str, str],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything about a table, finished or not.

    Args:
        table: its name.
        cells: all its cells.
        reports: of those that are done (`logllm.evaluate.tables.cell.work`).
        failed: why others are not, by slug.
        about: what is said of the whole: command, budget.

    Returns:
        `cells`, every one with its state; `rows`, one for each data set, variant and method, with
        mean, deviation and range over seeds and the paper's figures where there are any; `missing`,
        how many cells are not done.
    """
    entries: list[dict[str, Any]] = []
    for cell in cells:
        entries.append(_entry(cell, reports.get(cell.slug), why=failed.get(cell.slug)))
    rows = _rows(table, list(zip(cells, entries, strict=True)))
    if table == "unstable":
        rows = with_losses(rows)
    return {
        "kind": "reproduction",
        "version": VERSION,
        "table": table,
        **about,
        "missing": sum(entry["state"] != "done" for entry in entries),
        "remark": REMARKS.get(table, ""),
        "rows": rows,
        "cells": entries,
    }


def _entry(cell: Cell, report: Mapping[str, Any] | None, *, why: str | None) -> dict[str, Any]:
    """One cell with its figures, or with the reason why it has none."""
    entry: dict[str, Any] = {
        "data": cell.data.name,
        "variant": cell.variant,
        "method": cell.method,
        "seed": cell.seed,
        **cell.facts,
        "cell": cell.slug,
    }
    if report is None:
        entry["state"] = "failed" if why else "open"
        if why:
            entry["why"] = why
        return entry

    # Of the report only what a table needs: all of it stays in the cell's folder.
    figures = report["figures"]
    entry["state"] = "done"
    entry |= {name: figures[name] for name in _KEPT if name in figures}
    # The fingerprint is called `of_data`: `data` is the name of the data set.
    for name in _SURROUNDINGS:
        if name in report:
            entry["of_data" if name == "data" else name] = report[name]
    return entry


def _rows(table: str, cells: Sequence[tuple[Cell, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row for all cells that differ only in their seed."""
    # Cells of a row need not stand together: seeds of a method are cells of their own.
    groups: dict[tuple[str, str, str], list[tuple[Cell, dict[str, Any]]]] = {}
    for cell, entry in cells:
        key = (cell.data.name, cell.variant, cell.method)
        groups.setdefault(key, []).append((cell, entry))

    # What all cells of a row have in common its first one says.
    rows: list[dict[str, Any]] = []
    for (data, variant, method), group in groups.items():
        done = [entry for _, entry in group if entry["state"] == "done"]
        cell = group[0][0]
        row = {
            "data": data,
            "variant": variant,
            "method": method,
            **cell.facts,
            "seeds": len(done),
            "missing": len(group) - len(done),
            **_figures(done),
            "paper": beside(table, cell),
        }
        rows.append(row)
    return rows


def _figures(done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of finished cells over seeds."""
    if not done:
        return {}
    # A seed without a session that train has not seen has no such figures: it is left out there.
    unseen = [entry["unseen"] for entry in done if entry.get("unseen")]
    figures: dict[str, Any] = {name: spread(entry[name] for entry in done) for name in FIGURES}
    intervals: dict[str, list[float] | None] = {}
    for name in FIGURES:
        intervals[name] = widest([entry["intervals"].get(name) for entry in done])
    of_unseen = {}
    for name in ("f1", "average_precision"):
        of_unseen[name] = spread(entry[name] for entry in unseen)

    # Time is a mean, memory the most that any process took.
    seconds = {}
    for step in ("train", "score"):
        seconds[step] = _mean(entry["seconds"].get(step) for entry in done)
    peaks: list[int] = []
    for entry in done:
        peaks += [peak for peak in entry["peak_memory"].values() if peak]
    return figures | {
        "intervals": intervals,
        "unseen": of_unseen,
        "sessions": done[0]["sessions"],
        "seconds": seconds,
        "peak_memory": max(peaks, default=None),
        "threads": sorted({entry["threads"] for entry in done if "threads" in entry}),
    }


def spread(values: Iterable[float | None]) -> dict[str, float | None]:
    """Mean, sample deviation (none of a single value) and range; nothing where a value is missing.

    >>> spread([0.5, 0.7]) == {"mean": 0.6, "sd": stdev([0.5, 0.7]), "min": 0.5, "max": 0.7}
    True
    """
    # Any iterable comes in; it is gone through twice.
    of_seeds = list(values)
    numbers = [value for value in of_seeds if value is not None]
    if not numbers or len(numbers) < len(of_seeds):
        return dict.fromkeys(("mean", "sd", "min", "max"))
    deviation = stdev(numbers) if len(numbers) > 1 else None
    return {"mean": fmean(numbers), "sd": deviation, "min": min(numbers), "max": max(numbers)}


def widest(intervals: Sequence[Sequence[float] | None]) -> list[float] | None:
    """From the lowest lower end to the highest upper end of the seeds' intervals.

    >>> widest([[0.4, 0.7], [0.5, 0.8]])
    [0.4, 0.8]
    """
    known = [interval for interval in intervals if interval]
    if not known:
        return None
    lowest = min(low for low, _ in known)
    highest = max(high for _, high in known)
    return [lowest, highest]


def _mean(values: Iterable[float | None]) -> float | None:
    return spread(values)["mean"]


def beside(table: str, cell: Cell) -> dict[str, Any] | None:
    """The paper's figures for a cell's row, and how much of the paper's data ours are."""
    figures = published(table, cell.data.paper, method=cell.method, variant=cell.variant)
    if figures is None:
        return None
    return {"set": cell.data.paper, **figures._asdict(), **share_of_paper(cell.data)}


def share_of_paper(data: CellData) -> dict[str, Any]:
    """How many sessions the paper's set has, and how many are here.

    `same` says whether the two numbers agree to one in a hundred.
    """
    if data.paper is None or not data.made():
        return {}
    theirs = SESSIONS[data.paper]
    ours = int(data.manifest()["sessions"])
    is_same = abs(ours - theirs) <= theirs / 100
    return {"sessions": theirs, "ours": ours, "same": is_same}


def with_losses(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of altered data with the F1 lost against the same method's on unaltered data."""
    whole: dict[tuple[str, str], float] = {}
    for row in rows:
        if not row["ratio"] and row.get("f1"):
            whole[row["data"], row["method"]] = row["f1"]["mean"]

    # Nothing is lost or won where one of the two has no F1 yet.
    losses: list[dict[str, Any]] = []
    for row in rows:
        before = whole.get((row["data"], row["method"]))
        after = row["f1"]["mean"] if row.get("f1") else None
        lost = None
        if before is not None and after is not None:
            lost = before - after
        losses.append({**row, "f1_lost": lost})
    return losses
