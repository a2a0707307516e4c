"""A threshold that reaches what is wanted: a precision, a recall, alerts a day, a share."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from math import floor
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.config.target import TargetSection
from logllm.counting import agreeing, plural
from logllm.datasets.prepared import PARTS, Prepared
from logllm.errors import DataError
from logllm.metrics import FEW_ANOMALIES, Labels, Scores, Threshold, threshold_between

_DAY = 86_400
_SLACK = 1e-9


class OutOfReach(DataError):
    """No threshold reaches the target; the message says what can be reached."""


class Goal(NamedTuple):
    """What a threshold is to reach on some sessions."""

    target: TargetSection
    a_day: float | None
    """How many sessions a day their log has; None where that is not needed."""

    def threshold(
        self,
        scores: Scores,
        labels: Labels | None,
        *,
        scale: Literal["logits", "scores"],
    ) -> Threshold:
        """The threshold that reaches the goal.

        Args:
            scores: of the sessions, in [0, 1].
            labels: which are anomalous; None: not known.
            scale: the scale in which the middle between two scores is taken
                (`logllm.metrics.choose_threshold`).

        Raises:
            OutOfReach: no threshold reaches it.
        """
        steps = _Steps.of(scores, labels)
        at, how = self._chosen(steps)
        value = threshold_between(steps.values, at, scale=scale)
        if labels is None:
            return Threshold(value, how, len(scores), 0, None)

        # F1 = 2 tp / (called + anomalous): what is hit counts in both.
        anomalous = steps.anomalies
        f1 = float(2 * steps.hits[at] / (steps.called[at] + anomalous))
        return Threshold(value, how, len(scores), anomalous, f1)

    def reached(
        self,
        scores: Scores,
        labels: Labels | None,
        *,
        scale: Literal["logits", "scores"],
        otherwise: Threshold,
    ) -> tuple[Threshold, str]:
        """The threshold that reaches the goal on the validation part, and an empty text.

        Where no threshold reaches it, `otherwise`, and the reason.
        """
        try:
            threshold = self.threshold(scores, labels, scale=scale)
        except OutOfReach as exc:
            return replace(otherwise, how=f"{otherwise.how}, since {exc}"), str(exc)
        return replace(threshold, how=f"{threshold.how} on validation"), ""

    def _chosen(self, steps: "_Steps") -> tuple[int, str]:
        """The step that is chosen, and why."""
        target = self.target
        if target.precision is not None:
            return steps.of_precision(target.precision)
        if target.recall is not None:
            return steps.of_recall(target.recall)
        if target.top_share is not None:
            at = steps.within(target.top_share, what=f"a share of {target.top_share:g}")
            return at, f"at most {target.top_share:g} of the sessions"
        # Alerts a day are a share of the sessions a day: 5 of 10,000 are .05 %.
        wanted, a_day = target.alerts_per_day or 0.0, self.a_day or 0.0
        what = f"{wanted:g} alerts a day, of {_rounded(a_day)} sessions a day,"
        at = steps.within(wanted / a_day, what=what, a_day=a_day)
        return at, f"at most {what}"


class _Steps(NamedTuple):
    """What would be called anomalous from each distinct score on."""

    values: Scores
    """The distinct scores, ascending."""
    called: npt.NDArray[np.int64]
    """How many sessions have each score or a higher one."""
    hits: npt.NDArray[np.int64]
    """How many of these are anomalous."""

    @classmethod
    def of(cls, scores: Scores, labels: Labels | None) -> "_Steps":
        """The steps of some sessions."""
        # Sessions, and anomalous ones, of each distinct score ...
        values, place = np.unique(scores, return_inverse=True)
        labelled = np.zeros(len(scores)) if labels is None else labels
        called = np.bincount(place, minlength=len(values))
        hits = np.bincount(place, weights=labelled, minlength=len(values)).astype(np.int64)

        # ... and of each from it on: sums from the highest score downwards.
        called_from = called[::-1].cumsum()[::-1]
        hits_from = hits[::-1].cumsum()[::-1]
        return cls(values, called_from, hits_from)

    @property
    def anomalies(self) -> int:
        """How many sessions are anomalous."""
        return int(self.hits[0])

    @property
    def precision(self) -> Scores:
        """The precision of each step."""
        share: Scores = self.hits / self.called
        return share

    @property
    def recall(self) -> Scores:
        """The recall of each step."""
        share: Scores = self.hits / self.anomalies
        return share

    def of_precision(self, least: float) -> tuple[int, str]:
        """The step of highest recall among those that are precise enough.

        Among equals it is the one with the fewest alarms.
        """
        precision, recall = self.precision, self.recall
        reaching = np.flatnonzero(precision >= least - _SLACK)
        if not len(reaching):
            best = int(np.flatnonzero(precision == precision.max())[0])
            highest = f"{_down(precision[best])}, at a recall of {_down(recall[best])}"
            what = f"no threshold has a precision of {least:g} on these sessions"
            raise OutOfReach(f"{what}: the highest is {highest}")

        # The last of those that hit as many: from there on fewer are called for the same hits.
        hits = self.hits[reaching]
        of_most_hits = reaching[hits == hits.max()]
        at = int(of_most_hits[-1])
        reached = f"{precision[at]:.3f}, at a recall of {recall[at]:.3f}"
        return at, f"precision of at least {least:g} ({reached})"

    def of_recall(self, least: float) -> tuple[int, str]:
        """The step of the fewest alarms among those that find enough."""
        # The first step calls every session, and so always finds enough.
        at = int(np.flatnonzero(self.recall >= least - _SLACK)[-1])
        if at == 0 and self.called[0] > self.anomalies:
            what = f"a recall of {least:g} is reached only by calling every session anomalous"
            raise OutOfReach(f"{what}{self._less()}")
        reached = f"{self.recall[at]:.3f}, at a precision of {self.precision[at]:.3f}"
        return at, f"recall of at least {least:g} ({reached})"

    def _less(self) -> str:
        """What is reached by calling all sessions anomalous but those of the lowest score."""
        if len(self.values) == 1:
            return ", since all have one score"
        second = f"{_down(self.recall[1])}, at a precision of {_down(self.precision[1])}"
        return f": the highest that tells some from others is {second}"

    def within(self, share: float, *, what: str, a_day: float | None = None) -> int:
        """The step that calls most sessions anomalous without exceeding a share of them."""
        count = int(self.called[0])
        if share >= 1:
            raise OutOfReach(f"{what} would be all of the sessions: give less")
        most = floor(share * count + _SLACK)
        reaching = np.flatnonzero(self.called <= most)
        if not len(reaching):
            # Sessions of one score are called together, or not at all.
            fewest = int(self.called[-1])
            least = f"{fewest / count:.4g} of them"
            if a_day is not None:
                least = f"{_rounded(a_day * fewest / count)} alerts a day"
            highest = f"{agreeing(fewest, '{session has|sessions share}')} the highest score"
            cannot = f"{what} cannot be told on {plural(count, 'session')}"
            raise OutOfReach(f"{cannot}: the least is {least}, {highest}")
        return int(reaching[0])


def goal(prepared: Prepared, target: TargetSection, *, split: str) -> Goal | None:
    """What a threshold is to reach on a part of prepared data; None where nothing is wanted.

    Args:
        prepared: the data.
        target: what is wanted.
        split: the part.

    Raises:
        DataError: no threshold can be chosen on this part: it has no sessions, no labels, too few
            anomalies or no times.
    """
    if not target.wanted:
        return None
    part = prepared.part(split)
    if not part.height:
        what = f"{prepared.folder} holds no {split} sessions to choose a threshold on"
        raise DataError(f"{what}: prepare it with a share for them")
    if target.needs_labels:
        anomalous = int(prepared.labelled(split)["anomalous"].sum())
        if anomalous < FEW_ANOMALIES:
            few = agreeing(anomalous, "{anomaly|anomalies}")
            raise DataError(
                f"the {split} part of {prepared.folder} is too small to choose a threshold on: "
                f"{few}, {FEW_ANOMALIES} needed; alerts a day or a share of the sessions need "
                "none"
            )
    a_day = sessions_a_day(prepared, split=split) if target.alerts_per_day is not None else None
    return Goal(target, a_day)


def sessions_a_day(prepared: Prepared, *, split: str) -> float:
    """How many sessions a day a part's log has, counted over all parts of that log.

    Args:
        prepared: the data.
        split: the part; a test part may be of another log than the others.

    Raises:
        DataError: it has no times, or no time passes.
    """
    # All parts of one log lie in the same time: its sessions are theirs together.
    parts: Sequence[str] = PARTS
    if prepared.manifest.get("test_raw"):
        parts = ("test",) if split == "test" else ("train", "validation")
    times = pl.concat([prepared.part(name).select("start", "end") for name in parts])
    start, end = times["start"].min(), times["end"].max()
    if not isinstance(start, datetime) or not isinstance(end, datetime) or end <= start:
        what = f"{prepared.folder} has no times to count alerts a day by"
        share = "a share of the sessions needs none (--top-share)"
        field = "prepare it with the field that holds its times (--time)"
        raise DataError(f"{what}: {share}, or {field}")
    days = (end - start).total_seconds() / _DAY
    return times.height / days


def _rounded(count: float) -> str:
    """A count a day, whole where it is large.

    >>> _rounded(556234.4), _rounded(0.0314)
    ('556,234', '0.031')
    """
    return f"{count:,.0f}" if count >= 100 else f"{count:.2g}"


def _down(share: float) -> str:
    """A share rounded down, so that it can be asked for.

    >>> _down(0.98765), _down(1.0)
    ('.987', '1')
    """
    if share == 1:
        return "1"
    rounded = floor(1000 * share + _SLACK) / 1000
    return f"{rounded:.3f}".removeprefix("0")
