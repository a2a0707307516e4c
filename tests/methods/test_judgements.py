"""Thresholds of what was held out: lines are called anomalous within anomalous sessions alone."""

import numpy as np
import pytest

from logllm.methods.judgements import Judged, Judgement, line_threshold

CALLED_FROM = 0.0  # a logit


def judgement(*, verdicts: list[float], guilty: float = 3.0, innocent: float = -3.0) -> Judgement:
    """Sessions of two lines, the first of which is guilty."""
    lines = np.tile([guilty, innocent], len(verdicts))
    labels = np.tile([True, False], len(verdicts))
    every = np.ones(len(verdicts))
    return Judgement(
        {"one": np.array(verdicts)},
        labels=every > 0,
        weights=every,
        sizes=np.full(len(verdicts), 2, dtype=np.uint32),
        lines=Judged(lines, labels, np.ones(len(lines))),
    )


def test_a_line_says_no_more_than_its_session_and_nothing_in_a_normal_one() -> None:
    judged = judgement(verdicts=[1.0, -1.0]).of_lines({"one": 1.0}, called_from=CALLED_FROM)
    assert judged is not None
    assert judged.values.tolist() == [1.0, -3.0, -np.inf, -np.inf]


@pytest.mark.parametrize("scale", ["logits", "scores"])
def test_the_threshold_has_the_best_f1_and_the_missed_count(scale) -> None:
    named = {"guilty": 3.0, "innocent": -3.0}
    if scale == "scores":
        named = {"guilty": 0.9, "innocent": 0.1}
    sessions = judgement(verdicts=[4.0] * 12 + [-4.0] * 4, **named)
    judged = sessions.of_lines({"one": 1.0}, called_from=CALLED_FROM)
    chosen = line_threshold([judged], scale=scale, how="so")
    assert chosen is not None
    assert chosen.value == pytest.approx(0.5)
    assert chosen.how == "so"
    assert (chosen.sessions, chosen.anomalous) == (32, 16)
    assert chosen.f1 == pytest.approx(
        2 * 12 / (12 + 16)
    )  # four guilty lines are in normal sessions


def test_lines_that_all_say_the_same_are_called_with_their_session() -> None:
    sessions = judgement(verdicts=[4.0] * 12 + [-4.0] * 4, guilty=1.0, innocent=1.0)
    judged = sessions.of_lines({"one": 1.0}, called_from=CALLED_FROM)
    chosen = line_threshold([judged], scale="logits", how="so")
    assert chosen is not None
    assert chosen.value == pytest.approx(0.5)  # a logit of 0: one below theirs


def test_without_an_anomalous_session_there_is_none() -> None:
    judged = judgement(verdicts=[-1.0] * 16).of_lines({"one": 1.0}, called_from=CALLED_FROM)
    assert line_threshold([judged], scale="logits", how="so") is None
    assert line_threshold([], scale="logits", how="so") is None
