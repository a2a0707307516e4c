"""A run learns from answers: trained apart, held against the gate, promoted or refused."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from logllm.config.train import RetrainSection
from logllm.counting import agreeing, plural
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.errors import DataError, ModelError
from logllm.runs.manifest import SHIPPED, model_name, read_manifest
from logllm.runs.promotion import (
    Promotion,
    folder_of,
    home_of,
    read_promotion,
    write_promotion,
)
from logllm.serve.feedback.answered import counting
from logllm.serve.feedback.attempt import Answers, Attempt, Feedback, Outcome, Told
from logllm.serve.feedback.contradictions import contradictions
from logllm.serve.feedback.gate import Gate, part_before
from logllm.storage import locked


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
            attempt = Attempt(run, prepared, current, feedback, how)
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
    """A test of the name that a verdict gives its run: is it this run, or one in its place?"""
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


def _considered(
    run: Path,
    feedback: Feedback,
    *,
    prepared: Prepared,
    promotion: Promotion,
    how: RetrainSection,
) -> tuple[Outcome, Answers]:
    """Which answers there are, and whether they can be believed."""
    # An answer is known where the run that judges now, or one that it came from, has learnt it.
    # What a run learnt that was rolled back is new again.
    valid = counting(feedback.answers)
    lineage = {model_name(read_manifest(folder)) for folder in _lineage(run, promotion)}
    known = [answer for answer in valid if answer.trained in lineage]
    new = [answer for answer in valid if answer.trained not in lineage]
    answers = Answers(known, new)

    given = len(feedback.answers)
    overruled = given - len(valid)
    counts = {"given": given, "overruled": overruled, "known": len(known), "new": len(new)}
    outcome = Outcome(Gate(), counts)
    if len(answers.new) < how.fewest:
        unlearnt = agreeing(len(answers.new), "{answer has|answers have} been learnt by no run yet")
        outcome.gate.refused.append(f"{unlearnt}, and {how.fewest} are needed")
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
