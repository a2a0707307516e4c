"""Sessions in columns: the same scores as one by one, each distinct session asked for once, memory
that does not grow."""

from contextlib import closing
from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.config.sessions import SessionSection
from logllm.detect.cache import ScoreCache
from logllm.detect.judging.known_scores import KnownScores
from logllm.methods.contract import Opinion
from logllm.sessions.message_table import NUMBERED, MessageTable
from logllm.sessions.sessionizer import Sessionizer


class Asked:
    """A scorer that depends on texts and their order, and remembers what it was asked."""

    def __init__(self) -> None:
        self.sessions: list[tuple[str, ...]] = []

    def __call__(self, sessions, messages, *, progress):
        texts = [tuple(messages.gather(rows).to_list()) for rows in sessions]
        self.sessions += texts
        if progress is not None:
            progress(len(texts), len(texts))
        return Opinion(np.array([logit(text) for text in texts]))


def logit(texts) -> float:
    return sum((place + 1.5) * len(text) for place, text in enumerate(texts))


def tell(told, done, total) -> None:
    told.append((done, total))


def column(sessions) -> pl.Series:
    return pl.Series("messages", sessions, dtype=pl.List(pl.UInt32))


SESSIONS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=30)


@given(calls=st.lists(SESSIONS, min_size=1, max_size=4))
def test_scores_are_those_of_each_session_alone(calls) -> None:
    asked = Asked()
    distinct, largest = KnownScores(asked), 0
    texts = pl.Series(["a", "bb", "ccc", "dddd"])
    for sessions in calls:
        largest = max(largest, *map(max, sessions))  # the table grows with what is read
        told: list[tuple[int, int]] = []
        found = distinct.of(column(sessions), texts.head(largest + 1), progress=partial(tell, told))
        assert found.scores.tolist() == [
            logit([texts[row] for row in session]) for session in sessions
        ]
        assert not told or told[-1][0] == told[-1][1]
    assert (
        len(asked.sessions)
        == len(set(asked.sessions))
        == len({tuple(session) for sessions in calls for session in sessions})
    )


class Counted:
    """A scorer that goes by numbers of messages, and remembers how many sessions each call asked
    for."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, sessions, messages, *, progress):
        self.calls.append(len(sessions))
        if progress is not None:
            progress(len(sessions), len(sessions))
        first, second = np.array(sessions).T
        return Opinion(1_000.0 * first + second)


@pytest.mark.real
def test_many_sessions_are_scored_some_at_a_time_and_the_latest_are_remembered() -> None:
    """16,384 at once; of 211,600 the last 200,000 are known."""
    counted, texts = Counted(), pl.Series([f"m{number}" for number in range(460)])
    known, told = KnownScores(counted), []
    pairs = pl.select(first=pl.int_range(460 * 460) // 460, second=pl.int_range(460 * 460) % 460)
    sessions = pairs.select(pl.concat_list(pl.all().cast(pl.UInt32)).alias("messages"))["messages"]
    wanted = pairs.select(1_000.0 * pl.col("first") + pl.col("second")).to_series().to_numpy()
    for start in range(0, len(pairs), 52_900):
        told.clear()
        found = known.of(sessions[start : start + 52_900], texts, progress=partial(tell, told))
        assert (found.scores == wanted[start : start + 52_900]).all()
        assert told == [(done, 52_900) for done in (16_384, 32_768, 49_152, 52_900)]
    assert counted.calls == [16_384, 16_384, 16_384, 3_748] * 4
    known.of(sessions[-200_000:], texts)
    assert sum(counted.calls) == len(pairs)
    known.of(sessions[:10], texts)
    assert counted.calls[-1] == 10


@pytest.mark.real
def test_a_stream_of_windows_is_held_in_memory_that_does_not_grow() -> None:
    """Fifty frames of ever new windows: what is held after ten is what is held after fifty."""
    table, rng = MessageTable(), np.random.default_rng(0)
    table.push(pl.Series([f"m{number}" for number in range(200)]))
    held = []
    for section in (
        SessionSection(by="count", size=20, step=10),
        SessionSection(by="time", size=20),
    ):
        grouping, distinct, sessions = Sessionizer(section), KnownScores(Asked()), 0
        for frame in range(50):
            number = pl.int_range(frame * 500 + 1, frame * 500 + 501, dtype=pl.UInt64, eager=True)
            columns = {
                "record": number,
                "file": 0,
                "line": number,
                "anomalous": None,
                "message": rng.integers(0, 200, 500),
            }
            records = pl.DataFrame(columns).with_columns(
                time=pl.from_epoch("line"), keys=pl.lit([], dtype=pl.List(pl.String))
            )
            closed = grouping.push(
                records.with_columns(pl.col("time").dt.replace_time_zone("UTC"))
                .select(NUMBERED.keys())
                .cast(NUMBERED)
            )
            sessions += len(distinct.of(closed["messages"], table.messages).scores)
            if frame in (9, 49):
                held.append((grouping._kind._rows.estimated_size(), len(distinct._digests)))
        assert sessions > 1_200
    assert held[0] == held[1]
    assert held[2] == held[3]


def test_what_the_cache_knew_is_counted_over_all_calls() -> None:
    class Known:
        """A cache that knows everything."""

        def known(self, keys):
            return dict.fromkeys(keys, (1.5, None))

        def keep(self, scores) -> None:
            raise AssertionError

    asked = Asked()
    ours = KnownScores(asked, cache=Known())
    messages = pl.Series(["a", "b", "c"])
    for sessions in ([[0], [1], [0]], [[2], [1, 2]], [[0]]):
        ours.of(pl.Series(sessions, dtype=pl.List(pl.UInt32)), messages)
    assert (ours.from_cache, asked.sessions) == (4, [])


def test_what_is_said_besides_comes_again_from_memory_and_from_the_cache(cached) -> None:
    """Columns with values in them, in the order of the sessions, and no session is judged twice."""
    calls: list[int] = []

    def judge(sessions, messages, *, progress=None) -> Opinion:
        calls.append(len(sessions))
        length = np.array([len(session) for session in sessions], dtype=np.float64)
        minds = pl.DataFrame({"words": length / 3, "lines": length / 7}).to_struct()
        return Opinion(length, pl.DataFrame({"minds": minds, "new_words": length / 9}))

    texts = pl.Series(["a", "b"])
    sessions = column([[0], [0, 1], [0], [1, 1, 1]])
    wanted = [
        {"minds": {"words": size / 3, "lines": size / 7}, "new_words": size / 9}
        for size in (1.0, 2.0, 1.0, 3.0)
    ]
    with closing(ScoreCache("run", most=9)) as cache:
        first = KnownScores(judge, cache=cache)
        assert [first.of(sessions, texts).more.to_dicts() for _ in range(2)] == [wanted, wanted]
        assert KnownScores(judge, cache=cache).of(sessions, texts).more.to_dicts() == wanted
    assert calls == [3]
