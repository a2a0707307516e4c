"""What thirty answers to a shifted log are worth.

Right ones, wrong ones, and ones that a coin gave.

    python benchmarks/feedback.py [--log changed] [--seeds 5] [--answers right,wrong,coin]
        [--contradicting 1] [--out feedback.json]

A run of method `words` has learnt the PostgreSQL set. It judges another log of the set: `changed`
is of another application on a server with another prefix and other settings, `german` of a server
that speaks German. Thirty of its sessions are answered for: fifteen verdicts that are wrong and
fifteen alarms that are right, drawn by the seed. Then the run is retrained as `logllm retrain` does
it. What it is worth then is told on the other sessions of that log, of which nothing was learnt,
with 95 % intervals of a paired bootstrap. `--contradicting 1` trains although the labelled data
contradict answers, to see what the gate says by itself.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from postgres_figures import logllm, prepare
from watching import Load

from logllm.config.train import RetrainSection
from logllm.datasets.prepared import Prepared
from logllm.datasets.published.packaged import PACKAGED
from logllm.detect.detector import Detector
from logllm.evaluate.paired import Difference, f1_difference, paired_difference
from logllm.methods.prepared_part import Part
from logllm.metrics import Labels, Scores, measure
from logllm.serve.feedback.answered import Answer
from logllm.serve.feedback.attempt import Feedback
from logllm.serve.feedback.combined_data import Unanswered
from logllm.serve.feedback.retraining import retrain
from logllm.sessions.message_table import Rows, kinds_of

ANSWERED = 30
_SOAKED = 3
"""Seeds of which `make soak` tries right answers, and wrong ones."""
QUIET_SHARE = 16
"""Of one in so many normal sessions a watch keeps the messages."""
NOW = datetime(2026, 11, 27, tzinfo=UTC)


class Shifted(NamedTuple):
    """A log that the run has not learnt from, as it judges it."""

    part: Part
    labels: Labels
    scores: Scores
    called: Labels
    """Which sessions it calls anomalous."""

    @classmethod
    def of(cls, run: Path, data: Path) -> "Shifted":
        """Judge a log's test part."""
        part = Part.of(Prepared.load(data), "test")
        detector = Detector.load(run)
        scores = detector.score(part.sessions, part.messages)
        labels: Labels = np.asarray(part.labels, dtype=np.bool_)
        return cls(part, labels, scores, scores >= detector.threshold)

    def texts(self, row: int) -> tuple[str, ...]:
        """A session's messages."""
        return tuple(self.part.messages.gather(self.part.sessions[row]))


class Drawn(NamedTuple):
    """Sessions of a shifted log."""

    answered: Rows
    quiet: Rows
    """Judged normal, and of those whose messages are kept."""
    alarms: Rows
    """Others that are called anomalous."""
    rest: Rows
    """What the newer run is judged by."""


