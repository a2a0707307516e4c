"""Retraining: what it asks for, what it refuses, what is promoted, and the way back."""

import shutil

import pytest

from logllm.config.recipe import Recipe
from logllm.config.train import RetrainSection
from logllm.errors import DataError, ModelError
from logllm.methods.train import train
from logllm.runs.manifest import find_run, model_name, read_manifest
from logllm.runs.promotion import Promotion, pointer_of, read_promotion, write_promotion
from logllm.serve.feedback.attempt import Feedback
from logllm.serve.feedback.retraining import retrain, roll_back
from logllm.storage import locked
from tests.serve.answered_store import make_data
from tests.serve.test_learning_from_answers import answer

HOW = RetrainSection()
TOLD: list[str] = []


def nothing(numbers, model):
    raise AssertionError("nothing was learnt")


def given(*answers):
    return Feedback(answers, [], [], nothing)


def again(run, feedback, *, data=None, how=HOW):
    return retrain(run, feedback, data=data, how=how, told=TOLD.append)


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    """Labelled data, and a run that takes no time to learn them."""
    folder = tmp_path_factory.mktemp("simple")
    data = make_data(folder, sessions=200)
    train(Recipe.of_method("unseen"), data, out=folder / "app")
    return folder


@pytest.fixture
def run(simple, tmp_path):
    return shutil.copytree(simple / "app", tmp_path / "app")


def test_few_answers_train_nothing_and_leave_nothing(run, simple):
    outcome = again(run, given(answer(1, "a")), data=simple / "data")
    assert outcome.gate.refused == ["1 answer has been learnt by no run yet, and 10 are needed"]
    assert outcome.newer is None
    assert not pointer_of(run).exists()


def test_the_data_of_training_are_asked_for(run, simple, tmp_path):
    with pytest.raises(
        DataError, match=r"the data that .*app was trained on are needed: name them with --data"
    ):
        again(run, given())
    with pytest.raises(DataError, match="gone is gone"):
        again(run, given(), data=tmp_path / "gone")
    (tmp_path / "other").mkdir()
    other = make_data(tmp_path / "other", sessions=210)
    with pytest.raises(DataError, match=r"is not what .*app was trained on: its fingerprint is"):
        again(run, given(), data=other)


def test_answers_that_labelled_data_contradict_are_shown_and_refused(run, simple):
    wrong = [
        answer(number, f"part {number}", "write failed, no space left", anomalous=False)
        for number in range(12)
    ]
    outcome = again(run, given(*wrong), data=simple / "data")
    assert len(outcome.contradicting) == 12
    assert outcome.gate.refused[0].startswith(
        "the earlier labelled data contradict 12 of 12 answers: look at them"
    )
    (gate,) = read_promotion(run).gates
    assert (gate["promoted"], gate["reasons"], len(gate["contradicting"])) == (
        False,
        outcome.gate.refused,
        12,
    )
    assert find_run(run) == run


def test_what_was_learnt_is_known_as_long_as_the_run_judges(run, simple):
    name = model_name(read_manifest(run))
    learnt = [answer(number, f"m{number}", trained=name) for number in range(20)]
    lost = [answer(100 + number, f"n{number}", trained="app.7@12345678") for number in range(3)]
    outcome = again(run, given(*learnt, *lost), data=simple / "data")
    assert (outcome.counts["known"], outcome.counts["new"]) == (20, 3)


def test_a_run_is_retrained_by_one_process_and_under_its_own_name(run, simple):
    with (
        locked(run.with_name(".app.retrain.lock")),
        pytest.raises(ModelError, match="is being retrained by another process"),
    ):
        again(run, given(), data=simple / "data")
    shutil.copytree(run, run.with_name("app.2"))
    write_promotion(run, Promotion("app.2", ("app",)))
    with pytest.raises(ModelError, match=r"app.2 stands, or stood, in the place of .*app: name "):
        again(run.with_name("app.2"), given(), data=simple / "data")
    with pytest.raises(ModelError, match="comes with logllm and stays as it is"):
        again(type(run)("postgres"), given())


def test_there_is_no_way_back_where_there_was_no_way(run):
    with pytest.raises(ModelError, match="no former run to go back to"):
        roll_back(run)
