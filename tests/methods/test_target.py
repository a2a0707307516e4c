"""A threshold by what is wanted of it."""

import json

import numpy as np
import polars as pl
import pytest

from logllm.config.recipe import Recipe
from logllm.config.target import TargetSection
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError, RecipeError
from logllm.methods.target import Goal, OutOfReach, goal, sessions_a_day
from logllm.methods.train import train
from logllm.metrics import measure
from tests.tiny import with_parts

SCORES = np.array([0.05, 0.1, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
LABELS = np.array([0, 0, 0, 0, 1, 0, 1, 0, 1, 1], dtype=bool)


def reached(*, a_day: float | None = None, labels=LABELS, scores=SCORES, **target: float):
    return Goal(TargetSection(**target), a_day).threshold(scores, labels, scale="scores")


@pytest.mark.parametrize(
    ("target", "value", "how"),
    [
        ({"precision": 0.75}, 0.5, "precision of at least 0.75 (0.750, at a recall of 0.750)"),
        ({"precision": 1.0}, 0.75, "precision of at least 1 (1.000, at a recall of 0.500)"),
        ({"recall": 0.7}, 0.5, "recall of at least 0.7 (0.750, at a precision of 0.750)"),
        ({"recall": 1.0}, 0.25, "recall of at least 1 (1.000, at a precision of 0.667)"),
        ({"top_share": 0.35}, 0.65, "at most 0.35 of the sessions"),
        (
            {"alerts_per_day": 40, "a_day": 200},
            0.75,
            "at most 40 alerts a day, of 200 sessions a day,",
        ),
    ],
    ids=lambda value: (
        " ".join(f"{name} {number}" for name, number in value.items())
        if isinstance(value, dict)
        else ""
    ),
)
def test_the_threshold_reaches_it_and_no_more(target, value, how) -> None:
    found = reached(**target)
    assert found.value == pytest.approx(value)
    assert found.how.startswith(how)
    assert found.f1 == pytest.approx(measure(SCORES, LABELS, threshold=found.value).f1)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_of_it_is_so(seed) -> None:
    dice = np.random.default_rng(seed)
    labels = dice.random(300) < 0.2
    scores = np.clip(dice.normal(0.3 + 0.3 * labels, 0.2), 0, 1).round(2)
    called = lambda found: scores >= found.value  # noqa: E731
    precise = reached(scores=scores, labels=labels, precision=0.8)
    at = measure(scores, labels, threshold=precise.value)
    assert at.precision >= 0.8
    others = [measure(scores, labels, threshold=value) for value in np.unique(scores)]
    assert at.recall == max(other.recall for other in others if other.precision >= 0.8)
    complete = measure(
        scores, labels, threshold=reached(scores=scores, labels=labels, recall=0.9).value
    )
    assert complete.recall >= 0.9
    assert complete.fp == min(other.fp for other in others if other.recall >= 0.9)
    few = called(reached(scores=scores, labels=None, top_share=0.1))
    assert few.mean() <= 0.1 < (scores >= scores[few].min() - 0.011).mean()


@pytest.mark.parametrize(
    ("target", "more", "words"),
    [
        (
            {"precision": 0.9},
            {"scores": 1 - SCORES},
            r"precision of 0.9 on these sessions: the highest is \.400, at a recall of 1",
        ),
        (
            {"recall": 1.0},
            {"scores": np.where(LABELS, 0.01, SCORES)},
            "reached only by calling every session anomalous: the highest that",
        ),
        (
            {"recall": 0.5},
            {"scores": np.full(10, 0.5)},
            "every session anomalous, since all have one score",
        ),
        (
            {"top_share": 0.05},
            {},
            (
                r"a share of 0.05 cannot be told on 10 sessions: the least is 0.1 of them,"
                r" 1 session has the highest"
            ),
        ),
        (
            {"alerts_per_day": 2},
            {"a_day": 1000},
            (
                "2 alerts a day, of 1,000 sessions a day, cannot be told on 10 sessions: the "
                "least is 100 alerts a day"
            ),
        ),
        ({"alerts_per_day": 2000}, {"a_day": 1000}, "would be all of the sessions: give less"),
    ],
    ids=["precision", "recall", "one score", "share", "alerts", "too many alerts"],
)
def test_what_cannot_be_reached_says_what_can(target, more, words) -> None:
    with pytest.raises(OutOfReach, match=words):
        reached(**target, **more)


def test_what_can_be_reached_can_be_asked_for() -> None:
    with pytest.raises(OutOfReach) as caught:
        reached(precision=0.9, scores=1 - SCORES)
    highest = float(str(caught.value).partition("the highest is ")[2].partition(",")[0])
    assert reached(precision=highest, scores=1 - SCORES).how.startswith(
        "precision of at least 0.4 (0.400"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"precision": 0.9, "recall": 0.9}, "one target only: give one of precision and recall"),
        ({"precision": 0}, "precision: must be more than 0"),
        ({"top_share": 1}, "top_share: must be less than 1"),
    ],
    ids=["two", "no precision", "all"],
)
def test_a_target_that_is_none_is_refused(settings, words) -> None:
    with pytest.raises(RecipeError, match=words):
        TargetSection.read(settings, source="recipe x")


