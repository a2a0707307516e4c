"""The gate: a newer run judges only where it is better on answers, and no worse on labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from logllm.config.train import RetrainSection
from logllm.counting import plural
from logllm.datasets.prepared import Prepared
from logllm.evaluate.paired import Difference, f1_difference, paired_difference, share_difference
from logllm.methods.prepared_part import Part
from logllm.metrics import Labels, Scores, measure
from logllm.serve.feedback.answered import Answer
from logllm.serve.feedback.combined_data import Unanswered
from logllm.sessions.message_table import MessageTable, Rows


class Scoring(Protocol):
    """A run that judges, such as a `Detector`."""

    @property
    def threshold(self) -> float: ...  # noqa: D102

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores: ...  # noqa: D102


class Runs(NamedTuple):
    """The two runs that are compared."""

    current: Scoring
    newer: Scoring


@dataclass
class Gate:
    """What was compared, and what that came to."""

    figures: dict[str, Any] = field(default_factory=dict)
    """Figures by what they were measured on: `before`, `answers`, `quiet`, `alarms`."""
    refused: list[str] = field(default_factory=list)
    """Why the newer run may not judge; nothing where it may."""

    @property
    def passed(self) -> bool:
        """Whether the newer run may judge."""
        return not self.refused


class Untaught(NamedTuple):
    """Answers, and what newer runs say of them that have not learnt them."""

    answers: Sequence[Answer]
    called: Labels
    """Which of them are called anomalous."""


class Silence(NamedTuple):
    """Sessions that nobody said anything of, and that are in nobody's training."""

    quiet: Sequence[Unanswered]
    """Judged normal."""
    alarms: Sequence[Unanswered]
    """Judged anomalous, of kinds that nobody called false."""


class _Sessions(NamedTuple):
    """Sessions as runs take them."""

    rows: list[Rows]
    messages: pl.Series
    """The message table."""


class _Judged(NamedTuple):
    """What both runs say of the same sessions."""

    scores: tuple[Scores, Scores]
    """Scores of the current run, and of the newer one."""
    called: tuple[Labels, Labels]
    """Which sessions each of them calls anomalous."""
    thresholds: tuple[float, float]

    @property
    def size(self) -> int:
        """How many sessions they are."""
        return len(self.called[0])


def part_before(prepared: Prepared) -> str:
    """The part of the earlier data that neither run has learnt from.

    It is `test` or, where that is empty, `validation`.
    """
    return "test" if prepared.part("test").height else "validation"


def compare(
    runs: Runs,
    prepared: Prepared,
    *,
    untaught: Untaught,
    silence: Silence,
    how: RetrainSection,
) -> Gate:
    """Judge by both runs what neither has learnt from, and compare.

    Args:
        runs: the one that judges now, and the one that may.
        prepared: the earlier labelled data.
        untaught: new answers, and what runs that know others but not these say of them.
        silence: what nobody answered for.
        how: how much worse or better it must be.
    """
    gate = Gate()
    # Every comparison is made, and every reason collected: a person mends all of them at once.
    part = Part.of(prepared, part_before(prepared))
    before = _judged(runs, _Sessions(part.sessions, part.messages))
    if part.labels is None:
        _no_more_alarms(gate, before, how=how)
    else:
        _no_harm(gate, before, labels=part.labels, how=how)
    gate.figures["before"]["part"] = part_before(prepared)

    called = calls(runs.current, untaught.answers)
    _gain(gate, called, untaught=untaught, how=how)
    # Of what nobody answered for there may be nothing.
    if silence.quiet:
        quiet = _judged(runs, _sessions(silence.quiet))
        _still_quiet(gate, quiet, how=how)
    if silence.alarms:
        alarms = _judged(runs, _sessions(silence.alarms))
        _still_loud(gate, alarms, how=how)
    return gate


def calls(run: Scoring, answers: Sequence[Answer]) -> Labels:
    """Which of the sessions that were answered for a run calls anomalous."""
    called: Labels = run.score(*_sessions(answers)) >= run.threshold
    return called


def _sessions(listed: Sequence[Answer] | Sequence[Unanswered]) -> _Sessions:
    """Sessions that were answered for, or were not, as runs take them."""
    # A table of their own: messages that several share are scored once.
    table = MessageTable()
    rows: list[Rows] = []
    for session in listed:
        texts = pl.Series(session.messages, dtype=pl.String)
        numbers = table.push(texts).to_numpy()
        rows.append(numbers.astype(np.int64))
    return _Sessions(rows, table.messages)


def _judged(runs: Runs, sessions: _Sessions) -> _Judged:
    """What both runs say of some sessions."""
    # Each by its own threshold: that is how people would meet it.
    current, newer = (run.score(*sessions) for run in runs)
    thresholds = (runs.current.threshold, runs.newer.threshold)
    called = (current >= thresholds[0], newer >= thresholds[1])
    return _Judged((current, newer), called, thresholds)


