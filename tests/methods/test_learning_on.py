"""Novelty goes on to learn: what it learnt is usual, bounded and forgotten again, and a restart
changes nothing."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.methods.contract import Bag
from logllm.methods.learning_on import LearningNovelty
from tests.methods.test_novelty import (
    CLOSE,
    FAILED,
    LIKE,
    MESSAGES,
    NEW,
    OPEN,
    USUAL,
    WRITE,
    learnt,
    scored,
)

PROBES = [
    [OPEN, WRITE, CLOSE],
    [OPEN, WRITE, CLOSE, NEW],
    [OPEN, FAILED, WRITE, CLOSE],
    [OPEN, WRITE, CLOSE, LIKE],
    [OPEN],
]
HEARD = [OPEN, WRITE, CLOSE, NEW]


@pytest.fixture(scope="module")
def run():
    return learnt(USUAL * 100)


def bag(session, sessions=1):
    """A session given by its messages."""
    kinds, times = np.unique(session, return_counts=True)
    return Bag(
        {MESSAGES[int(kind)]: int(often) for kind, often in zip(kinds, times, strict=True)},
        sessions,
    )


def test_it_scores_as_the_run_does_until_it_learns(run) -> None:
    more = LearningNovelty(run)
    assert scored(more, *PROBES).tolist() == scored(run, *PROBES).tolist()
    more.learn([])
    assert scored(more, *PROBES).tolist() == scored(run, *PROBES).tolist()


def test_what_it_learnt_is_usual_and_the_run_stays_as_it_is(run) -> None:
    before = scored(run, *PROBES).tolist()
    more = run.learning_on()
    assert scored(more, HEARD)[0] >= 0.5
    told = more.learn([bag(HEARD, 60)])
    assert (told.sessions, told.kinds) == (60, (MESSAGES[NEW],))
    assert scored(more, HEARD)[0] < 0.5
    assert scored(more, [OPEN, FAILED, WRITE, CLOSE])[0] >= 0.5
    assert scored(run, *PROBES).tolist() == before
    assert more.knows([MESSAGES[NEW], MESSAGES[OPEN]]) == [False, True]
    assert more.lacks([MESSAGES[NEW], MESSAGES[FAILED]]) == [MESSAGES[FAILED]]


def test_what_was_learnt_makes_its_like_less_new(run) -> None:
    more = LearningNovelty(run)
    table = pl.concat([MESSAGES, pl.Series(["cache warmed again"])])
    session = [OPEN, WRITE, CLOSE, len(MESSAGES)]
    before = scored(more, session, messages=table)[0]
    more.learn([bag(HEARD, 100)])
    assert scored(more, session, messages=table)[0] < before


def test_a_session_called_normal_is_learnt_until_the_like_of_it_is_none(run) -> None:
    failed = [OPEN, FAILED, WRITE, CLOSE]
    more = LearningNovelty(run)
    assert more.doubtful([MESSAGES[FAILED], MESSAGES[NEW], MESSAGES[OPEN]]) == [MESSAGES[FAILED]]
    told = more.learn_normal(bag(failed), below=0.5)
    assert 1 <= told.sessions <= 25
    assert scored(more, failed)[0] < 0.5
    assert more.doubtful([MESSAGES[FAILED]]) == []
    more.forget([MESSAGES[FAILED], MESSAGES[OPEN]])
    assert scored(more, failed)[0] >= 0.5
    assert more.doubtful([MESSAGES[FAILED]]) == [MESSAGES[FAILED]]
    assert scored(more, [OPEN, WRITE, CLOSE])[0] < 0.2  # what the run has learnt is not forgotten


def test_what_came_since_weighs_no_more_than_training_and_is_forgotten_when_it_comes_no_more(
    run,
) -> None:
    more = LearningNovelty(run)
    more.learn([bag(HEARD, 3)])
    for _ in range(10):
        more.learn([bag(session, 60) for session in USUAL])
        assert more.state()["sizes"][0] <= 200
    assert more.lacks([MESSAGES[NEW]]) == [MESSAGES[NEW]]
    assert more.state()["kinds"] == []
    assert scored(more, HEARD)[0] >= 0.5


def test_ever_new_messages_take_no_more_memory(run) -> None:
    more = LearningNovelty(run, most_kinds=10)
    told = [
        more.learn([Bag({MESSAGES[OPEN]: 1, f"says {number * 'x'}": 1})]).sessions
        for number in range(40)
    ]
    assert told == [1] * 10 + [0] * 30
    assert len(more.state()["kinds"]) == 10
    assert more.learn([bag(USUAL[0])]).sessions == 1


SESSIONS = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=6)
STEPS = st.lists(
    st.tuples(st.sampled_from(["learn", "normal", "forget"]), SESSIONS, st.booleans()), max_size=8
)


@pytest.mark.real
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_a_restart_at_any_time_changes_no_score(steps) -> None:
    run = learnt(USUAL * 4)
    whole, halting = LearningNovelty(run), LearningNovelty(run)
    for what, sessions, restart in steps:
        for method in (whole, halting):
            if what == "learn":
                method.learn([bag(session) for session in sessions])
            elif what == "normal":
                method.learn_normal(bag(sessions[0]), below=0.5)
            else:
                method.forget([MESSAGES[row] for row in sessions[0]])
        if restart:
            state = json.loads(json.dumps(halting.state()))
            halting = LearningNovelty(run)
            halting.restore(state)
        assert scored(whole, *PROBES).tolist() == scored(halting, *PROBES).tolist()
        assert whole.state() == halting.state()
