"""Which sessions of a ranked log are unusual in one way."""

import numpy as np
import polars as pl

from logllm.detect.unusual import UnusualSession, unusual

MESSAGES = pl.Series(["open", "pay", "close", "disk is full"])
LINES = {0: 0.01, 1: 0.07, 2: 0.01, 3: 0.2}


def told(*sessions: tuple[list[int], float]) -> list[UnusualSession]:
    """What is said of sessions, by their messages and scores."""
    rows = [messages for messages, _ in sessions]
    verdicts = pl.DataFrame(
        {
            "session": [f"s{place}" for place in range(len(sessions))],
            "score": [score for _, score in sessions],
            "messages": rows,
            "lines": [list(range(1, len(row) + 1)) for row in rows],
        },
        schema_overrides={"messages": pl.List(pl.UInt32)},
    )

    def score_lines(sessions, messages) -> list[np.ndarray]:
        return [np.array([LINES[row] for row in session]) for session in sessions]

    return unusual(verdicts, MESSAGES, score_lines=score_lines, sessions=10, lines=3)


def test_what_lacks_the_same_is_alike_and_not_like_whole_sessions() -> None:
    # Two lack their end, whatever their lines are; an ordinary line makes two others unusual.
    groups = told(([0, 1], 0.16823), ([0], 0.16824), ([0, 1, 2], 0.07), ([1, 0, 2], 0.071))
    ways = [(group.session, group.alike, group.lacks) for group in groups]
    assert ways == [("s1", 1, True), ("s3", 1, False)]


def test_other_scores_of_what_is_lacking_are_other_ways() -> None:
    groups = told(([0], 0.1682), ([1], 0.2))
    assert [(group.session, group.alike) for group in groups] == [("s1", 0), ("s0", 0)]


def test_a_line_that_tells_puts_sessions_together_whatever_their_scores() -> None:
    groups = told(([0, 3], 0.2), ([3, 2], 0.25))
    assert [(group.session, group.alike, group.lacks) for group in groups] == [("s1", 1, False)]
