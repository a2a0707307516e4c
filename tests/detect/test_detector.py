"""A run at work: each thing once, odd sessions, odd logs."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep

import numpy as np
import polars as pl
import pytest
from tests.tiny import make_log
from torch.utils.flop_counter import FlopCounterMode

from logllm.cli.console import tell_counts
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Prepared
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.errors import DataError
from logllm.evaluate.evaluation import evaluate
from logllm.methods.registry import recipe_for
from logllm.methods.train import train
from logllm.sessions.message_table import rows_of


@pytest.fixture(scope="module")
def detector(tiny_run) -> Detector:
    return Detector.load(tiny_run)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> Callable[..., Detector]:
    """A detector of a simple method that has learnt from a made log, its sessions as told."""

    def learn(**sessions: object) -> Detector:
        folder = tmp_path_factory.mktemp("learnt")
        lines, _ = make_log(sessions=40, seed=2)
        (folder / "app.jsonl").write_text("\n".join(lines))
        told = {"format": {}, "sessions": sessions, "split": {"by": "random"}, "mask": {}}
        prepare(
            [folder / "app.jsonl"],
            folder / "data",
            settings=choose("json", recipe=None, overrides=told),
        )
        train(recipe_for("unseen"), folder / "data", out=folder / "run")
        return Detector.load(folder / "run")

    return learn


@pytest.fixture(scope="module")
def windows(learnt) -> Detector:
    """One that judges windows of five records."""
    return learnt(by="count", size=5)


def line(job: str, message: str, time: int = 1_700_000_000) -> str:
    return json.dumps({"time": time, "job": job, "message": message})


def test_each_distinct_session_and_message_is_computed_once(detector) -> None:
    """What is repeated, and a message that no session holds, cost no operation more. Messages are
    new in each call, and equally long."""
    distinct = [np.array(session) for session in ([0, 1], [1, 0], [2])]
    repeated = [distinct[place] for place in (0, 1, 0, 2, 0)]
    # What every prompt begins with is computed by the first call.
    detector.score(distinct, pl.Series(["lift", "smile", "bake"]))
    with FlopCounterMode(display=False) as once:
        detector.score(distinct, pl.Series(["read", "write", "sync"]))
    with FlopCounterMode(display=False) as again:
        scores = detector.score(repeated, pl.Series(["open", "close", "fail", "never used"]))
    assert again.get_total_flops() == once.get_total_flops() > 0
    assert scores[0] == scores[2] == scores[4] != scores[1]


def test_lines_give_verdicts(detector) -> None:
    verdicts = list(
        detector.detect(
            [
                line("a", "open file /x"),
                line("b", "lost replica 1"),
                line("a", "close file\n", 1_700_000_009),
            ]
        )
    )
    assert [(verdict.session, verdict.lines) for verdict in verdicts] == [("a", [1, 3]), ("b", [2])]
    assert all(0 <= verdict.score <= 1 for verdict in verdicts)
    assert verdicts[0].anomalous == (verdicts[0].score >= detector.threshold)
    assert (verdicts[0].end - verdicts[0].start).total_seconds() == 9
    assert verdicts[0].model == detector.model


def test_a_session_of_one_message_and_one_of_ten_thousand(detector) -> None:
    lines = [
        line("short", "open file /x"),
        *(line("long", f"write {number} bytes") for number in range(10_000)),
    ]
    verdicts = {verdict.session: verdict for verdict in detector.detect(lines)}
    assert verdicts["short"].lines == [1]
    assert len(verdicts) == 1 + -(-10_000 // 128)
    assert verdicts["long#79"].lines == list(range(2 + 78 * 128, 10_002))  # nothing is lost


def test_messages_cut_from_long_sessions_are_counted_and_told(learnt, capfd) -> None:
    cutting = learnt(by="key", key_field="job", long="cut", max_messages=3)
    reading = cutting.detect(
        [line(job, f"write {number} bytes") for job in "ab" for number in range(5)]
    )
    assert [len(verdict.lines) for verdict in reading] == [3, 3]
    assert reading.counts["cut_messages"] == 4
    capfd.readouterr()
    tell_counts(reading.counts, reading.rejects)
    assert capfd.readouterr().err == "10 lines read: 4 cut messages\n"


def test_lines_that_do_not_parse_are_counted_and_shown(detector) -> None:
    reading = detector.detect([line("a", "open"), "garbage", line("a", "close"), line("b", "open")])
    assert len(list(reading)) == 2
    assert list(reading) == []  # iterable once
    assert (reading.counts["lines"], reading.counts["rejected"]) == (4, 1)
    assert reading.rejects[0]["text"] == "garbage"
    assert reading.messages.to_list() == ["open", "close"]


def test_two_readings_of_one_detector_have_counts_of_their_own(detector) -> None:
    first = detector.detect([line("a", "open"), "garbage", line("b", "close")])
    second = detector.detect([line("c", "fail")])
    assert [next(reading).session for reading in (first, second, first)] == ["a", "c", "b"]
    assert list(first) == list(second) == []
    assert (first.counts["lines"], first.counts["rejected"], len(first.messages)) == (3, 1, 2)
    assert (second.counts["lines"], second.counts["rejected"], len(second.messages)) == (1, 0, 1)


@pytest.mark.real
def test_threads_share_a_detector(detector) -> None:
    logs = [
        [line(f"{number}", f"{verb} file /x") for number in range(40)]
        for verb in ("open", "close", "lose", "find")
    ]
    alone = [[verdict.score for verdict in detector.detect(log)] for log in logs]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda log: [verdict.score for verdict in detector.detect(log)], logs * 3)
        )
    assert together == alone * 3


def test_a_stream_gives_verdicts_while_it_goes_on(windows) -> None:
    """201 lines in windows of 5, and no end in sight: 40 verdicts are there."""
    more = Event()

    def lines() -> Iterator[str]:
        yield from (line("any", f"write {number} bytes") for number in range(201))
        more.wait(60)
        yield from (line("any", "close file") for _ in range(4))

    reading = windows.stream(lines())
    found = [next(reading).session for _ in range(40)]
    assert found[-1] == "5@196"
    assert reading.counts["lines"] == 201
    more.set()
    assert [verdict.lines for verdict in reading] == [[201, 202, 203, 204, 205]]


@pytest.mark.real
def test_an_iterator_is_read_as_it_comes(windows) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield line("any", "open file /x")

    with windows.detect(endless()) as reading:
        assert next(reading).lines == [1, 2, 3, 4, 5]
    before = taken
    sleep(0.3)
    assert taken <= before + 1  # closed, it asks for nothing more


def test_a_fault_of_the_lines_reaches_the_reader(windows) -> None:
    def broken() -> Iterator[str]:
        yield from (line("any", "open file /x") for _ in range(5))
        raise ConnectionError("the broker is gone")

    reading = windows.stream(broken())
    assert next(reading).lines == [1, 2, 3, 4, 5]
    with pytest.raises(DataError, match="the broker is gone"):
        next(reading)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no lines"),
        (["no json"] * 9, "not in the format json"),
        ("one text\nof two lines", r"give text\.splitlines\(\)"),
    ],
)
def test_nothing_to_judge_is_an_error(detector, lines, said) -> None:
    with pytest.raises(DataError, match=said):
        list(detector.detect(lines))


def test_evaluate_counts_what_train_has_seen(detector, tiny_data) -> None:
    prepared = Prepared.load(tiny_data)
    report = evaluate(detector, tiny_data)
    train = {tuple(session) for session in prepared.part("train")["messages"].to_list()}
    test = [tuple(session) for session in prepared.part("test")["messages"].to_list()]
    assert report["sessions_seen_in_train"] == sum(session in train for session in test) > 0
    assert (
        sum(report["unseen"][name] for name in ("tp", "fp", "tn", "fn"))
        == len(test) - report["sessions_seen_in_train"]
    )
    assert report["data_of_training"] is True


def test_evaluate_judges_at_the_runs_threshold(detector, tiny_data) -> None:
    part = Prepared.load(tiny_data).part("validation")
    scores = detector.score(rows_of(part["messages"]), Prepared.load(tiny_data).messages)
    report = evaluate(detector, tiny_data, split="validation")
    assert report["tp"] + report["fp"] == int((scores >= detector.threshold).sum())
    assert report["threshold"] == detector.threshold


def test_evaluate_names_the_parts_there_are(detector, tiny_data) -> None:
    with pytest.raises(DataError, match="no part 'tset'"):
        evaluate(detector, tiny_data, split="tset")
