"""Records of one format inside the messages of another, and which format they are in."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.timed.time_shapes import TIMED
from logllm.logs.fields import bare_name, fields_of, group_names
from logllm.logs.inside.envelopes import opened
from logllm.logs.joining import whole_rows
from logllm.logs.structured.columns import WHOLE
from logllm.logs.structured.json_lines import json_fields
from logllm.logs.times import round_the_year

_STREAMS = re.compile(
    r"(?:k8s|kube|kubernetes)?(?:pod|container|node|namespace|docker)(?:name|id|uid)?|stream"
    r"|(?:syslog)?(?:pid|procid|processid)|process|host(?:name)?"
    r"|(?:db)?instance(?:id|identifier)?|(?:systemd)?unit|service(?:name)?|machine"
    r"|(?:log)?stream(?:name)?|program|(?:syslog)?identifier|app|job|labels|file(?:name|path)?"
    r"|databaseid"
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
    lines = text.alias("text").to_frame()
    rows = opened(lines, read.model_copy(update=update)).rows
    in_a_message = rows["stream"].is_not_null()
    return Inner(outer.model_copy(update=update), rows["text"], in_a_message)


def nested(inner: Inner, described: FormatSection) -> FormatSection:
    """A format inside another one, with the sessions of the inner one.

    A server's inner format that names no process has sessions by the process that the outer one
    names.

    Args:
        inner: The outer format and its texts.
        described: The format of the texts; where its times say no year the outer ones are taken.
    """
    outer = inner.outer
    yearless = any(map(round_the_year, described.time_format))
    if outer.time is not None and yearless:
        described = described.model_copy(update={"time": None})
    # A record without a time of its own has the outer one's, not another field's.
    if outer.time is not None:
        own = tuple(pair for pair in described.instead if pair[0] != described.time)
        described = described.model_copy(update={"instead": own})
    sessions = described.sessions
    # A server's lines that name no process have the outer one's: a container's is the server's.
    of_a_server = described.innermost.name.startswith(POSTGRES)
    if of_a_server and not sessions.by_key:
        processes = [name for name in outer.streams if _PROCESS.fullmatch(bare_name(name))]
        if processes:
            sessions = SessionSection(by="key", key_field=processes[0])
    name = f"{described.name} inside {outer.name}"
    title = f"{described.title or described.name}; in the messages of {outer.name}"
    update = {"name": name, "title": title, "inside": described, "sessions": sessions}
    return outer.model_copy(update=update)


def _streams(text: pl.Series, outer: FormatSection) -> tuple[str, ...]:
    """Fields that tell apart what several programs write at the same time."""
    names = _names(text, outer)
    return tuple(name for name in names if _STREAMS.fullmatch(bare_name(name)))


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

    They may where each is made of whole lines, and the format says which field is the message.
    """
    if described.kind == "json":
        return described.message != WHOLE
    if described.kind == "logfmt":
        return described.message != WHOLE and described.time is not None
    return described.kind == "pattern" and described.partial is None and described.name != TIMED
