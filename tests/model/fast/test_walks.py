"""Beginnings that are asked for in several rounds: what they share is walked once, in bounded
memory."""

import weakref

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logllm.config.detect import DetectSection
from logllm.detect.evidence.turning import turns
from logllm.model.fast import walks
from logllm.model.fast.llama import Llama
from logllm.model.fast.scorer import TOLERANCE, Engine, Scorer
from logllm.model.fast.source import source_of
from logllm.model.fast.walks import in_groups, room_for

MESSAGES = pl.Series(["disk full", "disk <*> is full again", "ok", "Receiving block <*>"])
SESSIONS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=9)


def scorer_of(tiny, **section) -> Scorer:
    model, tokenizer = tiny
    return Scorer(Engine(model, section=DetectSection(**section)), tokenizer, max_tokens=100)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def in_rounds(scorer: Scorer, sessions: list[np.ndarray], *, threshold: float):
    """Where sessions turned, by what is kept from round to round, and all scores asked for."""
    told: dict[bytes, float] = {}

    def groups():
        for numbers, kept in scorer.groups(sessions):

            def score(beginnings, kept=kept):
                scores = sigmoid(scorer.score(beginnings, MESSAGES, walks=kept))
                told.update(zip((one.tobytes() for one in beginnings), scores, strict=True))
                return scores

            yield numbers, score

    return turns(sessions, groups(), threshold=threshold), told


def anew(scorer: Scorer, sessions: list[np.ndarray], *, threshold: float):
    """The same search, each round a tree of its own."""
    groups = [(np.arange(len(sessions)), lambda some: sigmoid(scorer.score(some, MESSAGES)))]
    return turns(sessions, groups, threshold=threshold)


@pytest.mark.real
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(SESSIONS, st.floats(0, 1), st.integers(1, 150), st.integers(0, 2))
def test_a_search_that_keeps_what_it_walked_finds_what_one_finds_that_walks_anew(
    tiny, lists, quantile, room, repeated
) -> None:
    """Whatever sessions have in common, wherever the threshold lies among their scores, and however
    few of them fit into memory together."""
    scorer = scorer_of(tiny)
    sessions = [np.array(one) for one in [*lists, *lists[:repeated]]]
    every = [one[:size] for one in sessions for size in range(1, len(one) + 1)]
    wanted = sigmoid(scorer.score(every, MESSAGES))
    by_bytes = dict(zip((one.tobytes() for one in every), wanted, strict=True))
    # Between two scores, so that no rounding error decides.
    ordered = np.unique(wanted.round(5))
    threshold = float(np.quantile(ordered, quantile)) + 3e-5

    positions = room * 4 * source_numbers(scorer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walks, "KEPT", positions)
        found, told = in_rounds(scorer, sessions, threshold=threshold)
    plain = anew(scorer, sessions, threshold=threshold)
    assert found.places.tolist() == plain.places.tolist()
    assert found.risen.tolist() == plain.risen.tolist()
    np.testing.assert_allclose(found.scores, plain.scores, rtol=0, atol=1e-6)
    for beginning, score in told.items():
        assert abs(score - by_bytes[beginning]) < 1e-6


def source_numbers(scorer: Scorer) -> int:
    """Numbers that are kept of a position of the tiny Llama."""
    config = source_of(scorer.engine.model.decoder.model).config
    width = config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers * 2 * config.num_key_value_heads * width


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """How many positions pass a decoder, each time that some do."""
    counts: list[int] = []
    plain = Llama.logits

    def counted(self, inputs, tree, **how):
        counts.append(len(inputs))
        return plain(self, inputs, tree, **how)

    monkeypatch.setattr(Llama, "logits", counted)
    return counts


