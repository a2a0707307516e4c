"""What was taken for a log's format, and why, for people."""

from collections.abc import Iterator, Sequence

import polars as pl

from logllm.config.format import FormatSection
from logllm.formats.candidates import ENOUGH, PLAIN, is_laid_out_json
from logllm.formats.description import load_format
from logllm.formats.fit import Fit, mean
from logllm.formats.time_notes import time_notes
from logllm.logs.structured.columns import WHOLE

STRUCTURED = {
    "json": "JSON lines",
    "csv": "CSV with a header",
    "logfmt": "logfmt",
    "w3c": "W3C extended log, its columns named by a #Fields line",
}
"""Titles of the formats whose fields are found in the lines."""

_FEW = 0.01  # of the lines continue a record: not worth a word
_NAMED = 2  # formats that would fit too
_BEHIND = r"""^[^{"]*[^{"\s\[,][^{"]*\{"\w.*\}\s*$"""  # a line that ends in a JSON object
_ONE_A_LINE = (
    "this looks like one JSON text; what can be read is an object a line: jq -c '(arrays | .[]),"
    " objects' FILE > lines.json, then name lines.json"
)


def format_notes(text: pl.Series, best: Fit, *, others: Sequence[Fit]) -> list[str]:
    """What a person should know of the format that was recognized, a sentence each.

    Args:
        text: the lines that were looked at.
        best: the format that is taken.
        others: those that fit, too.
    """
    # Said whenever a format was recognized: the user is to see what was taken for what.
    notes = [_how_well(best, others, lines=len(text))]
    if best.format.name == PLAIN and is_laid_out_json(text):
        notes.append(_ONE_A_LINE)
    notes += _of_others(best.format)
    notes += time_notes(text, best.format)
    notes += _of_message(best.format)
    notes += _of_json(text, best)
    return notes


def _how_well(best: Fit, others: Sequence[Fit], *, lines: int) -> str:
    """What the format is, how well it fits, and how to have another one."""
    described = best.format
    if described.name == PLAIN:
        sentence = "format: plain, each line is a message; none of the known formats fits"
    else:
        # A format of one's own may have no title.
        title = _titled(described)
        name = f"{described.name} ({title})" if title else described.name
        sentence = f"format: {name}; {100 * best.share:.1f} % of the first {lines:,} lines fit"
        if best.share - best.matched > _FEW:
            sentence += f" ({100 * best.matched:.1f} % begin a record, the others continue one)"
    names = dict.fromkeys(fit.format.name for fit in others)
    other_names = [name for name in names if name != described.name]
    also = ""
    if other_names:
        also = f", {' and '.join(other_names[:_NAMED])} would fit too"
    return f"{sentence}{also}; another: --format NAME or a TOML file (logllm show formats)"


def _of_others(described: FormatSection) -> Iterator[str]:
    """That lines of other kinds are among a format's own."""
    names = list(dict.fromkeys(other.name for other in described.innermost.beside))
    if names:
        yield (
            "lines of other kinds are among these, and are records of their own:"
            f" {', '.join(names)}"
        )


def _titled(described: FormatSection) -> str:
    """A format's title; of a structured kind with the fields that were found in the lines.

    >>> _titled(load_format("json")), _titled(load_format("postgresql-csv"))[:19]
    ('JSON lines: message in message, time in time', "PostgreSQL's csvlog")
    """
    if described.name not in STRUCTURED:
        return described.title
    tail = (name for _, name in described.tail)
    fields = [name for name in (described.severity, described.message, *tail) if name]
    message = "the whole line" if described.message == WHOLE else ", ".join(fields)
    return f"{STRUCTURED[described.name]}: message in {message}, time in {_time_of(described)}"


def _time_of(described: FormatSection) -> str:
    """The fields that hold the time of structured lines, in words."""
    names = [name for name in (described.day, described.time) if name is not None]
    return " and ".join(names) or "no field"


def _of_json(text: pl.Series, best: Fit) -> Iterator[str]:
    """That lines are JSON behind something else, where that keeps their fields from being read."""
    around = best.format.model_dump(include={"inside"}, exclude_none=True)
    unread = best.format.kind in ("plain", "pattern") and not around
    if unread and mean(text.str.contains(_BEHIND)) > ENOUGH:
        yield (
            "messages are JSON behind a prefix, and their fields are not read: without it they are"
            " (docker compose logs --no-log-prefix, kubectl logs without --timestamps, or sed"
            " 's/^[^{]*//' LOG > lines.json)"
        )


def _of_message(described: FormatSection) -> Iterator[str]:
    """Why the message of structured lines is what it is, where that isn't plain."""
    if described.name not in STRUCTURED or not described.title:
        return
    if described.title != load_format(described.name).title:
        yield described.title
