"""The tables of a store, as the last migration leaves them."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    text,
)

REVISION = "0003"
"""The last migration."""
VERSION_TABLE = "logllm_version"
"""Where the store's own revision stands."""

metadata = MetaData()
_WHERE = ("sqlite_where", "postgresql_where")
"""The options by which each database is told which rows an index covers."""

verdicts = Table(
    "verdicts",
    metadata,
    # The key: `frames.KEY` and the stream. Two sessions of one name differ by their first line.
    Column("stream", Text, primary_key=True),
    Column("partition", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("piece", Integer, primary_key=True),
    Column("first_position", BigInteger, primary_key=True),
    Column("last_position", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("score", Float, nullable=False),
    Column("anomalous", Boolean, nullable=False),
    # Lists are JSON, for SQLite has none of its own.
    Column("lines", Text, nullable=False),
    Column("files", Text),
    Column("evidence", Text),
    # Times are text of one length (`frames.stored_time`), which sorts as they do in any database.
    Column("start", Text),
    Column("end", Text),
    Column("model", Text, nullable=False),
    Column("cut", Text),
    Column("more", Text),
    Column("texts", Text),
    Column("updated", Text, nullable=False),
    # What follows came with the second migration: rows from before it lack it.
    Column("kind", Text),
    Column("messages", Text),
    Column("incident", BigInteger),
    Column("change", BigInteger, nullable=False, server_default="0"),
)
"""One current row a session."""

numbers = Table(
    "numbers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""One row, `change`: the number of the last transaction that changed what people see."""

places = Table(
    "places",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("partition", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("low", BigInteger, nullable=False),
    Column("place", Text, nullable=False),
    Column("counters", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("updated", Text, nullable=False),
)
"""How far each partition is accounted for, and who has it."""

spans = Table(
    "spans",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("partition", Text, primary_key=True),
    Column("home", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("piece", Integer, primary_key=True),
    Column("first_position", BigInteger, primary_key=True),
    Column("last_position", BigInteger, nullable=False),
)
"""The last line in each partition of sessions over several; `home` is the verdict's own one."""

IS_OPEN = text("verdicts.state = 'open'")
IS_ANOMALOUS = text("verdicts.anomalous")
"""Written just as the indexes have them, so that the indexes serve these conditions."""
SAME_SESSION = and_(
    spans.c.stream == verdicts.c.stream,
    spans.c.home == verdicts.c.partition,
    *(spans.c[name] == verdicts.c[name] for name in ("session", "piece", "first_position")),
)
"""Joins a span to its verdict."""
# Everyone reads by `updated` (a page, from a time) or by `change` (a live stream, from a number).
# Of anomalous and of open verdicts there are few among many: indexes that hold nothing else are
# small, and cost nothing where other rows are written.
ONLY_OPEN: dict[str, Any] = dict.fromkeys(_WHERE, text("state = 'open'"))
_ONLY_ANOMALOUS: dict[str, Any] = dict.fromkeys(_WHERE, text("anomalous"))
Index("verdicts_newest", verdicts.c.stream, verdicts.c.updated)
Index("verdicts_positions", verdicts.c.stream, verdicts.c.partition, verdicts.c.last_position)
Index("verdicts_anomalous", verdicts.c.stream, verdicts.c.updated, **_ONLY_ANOMALOUS)
Index("verdicts_open", verdicts.c.stream, verdicts.c.updated, **ONLY_OPEN)
Index("verdicts_changes", verdicts.c.change)
Index("verdicts_anomalous_changes", verdicts.c.change, **_ONLY_ANOMALOUS)
Index("verdicts_kinds", verdicts.c.kind, verdicts.c.change, **_ONLY_ANOMALOUS)
Index("verdicts_incidents", verdicts.c.incident, verdicts.c.change)
Index("spans_positions", spans.c.stream, spans.c.partition, spans.c.last_position)
