"""How the logits of several minds become one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from logllm.errors import ModelError, first_line
from logllm.metrics import Labels, Scores
from logllm.sessions.message_table import Rows
from logllm.storage import write_json

WEIGHTS = "weights.json"
"""File of a run that says how much each mind's logit counts."""

Weights = Mapping[str, float]
"""How much the logit of each mind counts, by the mind's name."""


class Learner(Protocol):
    """What learns from sessions: a method, or several minds together."""

    copies: int
    """As `Method.copies`."""

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn, as `Method.fit`."""


class Minds(Learner, Protocol):
    """Several minds that learn together."""

    def minds(self, sessions: Sequence[Rows], messages: pl.Series) -> dict[str, Scores]:
        """What each mind says, as logits, (b,)."""


@runtime_checkable
class Mixture(Minds, Protocol):
    """A method whose score is the weighted mean of the logits of several minds.

    How much each counts is chosen on kinds of fault that are held out
    (`logllm.methods.frozen.frozen_thresholds`): a mind that is worth much on one log is worth
    little on another.
    """

    weights: Weights
    """How much each mind's logit counts."""

    def weighings(self) -> Sequence[Weights]:
        """The weights to choose from; the first stay where no others are clearly better."""

    def quick(self) -> Minds:
        """Those of its minds that learn in seconds, new and not fitted."""


def mixed(logits: Mapping[str, Scores], weights: Weights) -> Scores:
    """The weighted mean of minds' logits, (b,).

    >>> mixed({"a": np.array([3.0]), "b": np.array([0.0])}, {"a": 1.0, "b": 2.0}).tolist()
    [1.0]
    """
    # Of logits, not probabilities: two minds at .99 and .5 are surer together than their mean says.
    counts = [weights[name] for name in logits]
    mean: Scores = np.average(list(logits.values()), axis=0, weights=counts)
    return mean


def write_weights(folder: Path, weights: Weights) -> None:
    """Write `weights.json`."""
    write_json(folder / WEIGHTS, dict(weights))


def read_weights(folder: Path, *, otherwise: Weights) -> Weights:
    """The weights that a run was written with.

    Args:
        folder: of the run.
        otherwise: the weights of a run that was made before they were written down.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        text = (folder / WEIGHTS).read_text(encoding="utf-8")
        return {name: float(weight) for name, weight in json.loads(text).items()}
    except FileNotFoundError:
        # A run from before weights were chosen has no such file.
        return otherwise
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        raise ModelError(
            f"{folder / WEIGHTS} cannot be read: {first_line(exc)}; train it again"
        ) from exc
