"""The prompt of the recipes `brief` and `nano`: nothing stands between the last message and the
verdict."""

import shutil

import numpy as np
import pytest
import torch
from tests.tiny import word_tokenizer

from logllm.config.model import ModelSection
from logllm.config.recipe import Recipe
from logllm.detect.detector import Detector
from logllm.errors import ModelError
from logllm.evaluate.evaluation import evaluate
from logllm.methods.bundle import Bundle, export_run
from logllm.methods.train import train
from logllm.model.base.blueprint import draw
from logllm.model.base.published import AssumedTokenizer
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, assemble, collate
from logllm.model.prompt import render

CLOSE = {"rtol": 0, "atol": 1e-5}
MESSAGES = ["disk full", "disk <*> is full again", "ok", "x" * 300, "Receiving block <*>"]
SESSIONS = [np.array(session) for session in ([0, 1, 1, 2], [3], [4, 4, 4, 4, 0], [2, 1, 0])]
LABELS = [0, 1, 0, 1]
PROMPT = Recipe.load("brief").model.prompt


@pytest.fixture(scope="module")
def section(tiny_models) -> ModelSection:
    return tiny_models.model_copy(update={"prompt": PROMPT})


@pytest.fixture(params=["end", "no end"])
def parts(request, section) -> tuple[LogLLM, MessageTokens]:
    """A model whose answers are one word and an end-of-sequence token, or the word alone."""
    torch.manual_seed(0)
    model, tokenizer = assemble(section)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    if request.param == "no end":
        words = word_tokenizer(bos=True)
        words.eos_token = None
        model = LogLLM(model.encoder, model.decoder, prompt=render(PROMPT, words)).eval()
    assert len(model.prompt.normal) == (2 if request.param == "end" else 1)
    return model, MessageTokens(MESSAGES, tokenizer, max_tokens=100)


def written_out(
    model: LogLLM, tokens: MessageTokens, session: np.ndarray, answer: tuple[int, ...] = ()
) -> torch.Tensor:
    """Logits at the last message and at what follows it, (1 + answer, v): head, projected messages,
    answer, one session alone."""
    embed = model.decoder.model.get_input_embeddings()
    vectors = torch.cat([model.encoder(*tokens.tensors(np.array([row]))) for row in session])
    whole = torch.cat(
        [
            embed(torch.tensor(model.prompt.head)),
            model.projector(vectors),
            embed(torch.tensor(answer, dtype=torch.int64)),
        ]
    )
    return model.decoder.model(inputs_embeds=whole[None], use_cache=False).logits[
        0, len(model.prompt.head) + len(session) - 1 :
    ]


def test_the_prompt() -> None:
    tokenizer = word_tokenizer(bos=True)
    prompt = render(PROMPT, tokenizer)
    assert (prompt.tail, prompt.question, prompt.shared) == ((), (), 0)
    assert tokenizer.convert_ids_to_tokens(prompt.head)[-4:] == ["normal", "or", "anomalous", "?"]
    assert tokenizer.convert_ids_to_tokens(prompt.verdict_ids) == ["normal", "anomalous"]
    assumed = render(PROMPT, AssumedTokenizer())
    assert assumed.question == ()


def test_the_verdict_is_read_at_the_last_message(parts) -> None:
    model, tokens = parts
    with torch.no_grad():
        together = model(collate(SESSIONS, tokens=tokens))
        alone = [
            written_out(model, tokens, session)[0, list(model.prompt.verdict_ids)]
            for session in SESSIONS
        ]
    torch.testing.assert_close(together, torch.stack(alone), **CLOSE)
    assert (together[:, 1] - together[:, 0]).std() > 1e-3


@pytest.mark.sampled(2)
@pytest.mark.parametrize("objective", ["answer", "verdict"])
def test_losses_and_gradients_are_those_of_prompts_written_out(parts, objective) -> None:
    model, tokens = parts
    learning = model.trains(("encoder", "projector", "decoder"))
    model.eval()
    cross_entropy = torch.nn.functional.cross_entropy
    losses = []
    for session, label in zip(SESSIONS, LABELS, strict=True):
        if objective == "verdict":
            losses.append(
                cross_entropy(
                    written_out(model, tokens, session)[:1, list(model.prompt.verdict_ids)],
                    torch.tensor([label]),
                )
            )
        else:
            answer = model.prompt.anomalous if label else model.prompt.normal
            losses.append(
                cross_entropy(
                    written_out(model, tokens, session, answer[:-1]), torch.tensor(answer)
                )
            )
    plain = torch.stack(losses).mean()  # the answers are of one length
    expected = torch.autograd.grad(plain, learning)
    found = model.loss(
        collate(SESSIONS, tokens=tokens, labels=torch.tensor(LABELS)), objective=objective
    )
    torch.testing.assert_close(found, plain, **CLOSE)
    for own, other in zip(torch.autograd.grad(found, learning), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
    assert any(gradient.abs().max() > 1e-3 for gradient in expected)


def test_a_session_fills_the_decoder_to_its_last_position(parts) -> None:
    model, tokens = parts
    model.decoder.positions = len(model.prompt.head) + 5
    model(collate([np.zeros(5, dtype=np.int64)], tokens=tokens))
    with pytest.raises(ModelError, match="prepare with --max-messages 5"):
        model(collate([np.zeros(6, dtype=np.int64)], tokens=tokens))


def test_a_drawn_model_has_the_same_prompt(section) -> None:
    assert draw(section).model.prompt == assemble(section)[0].prompt


@pytest.mark.parametrize("objective", [pytest.param("answer", marks=pytest.mark.real), "verdict"])
def test_from_training_to_a_bundle(section, tiny_recipe, tiny_data, tmp_path, objective) -> None:
    shared = tiny_recipe.train.model_copy(update={"objective": objective})
    train(
        tiny_recipe.model_copy(update={"model": section, "train": shared}),
        tiny_data,
        out=tmp_path / "run",
    )
    report = evaluate(Detector.load(tmp_path / "run"), tiny_data)
    assert report["tp"] + report["fp"] + report["tn"] + report["fn"] == report["sessions"] > 10
    log = (tiny_data.parent / "app.jsonl").read_text().splitlines()
    verdicts = list(Detector.load(tmp_path / "run").detect(log))
    assert len({verdict.score for verdict in verdicts}) > 5
    export_run(tmp_path / "run", tmp_path / "bundle", bundle=Bundle(merged=True))
    shutil.rmtree(tmp_path / "run")
    again = Detector.load(tmp_path / "bundle").detect(log)
    assert [verdict.score for verdict in again] == pytest.approx(
        [verdict.score for verdict in verdicts], abs=1e-4
    )
    assert (
        f"| prompt | `{PROMPT.head}` messages |" in (tmp_path / "bundle" / "README.md").read_text()
    )
