"""Decoders in 16 and in 4 bits read what sessions share once, too, and say what they say of each
session alone."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from logllm.config.detect import DetectSection
from logllm.model.encoder import MessageTokens
from logllm.model.fast.scorer import Engine
from logllm.model.logllm import assemble, collate

MESSAGES = ["disk full", "disk <*> is full again", "ok", "Receiving block <*>"]
CASES = [
    pytest.param({"dtype": "bfloat16"}, 3e-2, id="16 bits"),
    pytest.param(
        {"quantize": "nf4", "compute": "float32"},
        1e-5,
        id="4 bits",
        marks=[
            pytest.mark.real,
            pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra qlora"),
        ],
    ),
]


@pytest.mark.parametrize(("settings", "close"), CASES)
@pytest.mark.parametrize("positions", [16_384, 200])
def test_scores_are_those_of_each_session_alone(tiny_models, settings, close, positions) -> None:
    torch.manual_seed(0)
    section = tiny_models.model_copy(
        update={"decoder": tiny_models.decoder.model_copy(update=settings)}
    )
    model, tokenizer = assemble(section)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    rng = np.random.default_rng(0)
    sequences = {tuple(rng.integers(0, 4, size=rng.integers(1, 12)).tolist()) for _ in range(80)}
    sessions = [np.array(one) for one in sorted(sequences)]

    # Once together, once one by one.
    nodes: list[int] = []
    engine = Engine(model, section=DetectSection(batch_positions=positions))
    vectors = engine.encode(MessageTokens(MESSAGES, tokenizer, max_tokens=100))
    read = model.decoder.read

    def noted(embeddings, tree, *, keep):
        nodes.append(len(embeddings))
        return read(embeddings, tree, keep=keep)

    model.decoder.read = noted
    together = engine.judge(sessions, vectors)
    model.decoder.read = read
    with torch.inference_mode():
        alone = torch.cat([model(collate([session], vectors=vectors)) for session in sessions])

    torch.testing.assert_close(
        together.float(), alone, rtol=0, atol=close * float(alone.abs().max().clamp(min=1))
    )
    around = len(model.prompt.head) + len(model.prompt.question)
    padded = len(sessions) * (around + max(map(len, sessions)))
    assert sum(nodes) < 0.7 * padded
    assert (len(nodes) == 1) == (positions == 16_384)