def test_a_round_costs_the_question_and_what_no_round_before_has_walked(tiny, passes) -> None:
    scorer = scorer_of(tiny)
    prompt = scorer.engine.model.prompt
    head, question = len(prompt.head), len(prompt.question)
    rng = np.random.default_rng(0)
    # All begin with two messages that tell them apart, so that none share more than the head.
    sessions = [
        np.concatenate([[number // 4, number % 4], rng.integers(0, 4, size=62)])
        for number in range(12)
    ]
    ((numbers, kept),) = scorer.groups(sessions)
    rounds = [32, 16, 48, 40, 48]
    for size in rounds:
        scorer.score([sessions[number][:size] for number in numbers], MESSAGES, walks=kept)
    firsts = len({one[0] for one in sessions})  # shared in their tree
    own = [firsts + 12 * 31, 0, 12 * 16, 0, 0]
    assert passes == [12 * question + new + (head if at == 0 else 0) for at, new in enumerate(own)]
    # One beginning that several ask for is computed once.
    scorer.score([sessions[0][:32]] * 3 + [sessions[1][:5]], MESSAGES, walks=kept)
    assert passes[-1] == 2 * question


def test_a_search_for_turns_walks_no_path_twice(tiny, passes) -> None:
    """Of a session no more than the largest beginning that is asked for, and a question a round."""
    scorer = scorer_of(tiny)
    prompt = scorer.engine.model.prompt
    rng = np.random.default_rng(1)
    sessions = [rng.integers(0, 4, size=100) for _ in range(20)]
    turned, told = in_rounds(scorer, sessions, threshold=0.0)
    assert not turned.risen.any()  # all beginnings are enough: 50, 25, 12, 6, 3, 1 messages
    assert len(passes) == 6
    most = len(prompt.head) + 20 * 50 + len(told) * len(prompt.question)
    assert sum(passes) <= most
    passes.clear()
    anew(scorer, sessions, threshold=0.0)
    assert sum(passes) > 1.3 * most


def test_no_more_is_kept_at_once_than_is_allowed(tiny, monkeypatch) -> None:
    """However many sessions there are; one that is too large is walked anew in each round."""
    scorer = scorer_of(tiny)
    allowed = 400 * 4 * source_numbers(scorer)
    monkeypatch.setattr(walks, "KEPT", allowed)
    stores: list[weakref.ref] = []
    most, plain = [], Llama.store

    def watched(self, rows, **how):
        made = plain(self, rows, **how)
        stores.append(weakref.ref(made))
        there = [store() for store in stores]
        most.append(sum(store.nbytes for store in there if store is not None))
        return made

    monkeypatch.setattr(Llama, "store", watched)
    rng = np.random.default_rng(2)
    sessions = [rng.integers(0, 4, size=size) for size in [*range(20, 60), 390]]
    turned, _ = in_rounds(scorer, sessions, threshold=0.5)
    assert len(stores) > 3
    assert max(most) <= allowed
    assert turned.places.tolist() == anew(scorer, sessions, threshold=0.5).places.tolist()


def test_the_room_follows_the_models_shape(tiny) -> None:
    """4.6 MB a window of 100 for the small tier."""

    class Small:
        dtype = torch.float32

        class config:
            num_hidden_layers, hidden_size = 30, 576
            num_attention_heads, num_key_value_heads = 9, 3

    room = room_for(Small(), rounds=False)
    assert room == walks.KEPT // (30 * 384 * 4)
    assert room_for(Small(), rounds=True) == walks.KEPT // (30 * 384 * 6)
    assert room_for(None, rounds=True) == 0
    Small.dtype = torch.bfloat16
    assert room_for(Small(), rounds=False) == 0


def test_rounding_keeps_what_it_walked_and_settles_its_doubts(tiny) -> None:
    scorer = scorer_of(tiny, engine="bf16")
    exact = scorer_of(tiny)
    model, _ = tiny
    rng = np.random.default_rng(3)
    sessions = [rng.integers(0, 4, size=30) for _ in range(12)]
    wanted = exact.score(sessions, MESSAGES)
    # As sure as trained models: some scores are settled without doubt.
    model.decoder.model.get_output_embeddings().weight.data *= 7 / np.abs(wanted).mean()
    scorer, exact = scorer_of(tiny, engine="bf16"), scorer_of(tiny)
    ((numbers, kept),) = scorer.groups(sessions)
    for size in (15, 7, 22):
        beginnings = [sessions[number][:size] for number in numbers]
        found = sigmoid(scorer.score(beginnings, MESSAGES, walks=kept))
        wanted = sigmoid(exact.score(beginnings, MESSAGES))
        assert np.abs(found - wanted).max() < TOLERANCE
        assert ((found >= 0.5) == (wanted >= 0.5)).all()
    assert 0 < scorer.engine.doubted < 3 * len(sessions)


def test_where_no_pass_of_ours_serves_sessions_are_one_group(tiny) -> None:
    model, _ = tiny
    model.decoder.model.to(torch.bfloat16)
    scorer = scorer_of((model, tiny[1]))
    sessions = [np.array([0, 1, 2]), np.array([3])]
    ((numbers, kept),) = scorer.groups(sessions)
    assert (numbers.tolist(), kept) == ([0, 1], None)
    assert len(scorer.score(sessions, MESSAGES, walks=kept)) == 2


def test_groups_hold_what_begins_alike_and_nothing_is_left_out(tiny) -> None:
    prompt = tiny[0].prompt
    around = len(prompt.head) + max(1, len(prompt.question))
    sessions = [np.array(one) for one in ([2, 2], [0, 1], [2] * 9, [0, 2], [2, 1])]
    groups = [
        (numbers.tolist(), kept is not None)
        for numbers, kept in in_groups(sessions, prompt, room=2 * around + 4)
    ]
    assert groups == [([1, 3], True), ([4, 0], True), ([2], True)]
    groups = [
        (numbers.tolist(), kept is not None)
        for numbers, kept in in_groups(sessions, prompt, room=around + 2)
    ]
    assert groups == [([1], True), ([3], True), ([4], True), ([0], True), ([2], False)]