def _no_harm(gate: Gate, judged: _Judged, *, labels: Labels, how: RetrainSection) -> None:
    """On earlier labelled data F1 and average precision may be hardly lower."""
    current, newer = judged.scores
    called, called_now = judged.called
    of_runs = zip(judged.scores, judged.thresholds, strict=True)
    measured = [measure(scores, labels, threshold=threshold) for scores, threshold in of_runs]

    # The newer run's figure less the current one's, drawn from the same sessions: that two runs
    # err on the same ones makes the interval much narrower than those of the two figures.
    f1 = f1_difference(called_now, called, labels=labels, seed=how.seed)
    average_precision = paired_difference(newer, current, labels=labels, seed=how.seed)
    differences = {"f1": f1, "average_precision": average_precision}
    anomalous = int(labels.sum())
    figures: dict[str, Any] = {"sessions": len(labels), "anomalous": anomalous}
    for name, difference in differences.items():
        pair = [getattr(metrics, name) for metrics in measured]
        figures[name] = _figure(pair, difference)
        # So written, an interval that could not be worked out (NaN) refuses as well.
        if not difference.lower >= -how.harm:
            in_words = name.replace("_", " ")
            what = f"on the earlier labelled data its {in_words} may be lower"
            shown = _interval(difference)
            gate.refused.append(f"{what}: {_instead(pair)}, the difference {shown}")
    gate.figures["before"] = figures


def _no_more_alarms(gate: Gate, judged: _Judged, *, how: RetrainSection) -> None:
    """Without earlier labels, hardly more of the earlier sessions may be called anomalous."""
    pair, difference = _alarms(judged, how=how)
    gate.figures["before"] = {"sessions": judged.size, "alarms": _figure(pair, difference)}
    if not difference.upper <= how.harm:
        what = "it calls more of the earlier sessions anomalous"
        shown = _interval(difference)
        gate.refused.append(f"{what}: {_instead(pair)}, the difference {shown}")


def _gain(gate: Gate, called: Labels, *, untaught: Untaught, how: RetrainSection) -> None:
    """On new answers the newer run must be right more often than the current run.

    `called` is what the current run calls anomalous of them.
    """
    answers = np.array([answer.anomalous for answer in untaught.answers], dtype=np.bool_)
    right = called == answers
    right_now = untaught.called == answers
    difference = share_difference(right_now, right, seed=how.seed)
    # Shares of answers on which each run is right: 0.5 is what a coin would have of a balanced lot.
    pair = [float(right.mean()), float(right_now.mean())]
    count = len(answers)
    anomalous = int(answers.sum())
    figure = _figure(pair, difference)
    gate.figures["answers"] = {"sessions": count, "anomalous": anomalous, "right": figure}
    # What others taught does not hold for these: people disagree, or the log cannot tell.
    now = int(right_now.sum())
    if pair[1] < how.agreeing:
        what = "the answers disagree with one another: a run that learnt the others is right on"
        gate.refused.append(f"{what} {now} of {count} alone")
    if not difference.lower > 0:
        what = f"it is not clearly better on {plural(count, 'answer')} that it has not learnt"
        instead = f"right on {now} instead of {int(right.sum())}"
        shown = _interval(difference)
        gate.refused.append(f"{what}: {instead}, the difference of the shares {shown}")


def _still_quiet(gate: Gate, judged: _Judged, *, how: RetrainSection) -> None:
    """Of sessions that nobody objected to, not many more may surely alarm.

    A few more may: among them are anomalies that were missed.
    """
    pair, difference = _alarms(judged, how=how)
    gate.figures["quiet"] = {"sessions": judged.size, "alarms": _figure(pair, difference)}
    # Only where it is sure: among sessions that nobody looked at some anomalies were missed, and a
    # better run finds them.
    if difference.lower > how.alarms:
        newer = int(judged.called[1].sum())
        what = f"it calls {newer} of {plural(judged.size, 'session')} anomalous"
        remedy = "give answers on normal sessions too, or label more of the log"
        gate.refused.append(f"{what} that were judged normal and never disputed: {remedy}")


def _still_loud(gate: Gate, judged: _Judged, *, how: RetrainSection) -> None:
    """Of alarms of kinds that nobody called false, not many may surely vanish."""
    pair, difference = _alarms(judged, how=how)
    gate.figures["alarms"] = {"sessions": judged.size, "alarms": _figure(pair, difference)}
    # Here, too, only where it is sure: some of these were false alarms that nobody answered for.
    if difference.upper < -how.silence:
        current, newer = (int(called.sum()) for called in judged.called)
        what = f"it calls {newer} of {plural(judged.size, 'alarm')} anomalous"
        which = "that nobody answered for, and that are of other kinds than those called false"
        gate.refused.append(
            f"{what} {which}; the current run calls {current} so: answer for some of them"
        )


def _alarms(judged: _Judged, *, how: RetrainSection) -> tuple[list[float], Difference]:
    """The share of sessions that each run calls anomalous, and the newer share less the current."""
    current, newer = judged.called
    difference = share_difference(newer, current, seed=how.seed)
    shares = [float(current.mean()), float(newer.mean())]
    return shares, difference


def _instead(pair: Sequence[float | None]) -> str:
    """A figure of the newer run, and that of the current one."""
    current, newer = pair
    return f"{_shown(newer)} instead of {_shown(current)}"


def _figure(pair: Sequence[float | None], difference: Difference) -> dict[str, Any]:
    """A figure of both runs, and the difference with its interval."""
    estimate_and_ends = (difference.estimate, difference.lower, difference.upper)
    rounded = [round(value, 6) for value in estimate_and_ends]
    return {"current": pair[0], "newer": pair[1], "difference": rounded}


def _shown(value: float | None) -> str:
    """A figure for people."""
    return "-" if value is None else f"{value:.3f}"


def _interval(difference: Difference) -> str:
    """A difference for people.

    >>> _interval(Difference(0.1, -0.02, 0.2, 0.9))
    '+0.100 (95 %: -0.020 to +0.200)'
    """
    return f"{difference.estimate:+.3f} (95 %: {difference.lower:+.3f} to {difference.upper:+.3f})"
