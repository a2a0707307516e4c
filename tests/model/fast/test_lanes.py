"""Lanes with several callers: each has all of them in its turn, and torch's number of threads is
what it was."""

import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest
import torch

from logllm.config.detect import DetectSection
from logllm.model.encoder import MessageTokens
from logllm.model.fast.packing import in_lanes
from logllm.model.fast.scorer import Engine

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def in_a_new_thread() -> int:
    """Torch's number of threads, as a thread sees it that asks for the first time."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def lanes_used(_caller: int = 0, *, fails: bool = False) -> int:
    """How many threads did the work of one caller."""
    threads = set()

    def work(item: int) -> None:
        assert torch.get_num_threads() == 1
        threads.add(threading.get_ident())
        sleep(0.01)
        if fails and item == 5:
            raise ValueError("the fifth")

    in_lanes(work, range(8), device=CPU, chunks=8)
    return len(threads)


def test_a_caller_that_comes_while_lanes_run_has_all_of_them_too() -> None:
    with ThreadPoolExecutor(4) as pool:
        begun = []
        for _ in range(4):
            begun.append(pool.submit(lanes_used))
            # The next one comes in the middle, and asks torch for its number for the first time.
            sleep(0.02)
        assert [outcome.result() for outcome in begun] == [2, 2, 2, 2]
    assert (torch.get_num_threads(), in_a_new_thread()) == (2, 2)


@pytest.mark.real
def test_callers_at_once_have_all_lanes_each() -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):  # the same threads again: what they saw first must not stay
            assert list(pool.map(lanes_used, range(4))) == [2, 2, 2, 2]
        assert list(pool.map(lambda _: torch.get_num_threads(), range(4))) == [2, 2, 2, 2]
    assert (torch.get_num_threads(), in_a_new_thread()) == (2, 2)


def test_a_failure_of_one_caller_harms_no_other() -> None:
    with ThreadPoolExecutor(4) as pool:
        begun = [pool.submit(lanes_used, fails=bool(number % 2)) for number in range(8)]
        for number, outcome in enumerate(begun):
            if number % 2:
                with pytest.raises(ValueError, match="the fifth"):
                    outcome.result()
            else:
                assert outcome.result() == 2
    assert (torch.get_num_threads(), in_a_new_thread()) == (2, 2)


def test_few_chunks_have_all_threads_whoever_came_before() -> None:
    seen = []

    def few() -> None:
        in_lanes(lambda _: seen.append(torch.get_num_threads()), range(1), device=CPU, chunks=1)

    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(lanes_used) for _ in range(2)]
        sleep(0.02)
        torch_is_asked = pool.submit(torch.get_num_threads)  # while the number is that of lanes
        for outcome in [*others, torch_is_asked, *(pool.submit(few) for _ in range(8))]:
            outcome.result()
    assert seen == [2] * 8


def test_a_call_from_inside_a_lane_has_that_lane() -> None:
    inner = []

    def work(*_item: int) -> None:
        in_lanes(
            lambda item: inner.append((item, threading.get_ident())), range(8), device=CPU, chunks=8
        )

    def call() -> None:
        in_lanes(work, range(8), device=CPU, chunks=8, progress=work)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(20)
    assert not caller.is_alive()
    assert len(inner) == 2 * 8 * 8
    assert torch.get_num_threads() == 2


def test_threads_that_share_an_engine_get_what_one_gets(tiny) -> None:
    model, tokenizer = tiny
    engine = Engine(model, section=DetectSection(batch_positions=64))
    tokens = MessageTokens(
        [f"message {number} of many" for number in range(40)], tokenizer, max_tokens=100
    )
    rng = np.random.default_rng(0)
    sessions = [rng.integers(0, 40, size=rng.integers(1, 9)) for _ in range(60)]
    vectors = engine.encode(tokens)
    wanted = engine.judge(sessions, vectors)
    with ThreadPoolExecutor(4) as pool:
        for encoded in pool.map(engine.encode, [tokens] * 4):
            torch.testing.assert_close(encoded, vectors, rtol=0, atol=1e-6)
        for judged in pool.map(lambda _: engine.judge(sessions, vectors), range(4)):
            torch.testing.assert_close(judged, wanted, rtol=0, atol=1e-6)
    assert (torch.get_num_threads(), in_a_new_thread()) == (2, 2)
