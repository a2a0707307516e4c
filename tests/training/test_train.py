"""Training on odd data and bad luck; what a run keeps; the plan."""

import json
import os

import pytest
from tests.tiny import make_log

from logllm.config.recipe import Recipe
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Prepared
from logllm.datasets.settings import choose
from logllm.errors import DataError, ModelError
from logllm.methods.train import train
from logllm.model.encoder import Encoder
from logllm.training.plan import plan


@pytest.fixture
def prepared(tmp_path):
    """Prepare sessions of a made log, with the labels given; all may be anomalous."""

    def make(sessions: int, label=lambda label: label):
        lines, labels = make_log(sessions=sessions, seed=3)
        (tmp_path / "app.jsonl").write_text("\n".join(lines))
        (tmp_path / "labels.csv").write_text(
            "session,label\n" + "".join(f"{key},{label(kind)}\n" for key, kind in labels)
        )
        form = {"label_file": {"anomalous": ["anomalous"]}}
        overrides = {
            "format": form,
            "sessions": {"by": "key", "key_field": "job"},
            "split": {"by": "random", "validation": 0},
            "mask": {},
        }
        settings = choose("json", recipe=None, overrides=overrides)
        prepare(
            [tmp_path / "app.jsonl"],
            tmp_path / "data",
            settings=settings,
            labels=tmp_path / "labels.csv",
        )
        return tmp_path / "data"

    return make


def changed(recipe: Recipe, **train_settings) -> Recipe:
    return Recipe.read(
        {**recipe.model_dump(), "train": {**recipe.train.model_dump(), **train_settings}},
        source="test",
    )


