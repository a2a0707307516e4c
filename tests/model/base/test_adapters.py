"""Adapters added to base weights without PEFT equal PEFT's, or are refused."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from logllm.config.model import DecoderLoraSection
from logllm.errors import ModelError
from logllm.model.base.adapters import Adapters, adapted, merge
from logllm.model.checkpoint import load_run
from logllm.model.fast.scorer import Engine


def test_a_run_merged_scores_as_with_adapters(tiny_run) -> None:
    apart, _, recipe, _ = load_run(tiny_run)
    together, _, _, _ = load_run(tiny_run, merged=True)
    assert not any("lora_" in name for name, _ in together.named_parameters())
    vectors = torch.randn((4, apart.encoder.width), generator=torch.Generator().manual_seed(0))
    sessions = [torch.tensor(rows).numpy() for rows in ([0, 1], [2, 3, 3])]
    logits = [
        Engine(model, section=recipe.detect).judge(sessions, vectors) for model in (apart, together)
    ]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)
    with torch.no_grad():
        ids = torch.tensor([[1, 5, 9, 2]])
        both = [model.encoder(ids, torch.ones_like(ids)) for model in (apart, together)]
    torch.testing.assert_close(*both, rtol=0, atol=1e-5)


def test_layers_that_are_the_other_way_round() -> None:
    """GPT-2 keeps its weights as (d_in, d_out)."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    base, section = GPT2LMHeadModel(config), DecoderLoraSection()
    bare = GPT2LMHeadModel(config)
    bare.load_state_dict(base.state_dict())
    wrapped = adapted(base, section, part="decoder").eval()
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    tensors = {
        name.replace(".default.", "."): value
        for name, value in wrapped.state_dict().items()
        if "lora_" in name
    }
    merge(bare.eval(), Adapters(tensors, section, "here"))
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        torch.testing.assert_close(bare(ids).logits, wrapped(ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", ["lacking", "odd", "misshapen"])
def test_adapters_of_another_model_are_refused(tiny_run, tmp_path, change) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    model, _, recipe, _ = load_run(run, merged=True)
    tensors = load_file(run / "decoder" / "adapter_model.safetensors")
    first = sorted(tensors)[0]
    if change == "lacking":
        del tensors[first]
    elif change == "odd":
        tensors["base_model.model.elsewhere.lora_A.weight"] = tensors[first].clone()
    else:
        tensors = {
            name: value[:, :3] if "lora_A" in name else value for name, value in tensors.items()
        }
    save_file(
        {name: value.contiguous() for name, value in tensors.items()}, tmp_path / "odd.safetensors"
    )
    with pytest.raises(
        ModelError, match="there does not fit the base model: .*(self_attn|elsewhere)"
    ):
        merge(
            model.decoder.model,
            Adapters(load_file(tmp_path / "odd.safetensors"), recipe.model.decoder.lora, "there"),
        )
