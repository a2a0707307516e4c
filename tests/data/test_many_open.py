"""Key sessions as many as a real log opens: frames so large that Polars divides them among its threads."""

import polars as pl
import pytest

from logllm.config.sessions import SessionSection
from logllm.data.grouping import RECORDS
from logllm.data.keyed import KeySessions


def frame(keys: range, *, first: int) -> pl.DataFrame:
    """A record a key."""
    number = pl.int_range(first, first + len(keys), dtype=pl.UInt64, eager=True)
    columns = {"record": number, "file": 0, "line": number, "message": 0, "anomalous": False}
    key = pl.Series(keys).cast(pl.String)
    frame = pl.DataFrame({"key": key}).with_columns(**columns, time=pl.lit(None), keys=pl.concat_list("key"))
    return frame.select(RECORDS.keys()).cast(RECORDS)


def section(most: int) -> SessionSection:
    return SessionSection(by="key", key_field="job", max_open_sessions=most)


@pytest.mark.parametrize(("most", "early"), [(300_000, False), (200_000, False), (150_000, True)])
def test_all_sessions_come_out(most, early) -> None:
    """200,000 keys, each in two frames: the frames' sum is more than there is room for, their union may not be."""
    sessions = KeySessions(section(most))
    pieces = [sessions.push(frame(range(200_000), first=1)), sessions.push(frame(range(200_000), first=200_001))]
    pieces.append(sessions.flush())
    found = pl.concat(pieces)
    assert found["lines"].list.len().sum() == 400_000
    assert sessions.counts["closed_early"] == (found["closed"] == "early").sum()
    assert (sessions.counts["closed_early"] > 0) == early
    assert sessions.flush().height == 0


def test_none_is_placed_while_there_is_room(monkeypatch) -> None:
    monkeypatch.setattr(KeySessions, "_settle", None)
    sessions = KeySessions(section(100))
    for place in range(5):
        assert sessions.push(frame(range(100), first=place * 100 + 1)).height == 0
    assert sessions.flush()["session"].to_list() == [f"{key}" for key in range(100)]
