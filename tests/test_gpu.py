"""On a GPU: the scores of the processor, a step of training, memory that is given back, and how
fast it is.

`make test-gpu` runs them. Where there is no GPU they are skipped and say so.
"""

import copy
import gc
import json
import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from logllm.bench.work import gemm_peak
from logllm.config.detect import DetectSection
from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.model.base.weights import available
from logllm.model.checkpoint import load_run
from logllm.model.encoder import MessageTokens
from logllm.model.fast.scorer import Engine, Scorer
from logllm.model.logllm import assemble
from logllm.sessions.message_table import rows_of
from logllm.training.fit import Examples, fit_network
from logllm.training.plan import plan
from logllm.training.state import learned

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a torch built for it"
    ),
]
GPU = torch.device("cuda")
MESSAGES = [
    f"worker {number % 7} {['started', 'read block', 'lost its lease', 'stopped'][number % 4]}"
    for number in range(60)
]


@pytest.fixture
def sessions() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, len(MESSAGES), size=rng.integers(1, 40)) for _ in range(200)]


@contextmanager
def memory_returns(*, within: int = 0) -> Iterator[None]:
    """What is allocated on the GPU is the same afterwards, but for what libraries take once."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    yield
    gc.collect()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= before + within


def logits(engine: Engine, tokenizer, sessions) -> torch.Tensor:
    return engine.judge(
        sessions, engine.encode(MessageTokens(MESSAGES, tokenizer, max_tokens=100))
    ).cpu()


@pytest.mark.parametrize("positions", [64, 16_384])
def test_logits_are_those_of_the_processor(tiny, sessions, positions) -> None:
    model, tokenizer = tiny
    section = DetectSection(batch_positions=positions)
    wanted = logits(Engine(model, section=section), tokenizer, sessions)
    found = logits(Engine(copy.deepcopy(model).to(GPU), section=section), tokenizer, sessions)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_doubtful_scores_of_bf16_are_those_of_the_processor(tiny, sessions) -> None:
    """These tiny models are never sure: all is computed again, exactly."""
    model, tokenizer = tiny
    wanted = logits(Engine(model, section=DetectSection()), tokenizer, sessions)
    rounding = Engine(copy.deepcopy(model).to(GPU), section=DetectSection(engine="bf16"))
    torch.testing.assert_close(logits(rounding, tokenizer, sessions), wanted, rtol=0, atol=1e-4)
    assert rounding.doubted == len(sessions)


def test_a_run_trains_there_and_scores_the_same_on_both(tiny_recipe, tiny_data, tmp_path) -> None:
    from logllm.methods.train import train

    with memory_returns(within=64 * 2**20):  # cuBLAS keeps 32 MiB to work in
        train(tiny_recipe, tiny_data, out=tmp_path / "run")
    losses = [
        json.loads(line)["loss"]
        for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()
    ]
    assert losses
    assert np.isfinite(losses).all()
    prepared = Prepared.load(tiny_data)
    sessions = rows_of(prepared.part("test")["messages"])
    found = {}
    for device in ("cpu", "cuda"):
        model, tokenizer, recipe, _ = load_run(tmp_path / "run")
        scorer = Scorer(
            Engine(model.to(device), section=recipe.detect),
            tokenizer,
            max_tokens=recipe.model.encoder.max_tokens,
        )
        found[device] = scorer.score(sessions, prepared.messages)
    np.testing.assert_allclose(found["cuda"], found["cpu"], rtol=0, atol=1e-4)


def test_scoring_keeps_no_memory(tiny, sessions) -> None:
    model, tokenizer = tiny
    engine = Engine(copy.deepcopy(model).to(GPU), section=DetectSection())
    logits(engine, tokenizer, sessions)  # what libraries take once
    for _ in range(3):
        with memory_returns():
            logits(engine, tokenizer, sessions)


def test_how_fast_it_is_is_logged(tiny, sessions) -> None:
    """No figure is asked for: tiny models say nothing of real ones."""
    model, tokenizer = tiny
    engine = Engine(copy.deepcopy(model).to(GPU), section=DetectSection(batch_positions=16_384))
    logits(engine, tokenizer, sessions)
    started = time.perf_counter()
    logits(engine, tokenizer, sessions)
    logging.getLogger(__name__).info(
        "%.0f sessions/s on %s",
        len(sessions) / (time.perf_counter() - started),
        torch.cuda.get_device_name(),
    )


@pytest.fixture
def small():
    """The small tier, its adapters and projector not at zero."""
    recipe = Recipe.load("small")
    if not all(map(available, recipe.model.weights.values())):
        pytest.skip("needs the small tier's models")
    torch.manual_seed(0)
    model, tokenizer = assemble(recipe.model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model, tokenizer


@pytest.mark.parametrize("engine", ["exact", "bf16"])
def test_scores_of_the_small_tier_are_those_of_the_processor(small, sessions, engine) -> None:
    model, tokenizer = small
    some = sessions[:24]
    wanted = logits(Engine(model, section=DetectSection(engine="exact")), tokenizer, some)
    section = DetectSection(engine=engine)
    found = logits(Engine(copy.deepcopy(model).to(GPU), section=section), tokenizer, some)
    scores = [(pair[:, 1] - pair[:, 0]).sigmoid() for pair in (found, wanted)]
    # What bfloat16 leaves in doubt by a hundredth is computed again, exactly.
    torch.testing.assert_close(*scores, rtol=0, atol=1e-4 if engine == "exact" else 1e-2)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra qlora")
def test_scores_of_4_bits_are_those_of_the_processor(tiny_models, sessions) -> None:
    """The packed weights of one are those of the other: each packs the same numbers."""
    settings = {"quantize": "nf4", "compute": "float32"}
    parts = {
        part: getattr(tiny_models, part).model_copy(update=settings)
        for part in ("encoder", "decoder")
    }
    section = tiny_models.model_copy(update=parts)
    torch.manual_seed(0)
    on_gpu, tokenizer = assemble(section)  # straight to the GPU
    on_gpu.to(GPU)
    found = logits(Engine(on_gpu, section=DetectSection()), tokenizer, sessions)
    plain, _ = assemble(tiny_models)
    plain.load_state_dict(learned(on_gpu), strict=False)
    for part in ("encoder", "decoder"):
        unpack(getattr(on_gpu, part).model, getattr(plain, part).model)
    wanted = logits(Engine(plain, section=DetectSection()), tokenizer, sessions)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)


def unpack(packed: torch.nn.Module, whole: torch.nn.Module) -> None:
    """Put what 4 bits stand for in place of the weights that they were packed from."""
    from bitsandbytes.functional import dequantize_4bit

    for name, layer in packed.named_modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if state is not None:
            weight = dequantize_4bit(layer.weight.data, state)
            with torch.no_grad():
                whole.get_submodule(name).weight.copy_(weight)


def test_a_training_that_was_cut_off_goes_on(tiny_recipe, tiny_data, tmp_path) -> None:
    from logllm.methods.train import train

    def stop(step) -> None:
        if step.stage == 1 and step.step == 2:
            raise KeyboardInterrupt

    train(tiny_recipe, tiny_data, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tiny_recipe, tiny_data, out=tmp_path / "cut", watch=stop)
    train(tiny_recipe, tiny_data, out=tmp_path / "cut", resume=True)
    whole, cut = (
        load_file(tmp_path / name / "decoder" / "adapter_model.safetensors")
        for name in ("whole", "cut")
    )
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=0, atol=1e-6)


def test_memory_is_as_foretold(tiny_data, tmp_path) -> None:
    """The small tier's last stage: what CUDA gave, next to what shapes said; CUDA's own share is
    not in either."""
    settings = [
        'train.stages=[{trains=["encoder","projector","decoder"],lr=1e-4,max_sessions=32}]',
        "train.micro_batch=auto",
    ]
    recipe = Recipe.load("small", overrides=settings)
    if not all(map(available, recipe.model.weights.values())):
        pytest.skip("needs the small tier's models")
    foretold = plan(recipe, tiny_data).stages[0].memory.total
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    fit_network(recipe, Examples.of(Prepared.load(tiny_data)), folder=tmp_path)
    measured = torch.cuda.max_memory_allocated() - before
    assert foretold == pytest.approx(measured, rel=0.1)


def test_the_cards_peak_is_known() -> None:
    found = {
        dtype: statistics.median(gemm_peak(device=GPU, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    }
    assert found[torch.bfloat16] > found[torch.float32] > 1e12
