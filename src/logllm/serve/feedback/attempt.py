"""One attempt to train a newer run: what it learns from, how it is compared, what comes of it."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from logllm.config.train import RetrainSection
from logllm.counting import plural
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.errors import ModelError
from logllm.runs.manifest import RECIPE, read_manifest
from logllm.runs.promotion import Promotion, current_run, write_promotion
from logllm.serve.feedback.answered import Answer, shares
from logllm.serve.feedback.combined_data import Unanswered, labels_lines, write_combined
from logllm.serve.feedback.contradictions import Contradiction
from logllm.serve.feedback.gate import Gate, Runs, Silence, Untaught, calls, compare

Told = Callable[[str], None]
"""Told what is under way, a sentence."""


@dataclass(frozen=True)
class Feedback:
    """What there is to learn."""

    answers: Sequence[Answer]
    """All answers to verdicts of the run, and of those that were promoted in its place."""
    quiet: Sequence[Unanswered]
    """Sessions that were judged normal, and that nobody objected to, the newest first."""
    alarms: Sequence[Unanswered]
    """Alarms that nobody answered for, of kinds that nobody called false."""
    mark: Callable[[Sequence[int], str], None]
    """Told which answers a run has learnt, and what verdicts call it, before it judges."""


@dataclass
class Outcome:
    """What came of a retraining."""

    gate: Gate
    counts: dict[str, int]
    """Answers: `given`, `overruled` (a later one counts), `known` (learnt before), `new`; of new
    ones `learnt`; `quiet` sessions."""
    contradicting: list[Contradiction] = field(default_factory=list)
    """Answers that the earlier labelled data contradict."""
    current: str = ""
    """What verdicts call the run that judged until now."""
    newer: str | None = None
    """What verdicts would call the run that was trained; none: nothing was trained."""
    considered: bool = False
    """Whether there was enough to consider; else nothing is remembered of it."""

    def as_object(self, now: datetime) -> dict[str, Any]:
        """What is remembered of it beside the run, as JSON."""
        made = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        contradicting = [contradiction.as_object() for contradiction in self.contradicting]
        return {
            "made": made,
            "promoted": self.gate.passed,
            "reasons": self.gate.refused,
            "current": self.current,
            "newer": self.newer,
            "answers": self.counts,
            "contradicting": contradicting,
            "figures": self.gate.figures,
        }


class Answers(NamedTuple):
    """Answers that count."""

    known: list[Answer]
    """Those that the current run, or one before it, has learnt."""
    new: list[Answer]


@dataclass(frozen=True)
class Attempt:
    """A run that is trained, and held against the one that judges now."""

    run: Path
    prepared: Prepared
    current: Detector
    feedback: Feedback
    how: RetrainSection

    def made(self, answers: Answers, outcome: Outcome, *, promotion: Promotion, told: Told) -> None:
        """Train, compare, promote or refuse; what is refused leaves no folder."""
        folder = self._free_folder()
        keep = False
        try:
            # First what runs say of answers that they have not learnt, then one that has learnt
            # all. A method that takes minutes is trained once for each share of the answers; one
            # that takes hours, and so can resume, once: it learns half, and is judged by the other.
            quick = not self.current.method.resumes
            count = self.how.shares if quick else 2
            divided = shares(answers.new, count=count, seed=self.how.seed)
            learnt = [*answers.known, *(answers.new if quick else divided[0])]
            untaught: Untaught | None = None
            if quick:
                untaught = self._cross_judged(folder, answers.known, divided=divided, told=told)
            told(f"training {folder} on the earlier data and {plural(len(learnt), 'answer')}")
            newer = self._trained(folder, learnt)

            # Of quiet sessions every second one was learnt: the others are new to both runs.
            told(f"comparing it with {self.current.model}")
            untaught = untaught or Untaught(divided[1], calls(newer, divided[1]))
            quiet = self.feedback.quiet
            silence = Silence(quiet[1::2], self.feedback.alarms)
            outcome.newer = newer.model
            newly_learnt = len(learnt) - len(answers.known)
            outcome.counts |= {"learnt": newly_learnt, "quiet": len(quiet)}
            runs = Runs(self.current, newer)
            outcome.gate = compare(
                runs, self.prepared, untaught=untaught, silence=silence, how=self.how
            )

            # A refusal is noted beside the run as well, with its figures.
            now = datetime.now(UTC)
            promotion = promotion.noted(outcome.as_object(now))
            if outcome.gate.passed:
                # The answers first: if they name a run that never came to judge, they count as new.
                self.feedback.mark([answer.number for answer in learnt], newer.model)
                promotion = promotion.to(folder.name, now=now)
            write_promotion(self.run, promotion)
            keep = outcome.gate.passed
        finally:
            if not keep:
                _remove(folder)

    def _cross_judged(
        self,
        folder: Path,
        known: list[Answer],
        *,
        divided: list[list[Answer]],
        told: Told,
    ) -> Untaught:
        """Each share of the new answers, judged by a run that has learnt from the others."""
        answers: list[Answer] = []
        called = []
        for number, share in enumerate(divided, start=1):
            told(
                f"learning without a share of the answers, to judge by it: {number} of"
                f" {len(divided)}"
            )
            others = [answer for other in divided if other is not share for answer in other]
            # Gone as soon as it has judged: a run of its own for each share may be gigabytes.
            without = folder.with_name(f"{folder.name}.without-{number}")
            try:
                taught = self._trained(without, [*known, *others])
                called.append(calls(taught, share))
            finally:
                _remove(without)
            answers += share
        return Untaught(answers, np.concatenate(called))

    def _trained(self, folder: Path, answers: Sequence[Answer]) -> Detector:
        """A run that has learnt the earlier data, answers, and half of the quiet sessions.

        Raises:
            ModelError: training failed; what it said stands on standard error.
        """
        data = _data_beside(folder)
        # A train part in which some sessions have labels of lines and others none teaches neither.
        if labels_lines(self.prepared):
            answers = [self._with_guilty(answer) for answer in answers]
        write_combined(data, self.prepared, answers=answers, quiet=self.feedback.quiet[::2])
        # A process of its own, for whoever judges meanwhile keeps its memory, and its graphics
        # processor's when this one ends.
        recipe = current_run(self.run) / RECIPE
        train = [sys.executable, "-m", "logllm", "train"]
        command = [*train, str(recipe), "--data", str(data), "--out", str(folder)]
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

        # Its exit code does not tell: a run that misses its recipe's target is there all the same.
        if not folder.is_dir() or read_manifest(folder).get("state") != "done":
            words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise ModelError(f"{folder} could not be trained, and nothing has changed: {words}")
        return Detector.load(folder)

    def _free_folder(self) -> Path:
        """The next folder that is not there: `app.2`, `app.3`."""
        # The run itself counts as the first. A folder that is there stays: verdicts name it.
        number = 2
        while True:
            folder = self.run.with_name(f"{self.run.absolute().name}.{number}")
            if not folder.exists():
                return folder
            number += 1

    def _with_guilty(self, answer: Answer) -> Answer:
        """An answer that says which lines are guilty.

        Where nobody did, it is the line that the current run points at.
        """
        if answer.guilty is not None or not answer.anomalous:
            return answer

        # The answer's messages are the table, and the session all of its rows in order.
        rows = np.arange(len(answer.messages))
        messages = pl.Series(answer.messages, dtype=pl.String)
        scores = self.current.score_lines([rows], messages)[0]
        guilty = tuple(bool(score == scores.max()) for score in scores)
        return replace(answer, guilty=guilty)


def _data_beside(folder: Path) -> Path:
    """Where the data lie that a run was trained on."""
    return folder.with_name(f"{folder.name}.data")


def _remove(folder: Path) -> None:
    """Delete a run, and the data that it was trained on."""
    for path in (folder, _data_beside(folder)):
        shutil.rmtree(path, ignore_errors=True)
