"""What was judged of sessions and lines that were held out, and the thresholds of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from logllm.methods.mixture import Weights, mixed
from logllm.metrics import (
    FEW_ANOMALIES,
    Labels,
    Scores,
    Threshold,
    average_precision,
    choose_threshold,
    even_threshold,
    f1_by_threshold,
    on_scale,
    score_at,
    sigmoid,
    threshold_between,
)
from logllm.sessions.message_table import Rows

_FARTHEST = 30.0
"""Logits farther out than this are as good as certain."""


@dataclass(frozen=True)
class Judged:
    """Scores of what was held out, and what is true of it."""

    values: Scores
    """The scores, on a scale on which they can be averaged."""
    labels: Labels
    weights: Scores
    """How much each counts."""

    @classmethod
    def together(cls, parts: Sequence["Judged"]) -> "Judged":
        """All of them as one."""
        values = np.concatenate([part.values for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        return cls(values, labels, weights)

    def average_precision(self) -> float:
        """How well they are told apart."""
        return float(average_precision(self.values, self.labels, weights=self.weights[None])[0])


@dataclass(frozen=True)
class Judgement:
    """What a method says of sessions that were held out, in one form."""

    minds: Mapping[str, Scores]
    """Each mind's logits, or the scores of a method that has none, (b,)."""
    labels: Labels
    weights: Scores
    """How much each session counts."""
    sizes: Rows
    """How many lines each session has, (b,)."""
    lines: Judged | None = None
    """The judgement of their lines, session after session; None: lines have no labels."""

    def sessions(self, weights: Weights) -> Judged:
        """The judgement of the sessions, with these weights of the minds."""
        logits = {name: values for name, values in self.minds.items() if name in weights}
        values = mixed(logits, weights)
        return Judged(values, self.labels, self.weights)

    def of_lines(self, weights: Weights, *, called_from: float) -> Judged | None:
        """The judgement of the lines, each of which scores no higher than its session.

        Args:
            weights: of the minds.
            called_from: the threshold of sessions. A line of a session below it is not called
                anomalous, whatever it says: its score is minus infinity.
        """
        if self.lines is None:
            return None
        verdicts = np.repeat(self.sessions(weights).values, self.sizes)
        less = np.minimum(self.lines.values, verdicts)
        within = np.where(verdicts >= called_from, less, -np.inf)
        return replace(self.lines, values=within)


def place_of(judged: Sequence[Judged]) -> float:
    """Where, on their scale, the threshold of judgements lies."""
    together = Judged.together(judged)
    # A logit of infinity would take the middle between two with it.
    values = np.clip(together.values, -_FARTHEST, _FARTHEST)
    place = even_threshold(values, together.labels, weights=together.weights)
    # None: anomalous sessions do not score higher; the best F1 is all there is to go by.
    if place is not None:
        return place
    scores, weights = sigmoid(values), together.weights
    best = choose_threshold(scores, together.labels, scale="logits", weights=weights)
    as_logit = on_scale(np.array([best.value]), "logits")
    return float(as_logit[0])


def session_threshold(
    judged: Sequence[Judged],
    *,
    scale: Literal["logits", "scores"],
    how: str,
    moved: float = 0.0,
) -> Threshold:
    """The threshold of judgements, and the F1 that it has on them."""
    together = Judged.together(judged)
    place = place_of(judged) + moved
    # Of the judgements as they are, at the place as it was moved.
    values, f1 = f1_by_threshold(together.values, together.labels, weights=together.weights)
    reached = int(np.searchsorted(values, place))
    # Beyond the highest score nothing is called anomalous.
    at_place = float(f1[reached]) if reached < len(f1) else 0.0
    anomalous = int(together.labels.sum())
    value = score_at(place, scale)
    return Threshold(value, how, len(together.labels), anomalous, at_place)


def line_threshold(
    judged: Sequence[Judged],
    *,
    scale: Literal["logits", "scores"],
    how: str,
) -> Threshold | None:
    """The threshold of best F1 of lines; none where there are too few to choose by.

    Guilty lines of sessions that are called normal count as missed. It is the F1 itself, not even
    odds: there are enough lines for it, and their odds are not even.
    """
    if not judged:
        return None
    together = Judged.together(judged)
    anomalous = int(together.labels.sum())
    if anomalous < FEW_ANOMALIES:
        return None
    values, f1 = f1_by_threshold(together.values, together.labels, weights=together.weights)
    # What is minus infinity is called anomalous by no threshold.
    able = np.isfinite(values)
    values, f1 = values[able], f1[able]
    if not values.size:
        return None
    best = int(f1.argmax())
    scores = values if scale == "scores" else sigmoid(values)
    value = threshold_between(scores, best, scale=scale)
    return Threshold(value, how, len(together.labels), anomalous, float(f1[best]))
