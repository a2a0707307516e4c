"""What a part shares with train: sessions in, shares out."""

from datetime import UTC, datetime

import polars as pl
import pytest

from logllm.datasets.overlap import leakage, seen
from logllm.sessions.sessionizer import SESSIONS


def sessions(text: str) -> pl.DataFrame:
    """One session a word: messages, `!` where anomalous, and `@` with the hours it lasts from and
    to."""
    rows = []
    for word in text.split():
        messages, _, hours = word.partition("@")
        start, end = (
            ([datetime(2026, 1, 1, int(hour), tzinfo=UTC) for hour in hours.split("-")])
            if hours
            else (None, None)
        )
        digits = [int(digit) for digit in messages.rstrip("!")]
        rows.append(
            {"messages": digits, "anomalous": messages.endswith("!"), "start": start, "end": end}
        )
    return pl.DataFrame(
        rows, schema={name: SESSIONS[name] for name in ("messages", "anomalous", "start", "end")}
    )


@pytest.mark.parametrize(
    ("train", "part", "name", "share"),
    [
        ("12 3!", "12 21", "seen", 0.5),  # the order counts
        ("12", "1 2 12 122", "seen", 0.25),  # and so does the whole
        ("12 3!", "12 45 3! 6!", "seen_normal", 0.5),
        ("12 3!", "12 45 3! 3!", "seen_anomalous", 1.0),
        ("12", "12! 4", "seen", 0.5),  # with whatever label
        ("1", "2 3", "seen_anomalous", None),
        ("1", "", "seen", None),
        ("", "1 2", "seen", 0.0),
        ("1", "12 12 12 3", "repeated", 0.5),
        ("1", "12 3", "repeated", 0.0),
        ("12", "13 1 1 4", "new_messages", 2 / 3),
        ("12", "13 1 1 4", "new_occurrences", 2 / 5),
        ("12", "21", "new_messages", 0.0),
        ("1@0-5 1@2-3", "2@4-9 2@5-9", "early", 0.5),
        ("1@0-1", "2@1-2", "early", 0.0),
        ("1@0-1", "2", "early", None),
        ("1", "2@0-1", "early", None),
    ],
)
def test_leakage(train, part, name, share) -> None:
    assert leakage(sessions(part), sessions(train), in_train=seen(sessions(part), sessions(train)))[
        name
    ] == (None if share is None else pytest.approx(share))


def test_seen_keeps_the_order_of_the_part() -> None:
    assert seen(sessions("5 12 7 12 1"), sessions("12 5 12")).to_list() == [
        True,
        True,
        False,
        True,
        False,
    ]
