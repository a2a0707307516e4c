"""A table as Markdown: ours, and the paper's beside it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from logllm.counting import figure, plural

TITLES = {
    "main": "LogLLM and other methods",
    "preprocessing": "Ways to preprocess",
    "stages": "Training stages left out",
    "beta": "Oversampling of the minority class",
    "unstable": "Altered logs",
}
"""A heading for each table."""
_VARIANT = {"main": "", "preprocessing": "messages", "stages": "stages", "beta": "share"}
_NAMES = ("data", "method", "alteration", "of", "part", *_VARIANT.values())
Row = Mapping[str, Any]


def markdown(found: Mapping[str, Any]) -> str:
    """A table's results as Markdown."""
    rows = [row for row in found["rows"] if row["seeds"]]
    parts = [f"## {TITLES[found['table']]}", "", *_about(found), ""]
    if not rows:
        return "\n".join([*parts, "Not one cell is done."])
    altered = found["table"] == "unstable"
    parts += [
        *(_altered(rows) if altered else _plain(found["table"], rows)),
        "",
        _legend(rows) + ("" if altered else f" {_spending(rows)}"),
    ]
    if found.get("pooled"):
        parts += ["", *_pooled(found)]
    return "\n".join(parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table, its columns of names to the left, the others to the right."""
    lines = [columns, ["---" if column in _NAMES else "---:" for column in columns], *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _about(found: Mapping[str, Any]) -> list[str]:
    """Where the figures come from, and what is missing."""
    done = [cell for cell in found["cells"] if cell["state"] == "done"]
    minutes = sum(seconds or 0.0 for cell in done for seconds in cell["seconds"].values()) / 60
    said = [
        f"`{found['command']}`",
        "",
        f"Training: {found['budget']}. {len(done)} cells, {minutes:,.{0 if minutes >= 10 else 1}f} minutes one after another.",
    ]
    if found["missing"]:
        said += ["", f"**{found['missing']} of {len(found['cells'])} cells are not done yet.**"]
    return said


def _plain(name: str, rows: Sequence[Row]) -> list[str]:
    """One line a data set, variant and method."""
    variants = any(row["variant"] for row in rows)
    columns = ["data", *([_VARIANT[name] or "part"] if variants else []), "method", "precision", "recall", "F1", "AP", "F1, not in train"]
    columns += ["training, s", "scoring, s", "memory, MB", "sessions a stage", "paper's F1", "of"]
    return table(columns, [_line(row, variants=variants) for row in rows])


def _line(row: Row, *, variants: bool) -> list[str]:
    """One line."""
    paper = row["paper"]
    memory = row["peak_memory"]
    return [
        row["data"],
        *([row["variant"]] if variants else []),
        row["method"],
        *(_figure(row[name]) for name in ("precision", "recall")),
        *(_figure(row[name], row["intervals"][name]) for name in ("f1", "average_precision")),
        _figure(row["unseen"]["f1"]),
        *(
            "-" if seconds is None else f"{seconds:,.{0 if seconds >= 10 else 1}f}"
            for seconds in (row["seconds"]["train"], row["seconds"]["score"])
        ),
        "-" if memory is None else f"{memory / 1e6:,.0f}",
        ", ".join(map(str, row.get("stages", ()))),
        "" if paper is None else f"{paper['f1']:.3f}",
        "" if paper is None else _whose(paper),
    ]


def _figure(over: Mapping[str, float | None], interval: Sequence[float] | None = None) -> str:
    """A figure's mean over seeds, its deviation where there are several, its interval."""
    return figure(over["mean"], interval, deviation=over["sd"], to="–")


def _whose(paper: Mapping[str, Any]) -> str:
    """Which data the paper's figure is of."""
    if "same" not in paper:
        return str(paper["set"])
    return f"{paper['set']}, {'the same data' if paper['same'] else plural(paper['sessions'], 'session')}"


def _altered(rows: Sequence[Row]) -> list[str]:
    """F1 by kind and ratio."""
    ratios = sorted({row["ratio"] for row in rows})
    lines = []
    for data in dict.fromkeys(row["data"] for row in rows):
        here = [row for row in rows if row["data"] == data]
        cells = {(row.get("kind"), row["ratio"], row["method"]): row for row in here}
        methods = list(dict.fromkeys(row["method"] for row in here))
        body = []
        for kind in dict.fromkeys(row["kind"] for row in here if row.get("kind")):
            for method in methods:
                found = [cells.get((kind if ratio else None, ratio, method)) for ratio in ratios]
                body.append([kind, method, *("-" if row is None else _lost(row) for row in found)])
        lines += [f"F1 on {data}; in brackets what is lost against the unaltered test part.", ""]
        lines += [*table(["alteration", "method", *(f"{ratio:.0%} of sessions" for ratio in ratios)], body), ""]
    return lines[:-1]


def _lost(row: Row) -> str:
    """F1 and what of it was lost."""
    return _figure(row["f1"]) + (f" ({row['f1_lost']:+.3f})" if row["ratio"] and row["f1_lost"] is not None else "")


def _legend(rows: Sequence[Row]) -> str:
    """How to read the figures."""
    seeds = max(row["seeds"] for row in rows)
    counts = f"means over {seeds} seeds ± their sample deviation" if seeds > 1 else "of one seed"
    sessions = ", ".join(f"{data}: {count:,}" for data, count in {row["data"]: row["sessions"] for row in rows}.items())
    return f"Figures are {counts}. Test sessions: {sessions}."


def _spending(rows: Sequence[Row]) -> str:
    """How to read intervals, times and memory."""
    several = max(row["seeds"] for row in rows) > 1
    interval = "from the lowest lower to the highest upper end over seeds" if several else "bootstrap over sessions"
    threads = sorted({count for row in rows for count in row["threads"]})
    return (
        f"In brackets 95 % intervals ({interval}). Times and memory are of one process each"
        f"{f' with {_or(threads)} thread(s)' if threads else ''}, starting included, and what else the machine did meanwhile: "
        "a process that was paused waited on the clock."
    )


def _or(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def _pooled(found: Mapping[str, Any]) -> list[str]:
    """Figures over the sessions of all folds."""
    rows = [
        [
            row["data"],
            row["method"],
            *(_figure(row[name], row["intervals"][name]) for name in ("f1", "average_precision")),
            _difference(row.get("difference")),
        ]
        for row in found["pooled"]
    ]
    first = found["pooled"][0]
    counts = f"{plural(first['sessions'], 'session')}, {first['anomalous']:,} anomalous"
    return [
        f"Scores of the folds {', '.join(map(str, first['folds']))} pooled ({counts}):",
        "",
        *table(["data", "method", "F1", "AP", "AP of logllm less this one's"], rows),
    ]


def _difference(difference: Mapping[str, float] | None) -> str:
    """How far LogLLM is ahead, with its paired interval."""
    return "" if difference is None else f"{difference['estimate']:+.3f} ({difference['lower']:+.3f} to {difference['upper']:+.3f})"
