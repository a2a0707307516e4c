"""The one forward pass: parity, gradients, objectives."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, collate

MESSAGES = [
    "disk full",
    "disk <*> is full again",
    "ok",
    "x" * 300,
    "Receiving block <*> src: <*> dest: <*>",
    "",
]
SESSIONS = [
    np.array(session)
    for session in ([0, 1, 1, 2], [3], [4, 4, 4, 4, 4, 4, 0], [5, 2], [2, 1, 0], [0, 1, 1, 2])
]
LABELS = torch.tensor([0, 1, 0, 1, 1, 0])
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture
def parts(tiny):
    model, tokenizer = tiny
    return model, MessageTokens(MESSAGES, tokenizer, max_tokens=100)


def scored(model: LogLLM, sessions, **source) -> torch.Tensor:
    with torch.no_grad():
        return model(collate(sessions, **source))


def test_batched_equals_one_by_one(parts) -> None:
    model, tokens = parts
    together = scored(model, SESSIONS, tokens=tokens)
    alone = torch.cat([scored(model, [session], tokens=tokens) for session in SESSIONS])
    torch.testing.assert_close(together, alone, **CLOSE)
    assert together.std() > 1e-3  # sessions differ, so that agreement says something


def test_deduplicated_equals_every_message_encoded(parts, tiny) -> None:
    model, tokens = parts
    together = scored(model, SESSIONS, tokens=tokens)
    written_out = [message for session in SESSIONS for message in session]
    every = MessageTokens([MESSAGES[row] for row in written_out], tiny[1], max_tokens=100)
    starts = np.cumsum([0, *map(len, SESSIONS)])
    places = [np.arange(start, end) for start, end in itertools.pairwise(starts)]
    torch.testing.assert_close(together, scored(model, places, tokens=every), **CLOSE)


def test_known_vectors_equal_encoding(parts) -> None:
    model, tokens = parts
    vectors = model.encoder.table(tokens, positions=150)
    torch.testing.assert_close(
        scored(model, SESSIONS, vectors=vectors), scored(model, SESSIONS, tokens=tokens), **CLOSE
    )


@pytest.mark.parametrize("longer", [1, 7, 60])
def test_any_left_padding(parts, longer: int) -> None:
    model, tokens = parts
    filler = np.zeros(len(SESSIONS[2]) + longer, dtype=np.int64)
    padded = scored(model, [SESSIONS[0], filler], tokens=tokens)[:1]
    torch.testing.assert_close(padded, scored(model, SESSIONS[:1], tokens=tokens), **CLOSE)


def test_a_beginning_is_judged_as_a_session_of_its_own(parts) -> None:
    model, tokens = parts
    parts_of_them = ((0, 2), (2, 6), (4, 1))
    batch = replace(collate(SESSIONS, tokens=tokens), beginnings=parts_of_them)
    apart = [*SESSIONS, *(SESSIONS[at][:length] for at, length in parts_of_them)]
    with torch.no_grad():
        torch.testing.assert_close(model(batch), scored(model, apart, tokens=tokens), **CLOSE)
    model.trains((), message_dropout=0.5)
    alone = collate([SESSIONS[2]], tokens=tokens)
    with torch.no_grad():
        # What a message has lost it has lost in the beginning, too: judged at its whole length, a
        # session is judged alike.
        whole, same = model(replace(alone, beginnings=((0, len(SESSIONS[2])),)))
    model.trains(())
    model.eval()
    torch.testing.assert_close(whole, same, **CLOSE)


def test_order_of_messages_matters(parts) -> None:
    model, tokens = parts
    a, b = scored(model, [np.array([0, 1, 2]), np.array([2, 1, 0])], tokens=tokens)
    assert (a - b).abs().max() > 1e-4


@pytest.mark.parametrize(
    "parts_that_learn",
    [("decoder",), ("projector",), ("encoder", "projector"), ("encoder", "projector", "decoder")],
)
@pytest.mark.parametrize("objective", ["answer", "verdict"])
def test_only_a_stages_parts_receive_gradients(parts, parts_that_learn, objective) -> None:
    model, tokens = parts
    learning = model.trains(parts_that_learn)
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.loss(collate(SESSIONS, tokens=tokens, labels=LABELS), objective=objective).backward()
    for name, part in model.named_children():
        touched = {
            path for path, parameter in part.named_parameters() if parameter.grad is not None
        }
        if name not in parts_that_learn:
            assert not touched
        elif name == "projector":
            assert touched == {"weight", "bias"}
        else:
            assert touched
            assert all("lora_" in path for path in touched)
    torch.optim.AdamW(learning, lr=0.1).step()
    changed = {
        name.split(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == set(parts_that_learn)


def test_dropout_acts_in_the_parts_that_learn_only(parts) -> None:
    model, _ = parts
    model.trains(("decoder",), message_dropout=0.3)
    training = {
        name
        for name, module in model.named_modules()
        if module.training and isinstance(module, torch.nn.Dropout) and module.p
    }
    assert all(
        name.startswith("decoder.") and "lora_dropout" in name
        for name in training - {"message_dropout"}
    )
    assert "message_dropout" in training
    model.eval()
    assert not any(module.training for module in model.modules())
