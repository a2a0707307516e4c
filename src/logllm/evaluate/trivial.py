"""Methods that take seconds, judged beside a run: every model should do better."""

from typing import Any, NamedTuple

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.evaluate.evaluation import judge
from logllm.methods.contract import Workplace
from logllm.methods.prepared_part import Part
from logllm.methods.registry import make, recipe_for
from logllm.methods.train import fitted, learnt_from
from logllm.metrics import Labels, Scores, Threshold

TRIVIAL = ("tree-counts", "logistic-words", "unseen")
"""Their names."""


class Judged(NamedTuple):
    """A method on the test part of the data it has learnt from."""

    scores: Scores
    """Of the test sessions."""
    labels: Labels
    """Theirs."""
    threshold: Threshold
    """Chosen on the validation part."""
    report: dict[str, Any]
    """As `logllm.evaluate.evaluation.judge` gives, and the method's name, seed and seconds."""


def judged(recipe: Recipe, prepared: Prepared) -> Judged:
    """Fit a method on the train part and judge it on the test part, without writing a run.

    Args:
        recipe: names the method, its settings and its seed.
        prepared: labelled data.

    Raises:
        RecipeError: there is no such method.
        DataError: data without labels or test sessions, or that it cannot learn from.
        ModelError: what it stands on is missing.
    """
    method = make(recipe.method, recipe, workplace=Workplace())
    labels = prepared.labelled("test")["anomalous"].to_numpy().astype(bool)
    part = learnt_from(prepared, method)
    # The same steps as training, so that the threshold is chosen as a run's would be.
    done = fitted(method, prepared, part=part, recipe=recipe, workplace=Workplace())
    test = Part.of(prepared, "test")
    scores = method.score(test.sessions, prepared.messages)
    report = {
        **judge(scores, prepared, split="test", threshold=done.threshold.value),
        "model": recipe.method,
        "threshold_chosen": done.threshold.how,
        "data_of_training": True,
        "seed": recipe.train.seed,
        "seconds": done.seconds,
    }
    return Judged(scores, labels, done.threshold, report)


def trivial(prepared: Prepared, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """What a report says of the trivial methods.

    `baselines` holds their reports, `not_judged` the reasons why others have none.
    """
    reports: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    # A method that cannot learn from these data is listed with its reason.
    for name in TRIVIAL:
        try:
            recipe = recipe_for(name, overrides=[f"train.seed={seed}"])
            reports[name] = judged(recipe, prepared).report
        except DataError as exc:
            # Such as one label only in train: a run from elsewhere can be judged all the same.
            missing[name] = str(exc)
    return {"baselines": reports, "not_judged": missing}
