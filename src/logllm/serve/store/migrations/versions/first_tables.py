"""Verdicts, places and spans."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _make_verdicts()
    _make_places()
    _make_spans()


def _make_verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("partition", sa.Text, primary_key=True),
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("piece", sa.Integer, primary_key=True),
        sa.Column("first_position", sa.BigInteger, primary_key=True),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("anomalous", sa.Boolean, nullable=False),
        sa.Column("lines", sa.Text, nullable=False),
        sa.Column("files", sa.Text),
        sa.Column("evidence", sa.Text),
        sa.Column("start", sa.Text),
        sa.Column("end", sa.Text),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("cut", sa.Text),
        sa.Column("more", sa.Text),
        sa.Column("texts", sa.Text),
        sa.Column("updated", sa.Text, nullable=False),
    )
    op.create_index("verdicts_newest", "verdicts", ["stream", "updated"])
    op.create_index("verdicts_positions", "verdicts", ["stream", "partition", "last_position"])
    for name, rows in (("anomalous", "anomalous"), ("open", "state = 'open'")):
        op.create_index(
            f"verdicts_{name}",
            "verdicts",
            ["stream", "updated"],
            sqlite_where=sa.text(rows),
            postgresql_where=sa.text(rows),
        )


def _make_places() -> None:
    op.create_table(
        "places",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("partition", sa.Text, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("low", sa.BigInteger, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("counters", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("updated", sa.Text, nullable=False),
    )


def _make_spans() -> None:
    op.create_table(
        "spans",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("partition", sa.Text, primary_key=True),
        sa.Column("home", sa.Text, primary_key=True),
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("piece", sa.Integer, primary_key=True),
        sa.Column("first_position", sa.BigInteger, primary_key=True),
        sa.Column("last_position", sa.BigInteger, nullable=False),
    )
    op.create_index("spans_positions", "spans", ["stream", "partition", "last_position"])
