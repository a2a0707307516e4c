"""4-bit weights on the CPU: what bitsandbytes is told, that gradients pass, that training, files
and detection work."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from logllm.config.model import ModelSection
from logllm.config.recipe import Recipe
from logllm.detect.detector import Detector
from logllm.errors import ModelError
from logllm.methods.train import train
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, assemble, collate

pytestmark = [
    pytest.mark.real,  # for its time alone
    pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra qlora"),
]


def quantized(section: ModelSection, **settings) -> ModelSection:
    """The same models in 4 bits."""
    parts = {
        part: getattr(section, part).model_copy(update={"quantize": "nf4", **settings})
        for part in ("encoder", "decoder")
    }
    return section.model_copy(update=parts)


def layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    import bitsandbytes  # two seconds that only these tests should take

    return [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]


def batch_of(model: LogLLM, tokenizer):
    tokens = MessageTokens(["disk full", "ok", "Receiving block <*>"], tokenizer, max_tokens=100)
    return collate(
        [np.array([0, 1, 2, 1]), np.array([1]), np.array([2, 2])],
        tokens=tokens,
        labels=torch.tensor([1, 0, 1]),
    )


def test_every_layer_but_the_head_is_in_nf4_without_double_quantisation(tiny_models) -> None:
    model, _ = assemble(quantized(tiny_models))
    assert len(layers(model.encoder)) == 2 * 6 + 1  # and the pooler's
    assert len(layers(model.decoder)) == 2 * 7
    for layer in layers(model):
        state = layer.weight.quant_state
        assert layer.weight.dtype == torch.uint8
        assert (state.quant_type, state.blocksize, state.nested) == ("nf4", 64, False)
        assert layer.compute_dtype == torch.bfloat16
    assert model.projector.weight.dtype == torch.float32


@pytest.mark.parametrize("compute", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_compute_format_stays_what_it_was_set_to(tiny_models, compute, dtype) -> None:
    """bitsandbytes would follow its first input's."""
    model, tokenizer = assemble(quantized(tiny_models, compute=compute, dtype=dtype))
    with torch.no_grad():
        model(batch_of(model, tokenizer))
    assert {layer.compute_dtype for layer in layers(model)} == {getattr(torch, compute)}


def test_gradients_pass_after_a_pass_without(tiny_models) -> None:
    """On processors with AVX512-BF16 bitsandbytes repacks the weights then, for a kernel without a
    backward pass."""
    model, tokenizer = assemble(quantized(tiny_models, compute="float32"))
    batch = batch_of(model, tokenizer)
    model.trains(("encoder", "projector", "decoder"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.eval()
    with torch.no_grad():
        model.loss(batch, objective="answer")
    model.loss(batch, objective="answer").backward()
    learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in learning.values())
    # The projector's gradient against a difference of losses: it is the whole way through the
    # decoder's 4-bit layers.
    direction = torch.sign(model.projector.bias.grad)
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            model.projector.bias += sign * 1e-3 * direction
            losses.append(model.loss(batch, objective="answer").item())
            model.projector.bias -= sign * 1e-3 * direction
    slope = (losses[0] - losses[1]) / 2e-3
    assert slope == pytest.approx(float(model.projector.bias.grad.abs().sum()), rel=0.05)


def test_near_the_weights_they_stand_for(tiny_models) -> None:
    whole, tokenizer = assemble(tiny_models)
    model, _ = assemble(quantized(tiny_models, compute="float32"))
    model.projector.load_state_dict(whole.projector.state_dict())
    with torch.no_grad():
        batch = batch_of(whole, tokenizer)
        exact, near = whole.encoder(batch.ids, batch.mask), model.encoder(batch.ids, batch.mask)
    assert torch.nn.functional.cosine_similarity(exact, near).min() > 0.98
    assert not torch.equal(exact, near)


@pytest.mark.parametrize("precision", ["no", pytest.param("bf16", marks=pytest.mark.real)])
def test_all_stages_train_in_4_bits(tiny_recipe, tiny_data, tmp_path, precision) -> None:
    shared = tiny_recipe.train.model_copy(
        update={"precision": precision, "gradient_checkpointing": True}
    )
    recipe: Recipe = tiny_recipe.model_copy(
        update={"model": quantized(tiny_recipe.model), "train": shared}
    )
    manifest = train(recipe, tiny_data, out=tmp_path / "run")
    assert manifest["state"] == "done"
    lines = [
        '{"time": 1700000000, "job": "a", "message": "open file /data/a1"}',
        '{"time": 1700000001, "job": "b", "message": "close file"}',
    ]
    first, second = (
        Detector.load(tmp_path / "run").detect(lines),
        Detector.load(tmp_path / "run").detect(lines),
    )
    assert [verdict.score for verdict in first] == [verdict.score for verdict in second]


def test_without_bitsandbytes_the_error_says_what_to_install(tiny_models, monkeypatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "bitsandbytes" else found(name, *rest),
    )
    with pytest.raises(
        ModelError,
        match=r"need bitsandbytes: pip install 'logllm\[qlora\]', or set quantize = 'none'",
    ):
        assemble(quantized(tiny_models))
