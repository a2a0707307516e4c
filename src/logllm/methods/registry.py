"""The baselines by name."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

from logllm.errors import RecipeError
from logllm.methods.baseline import Baseline
from logllm.methods.classical import Classified, Isolated, logistic, random_forest, standardised_logistic, tree
from logllm.methods.cnn import Cnn
from logllm.methods.deeplog import DeepLog
from logllm.methods.features import EventCounts, VectorSummary, WordPresence
from logllm.methods.lines import Lines
from logllm.methods.logrobust import LogRobust
from logllm.methods.network import Classifier, EventNumbers, MessageVectors
from logllm.methods.neurallog import NeuralLog
from logllm.methods.rapid import Rapid
from logllm.methods.unseen import Unseen
from logllm.methods.vectors import FrozenVectors


class Entry(NamedTuple):
    """One baseline."""

    what: str
    """What it is, in one line."""
    source: str
    """Where it comes from; empty for what everybody knows."""
    make: Callable[[FrozenVectors], Baseline]
    """A new one; the frozen encoder is loaded only by those that read vectors, and may be shared."""


BASELINES: dict[str, Entry] = {
    "tree-counts": Entry("decision tree on event counts", "", lambda _: Classified(EventCounts(), tree)),
    "logistic-counts": Entry("logistic regression on event counts", "", lambda _: Classified(EventCounts(), logistic)),
    "forest-counts": Entry("isolation forest on event counts, without labels", "Liu et al. 2008", lambda _: Isolated(EventCounts())),
    "random-forest-counts": Entry("random forest on event counts", "Breiman 2001", lambda _: Classified(EventCounts(), random_forest)),
    "tree-words": Entry("decision tree on which words occur", "", lambda _: Classified(WordPresence(), tree)),
    "logistic-words": Entry("logistic regression on which words occur", "", lambda _: Classified(WordPresence(), logistic)),
    "forest-words": Entry("isolation forest on which words occur, without labels", "Liu et al. 2008", lambda _: Isolated(WordPresence())),
    "unseen": Entry("share of messages that no normal session to learn from holds", "", lambda _: Unseen()),
    "logistic-vectors": Entry(
        "logistic regression on mean, maximum and minimum of the messages' frozen vectors",
        "",
        lambda vectors: Classified(VectorSummary(vectors), standardised_logistic),
    ),
    "logistic-extremes": Entry(
        "logistic regression on maximum and minimum of the messages' frozen vectors",
        "",
        lambda vectors: Classified(VectorSummary(vectors, parts=("max", "min")), standardised_logistic),
    ),
    "logistic-lines": Entry(
        "logistic regression on single messages' frozen vectors by the labels of lines, a session being its most alert message", "", Lines
    ),
    "rapid": Entry("distance to the nearest normal message's frozen vector, no training", "RAPID, No et al. 2023", Rapid),
    "deeplog": Entry("LSTM that predicts the next event of normal sessions", "DeepLog, Du et al. 2017", lambda _: DeepLog()),
    "logrobust": Entry(
        "attention BiLSTM over frozen vectors",
        "LogRobust, Zhang et al. 2019",
        lambda vectors: Classifier(LogRobust, MessageVectors(vectors)),
    ),
    "cnn": Entry("convolutions over event numbers", "CNN, Lu et al. 2018", lambda _: Classifier(Cnn, EventNumbers())),
    "neurallog": Entry(
        "transformer over frozen vectors",
        "NeuralLog, Le and Zhang 2021",
        lambda vectors: Classifier(NeuralLog, MessageVectors(vectors)),
    ),
}
"""Every baseline by its name."""


def entry(name: str) -> Entry:
    """A baseline by its name.

    Raises:
        RecipeError: there is none; the message names the nearest and all.
    """
    if name not in BASELINES:
        near = get_close_matches(name, BASELINES, n=1, cutoff=0)[0]
        raise RecipeError(f"no baseline {name!r}: the nearest is {near!r} of {', '.join(BASELINES)}")
    return BASELINES[name]


def make(name: str, recipe: Any, workplace: Any) -> Any:
    from logllm.methods.logllm import LogLLMMethod

    return LogLLMMethod(recipe, workplace)


def recipe_for(name: str, *, overrides: Any = ()) -> Any:
    from logllm.config.recipe import Recipe

    return Recipe.load(name, overrides=overrides)