def test_sessions_a_day_are_those_of_the_whole_log(tiny_data) -> None:
    prepared = Prepared.load(tiny_data)
    frames = [prepared.part(name) for name in ("train", "validation", "test")]
    times = pl.concat([frame.select("start", "end") for frame in frames])
    days = (times["end"].max() - times["start"].min()).total_seconds() / 86_400
    assert sessions_a_day(prepared, split="validation") == pytest.approx(120 / days)


@pytest.fixture
def labelled_enough(tiny_data, tmp_path):
    """Prepared data whose validation part is its train part."""
    return with_parts(
        tiny_data, tmp_path / "enough", validation=Prepared.load(tiny_data).part("train")
    )


def test_a_target_that_the_data_cannot_tell_is_refused_before_training(tiny_data, tmp_path) -> None:
    train_part = Prepared.load(tiny_data).part("train")
    timeless = train_part.with_columns(
        pl.lit(None, dtype=train_part["start"].dtype).alias(name) for name in ("start", "end")
    )
    parts = {name: timeless for name in ("train", "validation", "test")}
    data = with_parts(tiny_data, tmp_path / "timeless", **parts)
    with pytest.raises(DataError, match=r"has no times to count alerts a day by: .*--top-share"):
        goal(Prepared.load(data), TargetSection(alerts_per_day=3), split="validation")
    with pytest.raises(
        DataError,
        match=r"validation part .* is too small to choose a threshold on: \d anomalies, 10 needed",
    ):
        train(
            Recipe.of_method("tree-counts", overrides=["target.recall=0.9"]),
            tiny_data,
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_threshold_and_the_reason(labelled_enough, tmp_path) -> None:
    recipe = Recipe.of_method("logistic-words", overrides=["target.recall=0.5"])
    manifest = train(recipe, labelled_enough, out=tmp_path / "run")
    threshold = manifest["threshold"]
    assert threshold["how"].startswith("recall of at least 0.5 (")
    assert threshold["how"].endswith(" on validation")
    assert manifest["metrics"]["validation"]["recall"] >= 0.5
    assert manifest["reliability"]["bands"]


def test_without_labels_a_share_is_kept(labelled_enough, tmp_path) -> None:
    unknown = (
        Prepared.load(labelled_enough)
        .part("train")
        .with_columns(anomalous=pl.lit(None, dtype=pl.Boolean))
    )
    data = with_parts(labelled_enough, tmp_path / "unlabelled", train=unknown, validation=unknown)
    manifest = train(
        Recipe.of_method("novelty", overrides=["target.top_share=0.3"]), data, out=tmp_path / "run"
    )
    assert manifest["threshold"]["how"] == "at most 0.3 of the sessions on validation"
    assert manifest["threshold"]["value"] != 0.5


def test_a_run_whose_target_is_out_of_reach_is_there_all_the_same(
    labelled_enough, tmp_path
) -> None:
    recipe = Recipe.of_method("logistic-words", overrides=["target.top_share=0.001"])
    with pytest.raises(
        OutOfReach,
        match=(
            r"cannot be told on \d+ sessions: .*;"
            r" .*run is trained all the same, with a threshold of"
        ),
    ):
        train(recipe, labelled_enough, out=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["state"] == "done"
    assert manifest["threshold"]["how"].startswith(
        "best F1 on validation, since a share of 0.001 cannot be told"
    )