@pytest.mark.parametrize("label", ["normal", "anomalous"])
def test_one_class_only_is_refused(prepared, tiny_recipe, tmp_path, label) -> None:
    data = prepared(20, lambda _: label)
    with pytest.raises(DataError, match="hold no (normal|anomalous) one; LogLLM learns from both"):
        train(tiny_recipe, data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fewer_sessions_than_a_batch(prepared, tiny_recipe, tmp_path) -> None:
    recipe = changed(
        tiny_recipe,
        batch=64,
        micro_batch=64,
        stages=[{"trains": ["projector"], "lr": 1e-3, "epochs": 2}],
        oversample=0,
    )
    manifest = train(recipe, prepared(10), out=tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert [line["sessions"] for line in log] == [16]  # two epochs of eight, in one step
    assert manifest["threshold"] == {**manifest["threshold"], "value": 0.5, "sessions": 0}
    assert manifest["metrics"]["validation"] is None


def test_each_distinct_session_once(prepared, tiny_recipe, tmp_path) -> None:
    from logllm.datasets.prepared import Prepared

    data = prepared(200)
    recipe = changed(
        tiny_recipe,
        draw="distinct",
        oversample=0,
        stages=[{"trains": ["projector"], "lr": 1e-3, "epochs": 1}],
    )
    distinct = Prepared.load(data).manifest["parts"]["train"]["distinct_sessions"]
    assert (
        plan(recipe, data).stages[0].sessions
        == distinct
        < Prepared.load(data).manifest["parts"]["train"]["sessions"]
    )


def test_a_loss_that_is_not_finite_stops_with_the_remedy(tiny_recipe, tiny_data, tmp_path) -> None:
    recipe = changed(
        tiny_recipe, stages=[{"trains": ["projector", "decoder"], "lr": 1e30, "max_sessions": 40}]
    )
    with pytest.raises(
        ModelError, match=r"the loss is (nan|inf) at step \d+ of stage 1: lower train.stages.0.lr"
    ):
        train(recipe, tiny_data, out=tmp_path / "run")


@pytest.mark.real
def test_a_full_disk_while_training(tiny_recipe, tiny_data, tmp_path, monkeypatch) -> None:
    def full(handle) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk, pytest.raises(DataError, match="is full: free some space"):
        train(
            tiny_recipe,
            tiny_data,
            out=tmp_path / "run",
            watch=lambda step: disk.setattr(os, "fsync", full),
        )
    assert train(tiny_recipe, tiny_data, out=tmp_path / "run", resume=True)["state"] == "done"


def test_changed_data_are_refused_on_resume(prepared, tiny_recipe, tiny_data, tiny_run) -> None:
    with pytest.raises(ModelError, match="manifest field data disagrees"):
        train(tiny_recipe, prepared(40), out=tiny_run, resume=True)


@pytest.mark.parametrize(
    (
        "objective",
        "extra",
        "share",
    ),  # the answer's loss has a floor here: the tiny model's head is random and frozen
    [
        (
            "answer",
            {
                "shuffle_messages": True,
                "message_dropout": 0.1,
                "clip": 1.0,
                "schedule": "one-cycle",
            },
            0.8,
        ),
        pytest.param("verdict", {}, 0.5, marks=pytest.mark.real),
    ],
)
def test_training_lowers_the_loss(
    tiny_recipe, tiny_data, tmp_path, objective, extra, share
) -> None:
    stage = {
        "trains": ["encoder", "projector", "decoder"],
        "lr": 1e-2,
        "max_sessions": 1600,
        "schedule": "constant",
        **extra,
    }
    train(
        changed(tiny_recipe, objective=objective, batch=16, micro_batch=16, stages=[stage]),
        tiny_data,
        out=tmp_path / "run",
    )
    losses = [
        json.loads(line)["loss"]
        for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()
    ]
    assert sum(losses[-10:]) < share * sum(losses[:10])


@pytest.mark.real
def test_every_verdict_weighs_the_same_however_a_step_is_cut(
    tiny_recipe, labelled_by_line, tmp_path
) -> None:
    stage = {"trains": ["projector"], "lr": 1e-3, "max_sessions": 16, "beginnings": 8}
    losses = []
    for micro in (2, 16):
        train(
            changed(tiny_recipe, batch=16, micro_batch=micro, stages=[stage]),
            labelled_by_line,
            out=tmp_path / str(micro),
        )
        losses.append(json.loads((tmp_path / str(micro) / "steps.jsonl").read_text())["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.real
def test_beginnings_choose_the_threshold_too(tiny_recipe, by_line, tmp_path) -> None:
    data = by_line(lambda line: "retry" in line, sessions=240)
    part = Prepared.load(data).labelled("validation")
    stage = {"trains": ["projector"], "lr": 1e-3, "max_sessions": 8}
    chosen = []
    for count in (0, 2):
        manifest = train(
            changed(tiny_recipe, stages=[{**stage, "beginnings": count}]),
            data,
            out=tmp_path / str(count),
        )
        metrics = manifest["metrics"]["validation"]
        assert sum(metrics[name] for name in ("tp", "fp", "tn", "fn")) == len(part)
        chosen.append(manifest["threshold"])
    sessions, all_of_them = chosen
    assert (sessions["sessions"], sessions["anomalous"]) == (len(part), part["anomalous"].sum())
    assert sessions["anomalous"] >= 10  # with fewer no threshold is chosen
    first = [
        any(bad[:length])
        for bad in part["item_anomalous"].to_list()
        for length in range(1, len(bad))
    ]
    assert all_of_them["sessions"] == len(part) + len(first) == part["messages"].list.len().sum()
    assert all_of_them["anomalous"] == sessions["anomalous"] + sum(first)
    assert "beginnings" in all_of_them["how"]
    assert "beginnings" not in sessions["how"]


def test_beta2_is_adamws(tiny_recipe, tiny_data, tmp_path) -> None:
    import torch
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    used = []
    stage = {"trains": ["projector"], "lr": 1e-3, "max_sessions": 8}
    with register_optimizer_step_pre_hook(
        lambda optimizer, *_: used.append(optimizer.defaults["betas"])
    ):
        train(
            changed(tiny_recipe, stages=[stage, {**stage, "beta2": 0.9}]),
            tiny_data,
            out=tmp_path / "run",
        )
    assert list(dict.fromkeys(used)) == [
        torch.optim.AdamW([torch.zeros(1)]).defaults["betas"],
        (0.9, 0.9),
    ]


@pytest.mark.real
def test_micro_batches_add_up_to_the_batch(tiny_recipe, tiny_data, tmp_path) -> None:
    """Gradient accumulation: four passes of four end where one pass of sixteen does, dropout
    off."""
    from safetensors.torch import load_file
    from torch.testing import assert_close

    section = tiny_recipe.model.model_dump()
    for part in ("encoder", "decoder"):
        section[part]["lora"]["dropout"] = 0.0
    learned = []
    for micro in (16, 4):
        stages = [{"trains": ["encoder", "projector", "decoder"], "lr": 1e-3, "max_sessions": 48}]
        recipe = changed(
            tiny_recipe, batch=16, micro_batch=micro, stages=stages, objective="verdict"
        )
        recipe = Recipe.read({**recipe.model_dump(), "model": section}, source="test")
        train(recipe, tiny_data, out=tmp_path / str(micro))
        learned.append(load_file(tmp_path / str(micro) / "decoder" / "adapter_model.safetensors"))
    for name, value in learned[0].items():
        assert_close(value, learned[1][name], rtol=0, atol=2e-5)


def test_a_frozen_encoder_reads_only_what_a_stage_can_see(tiny_recipe, tiny_data, tmp_path) -> None:
    from torch.nn.modules.module import register_module_forward_pre_hook

    read: list[int] = []
    by_stage: dict[int, int] = {}

    def note(module, inputs) -> None:
        if isinstance(module, Encoder):
            read.append(len(inputs[0]))

    few = {"trains": ["decoder"], "lr": 1e-3, "max_sessions": 2}
    recipe = changed(
        tiny_recipe,
        stages=[few, {**few, "insert": 0.5}, {**few, "trains": ["projector"], "insert": 0.5}],
    )
    with register_module_forward_pre_hook(note):
        train(
            recipe,
            tiny_data,
            out=tmp_path / "run",
            watch=lambda step: by_stage.setdefault(step.stage, sum(read)),
        )
    every = Prepared.load(tiny_data).part("train")["messages"].explode().n_unique()
    assert 0 < by_stage[0] < every
    assert by_stage[1] - by_stage[0] == every
    assert by_stage[2] == by_stage[1]  # the third stage sees what the second did
