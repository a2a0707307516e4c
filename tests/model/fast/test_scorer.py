"""What a scorer remembers: right whatever it forgot, whichever table a message is in, whoever
asks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from logllm.config.detect import DetectSection
from logllm.model.fast.scorer import Engine, Scorer


class Counted(Engine):
    """An engine that counts what it is given."""

    def __init__(self, *given, **how) -> None:
        super().__init__(*given, **how)
        self.encoded: list[int] = []
        self.tables: list[int] = []

    def encode(self, tokens):
        self.encoded.append(len(tokens))
        return super().encode(tokens)

    def judge(self, sessions, vectors, **how):
        self.tables.append(len(vectors))
        return super().judge(sessions, vectors, **how)


@pytest.fixture
def engine(tiny) -> Counted:
    return Counted(tiny[0], section=DetectSection())


@pytest.fixture
def scorer(engine, tiny):
    """Make scorers of one engine."""
    return lambda **how: Scorer(engine, tiny[1], max_tokens=100, **how)


def table(*texts: str) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def test_a_message_is_known_by_its_text_not_by_its_row(scorer, engine) -> None:
    ours = scorer()
    first = ours.score([np.array([0, 1]), np.array([1])], table("disk full", "ok"))
    again = ours.score([np.array([1]), np.array([2, 1])], table("other", "ok", "disk full"))
    np.testing.assert_allclose(again, first[::-1], rtol=0, atol=1e-6)
    assert abs(first[0] - first[1]) > 1e-3
    assert engine.encoded == [2]


def test_a_call_costs_what_occurs_in_its_sessions(scorer, engine) -> None:
    scorer().score(
        [np.array([70_000, 3, 3])], table(*(f"message {number}" for number in range(100_000)))
    )
    assert (engine.encoded, engine.tables) == ([2], [2])


@pytest.mark.real
def test_what_is_remembered_is_bounded_and_what_was_forgotten_is_right_when_it_returns(
    scorer, engine
) -> None:
    ours = scorer(most=50)
    messages = table(*(f"job {number} failed" for number in range(1000)))
    batches = [[np.array([start, start + 1, start + 2])] for start in range(0, 300, 3)]
    found = []
    for batch in batches:
        found.append(ours.score(batch, messages)[0])
        assert len(ours.memory) <= 50
    assert len(ours.memory) == 50
    before = sum(engine.encoded)
    assert before == 300  # each once
    assert ours.score(batches[-1], messages)[0] == found[-1]  # the last ones are known
    assert sum(engine.encoded) == before
    returned = [ours.score(batch, messages)[0] for batch in batches[:5]]
    assert sum(engine.encoded) == before + 15
    np.testing.assert_allclose(returned, found[:5], rtol=0, atol=1e-6)
    assert len({round(logit, 6) for logit in found}) > 90


def test_what_is_used_stays(scorer, engine) -> None:
    ours = scorer(most=3)
    messages = table("a", "b", "c", "d", "e")
    for row in (0, 1, 2, 0, 3, 0, 4, 0):
        ours.score([np.array([row])], messages)
    assert engine.encoded == [1] * 5
    ours.score([np.array([1])], messages)  # longest out of use, hence forgotten
    assert engine.encoded == [1] * 6


def test_a_call_may_bring_more_messages_than_are_remembered(scorer) -> None:
    messages = table(*(f"message {number}" for number in range(40)))
    sessions = [np.array([number, 39 - number]) for number in range(40)]
    ours, all_of_them = scorer(most=7), scorer()
    for _ in range(2):
        np.testing.assert_allclose(
            ours.score(sessions, messages), all_of_them.score(sessions, messages), rtol=0, atol=1e-6
        )
        assert len(ours.memory) == 7


def test_no_sessions(scorer) -> None:
    assert scorer().score([], table("a")).tolist() == []


@pytest.mark.real
def test_threads_get_the_right_answers_and_no_message_is_encoded_twice(scorer, engine) -> None:
    texts = [f"message {number}" for number in range(60)]

    def calls(of, *, seed: int) -> np.ndarray:
        """Ten calls, each with a table in an order of its own; the logits of the sessions (text n,
        text n + 1)."""
        found = []
        for turn in range(10):
            order = np.random.default_rng((seed, turn)).permutation(60)
            row = np.argsort(order)
            chosen = np.random.default_rng((turn, seed)).permutation(59)[:20]
            logits = of.score(
                [row[[number, number + 1]] for number in chosen],
                table(*(texts[number] for number in order)),
            )
            found.append(dict(zip(chosen.tolist(), logits.tolist(), strict=True)))
        return found

    wanted = scorer().score([np.array([number, number + 1]) for number in range(59)], table(*texts))
    for most in (1000, 13):
        ours = scorer(most=most)
        engine.encoded.clear()
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda seed, ours=ours: calls(ours, seed=seed), range(4)):
                for logits in found:
                    for number, logit in logits.items():
                        assert abs(logit - wanted[number]) < 1e-5
        assert most < 60 or sum(engine.encoded) == 60
        assert len(ours.memory) <= most
