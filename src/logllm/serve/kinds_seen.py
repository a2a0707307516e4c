"""Kinds of message that a run had never seen, as they first come in a stream."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
from sqlalchemy import Connection

from logllm.logs.redaction import redact
from logllm.methods.trouble import grades
from logllm.serve.store.frames import NUL_PICTURE, stored_time
from logllm.serve.store.service_schema import kinds
from logllm.serve.store.writing import insert_new
from logllm.serve.verdict_rows import LONGEST_KIND
from logllm.sessions.ends import Ends
from logllm.sessions.message_sets import keys_of_messages, places
from logllm.sessions.message_table import kinds_of

_MOST = 1_000
"""At most so many new kinds are stored after each start of a watch.

In a log where every line is new, a new kind tells nothing.
"""
Texts = Callable[[pl.DataFrame], pl.Series]
"""What is written in lines, of which `file`, `line` and `message` (masked) are given."""


class KindsSeen:
    """New kinds of message that wait to be stored with the verdicts, each with its first line."""

    def __init__(self, ends: Ends | None, texts: Texts, *, redacted: bool) -> None:
        """None yet.

        Args:
            ends: knows the kinds of training's messages; none, or one that knows no kinds: no kind
                counts as new.
            texts: gives lines as they may be shown.
            redacted: whether what is secret is taken out of messages.
        """
        training_kinds = None if ends is None else ends.kinds
        self._seen = None if training_kinds is None else training_kinds.astype(np.uint64)
        self._texts = texts
        self._redacted = redacted
        self._stored = 0
        self._waiting: dict[str, tuple[str | None, float]] = {}

    def look(self, records: pl.DataFrame, messages: pl.Series, *, before: int) -> None:
        """See which kinds are new among some records.

        Args:
            records: with `file`, `line` and `message`, a place in the message table.
            messages: the message table.
            before: how many messages the table held before these records.
        """
        # Only messages that this batch brought: all others were looked at when they came.
        fresh = messages[before:]
        if self._seen is None or fresh.is_empty() or self._stored >= _MOST:
            return
        kinds_there = kinds_of(fresh)
        new = places(self._seen, keys_of_messages(kinds_there)) < 0
        if not new.any():
            return

        # Of each kind the first line that has it.
        numbers = pl.int_range(before, len(messages), dtype=pl.UInt32)
        texts = pl.DataFrame({"text": fresh, "kind": kinds_there})
        of_messages = texts.with_columns(message=numbers)
        lines = records.select("file", "line", "message")
        rows = lines.join(of_messages.filter(new), on="message", maintain_order="left")
        room = _MOST - self._stored
        first = rows.unique("kind", keep="first", maintain_order=True).head(room)
        wanted = first.select("file", "line", message="text")
        written_lines = self._texts(wanted)
        shown = first.with_columns(written=written_lines, grade=grades(first["text"]))
        if self._redacted:
            shown = shown.with_columns(kind=redact(shown["kind"]))
        # PostgreSQL takes no NUL.
        clean = pl.col("kind", "written").str.replace_all("\x00", NUL_PICTURE, literal=True)
        shown = shown.with_columns(clean)
        for kind, written, grade in shown.select("kind", "written", "grade").iter_rows():
            self._waiting.setdefault(kind[:LONGEST_KIND], (written, grade))

    def __call__(self, connection: Connection, stream: str, change: int) -> None:
        """Store them, in the transaction of verdicts.

        Kinds that are stored already stay as they are.
        """
        now = stored_time(datetime.now(UTC))
        same = {"stream": stream, "first_seen": now, "change": change}
        rows = []
        for kind, (written, grade) in self._waiting.items():
            rows.append({**same, "kind": kind, "line_text": written, "grade": grade})
        if rows:
            connection.execute(insert_new(connection, kinds), rows)

    def stored(self) -> None:
        """Called after the transaction."""
        # Not before: a transaction that failed is made again, with the same kinds.
        self._stored += len(self._waiting)
        self._waiting = {}
