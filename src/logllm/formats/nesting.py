"""Records of one format inside the messages of another.

Which format the texts in some lines' messages are in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.time_shapes import TIMED
from logllm.logs.fields import bare_name, fields_of, group_names, json_fields
from logllm.logs.inside.envelopes import opened
from logllm.logs.joining import whole_rows
from logllm.logs.structured.columns import WHOLE
from logllm.logs.times import round_the_year

_STREAMS = re.compile(
    r"(?:k8s|kube|kubernetes)?(?:pod|container|node|namespace|docker)(?:name|id|uid)?|stream|"
    r"(?:syslog)?(?:pid|procid|processid)|process|host(?:name)?|(?:db)?instance(?:id|identifier)?|(?:systemd)?unit|"
    r"service(?:name)?|machine|(?:log)?stream(?:name)?|program|(?:syslog)?identifier|app|job|labels|file(?:name|path)?|databaseid"
)
_PROCESS = re.compile(r"(?:syslog)?(?:pid|procid|processid)|process")
_LOOKED_AT = 200  # rows
_LINES = FormatSection(name="plain", kind="plain")
_FEWEST = 2


class Inner(NamedTuple):
    """Texts in messages, and the format around them."""

    outer: FormatSection
    """The outer format, with the fields that tell its streams apart; inside it, plain lines."""
    texts: pl.Series
    """Its messages, line by line."""
    inside: pl.Series
    """Which of these were in a message; others are lines that are none of the outer format."""


def inner_texts(text: pl.Series, outer: FormatSection) -> Inner:
    r"""The texts in the messages of some lines.

    >>> lines = pl.Series(['{"log": "a\\nb", "pod": "x"}', '{"log": "c", "pod": "y"}'])
    >>> inner = inner_texts(lines, FormatSection(name="json", kind="json", message="log"))
    >>> inner.texts.to_list(), inner.outer.streams
    (['a', 'b', 'c'], ('pod',))
    """
    text, read = whole_rows(text, outer)
    update = {"inside": _LINES, "streams": outer.streams or _streams(text, outer)}
    rows = opened(text.alias("text").to_frame(), read.model_copy(update=update)).rows
    return Inner(outer.model_copy(update=update), rows["text"], rows["stream"].is_not_null())


def nested(inner: Inner, described: FormatSection) -> FormatSection:
    """A format inside another one.

    Its sessions, by a process that the outer one names where it names none itself.

    Args:
        inner: The outer format and its texts.
        described: The format of the texts; where its times say no year the outer ones are taken.
    """
    outer = inner.outer
    yearless = any(map(round_the_year, described.time_format))
    if outer.time is not None and yearless:
        described = described.model_copy(update={"time": None})
    if (
        outer.time is not None
    ):  # a record without a time of its own has the outer one's, not another field's
        own = tuple(pair for pair in described.instead if pair[0] != described.time)
        described = described.model_copy(update={"instead": own})
    sessions = described.sessions
    # A server's lines that name no process have the outer one's: a container's is the server's.
    if described.innermost.name.startswith(POSTGRES) and not sessions.by_key:
        processes = (name for name in outer.streams if _PROCESS.fullmatch(bare_name(name)))
        process = next(processes, None)
        sessions = SessionSection(by="key", key_field=process) if process else sessions
    name = f"{described.name} inside {outer.name}"
    title = f"{described.title or described.name}; in the messages of {outer.name}"
    update = {"name": name, "title": title, "inside": described, "sessions": sessions}
    return outer.model_copy(update=update)


def _streams(text: pl.Series, outer: FormatSection) -> tuple[str, ...]:
    """Fields that tell apart what several programs write at the same time."""
    return tuple(name for name in _names(text, outer) if _STREAMS.fullmatch(bare_name(name)))


def _names(text: pl.Series, outer: FormatSection) -> Iterator[str]:
    """Fields of some lines; of structured ones those that differ between them."""
    if outer.kind == "pattern":
        yield from group_names(outer.pattern or "")
    elif outer.kind == "json":
        rows: Sequence[Mapping[str, str]] = [json_fields(line) for line in text.head(_LOOKED_AT)]
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            values = {row[name] for row in rows if name in row}
            if len(values) >= _FEWEST:
                yield name
    else:
        yield from fields_of(outer)


def line_by_line(described: FormatSection) -> bool:
    """Whether records of a format may be inside messages.

    Each is of lines, and says which field is the message.
    """
    if described.kind in ("json", "logfmt"):
        return described.message != WHOLE and (
            described.kind == "json" or described.time is not None
        )
    return described.kind == "pattern" and described.partial is None and described.name != TIMED