def drawn(log: Shifted, *, seed: int) -> Drawn:
    """Sessions that are answered for, and those that are not."""
    dice = np.random.default_rng(seed)
    wrong = np.flatnonzero(log.called != log.labels)
    right_alarms = np.flatnonzero(log.called & log.labels)
    half = ANSWERED // 2
    answered = np.concatenate(
        [dice.permutation(wrong)[:half], dice.permutation(right_alarms)[:half]]
    )
    silent = dice.permutation(np.setdiff1d(np.flatnonzero(~log.called), answered))
    quiet = silent[: len(silent) // QUIET_SHARE]
    alarms = np.setdiff1d(np.flatnonzero(log.called), answered)
    rest = np.setdiff1d(np.arange(len(log.labels)), np.concatenate([answered, quiet]))
    return Drawn(answered, quiet, alarms, rest)


def said(log: Shifted, rows: Rows, *, answers: str, seed: int) -> Labels:
    """What a person says of sessions."""
    labels = log.labels[rows]
    if answers == "wrong":
        return ~labels
    if answers == "coin":
        return np.random.default_rng([seed, 1]).random(len(rows)) < 0.5
    return labels


def feedback(log: Shifted, sessions: Drawn, *, says: Labels, kinds: Sequence[str]) -> Feedback:
    """What a store would hold for the run to learn; a right answer names the guilty lines."""
    given = []
    for number, (row, anomalous) in enumerate(
        zip(sessions.answered.tolist(), says.tolist(), strict=True)
    ):
        lines = None if log.part.line_labels is None else tuple(log.part.line_labels[row].tolist())
        guilty = lines if anomalous and lines is not None and any(lines) else None
        given.append(Answer(number, "app", str(row), anomalous, log.texts(row), guilty, NOW))
    called_false = {
        kinds[row] for row, anomalous in zip(sessions.answered, says, strict=True) if not anomalous
    }
    others = [row for row in sessions.alarms.tolist() if kinds[row] not in called_false]
    quiet, alarms = (
        [Unanswered(str(row), log.texts(row), NOW) for row in rows]
        for rows in (sessions.quiet.tolist(), others)
    )
    return Feedback(given, quiet, alarms, lambda numbers, model: None)


def kinds_told(run: Path, log: Shifted) -> list[str]:
    """Of each session the kind of its most telling line, as a store has it of anomalous ones."""
    scores = Detector.load(run).score_lines(log.part.sessions, log.part.messages)
    foremost = [
        int(rows[of_lines.argmax()])
        for rows, of_lines in zip(log.part.sessions, scores, strict=True)
    ]
    return kinds_of(log.part.messages.gather(pl.Series(foremost, dtype=pl.UInt32))).to_list()


def gained(run: Path, log: Shifted, *, rest: Rows) -> dict[str, Any]:
    """What the newer run is worth on the rest, and how much more that is."""
    newer = Detector.load(run)
    sessions = [log.part.sessions[row] for row in rest]
    labels, before = log.labels[rest], log.scores[rest]
    after = newer.score(sessions, log.part.messages)
    old_threshold = float(log.scores[log.called].min(initial=1.0))
    figures = [
        measure(before, labels, threshold=old_threshold),
        measure(after, labels, threshold=newer.threshold),
    ]
    f1 = f1_difference(after >= newer.threshold, log.called[rest], labels=labels)
    precision = paired_difference(after, before, labels=labels)
    return {
        "f1": [round(one.f1, 4) for one in figures] + ends(f1),
        "average_precision": (
            [round(one.average_precision or 0.0, 4) for one in figures] + ends(precision)
        ),
    }


def ends(difference: Difference) -> list[float]:
    """A difference and its interval."""
    return [round(value, 4) for value in (difference.estimate, difference.lower, difference.upper)]


def attempt(
    source: Path, log: Shifted, *, seed: int, answers: str, how: RetrainSection
) -> dict[str, Any]:
    """Retrain with answers of one seed, and say what came of it."""
    sessions = drawn(log, seed=seed)
    says = said(log, sessions.answered, answers=answers, seed=seed)
    learn = feedback(log, sessions, says=says, kinds=kinds_told(source / "app", log))
    with tempfile.TemporaryDirectory() as scratch:
        run = shutil.copytree(source / "app", Path(scratch) / "app")
        outcome = retrain(run, learn, data=source / "test", how=how, told=lambda words: None)
        told = {
            "seed": seed,
            "answers": answers,
            "given": len(says),
            "called_anomalous": int(says.sum()),
            "contradicting": len(outcome.contradicting),
            "promoted": outcome.gate.passed,
            "refused": outcome.gate.refused,
            "gate": outcome.gate.figures,
        }
        return told | (gained(run, log, rest=sessions.rest) if outcome.gate.passed else {})


def at_share(load: Load) -> dict[str, Any]:
    """For `make soak`: right answers of some seeds, and as many that are all wrong."""
    seeds = max(1, round(_SOAKED * load.share))
    source = load.folder
    log = _learnt(source, "changed")
    told = {}
    for answers in ("right", "wrong"):
        attempts = [
            attempt(source, log, seed=seed, answers=answers, how=RetrainSection(seed=seed))
            for seed in range(seeds)
        ]
        promoted = [one for one in attempts if one["promoted"]]
        told[answers] = {
            "attempts": seeds,
            "promoted": len(promoted),
            "f1": [one["f1"] for one in promoted],
            "average_precision": [one["average_precision"] for one in promoted],
        }
    return told


def _learnt(source: Path, name: str) -> Shifted:
    """A run that has learnt the PostgreSQL set, and how it judges another log of the set.

    The run is the folder `app` below the source.
    """
    for part in ("test", name):
        prepare(PACKAGED["postgres"].folder, part, out=source / part)
    logllm("train", "words", "--data", source / "test", "--out", source / "app")
    return Shifted.of(source / "app", source / name)


def main() -> None:
    """Measure, and print a line an attempt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", choices=("changed", "german"), default="changed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--answers", default="right,wrong,coin")
    parser.add_argument("--contradicting", type=float, default=RetrainSection().contradicting)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    report = []
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)
        log = _learnt(source, given.log)
        for seed in range(given.seeds):
            how = RetrainSection(seed=seed, contradicting=given.contradicting)
            for answers in given.answers.split(","):
                report.append(attempt(source, log, seed=seed, answers=answers, how=how))
                print(json.dumps(report[-1]), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps({"log": given.log, "attempts": report}, indent=2) + "\n")


if __name__ == "__main__":
    main()
