"""Key sessions as many as a real log opens: frames so large that Polars divides them among its
threads."""

import time

import polars as pl
import pytest

from logllm.config.sessions import SessionSection
from logllm.sessions.message_table import NUMBERED
from logllm.sessions.sessionizer import Sessionizer


def frame(keys: range, *, first: int) -> pl.DataFrame:
    """A record a key."""
    number = pl.int_range(first, first + len(keys), dtype=pl.UInt64, eager=True)
    columns = {"record": number, "file": 0, "line": number, "message": 0, "anomalous": False}
    key = pl.Series(keys).cast(pl.String)
    frame = pl.DataFrame({"key": key}).with_columns(
        **columns, time=pl.lit(None), keys=pl.concat_list("key")
    )
    return frame.select(NUMBERED.keys()).cast(NUMBERED)


def section(most: int) -> SessionSection:
    return SessionSection(by="key", key_field="job", max_open_sessions=most)


@pytest.mark.real
@pytest.mark.parametrize(
    ("most", "early"),
    [pytest.param(300_000, False, marks=pytest.mark.real), (200_000, False), (150_000, True)],
)
def test_all_sessions_come_out(most, early) -> None:
    """200,000 keys, each in two frames: the frames' sum is more than there is room for, their union
    may not be."""
    sessions = Sessionizer(section(most))
    pieces = [
        sessions.push(frame(range(200_000), first=1)),
        sessions.push(frame(range(200_000), first=200_001)),
    ]
    pieces.append(sessions.flush())
    found = pl.concat(pieces)
    assert found["lines"].list.len().sum() == 400_000
    assert sessions.counts["closed_early"] == (found["closed"] == "early").sum()
    assert (sessions.counts["closed_early"] > 0) == early
    assert sessions.flush().height == 0


def test_none_is_placed_while_there_is_room() -> None:
    """Frames are put aside as they come: with `idle`, which has each row placed in its session at
    once, they cost twenty times as much."""
    cost = {}
    for idle in (None, 10**9):
        sessions = Sessionizer(section(20_000).model_copy(update={"idle": idle}))
        frames = [frame(range(20_000), first=place * 20_000 + 1) for place in range(5)]
        began = time.process_time()
        assert all(sessions.push(records).height == 0 for records in frames)
        cost[idle] = time.process_time() - began
        assert sessions.flush()["session"].to_list() == [f"{key}" for key in range(20_000)]
    assert cost[None] < cost[10**9] / 4


def test_what_stays_open_long_is_not_looked_through_each_time() -> None:
    """900 keys that go on and on, and each round 100 others that close early: the old rows stay in
    the frame where they are."""
    sessions, first, frames = Sessionizer(section(1_000)), 1, []
    for place in range(25):
        for keys in (
            range(900),
            range(place * 100 + 1_000, place * 100 + 1_100) if place > 20 else range(0),
        ):
            early = sessions.push(frame(keys, first=first))
            first += len(keys)
        if place > 21:
            assert early["session"].to_list() == [
                f"{key}" for key in range(place * 100 + 900, place * 100 + 1_000)
            ]
            frames.append(sessions._kind._held[0])
    assert frames[0].height > 15_000
    assert all(kept is frames[0] for kept in frames)
    assert sum(rows.height for rows in sessions._kind._held) == 25 * 900 + 100
    assert sessions.flush().height == 1_000
