"""Verdicts of anomalous sessions as incidents see them."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Row

from logllm.logs.inside.traces import title
from logllm.methods.trouble import gravity
from logllm.serve.incidents.board import Anomaly
from logllm.serve.incidents.open_incidents import time_of
from logllm.serve.store.frames import KEY
from logllm.serve.verdict_rows import LONGEST_KIND
from logllm.sessions.message_table import kinds_of

_KEY = ("stream", *KEY)
_GRAVE = 2
"""The gravity of a warning."""
Telling = list[tuple[Mapping[str, Any], str]]
"""Telling lines, most telling first, each with its message."""


def anomalies(rows: Sequence[Row[Any]]) -> list[Anomaly]:
    """Rows of the table `verdicts` as incidents see them, in the order of their time."""
    # Sessions of one fault repeat their lines: each distinct message is looked at once for all.
    telling = [_telling(row) for row in rows]
    messages = {message for lines in telling for _, message in lines}
    kinds = _Kinds(messages, own={row.kind or "" for row in rows})
    pairs = zip(rows, telling, strict=True)
    in_order_of_rows = [_anomaly(row, lines, kinds=kinds) for row, lines in pairs]
    return sorted(in_order_of_rows, key=lambda anomaly: anomaly.moment)


class _Kinds:
    """The kinds of some messages, and how grave they are: all found at once."""

    def __init__(self, messages: Collection[str], *, own: Collection[str]) -> None:
        """The kinds of these messages, and the kinds by which sessions are known."""
        texts = pl.Series(list(messages), dtype=pl.String)
        # As long as a verdict's own `kind` is stored, with which these are compared.
        kinds = kinds_of(texts).str.slice(0, LONGEST_KIND)
        self.of = dict(zip(texts, kinds, strict=True))
        """By message."""
        known_by = pl.Series(list(own), dtype=pl.String)
        every = pl.concat([kinds, known_by])
        self._grave = set(every.filter(gravity(every) >= _GRAVE))

    def related(self, own: str, others: Iterable[str]) -> tuple[str, ...]:
        """Kinds of a session's other telling lines: it may join an incident of one of them.

        Where its own kind is a warning or worse, others must be so, too. For example, a full disk
        and a lock once stopped the same statement: the statement makes no incident of the two.
        """
        # An empty kind is that of a line whose message is not kept: it would join all such
        # sessions.
        different = [kind for kind in others if kind and kind != own]
        if own in self._grave:
            different = [kind for kind in different if kind in self._grave]
        return tuple(different)


def _anomaly(row: Row[Any], telling: Telling, *, kinds: _Kinds) -> Anomaly:
    """One verdict."""
    arrived = datetime.fromisoformat(row.updated)
    end = time_of(row.end)
    own = row.kind or ""
    # The line that is shown is one of the kind that the incident is called by.
    of_lines = [kinds.of[message] for _, message in telling]
    foremost = _first(telling)
    if own in of_lines:
        place = of_lines.index(own)
        foremost = telling[place][0]
    evidence = json.dumps(foremost, ensure_ascii=False) if foremost else None
    text = foremost.get("text") or title(own)
    key = {name: getattr(row, name) for name in _KEY}
    others = kinds.related(own, of_lines)
    start = time_of(row.start)
    return Anomaly(
        key=key,
        kind=own,
        others=others,
        text=text,
        evidence=evidence,
        score=row.score,
        start=start,
        # A wrong clock in a log would hold an incident open for years.
        end=end and min(end, arrived),
        arrived=arrived,
        incident=row.incident,
        anomalous=row.anomalous,
    )


def _first(telling: Telling) -> Mapping[str, Any]:
    """The most telling line; nothing where none tells."""
    return telling[0][0] if telling else {}


def _telling(row: Row[Any]) -> Telling:
    """A verdict's telling lines.

    The lines of a verdict and its messages correspond, except the last lines of a long session: no
    messages are kept of them, and here their message is empty.
    """
    telling = json.loads(row.evidence or "[]")
    if not telling:
        return []

    # Numbers of lines are from 1 in each file: of a session over several files a line is told by
    # both. Of a session in one file evidence may name that file, the verdict's lines do not.
    lines = json.loads(row.lines)
    several = row.files is not None
    files = json.loads(row.files) if several else [None] * len(lines)
    own_lines = zip(lines, files, strict=True)

    messages = json.loads(row.messages or "[]")
    message_at = dict(zip(own_lines, messages, strict=False))
    with_messages = []
    for line in telling:
        at = (line["line"], line.get("file") if several else None)
        with_messages.append((line, message_at.get(at, "")))
    return with_messages
