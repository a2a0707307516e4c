"""On a GPU: the scores of the processor, a step of training, memory that is given back, and how fast it is.

`make test-gpu` runs them. Where there is no GPU they are skipped and say so.
"""

import copy
import gc
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from logllm.config.detect import DetectSection
from logllm.datasets.prepared import Prepared
from logllm.model.checkpoint import load_run
from logllm.model.encoder import MessageTokens
from logllm.model.fast.scorer import Engine, Scorer
from logllm.sessions.message_table import rows_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a torch built for it"),
]
GPU = torch.device("cuda")
MESSAGES = [f"worker {number % 7} {['started', 'read block', 'lost its lease', 'stopped'][number % 4]}" for number in range(60)]


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
    return engine.judge(sessions, engine.encode(MessageTokens(MESSAGES, tokenizer, max_tokens=100))).cpu()


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
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert losses
    assert np.isfinite(losses).all()
    prepared = Prepared.load(tiny_data)
    sessions = rows_of(prepared.part("test")["messages"])
    found = {}
    for device in ("cpu", "cuda"):
        model, tokenizer, recipe, _ = load_run(tmp_path / "run")
        scorer = Scorer(Engine(model.to(device), section=recipe.detect), tokenizer, max_tokens=recipe.model.encoder.max_tokens)
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
    logging.getLogger(__name__).info("%.0f sessions/s on %s", len(sessions) / (time.perf_counter() - started), torch.cuda.get_device_name())
