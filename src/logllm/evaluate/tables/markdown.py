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


def markdown(table_results: Mapping[str, Any]) -> str:
    """A table's results as Markdown."""
    rows = [row for row in table_results["rows"] if row["seeds"]]
    paragraphs = [f"## {TITLES[table_results['table']]}", "", *_about(table_results), ""]
    if not rows:
        return "\n".join([*paragraphs, "No cell is done yet."])
    if table_results["table"] == "unstable":
        paragraphs += [*_altered(rows), "", _legend(rows)]
    else:
        legend = f"{_legend(rows)} {_spending(rows)}"
        paragraphs += [*_plain(table_results["table"], rows), "", legend]
    if table_results.get("pooled"):
        paragraphs += ["", *_pooled(table_results)]
    return "\n".join(paragraphs)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table, its columns of names to the left, the others to the right."""
    rules = ["---" if column in _NAMES else "---:" for column in columns]
    lines = [columns, rules, *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _about(table_results: Mapping[str, Any]) -> list[str]:
    """Where the figures come from, and what is missing."""
    done = [cell for cell in table_results["cells"] if cell["state"] == "done"]
    # A cell that failed has no seconds; the sum is of what has been measured.
    seconds = [duration or 0.0 for cell in done for duration in cell["seconds"].values()]
    minutes = sum(seconds) / 60
    digits = 0 if minutes >= 10 else 1
    lines = [
        f"`{table_results['command']}`",
        "",
        (
            f"Training: {table_results['budget']}. {len(done)} cells, {minutes:,.{digits}f} minutes"
            " one after another."
        ),
    ]
    if table_results["missing"]:
        missing = table_results["missing"]
        whole = len(table_results["cells"])
        lines += ["", f"**{missing} of {whole} cells are not done yet.**"]
    return lines


def _plain(name: str, rows: Sequence[Row]) -> list[str]:
    """One line a data set, variant and method."""
    variants = any(row["variant"] for row in rows)
    variant = [_VARIANT[name] or "part"] if variants else []
    columns = ["data", *variant, "method", "precision", "recall", "F1", "AP", "F1, not in train"]
    columns += ["training, s", "scoring, s", "memory, MB", "sessions a stage", "paper's F1", "of"]
    return table(columns, [_line(row, variants=variants) for row in rows])


def _line(row: Row, *, variants: bool) -> list[str]:
    """One line."""
    cells = [row["data"]]
    if variants:
        cells.append(row["variant"])
    cells.append(row["method"])
    cells += [_figure(row[name]) for name in ("precision", "recall")]
    cells += [_figure(row[name], row["intervals"][name]) for name in ("f1", "average_precision")]
    cells.append(_figure(row["unseen"]["f1"]))
    cells += [_seconds(row["seconds"][step]) for step in ("train", "score")]

    # Cost, then the paper's figure where it has one.
    memory = row["peak_memory"]
    cells.append("-" if memory is None else f"{memory / 1e6:,.0f}")
    cells.append(", ".join(map(str, row.get("stages", ()))))
    paper = row["paper"]
    cells += ["", ""] if paper is None else [f"{paper['f1']:.3f}", _whose(paper)]
    return cells


def _seconds(seconds: float | None) -> str:
    """A time, with a digit after the point where it is short."""
    if seconds is None:
        return "-"
    digits = 0 if seconds >= 10 else 1
    return f"{seconds:,.{digits}f}"


def _figure(over: Mapping[str, float | None], interval: Sequence[float] | None = None) -> str:
    """A figure's mean over seeds, its deviation where there are several, its interval."""
    return figure(over["mean"], interval, deviation=over["sd"], to="–")


def _whose(paper: Mapping[str, Any]) -> str:
    """Which data the paper's figure is of."""
    if "same" not in paper:
        return str(paper["set"])
    how_many = "the same data" if paper["same"] else plural(paper["sessions"], "session")
    return f"{paper['set']}, {how_many}"


def _altered(rows: Sequence[Row]) -> list[str]:
    """F1 by kind and ratio."""
    ratios = sorted({row["ratio"] for row in rows})
    lines: list[str] = []
    headings = [f"{ratio:.0%} of sessions" for ratio in ratios]
    for data in dict.fromkeys(row["data"] for row in rows):
        here = [row for row in rows if row["data"] == data]
        cells = {(row.get("kind"), row["ratio"], row["method"]): row for row in here}
        methods = list(dict.fromkeys(row["method"] for row in here))
        kinds = dict.fromkeys(row["kind"] for row in here if row.get("kind"))
        body: list[list[str]] = []
        for kind in kinds:
            for method in methods:
                figures: list[str] = []
                for ratio in ratios:
                    # The unaltered part has no kind: it stands at the left of every one.
                    of_kind = kind if ratio else None
                    row = cells.get((of_kind, ratio, method))
                    figures.append("-" if row is None else _lost(row))
                body.append([kind, method, *figures])
        lines += [f"F1 on {data}; in brackets what is lost against the unaltered test part.", ""]
        lines += [*table(["alteration", "method", *headings], body), ""]
    return lines[:-1]


def _lost(row: Row) -> str:
    """F1 and what of it was lost."""
    f1 = _figure(row["f1"])
    if not row["ratio"] or row["f1_lost"] is None:
        return f1
    return f"{f1} ({row['f1_lost']:+.3f})"


def _legend(rows: Sequence[Row]) -> str:
    """How to read the figures."""
    seeds = max(row["seeds"] for row in rows)
    counts = "of one seed"
    if seeds > 1:
        counts = f"means over {seeds} seeds ± their sample deviation"
    of_sets = {row["data"]: row["sessions"] for row in rows}
    sessions = ", ".join(f"{data}: {count:,}" for data, count in of_sets.items())
    return f"Figures are {counts}. Test sessions: {sessions}."


def _spending(rows: Sequence[Row]) -> str:
    """How to read intervals, times and memory."""
    several = max(row["seeds"] for row in rows) > 1
    # One seed has no range; an interval from several is as wide as the widest seeds make it.
    if several:
        interval = "from the lowest lower to the highest upper end over seeds"
    else:
        interval = "bootstrap over sessions"
    threads = sorted({count for row in rows for count in row["threads"]})
    with_threads = f" with {_or(threads)} thread(s)" if threads else ""
    return (
        f"In brackets 95 % intervals ({interval}). Times and memory are of one process each"
        f"{with_threads}, starting included, and what else the machine did meanwhile: "
        "a process that was paused waited on the clock."
    )


def _or(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def _pooled(table_results: Mapping[str, Any]) -> list[str]:
    """Figures over the sessions of all folds."""
    rows: list[list[str]] = []
    # LogLLM's own row has no difference to itself.
    for row in table_results["pooled"]:
        of_row = [row["data"], row["method"]]
        of_row += [
            _figure(row[name], row["intervals"][name]) for name in ("f1", "average_precision")
        ]
        of_row.append(_difference(row.get("difference")))
        rows.append(of_row)
    first = table_results["pooled"][0]
    counts = f"{plural(first['sessions'], 'session')}, {first['anomalous']:,} anomalous"
    folds = ", ".join(map(str, first["folds"]))
    return [
        f"Scores of the folds {folds} pooled ({counts}):",
        "",
        *table(["data", "method", "F1", "AP", "AP of logllm minus this one's"], rows),
    ]


def _difference(difference: Mapping[str, float] | None) -> str:
    """How far LogLLM is ahead, with its paired interval."""
    if difference is None:
        return ""
    lower = difference["lower"]
    upper = difference["upper"]
    return f"{difference['estimate']:+.3f} ({lower:+.3f} to {upper:+.3f})"
