"""A run learns from answers: trained apart, held against the gate, promoted or refused."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from logllm.config.train import RetrainSection
from logllm.counting import agreeing, plural
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.errors import DataError, ModelError
from logllm.runs.manifest import RECIPE, SHIPPED, model_name, read_manifest
from logllm.runs.promotion import (
    Promotion,
    current_run,
    folder_of,
    home_of,
    read_promotion,
    write_promotion,
)
from logllm.serve.feedback.answered import Answer, counting, shares
from logllm.serve.feedback.combined_data import Unanswered, labels_lines, write_combined
from logllm.serve.feedback.contradictions import Contradiction, contradictions
from logllm.serve.feedback.gate import Gate, Runs, Silence, Untaught, calls, compare, part_before
from logllm.storage import locked

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


def retrain(
    run: Path,
    feedback: Feedback,
    *,
    data: Path | None,
    how: RetrainSection,
    told: Told,
) -> Outcome:
    """Train a run on its labelled data and on answers; promote the new one if it passes the gate.

    Args:
        run: what is named when it is to judge; whatever stands in its place is the current one.
        feedback: what there is to learn.
        data: the prepared data that `run` was trained on; none: where they were the last time.
        how: what is learnt from, and what the gate asks.
        told: told what is under way.

    Raises:
        DataError: the data are not those of the run, or cannot be read.
        ModelError: the run cannot be retrained in its place, or training failed.
    """
    with _alone(run):
        promotion = read_promotion(run) or Promotion(run.absolute().name)

        # Where the data were the last time is remembered, so that `--data` is needed once.
        remembered = Path(promotion.data) if promotion.data else None
        prepared = _data_of(run, data or remembered)
        promotion = replace(promotion, data=str(prepared.folder.absolute()))

        # Answers are looked at before anything is trained, which takes minutes to hours.
        current = Detector.load(run)
        considered = _considered(run, feedback, prepared=prepared, promotion=promotion, how=how)
        outcome, answers = considered
        outcome.current = current.model
        if outcome.gate.passed:
            attempt = _Attempt(run, prepared, current, feedback, how)
            attempt.made(answers, outcome, promotion=promotion, told=told)
        elif outcome.considered:
            # What was refused for its answers is remembered as well: the page shows why.
            write_promotion(run, promotion.noted(outcome.as_object(_now())))
        return outcome


def roll_back(run: Path) -> Promotion:
    """Go back to the previous run.

    Raises:
        ModelError: there is none, or it is not there any more.
    """
    with _alone(run):
        promotion = read_promotion(run) or Promotion(run.absolute().name)
        back = promotion.back(run=run, now=_now())
        read_manifest(folder_of(run, back.current))  # raises where it is gone
        write_promotion(run, back)
        return back


def names_of(run: Path) -> Callable[[str], bool]:
    """Tells by what a verdict calls its run whether that is this one, or stands in its place."""
    # A run is trained as `app`, and the next ones as `app.2`, `app.3`; verdicts call it
    # `app.2@1f3c...`, with the hash of what judges.
    own = {read_manifest(run)["name"], run.absolute().name}
    newer = re.compile(re.escape(run.absolute().name) + r"\.\d+")

    def ours(model: str) -> bool:
        name = model.rpartition("@")[0]
        return name in own or newer.fullmatch(name) is not None

    return ours


def _now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Nobody else retrains this run meanwhile.

    Raises:
        ModelError: somebody does, or the run cannot be retrained in its place.
    """
    if str(run) == SHIPPED and not run.exists():
        commands = (
            "`logllm prepare postgres --out DATA` and `logllm train postgres --data DATA --out RUN`"
        )
        remedy = f"{commands} make one of your own"
        raise ModelError(f"the run {run} comes with logllm and stays as it is: {remedy}")

    # `app.2` is judged by under the name of `app`, where promotions are noted.
    read_manifest(run)
    home = home_of(run)
    if home is not None:
        raise ModelError(f"{run} stands, or stood, in the place of {home}: name {home}")
    place = run.absolute()
    # Beside the run, not in it: a folder of a run holds nothing that its manifest does not name.
    with locked(place.with_name(f".{place.name}.retrain.lock")) as alone:
        if not alone:
            raise ModelError(f"{run} is being retrained by another process: wait for it")
        yield


