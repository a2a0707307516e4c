"""A projector that begins with words, or with how much of an alert a message is."""

import json

import numpy as np
import pytest
import torch
from tests.training.test_train import changed
from transformers import AutoTokenizer

from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.methods.train import train
from logllm.model.base.weights import locate
from logllm.model.encoder import MessageTokens
from logllm.training.fit import Examples, accelerate
from logllm.training.loop import Loop
from logllm.training.sampler import TrainingSet
from logllm.training.start import Doubts, start_with_alerts, start_with_words

MESSAGES = ["system log messages", "normal", "anomalous sequence", "Is this or", "Below The"]


def test_each_message_says_its_own_words(tiny, tiny_recipe) -> None:
    model, tokenizer = tiny
    words_of = AutoTokenizer.from_pretrained(locate(tiny_recipe.model.decoder.weights))
    vectors = model.encoder.table(
        MessageTokens(MESSAGES, tokenizer, max_tokens=100), positions=1000
    )
    start_with_words(model, MESSAGES, vectors=vectors, tokenizer=words_of)
    table = model.decoder.model.get_input_embeddings().weight.detach()
    with torch.no_grad():
        said = model.projector(vectors)
    words = torch.stack(
        [table[words_of(text, add_special_tokens=False)["input_ids"]].mean(0) for text in MESSAGES]
    )
    likeness = torch.nn.functional.cosine_similarity(
        (said - said.mean(0))[:, None], (words - words.mean(0))[None], dim=-1
    )
    assert likeness.argmax(1).tolist() == list(range(len(MESSAGES)))
    assert said.norm(dim=1).mean() < 2 * table.norm(dim=1).mean()


@pytest.mark.real
def test_it_is_a_setting_of_the_model(tiny_recipe, tiny_data, tmp_path) -> None:
    """Other weights than a random start's, the same each time."""
    from safetensors.torch import load_file

    stages = [{"trains": ["decoder"], "lr": 1e-9, "max_sessions": 4}]
    weights = {}
    for name, start in (("words", "words"), ("again", "words"), ("random", "random")):
        recipe = changed(tiny_recipe, stages=stages)
        projector = recipe.model.projector.model_copy(update={"start": start})
        train(
            recipe.model_copy(
                update={"model": recipe.model.model_copy(update={"projector": projector})}
            ),
            tiny_data,
            out=tmp_path / name,
        )
        weights[name] = load_file(tmp_path / name / "projector.safetensors")["weight"]
    assert torch.equal(weights["words"], weights["again"])
    assert not torch.allclose(weights["words"], weights["random"])


def read(model, vectors) -> tuple[np.ndarray, float]:
    """Where between the answers' words messages are read, -1 for normal and 1 for anomalous, and
    how far beside that line at most."""
    normal, anomalous = model.decoder.embed(torch.tensor(model.prompt.verdict_ids)).detach()
    half, middle = (anomalous - normal) / 2, (anomalous + normal) / 2
    with torch.no_grad():
        said = model.projector(vectors) - middle
    place = said @ half / (half @ half)
    return place.numpy(), float((said - place[:, None] * half).norm(dim=1).max())


def test_alerts_are_read_nearer_to_the_word_for_them(tiny) -> None:
    model, _ = tiny
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(rng.normal(size=(60, model.encoder.width))).float()
    alerts = np.arange(60) < 12
    vectors[alerts, 3] += 4.0
    doubts = start_with_alerts(model, vectors=vectors, alerts=alerts, rng=rng)
    own, beside = read(model, vectors)
    assert beside < 1e-5
    assert own[alerts].min() > own[~alerts].max()
    assert own[~alerts].mean() == pytest.approx(-1, rel=1e-3)
    moved = np.stack(
        [read(model, doubts.moved(vectors, time=time))[0] for time in range(len(doubts.steps))]
    )
    assert all(read(model, doubts.moved(vectors, time=time))[1] < 1e-5 for time in range(3))
    assert moved[:, alerts].mean() < own[alerts].mean()  # not fitted, an alert is less of one
    assert moved[:, alerts].mean() > moved[:, ~alerts].mean()
    assert torch.equal(
        doubts.moved(vectors, time=1), doubts.moved(vectors, time=1 + len(doubts.steps))
    )


@pytest.mark.parametrize("alike", [True, False])
def test_two_messages_have_a_place(tiny, alike) -> None:
    """Two messages make no kinds to hold out, and stay where they are; nothing tells them apart
    where their vectors are the same."""
    model, _ = tiny
    vectors = torch.eye(model.encoder.width)[[0, 0] if alike else [0, 1]]
    doubts = start_with_alerts(
        model, vectors=vectors, alerts=np.array([True, False]), rng=np.random.default_rng(0)
    )
    assert isinstance(doubts, Doubts)
    assert torch.equal(doubts.moved(vectors, time=0), vectors)
    place = read(model, vectors)[0]
    assert place[0] == pytest.approx(place[1]) if alike else place[0] > place[1]


def alerted(recipe, **stage):
    """A recipe that begins with alerts, and trains the decoder."""
    projector = recipe.model.projector.model_copy(update={"start": "alerts"})
    recipe = changed(
        recipe,
        stages=[{"trains": ["decoder"], "lr": 1e-3, "max_sessions": 48, **stage}],
        checkpoint_steps=1,
        batch=16,
    )
    return recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"projector": projector})}
    )


@pytest.mark.real
def test_a_start_with_alerts_goes_on_as_if_it_had_not_been_cut_off(
    tiny_recipe, labelled_by_line, tmp_path
) -> None:
    recipe = alerted(tiny_recipe)

    def stop(step) -> None:
        if step.step == 2:
            raise KeyboardInterrupt

    train(recipe, labelled_by_line, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, labelled_by_line, out=tmp_path / "cut", watch=stop)
    train(recipe, labelled_by_line, out=tmp_path / "cut", resume=True)
    for name in ("projector.safetensors", "decoder/adapter_model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.real
def test_training_sees_messages_where_they_might_be_while_the_projector_stays(
    tiny, tiny_recipe, labelled_by_line, tmp_path
) -> None:
    class Noted:
        def moved(self, vectors, *, time):
            times.append(time)
            return vectors

    model, tokenizer = tiny
    examples = Examples.of(Prepared.load(labelled_by_line))
    tokens = MessageTokens(examples.messages.to_list(), tokenizer, max_tokens=100)
    data = TrainingSet(examples.sessions, examples.labels, tokens, examples.alerts)
    for trains, seen in ((["decoder"], [0, 1, 2]), (["projector", "decoder"], [])):
        times: list[int] = []
        recipe = alerted(tiny_recipe, trains=trains)
        (tmp_path / trains[0]).mkdir()
        loop = Loop(
            model,
            data,
            section=recipe.train,
            run=tmp_path / trains[0],
            accelerator=accelerate(recipe),
        )
        loop.doubts = Noted()
        loop.train(encode_positions=500)
        assert times == seen


def test_alerts_take_labels_of_lines(tiny_recipe, tiny_data, tmp_path) -> None:
    with pytest.raises(DataError, match="needs a label for each line"):
        train(alerted(tiny_recipe), tiny_data, out=tmp_path / "run")


def test_alerts_take_messages_that_are_none(tiny_recipe, by_line, tmp_path) -> None:
    """The lines of some sessions are all alerts, and the others say nothing else."""
    data = by_line(lambda line: json.loads(line)["job"][-1] in "01234")
    with pytest.raises(DataError, match="every message of the train part is one"):
        train(alerted(tiny_recipe), data, out=tmp_path / "run")
