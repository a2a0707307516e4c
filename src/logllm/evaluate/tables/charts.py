"""A table as a picture: bars, or lines where the rows are steps of one quantity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logllm.evaluate.plots import blank, saved

_COLOURS = ("#3b6ea5", "#c8553d", "#5a8f5a", "#8d6ab8", "#b8860b", "#4f9da6", "#a0527f", "#6b6b6b", "#2f4858", "#d08770")
Row = Mapping[str, Any]


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Draw F1 of a table's finished rows; nothing where none is finished.

    Raises:
        RecipeError: matplotlib is missing.
    """
    rows = [row for row in found["rows"] if row["seeds"]]
    if not rows:
        return
    kinds = list(dict.fromkeys(row["kind"] for row in rows if row.get("kind")))
    panels = [(data, kind) for data in dict.fromkeys(row["data"] for row in rows) for kind in (kinds or [None])]
    longest = max(sum(row["data"] == data for row in rows) for data, _ in panels)
    lines = found["table"] in ("beta", "unstable")
    # Lines stand side by side, bars one below the other.
    if lines:
        figure = blank(4.5 * len(panels) + 1, 4)
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    else:
        figure = blank(7, (0.8 + 0.32 * longest) * len(panels))
        grid = figure.subplots(len(panels), 1, squeeze=False)
    for axes, (data, kind) in zip(grid.flat, panels, strict=True):
        here = [row for row in rows if row["data"] == data and row.get("kind") in (None, kind)]
        if lines:
            _lines(axes, here, step="beta" if found["table"] == "beta" else "ratio")
        else:
            _bars(axes, here)
        axes.set_title(", ".join(part for part in (data, kind) if part))
        axes.spines[["top", "right"]].set_visible(False)
    path.write_bytes(saved(figure, "png", dpi=150, metadata={"Software": None}))


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    """A bar a row with its interval, the paper's figure as a diamond."""
    values = [row["f1"]["mean"] for row in rows]
    ends = [row["intervals"]["f1"] or [value, value] for row, value in zip(rows, values, strict=True)]
    around = [[max(0.0, value - low) for value, (low, _) in zip(values, ends, strict=True)],
              [max(0.0, high - value) for value, (_, high) in zip(values, ends, strict=True)]]  # fmt: skip
    several = len({row["method"] for row in rows}) > 1
    names = [" ".join(part for part in (row["variant"], row["method"] if several or not row["variant"] else "") if part) for row in rows]
    axes.barh(range(len(rows)), values, xerr=around, color=[_COLOURS[row["method"] != "logllm"] for row in rows], height=0.62, capsize=2.5)
    paper = [(row["paper"]["f1"], at) for at, row in enumerate(rows) if row["paper"]]
    if paper:
        axes.plot(*zip(*paper, strict=True), "D", color="black", markersize=5)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("F1 (diamonds: the paper's, on its data)" if paper else "F1")


def _lines(axes: Any, rows: Sequence[Row], *, step: str) -> None:
    """A line a method, with the range over seeds."""
    for number, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        own = sorted((row for row in rows if row["method"] == method), key=lambda row: float(row[step]))
        at, f1 = [row[step] for row in own], [row["f1"] for row in own]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(at, [each["mean"] for each in f1], marker="o", color=colour, label=method, linewidth=2 if method == "logllm" else 1.2)
        axes.fill_between(at, [each["min"] for each in f1], [each["max"] for each in f1], color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel({"beta": "share of the minority class after oversampling", "ratio": "share of altered test sessions"}[step])
    axes.set_ylabel("F1")
    axes.legend(fontsize="small")