def _data_of(run: Path, data: Path | None) -> Prepared:
    """The labelled data that a run was trained on.

    Raises:
        DataError: nobody says where they are, or they are others.
    """
    if data is None or not data.exists():
        where = "" if data is None else f" ({data} is gone)"
        needed = f"the data that {run} was trained on are needed{where}"
        raise DataError(f"{needed}: name them with --data, the folder that `logllm prepare` wrote")

    # Other data would teach the newer run something else, and the gate would compare two logs. A
    # run from before there were fingerprints has none.
    prepared = Prepared.load(data)
    wanted = read_manifest(run)["data"]["fingerprint"]
    present = prepared.manifest["fingerprint"]
    if wanted is not None and wanted != present:
        difference = f"its fingerprint is {present[:8]}, the run's data had {wanted[:8]}"
        raise DataError(
            f"{data} is not what {run} was trained on: {difference}: name those with --data"
        )

    # The gate needs sessions that no run has learnt from.
    if not prepared.part(part_before(prepared)).height:
        remedy = "prepare it with a share for testing, and train again"
        raise DataError(f"{data} holds no sessions that training has not seen: {remedy}")
    return prepared


class _Answers(NamedTuple):
    """Answers that count."""

    known: list[Answer]
    """Those that the current run, or one before it, has learnt."""
    new: list[Answer]


def _considered(
    run: Path,
    feedback: Feedback,
    *,
    prepared: Prepared,
    promotion: Promotion,
    how: RetrainSection,
) -> tuple[Outcome, _Answers]:
    """Which answers there are, and whether they can be believed."""
    # An answer is known where the run that judges now, or one that it came from, has learnt it.
    # What a run learnt that was rolled back is new again.
    valid = counting(feedback.answers)
    lineage = {model_name(read_manifest(folder)) for folder in _lineage(run, promotion)}
    known = [answer for answer in valid if answer.trained in lineage]
    new = [answer for answer in valid if answer.trained not in lineage]
    answers = _Answers(known, new)

    given = len(feedback.answers)
    overruled = given - len(valid)
    counts = {"given": given, "overruled": overruled, "known": len(known), "new": len(new)}
    outcome = Outcome(Gate(), counts)
    if len(answers.new) < how.fewest:
        there = agreeing(len(answers.new), "{answer has|answers have} been learnt by no run yet")
        outcome.gate.refused.append(f"{there}, and {how.fewest} are needed")
        return outcome, answers

    # Data without labels contradict nobody. A few contradictions are only told: logs change, and
    # what was an anomaly may be normal by now.
    outcome.considered = True
    if not prepared.part("train")["anomalous"].null_count():
        outcome.contradicting = contradictions(valid, prepared)
    contradicting = len(outcome.contradicting)
    if contradicting > how.contradicting * len(valid):
        all_answers = plural(len(valid), "answer")
        what = f"the earlier labelled data contradict {contradicting} of {all_answers}"
        look = "look at them (`logllm feedback STORE --list`)"
        outcome.gate.refused.append(f"{what}: {look}, and take back what is wrong (--undo)")
    return outcome, answers


def _lineage(run: Path, promotion: Promotion) -> Iterator[Path]:
    """The current run's folder and those before it, as far as they are there."""
    for name in promotion.lineage:
        folder = folder_of(run, name)
        if folder.is_dir():
            yield folder


@dataclass(frozen=True)
class _Attempt:
    """A run that is trained, and held against the one that judges now."""

    run: Path
    prepared: Prepared
    current: Detector
    feedback: Feedback
    how: RetrainSection

    def made(
        self, answers: _Answers, outcome: Outcome, *, promotion: Promotion, told: Told
    ) -> None:
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
            now = _now()
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
