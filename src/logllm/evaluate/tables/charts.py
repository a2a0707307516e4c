"""A table as a picture: bars, or lines where the rows are steps of one quantity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logllm.evaluate.plots import blank, saved

_COLOURS = (
    "#3b6ea5",
    "#c8553d",
    "#5a8f5a",
    "#8d6ab8",
    "#b8860b",
    "#4f9da6",
    "#a0527f",
    "#6b6b6b",
    "#2f4858",
    "#d08770",
)
Row = Mapping[str, Any]


def plot(table_results: Mapping[str, Any], path: Path) -> None:
    """Draw F1 of a table's finished rows; nothing where none is finished.

    Raises:
        RecipeError: matplotlib is missing.
    """
    rows = [row for row in table_results["rows"] if row["seeds"]]
    if not rows:
        return
    # A panel for each data set, and for each way to alter it where there are such.
    kinds = list(dict.fromkeys(row["kind"] for row in rows if row.get("kind")))
    sets = dict.fromkeys(row["data"] for row in rows)
    panels = [(data, kind) for data in sets for kind in kinds or [None]]
    bars_of_sets = [sum(row["data"] == data for row in rows) for data in sets]
    longest = max(bars_of_sets)
    lines = table_results["table"] in ("beta", "unstable")

    # Lines stand side by side, bars one below the other.
    if lines:
        figure = blank(4.5 * len(panels) + 1, 4)
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    else:
        height = 0.8 + 0.32 * longest
        figure = blank(7, height * len(panels))
        grid = figure.subplots(len(panels), 1, squeeze=False)

    # What is not altered has no kind: it belongs to every panel of its data set.
    for axes, (data, kind) in zip(grid.flat, panels, strict=True):
        in_panel = (None, kind)
        here = [row for row in rows if row["data"] == data and row.get("kind") in in_panel]
        if lines:
            step = "beta" if table_results["table"] == "beta" else "ratio"
            _lines(axes, here, step=step)
        else:
            _bars(axes, here)
        title = [name for name in (data, kind) if name]
        axes.set_title(", ".join(title))
        axes.spines[["top", "right"]].set_visible(False)
    path.write_bytes(saved(figure, "png", dpi=150, metadata={"Software": None}))


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    """A bar a row with its interval, the paper's figure as a diamond."""
    # matplotlib wants how far an interval reaches to both sides of its value, never below zero.
    values = [row["f1"]["mean"] for row in rows]
    below: list[float] = []
    above: list[float] = []
    for row, value in zip(rows, values, strict=True):
        low, high = row["intervals"]["f1"] or (value, value)
        below.append(max(0.0, value - low))
        above.append(max(0.0, high - value))

    # A method's name only where there is more than one, or nothing else to call the bar by.
    several = len({row["method"] for row in rows}) > 1
    names: list[str] = []
    for row in rows:
        method = row["method"] if several or not row["variant"] else ""
        words = [name for name in (row["variant"], method) if name]
        names.append(" ".join(words))
    colours = [_COLOURS[row["method"] != "logllm"] for row in rows]
    reach = [below, above]
    axes.barh(range(len(rows)), values, xerr=reach, color=colours, height=0.62, capsize=2.5)

    # The paper's figures stand beside ours, on its own data.
    paper = [(row["paper"]["f1"], at) for at, row in enumerate(rows) if row["paper"]]
    if paper:
        axes.plot(*zip(*paper, strict=True), "D", color="black", markersize=5)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("F1 (diamonds: the paper's, on its data)" if paper else "F1")


def _lines(axes: Any, rows: Sequence[Row], *, step: str) -> None:
    """A line a method, with the range over seeds."""
    methods = dict.fromkeys(row["method"] for row in rows)
    for number, method in enumerate(methods):
        # Rows come in the table's order; a line must go from left to right.
        own = [row for row in rows if row["method"] == method]
        own.sort(key=lambda row: float(row[step]))
        steps = [row[step] for row in own]
        means = [row["f1"]["mean"] for row in own]
        lowest = [row["f1"]["min"] for row in own]
        highest = [row["f1"]["max"] for row in own]
        # LogLLM is what the tables are about: its line is the thick one.
        colour = _COLOURS[number % len(_COLOURS)]
        width = 2 if method == "logllm" else 1.2
        axes.plot(steps, means, marker="o", color=colour, label=method, linewidth=width)
        axes.fill_between(steps, lowest, highest, color=colour, alpha=0.15, linewidth=0)
    labels = {
        "beta": "share of the minority class after oversampling",
        "ratio": "share of altered test sessions",
    }
    axes.set_xlabel(labels[step])
    axes.set_ylabel("F1")
    axes.legend(fontsize="small")
