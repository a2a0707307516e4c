"""The tables of what a team does with verdicts: incidents, alerts, mutes, feedback, sources."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
)

from logllm.serve.store.schema import ONLY_OPEN, metadata

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives: SQLite does that for this type alone.

What others remember must never come again: `sqlite_autoincrement`.
"""

incidents = Table(
    "incidents",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    # `open` or `closed`.
    Column("state", Text, nullable=False),
    Column("start", Text),
    Column("end", Text),
    Column("opened", Text, nullable=False),
    Column("updated", Text, nullable=False),
    Column("closed", Text),
    Column("sessions", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
    Column("top", Text, nullable=False),
    Column("evidence", Text),
    Column("muted", Boolean, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("first", Text, nullable=False),
    Column("told", Text),
    sqlite_autoincrement=True,
)
"""Anomalous sessions of one fault, close in time.

`start` and `end` are the log's times, `first` the time of the session that opened it by the log or
where that has none by this machine, the others this machine's. `kinds` are all its kinds of
message, `kind` the foremost; `top` is a list of the sessions with the highest scores, `evidence`
the line that tells most, all JSON. `told` is when a message of it was written last.
"""

mutes = Table(
    "mutes",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("until", Text, nullable=False),
    Column("made", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("change", BigInteger, nullable=False),
)
"""Kinds that nobody wants to be told of, each until a time."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("incident", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("made", Text, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What is to be told of incidents, written with the verdicts that it speaks of."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("message", BigInteger, ForeignKey("outbox.id", ondelete="CASCADE"), primary_key=True),
    Column("sink", Text, primary_key=True),
    Column("state", Text, nullable=False),
    # Of this message; a place's own failures in a row stand in `sinks`.
    Column("tries", Integer, nullable=False),
    Column("due", Text, nullable=False),
    Column("error", Text),
    Column("updated", Text, nullable=False),
)
"""What has become of a message at each place that is told.

The states: `waiting`; `held` back, because too many were sent; `sent`; `folded` into a later
message that was sent; `dead`, given up; `withdrawn`, because its kind was muted meanwhile.
"""

sinks = Table(
    "sinks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("reached", BigInteger, nullable=False),
    Column("owner", Text),
    Column("until", Text),
    Column("failures", Integer, nullable=False),
    Column("due", Text, nullable=False),
    Column("error", Text),
    Column("updated", Text, nullable=False),
)
"""Where incidents are sent: up to which message of the outbox, and which process tells them now.

`owner` has it `until` a time. After `failures` in a row it is tried again when it is `due`.
"""

UNSENT = ("waiting", "held")
"""States of messages that are still to be sent."""

feedback = Table(
    "feedback",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("partition", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("piece", Integer, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),
    # As it was when the answer was given: the verdict may be deleted for its age before a training.
    Column("lines", Text),
    Column("kind", Text),
    Column("messages", Text, nullable=False),
    Column("guilty", Text),
    Column("score", Float),
    Column("model", Text, nullable=False),
    Column("made", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("trained", Text),
    Column("change", BigInteger, nullable=False),
)
"""What people say of sessions: `anomalous` or `normal`, and which lines were guilty.

`messages` are the session's masked messages, as `model` reads them: the run that had judged, or
would have; `guilty` are the places of `lines` among them, from 0; `trained` is the run that has
learnt it.
"""

sources = Table(
    "sources",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("run", Text, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("sessions", BigInteger, nullable=False),
    Column("anomalous", BigInteger, nullable=False),
    Column("open_sessions", BigInteger, nullable=False),
    Column("lag", BigInteger),
    Column("rate", Float, nullable=False),
    Column("counts", Text, nullable=False),
    Column("trouble", Text),
    Column("updated", Text, nullable=False),
)
"""How each watch is, as it says every few seconds; `rate` is lines a second."""

kinds = Table(
    "kinds",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("line_text", Text),
    Column("first_seen", Text, nullable=False),
    Column("grade", Float, nullable=False),
    Column("change", BigInteger, nullable=False),
)
"""Kinds of message that the run had never seen, as they first came.

`grade` is 2 if the kind says that something broke, 1 if something went wrong, else 0.
"""

learnt = Table(
    "learnt",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("whole", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Column("made", Text, nullable=False),
)
"""What a watch has learnt besides its run: one entry for each transaction.

One that is `whole` holds all that was learnt before; `body` is JSON.
"""

Index("incidents_changes", incidents.c.change)
# Of one kind of message a single incident is open, whatever two processes do at once.
Index("incidents_open", incidents.c.stream, incidents.c.kind, unique=True, **ONLY_OPEN)
Index("mutes_kinds", mutes.c.stream, mutes.c.kind)
# A worker looks for what waits every second, a page for what was told of an incident.
Index("outbox_incidents", outbox.c.incident)
Index("deliveries_states", deliveries.c.sink, deliveries.c.state, deliveries.c.updated)
Index("feedback_sessions", feedback.c.stream, feedback.c.session)
Index("kinds_changes", kinds.c.change)
