"""`logllm retrain`, with answers of a store: promoted, rolled back, refused."""

import json
import shutil
from contextlib import closing

import numpy as np
import polars as pl
import pytest
from tests.serve.answered_store import NEWER_FAULT, NEWER_ROUTINE, answered, make_data, say
from tests.serve.test_learning_from_answers import answer

from logllm.config.recipe import Recipe
from logllm.config.train import RetrainSection
from logllm.detect.detector import Detector
from logllm.methods.train import train
from logllm.runs.manifest import find_run
from logllm.runs.promotion import read_promotion
from logllm.serve.feedback.answers_given import answers, take_back
from logllm.serve.feedback.attempt import Feedback
from logllm.serve.feedback.learning import feedback_on
from logllm.serve.feedback.retraining import retrain
from logllm.serve.store.verdict_store import Store


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Labelled data, and a run of words that learnt them."""
    folder = tmp_path_factory.mktemp("words")
    data = make_data(folder)
    train(Recipe.of_method("words"), data, out=folder / "app")
    return folder


def called(run, messages):
    """Which messages make a session anomalous that is routine besides."""
    detector = Detector.load(run)
    table = pl.Series([*messages, "open file", "read <*> blocks", "close file"])
    last = len(messages)
    rows = [np.array([last, last + 1, place, last + 2]) for place in range(last)]
    return (detector.score(rows, table) >= detector.threshold).tolist()


@pytest.mark.real
def test_right_answers_are_promoted_and_rolled_back(learnt, tmp_path, logllm):
    run = shutil.copytree(learnt / "app", tmp_path / "app")
    assert called(run, [*NEWER_ROUTINE, *NEWER_FAULT]) == [True, True, False, False]
    answered(tmp_path / "app.db", model=Detector.load(run).model).close()
    done = logllm(
        "retrain", run, "--store", tmp_path / "app.db", "--data", learnt / "data", "--json"
    )
    assert done.code == 0, done.err
    outcome = json.loads(done.out)
    assert outcome["promoted"], done.err
    right = outcome["figures"]["answers"]["right"]
    assert right["current"] < 0.5 < 0.9 <= right["newer"]
    assert f"promoted: {outcome['newer']} judges where {run} is named" in done.err
    assert find_run(run) == run.with_name("app.2")
    assert called(run, [*NEWER_ROUTINE, *NEWER_FAULT]) == [False, False, True, True]
    assert sorted(
        path.name
        for path in tmp_path.iterdir()
        if "app." in path.name and path.suffix not in (".db-wal", ".db-shm")
    ) == [
        ".app.retrain.lock",
        "app.2",
        "app.2.data",
        "app.current.json",
        "app.db",
    ]

    # All is learnt: there is nothing new, and nobody has to say again where the data are.
    again = logllm("retrain", run, "--store", tmp_path / "app.db")
    assert "refused: 0 answers have been learnt by no run yet" in again.err, again.err
    shown = logllm("retrain", run, "--show", "--json")
    assert json.loads(shown.out)["current"] == "app.2"

    # After the way back they are new again.
    back = logllm("retrain", run, "--roll-back")
    assert (back.code, find_run(run)) == (0, run), back.err
    assert called(run, NEWER_ROUTINE) == [True, True]
    with closing(Store.open(tmp_path / "app.db", create=False)) as store:
        feedback = feedback_on(run, store, most=10)
    assert {one.trained for one in feedback.answers} == {outcome["newer"]}
    assert len(feedback.quiet) == 10


@pytest.mark.real
def test_without_labels_false_alarms_are_learnt(tmp_path, logllm):
    make_data(tmp_path)
    data, run = tmp_path / "unlabelled", tmp_path / "good"
    made = logllm("prepare", "--raw", tmp_path / "app.jsonl", "--key-field", "job", "--out", data)
    assert made.code == 0, made.err
    assert logllm("train", "novelty", "--data", data, "--out", run).code == 0
    assert called(run, NEWER_ROUTINE) == [True, True]
    with closing(answered(tmp_path / "app.db", model=Detector.load(run).model)) as store:
        for given in answers(store):
            if given["answer"] == "anomalous":
                take_back(store, given["id"])
    done = logllm("retrain", run, "--store", tmp_path / "app.db", "--data", data)
    assert "promoted: good.2@" in done.err, done.err
    assert called(run, NEWER_ROUTINE) == [False, False]
    names = pl.read_parquet(tmp_path / "good.2.data" / "train.parquet")["session"].to_list()
    assert len([name for name in names if name.startswith("answer ")]) == 10


@pytest.mark.real
def test_a_method_that_takes_long_learns_half_and_is_judged_by_the_other_half(
    tiny_run, tiny_data, tmp_path
):
    run = shutil.copytree(tiny_run, tmp_path / "tiny")
    marked, told = [], []
    given = [
        answer(number, f"step {number} of the new version", anomalous=number % 2 == 0)
        for number in range(20)
    ]
    feedback = Feedback(given, [], [], lambda numbers, model: marked.append((list(numbers), model)))
    how = RetrainSection(harm=0.99, agreeing=0, silence=1, alarms=1)
    outcome = retrain(run, feedback, data=tiny_data, how=how, told=told.append)
    assert [words.partition(" ")[0] for words in told] == ["training", "comparing"]
    assert (outcome.counts["new"], outcome.counts["learnt"]) == (20, 10)
    assert outcome.gate.figures["answers"]["sessions"] == 10
    assert outcome.newer.startswith("tiny.2@")
    promoted = outcome.gate.passed
    assert [len(numbers) for numbers, _ in marked] == [10] * promoted
    assert (run.with_name("tiny.2")).exists() == promoted
    assert find_run(run).name == ("tiny.2" if promoted else "tiny")


@pytest.mark.real
def test_wrong_answers_are_refused_and_nothing_changes(learnt, tmp_path, logllm):
    run = shutil.copytree(learnt / "app", tmp_path / "app")
    store = answered(tmp_path / "app.db", model=Detector.load(run).model, wrong=True)
    with closing(store):
        done = logllm(
            "retrain", run, "--store", tmp_path / "app.db", "--data", learnt / "data", "--json"
        )
        assert done.code == 0, done.err
        assert not json.loads(done.out)["promoted"]
        assert (
            "refused: the earlier labelled data contradict 10 of 30 answers: look at them"
            in done.err
        )
        assert (
            "labelled sessions with such a line are anomalous: disk failed at block <*>" in done.err
        )
        assert find_run(run) == run
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("app.2")]
        assert read_promotion(run).gates[0]["promoted"] is False
        say(store, "s0", anomalous=True)
        assert {one.trained for one in feedback_on(run, store, most=0).answers} == {None}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("harm=little", "harm: takes a number (found 'little')"),
        ("harm", "write name=number, such as shares=4"),
        ("hram=1", "unknown key 'hram'"),
    ],
    ids=["no number", "no value", "no such setting"],
)
def test_a_setting_that_is_none_is_refused(logllm, tmp_path, written, told):
    refused = logllm("retrain", tmp_path, "--store", tmp_path / "app.db", "--set", written)
    assert refused.code == 2
    assert told in refused.err
