"""From message strings to logits: ours, batched and deduplicated, is the plain one."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from logllm.config.recipe import Recipe
from logllm.model.fast.scorer import Engine, Scorer
from logllm.model.logllm import collate
from tests.fidelity.pairs import MESSAGES, make_pair, make_sessions, plainly, write_models
from tests.fidelity.plain import ANSWERS, FORCED, SCRIPTS_TAIL, TAIL, Session

CLOSE = {"rtol": 0, "atol": 1e-5}
SESSIONS, LABELS = make_sessions(12, seed=3, longest=7)


@pytest.fixture(
    scope="module",
    params=[(True, True), (True, False), (False, True)],
    ids=["bos-split", "bos-whole", "plain-split"],
)
def models(request, tmp_path_factory):
    bos, split = request.param
    return write_models(tmp_path_factory.mktemp("models"), bos=bos, split=split), bos, split


@pytest.mark.sampled(3)
@pytest.mark.parametrize("tail", [TAIL, SCRIPTS_TAIL], ids=["newline", "backslash-n"])
def test_the_rendered_prompt(models, tail) -> None:
    folder, bos, split = models
    ours, plain, _ = make_pair(folder, tail=tail)
    prompt, tokenizer = ours.prompt, plain.decoder_tokenizer
    assert list(prompt.head) == plain.head()
    assert list(prompt.tail) == plain.words(tail)
    assert (list(prompt.normal), list(prompt.anomalous)) == (
        plain.answer(anomalous=False),
        plain.answer(anomalous=True),
    )
    # The verdict is read where the scripts begin to generate.
    assert list(prompt.normal[: prompt.shared]) == plain.words(FORCED)
    assert (len(prompt.anomalous) > len(prompt.normal)) == split
    whole = [*prompt.head, *prompt.tail, *prompt.normal]
    assert [at for at, token in enumerate(whole) if token == tokenizer.bos_token_id] == (
        [0] if bos else []
    )
    assert [at for at, token in enumerate(whole) if token == tokenizer.eos_token_id] == [
        len(whole) - 1
    ]
    assert tokenizer.decode(prompt.tail) == tail
    assert tokenizer.decode(prompt.anomalous, skip_special_tokens=True) == ANSWERS[True]


def test_what_the_decoder_reads(pair) -> None:
    """Head, the messages' vectors in order, repeated ones repeated, tail, the answer but for its
    last token."""
    ours, plain, tokens = pair
    read = []
    ours.decoder.reads_trees = False
    seen = ours.decoder.model.register_forward_pre_hook(
        lambda _, __, given: read.append((given["inputs_embeds"], given["attention_mask"])),
        with_kwargs=True,
    )
    rows = [np.array([4, 0, 0, 3, 0]), np.array([2]), np.array([1, 8])]
    labels = [True, False, True]
    with torch.no_grad():
        ours(collate(rows, tokens=tokens, labels=torch.tensor(labels)), objective="answer")
        ours(collate(rows, tokens=tokens))
    seen.remove()
    for (given, mask), answering in zip(read, (True, False), strict=True):
        for at, session in enumerate(plainly(rows, labels)):
            answer = (
                plain.answer(anomalous=session.anomalous)[:-1] if answering else plain.words(FORCED)
            )
            expected = plain.embeddings(session, answer)
            torch.testing.assert_close(given[at, mask[at] == 1], expected, **CLOSE)
            assert mask[at, -len(expected) :].all()  # padded on the left alone


@pytest.mark.sampled(3)
@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_logits_and_loss(models, pooling) -> None:
    folder, *_ = models
    ours, plain, tokens = make_pair(folder, pooling=pooling)
    batch = collate(SESSIONS, tokens=tokens, labels=torch.from_numpy(LABELS.astype(np.int64)))
    sessions = plainly(SESSIONS, LABELS)
    with torch.no_grad():
        answers, verdicts = ours(batch, objective="answer"), ours(batch, objective="verdict")
        expected = [plain.answer_logits(session) for session in sessions]
        for got, session in zip(answers, expected, strict=True):
            torch.testing.assert_close(got[-len(session) :], session, **CLOSE)
        at = len(plain.words(FORCED))
        words = [plain.answer(anomalous=anomalous)[at] for anomalous in (False, True)]
        torch.testing.assert_close(
            verdicts, torch.stack([session[at, words] for session in expected]), **CLOSE
        )
        losses = torch.cat([plain.losses(session) for session in sessions])
        torch.testing.assert_close(ours.loss(batch, objective="answer"), losses.mean(), **CLOSE)
    assert verdicts.std(dim=0).min() > 0.02  # sessions differ, so that agreement says something


def test_long_messages_are_cut_with_the_separator_last(pair) -> None:
    _, plain, tokens = pair
    ids, mask = tokens.tensors(np.arange(len(MESSAGES)))
    for row, message in enumerate(MESSAGES):
        assert ids[row, mask[row] == 1].tolist() == plain.message_ids(message)
    lengths = mask.sum(1)[5:].tolist()
    assert lengths == [99, 100, 100, 100]
    assert (
        ids[5:, :].gather(1, mask.sum(1)[5:, None] - 1) == plain.encoder_tokenizer.sep_token_id
    ).all()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("messages", [127, 128, 129, 140])
def test_long_sessions_are_cut(folder, tmp_path, messages) -> None:
    """A log file through `prepare` and the scorer, against the plain model on the strings that were
    written to it."""
    from logllm.datasets.prepare import prepare
    from logllm.datasets.prepared import Prepared
    from logllm.datasets.settings import choose

    log = [
        ["start", "copy", "verify", "stop"][row]
        for row in np.random.default_rng(4).integers(0, 4, size=messages)
    ]
    (tmp_path / "app.jsonl").write_text(
        "".join(json.dumps({"message": message, "label": "-"}) + "\n" for message in log)
    )
    overrides = {
        "format": {"label": "label", "normal": ["-"]},
        "sessions": {"by": "count", "size": 1000, "long": "cut"},
        "split": {"test": 0.0, "validation": 0.0},
        "mask": {},
    }
    prepare(
        [tmp_path / "app.jsonl"], tmp_path / "data", settings=choose("json", overrides=overrides)
    )
    data = Prepared.load(tmp_path / "data")
    rows = data.part("train")["messages"].to_list()
    assert [len(session) for session in rows] == [min(messages, 128)]
    ours, plain, _ = make_pair(folder)
    recipe = Recipe.load("bgl")
    with torch.no_grad():
        expected = plain.answer_logits(Session(log, anomalous=False))[
            len(plain.words(FORCED)), list(ours.prompt.verdict_ids)
        ]
    (logit,) = Scorer(
        Engine(ours, section=recipe.detect),
        plain.encoder_tokenizer,
        max_tokens=recipe.model.encoder.max_tokens,
    ).score([np.array(rows[0])], pl.Series(data.messages))
    assert logit == pytest.approx(float(expected[1] - expected[0]), abs=1e-5)
