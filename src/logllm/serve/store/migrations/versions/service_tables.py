"""What a team does with verdicts: incidents, alerts, mutes, feedback, sources, new kinds."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, and number what changes."""
    # Before the tables that have such numbers themselves.
    _number_changes()
    _make_incidents()
    _make_mutes()
    _make_outbox()
    _make_deliveries()
    _make_sinks()
    _make_feedback()
    _make_sources()
    _make_kinds()
    _make_indexes()


def _number_changes() -> None:
    # One row that every writer locks: a sequence of the database would give numbers in another
    # order than that of the commits.
    numbers = op.create_table(
        "numbers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(numbers, [{"name": "change", "value": 0}])
    for column in (
        sa.Column("kind", sa.Text),
        sa.Column("messages", sa.Text),
        sa.Column("incident", sa.BigInteger),
        sa.Column("change", sa.BigInteger, nullable=False, server_default="0"),
    ):
        # All may be null or have a default: rows that are there already stay as they are.
        op.add_column("verdicts", column)


def _make_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("start", sa.Text),
        sa.Column("end", sa.Text),
        sa.Column("opened", sa.Text, nullable=False),
        sa.Column("updated", sa.Text, nullable=False),
        sa.Column("closed", sa.Text),
        sa.Column("sessions", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("top", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text),
        sa.Column("muted", sa.Boolean, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("kinds", sa.Text, nullable=False),
        sa.Column("first", sa.Text, nullable=False),
        sa.Column("told", sa.Text),
        sqlite_autoincrement=True,
    )


def _make_mutes() -> None:
    op.create_table(
        "mutes",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("until", sa.Text, nullable=False),
        sa.Column("made", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )


def _make_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("incident", sa.BigInteger, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("made", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )


def _make_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column(
            "message",
            sa.BigInteger,
            sa.ForeignKey("outbox.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("updated", sa.Text, nullable=False),
    )


def _make_sinks() -> None:
    op.create_table(
        "sinks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reached", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("until", sa.Text),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("due", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("updated", sa.Text, nullable=False),
    )


def _make_feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("partition", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("piece", sa.Integer, nullable=False),
        sa.Column("first_position", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("lines", sa.Text),
        sa.Column("kind", sa.Text),
        sa.Column("messages", sa.Text, nullable=False),
        sa.Column("guilty", sa.Text),
        sa.Column("score", sa.Float),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("made", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("trained", sa.Text),
        sa.Column("change", sa.BigInteger, nullable=False),
    )


def _make_sources() -> None:
    op.create_table(
        "sources",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("lines", sa.BigInteger, nullable=False),
        sa.Column("sessions", sa.BigInteger, nullable=False),
        sa.Column("anomalous", sa.BigInteger, nullable=False),
        sa.Column("open_sessions", sa.BigInteger, nullable=False),
        sa.Column("lag", sa.BigInteger),
        sa.Column("rate", sa.Float, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("trouble", sa.Text),
        sa.Column("updated", sa.Text, nullable=False),
    )


def _make_kinds() -> None:
    op.create_table(
        "kinds",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("line_text", sa.Text),
        sa.Column("first_seen", sa.Text, nullable=False),
        sa.Column("grade", sa.Float, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )


def _make_indexes() -> None:
    op.create_index("verdicts_changes", "verdicts", ["change"])
    op.create_index("verdicts_incidents", "verdicts", ["incident", "change"])
    op.create_index("incidents_changes", "incidents", ["change"])
    op.create_index("mutes_kinds", "mutes", ["stream", "kind"])
    op.create_index("outbox_incidents", "outbox", ["incident"])
    op.create_index("deliveries_states", "deliveries", ["sink", "state", "updated"])
    op.create_index("feedback_sessions", "feedback", ["stream", "session"])
    op.create_index("kinds_changes", "kinds", ["change"])
    for name, columns in (
        ("verdicts_anomalous_changes", ["change"]),
        ("verdicts_kinds", ["kind", "change"]),
    ):
        op.create_index(
            name,
            "verdicts",
            columns,
            sqlite_where=sa.text("anomalous"),
            postgresql_where=sa.text("anomalous"),
        )
    op.create_index(
        "incidents_open",
        "incidents",
        ["stream", "kind"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
