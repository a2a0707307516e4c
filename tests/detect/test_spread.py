"""One log judged by several processes: the verdicts, the counts and the errors of one."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.detect.spread_hands import Here
from tests.tiny import make_log

from logllm.config.prepare import PrepareSection
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.detect.opened_run import OpenedRun
from logllm.detect.reading import Reading
from logllm.detect.spread.crew import Crew
from logllm.detect.spread.labour import Job, Origin
from logllm.detect.spread.spread_reader import SpreadReader
from logllm.detect.spread.spread_run import SpreadDetector
from logllm.detect.verdict import json_lines
from logllm.errors import DataError, ServeError
from logllm.logs.lines import BLOCK, CutOff


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> list[str]:
    """Four files of one made log: sessions lie across them, messages are new in each, one holds no
    record."""
    folder = tmp_path_factory.mktemp("logs")
    lines, _ = make_log(sessions=60, seed=5)
    random.Random(0).shuffle(lines)
    quarter = len(lines) // 4
    names = []
    for number in range(4):
        part = lines[number * quarter : (number + 1) * quarter]
        part.append(
            json.dumps(
                {
                    "time": 1_700_000_900,
                    "job": f"job-{number}",
                    "message": f"shard of kind {'abcd'[number]} seen",
                }
            )
        )
        part.append("no record")
        name = folder / f"{number}.jsonl.gz"
        name.write_bytes(gzip.compress("\n".join(["\n"] if number == 2 else part).encode()))
        names.append(str(name))
    return names


def shared(
    detector: Detector, *, hands: int, jobs: dict[int, int] | None = None
) -> tuple[SpreadDetector, list[Here]]:
    """The detector with so many hands, and all that were hired; `jobs` says after how many the
    first at a place dies."""
    origin = Origin.of(detector.run) if isinstance(detector.run, OpenedRun) else None
    hired: list[Here] = []
    mortal = dict(jobs or {})

    def hire(place: int) -> Here:
        hired.append(Here(origin, jobs=mortal.pop(place, None)))
        return hired[-1]

    return SpreadDetector.of(detector, Crew(hire, hands=hands)), hired


def told(reading: Reading) -> tuple[str, dict[str, int], list[dict[str, object]], list[str]]:
    """All that a reading gives."""
    verdicts = "".join("".join(json_lines(frame.drop("messages"))) for frame in reading.frames())
    return verdicts, dict(reading.counts), reading.rejects, reading.messages.to_list()


def windowed(detector: Detector) -> Detector:
    """The same run, but sessions are windows, which close while the log is read: scores are asked
    for again and again."""
    grouped = detector.settings.sessions.model_copy(
        update={"by": "count", "size": 7, "step": 5, "key_field": None}
    )
    return Detector(
        detector.run,
        settings=detector.settings.model_copy(update={"sessions": grouped}),
        cached=False,
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("grouping", ["key", "windows"])
@pytest.mark.parametrize("hands", [1, 3])
def test_bytes_are_those_of_one_process(tiny_run, logs, grouping, hands) -> None:
    alone = Detector.load(tiny_run, threshold=0.46)
    detector = alone if grouping == "key" else windowed(alone)
    expected = told(detector.read(logs))
    spread, hired = shared(detector, hands=hands)
    assert told(spread.read(logs)) == expected
    assert '"anomalous":true' in expected[0]
    assert '"evidence"' in expected[0]
    assert expected[1]["files_without_records"] == 1
    done = [task for hand in hired for task in hand.did]
    assert done.count("read") == 4
    assert done.count("score") + done.count("turns") == len(done) - 4 > 0
    assert str(spread.crew) == f"{hands} actor{'s' * (hands > 1)}, {len(done)} shards"
    assert all("read" in hand.did for hand in hired)


class InParts(SpreadDetector):
    """Reads large files in the smallest parts there are."""

    def reader(self, names, **how) -> SpreadReader:
        reader = super().reader(names, **how)
        reader.span = BLOCK
        return reader


@pytest.mark.real
@pytest.mark.parametrize("grouping", ["key", "windows"])
def test_one_large_file_is_read_by_all_with_the_bytes_of_one(tiny_run, tmp_path, grouping) -> None:
    """Sessions and windows lie across its parts, one of which begins with lines of no record."""
    lines, _ = make_log(sessions=60, seed=5)
    random.Random(0).shuffle(lines)
    filler = json.dumps({"time": 1_700_000_900, "message": "x" * 30_000})
    some = len(lines) // 4
    block = [filler] * (BLOCK // len(filler) - 1)
    large, small = tmp_path / "large.jsonl", tmp_path / "small.jsonl"
    quarters = [lines[start : start + some] for start in range(0, len(lines), some)]
    large.write_text("\n".join(line for some in quarters for line in [*some, "no record", *block]))
    small.write_text("\n".join(lines[:some]))
    names = [str(large), str(small)]

    alone = Detector.load(tiny_run, threshold=0.46)
    detector = alone if grouping == "key" else windowed(alone)
    expected = told(detector.read(names))
    spread, hired = shared(detector, hands=2)
    assert told(InParts.of(spread, spread.crew).read(names)) == expected
    done = [task for hand in hired for task in hand.did]
    assert done.count("read") == 1 + large.stat().st_size // BLOCK + 1
    assert all("read" in hand.did for hand in hired)
    assert [reject["line"] for reject in expected[2]][1] > some


def test_a_process_that_was_spared_a_call_is_taught_its_messages(tiny_run, logs) -> None:
    """What was encoded together before is so wherever it is scored later; one that did all needs no
    teaching."""
    detector = windowed(Detector.load(tiny_run))
    lessons = []
    for hands in (1, 3):
        spread, hired = shared(detector, hands=hands)
        told(spread.read(logs))
        lessons.append(sum(hand.lessons for hand in hired))
    assert lessons[0] == 0 < lessons[1]


@pytest.mark.real
@pytest.mark.parametrize("jobs", [{0: 0}, {0: 2, 1: 1}, {0: 3}], ids=str)
def test_a_process_that_dies_changes_nothing(tiny_run, logs, jobs) -> None:
    detector = windowed(Detector.load(tiny_run, threshold=0.46))
    spread, hired = shared(detector, hands=2, jobs=jobs)
    assert told(spread.read(logs)) == told(detector.read(logs))
    assert spread.crew.deaths == len(jobs) == len(hired) - 2


def test_processes_that_die_again_and_again_are_an_error(tiny_run, logs) -> None:
    spread = SpreadDetector.of(Detector.load(tiny_run), Crew(lambda _: Here(None, jobs=0), hands=2))
    with pytest.raises(
        ServeError, match="4 processes that judge have died, the last one so: its power was cut"
    ):
        list(spread.read(logs))


def test_results_come_in_the_order_of_the_jobs() -> None:
    class Echo(Here):
        def result(self, ticket):
            return ticket

        def begin(self, job, lessons):
            return job.arguments[0]

    crew = Crew(lambda _: Echo(None), hands=3)
    assert list(crew.each(Job("echo", (number,)) for number in range(20))) == list(range(20))
    assert list(crew.each([])) == []


def lines_of(count: int, *, kind: Callable[[int], str]) -> str:
    return "".join(f"{kind(number)}\n" for number in range(count))


@pytest.mark.parametrize("by", ["file", "folder"])
def test_sessions_that_files_name(tmp_path, by) -> None:
    """A name is chosen with a view to all files, and a session lies across those of a folder."""
    for place in ("a/x.log", "a/y.log", "b/x.log"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(
            lines_of(5, kind=lambda number: f"2024-05-01 10:00:0{number} INFO step {number}")
        )
    settings = choose(
        "log4j", overrides={"format": {}, "split": {}, "mask": {}, "sessions": {"by": by}}
    )
    same(settings, [str(tmp_path)])


def same(settings: PrepareSection, logs: list[str]) -> None:
    """Whether sessions ranked by one process are so by two that read."""
    one = Detector.ranking(settings=settings)
    expected = told(one.read(logs))
    spread, _ = shared(Detector.ranking(settings=settings), hands=2)
    assert told(spread.read(logs)) == expected
    assert expected[0]


def test_records_of_several_lines_and_years_that_lines_lack(tmp_path) -> None:
    settings = choose(
        "syslog",
        overrides={"format": {}, "split": {}, "mask": {}, "sessions": {"by": "count", "size": 4}},
    )
    for month in ("Nov", "Dec", "Jan"):
        text = lines_of(
            9,
            kind=lambda day, month=month: (
                f"{month}  {day + 1} 10:00:00 host app[7]: step {day}\n\tat more({day})"
            ),
        )
        (tmp_path / f"{month}.log").write_text(text)
    same(settings, [str(tmp_path / f"{month}.log") for month in ("Nov", "Dec", "Jan")])


def test_faults_come_where_one_process_meets_them(tiny_run, logs, tmp_path) -> None:
    """All before a fault is judged, then it is raised in the same words."""
    broken = tmp_path / "broken.gz"
    broken.write_bytes(Path(logs[1]).read_bytes()[:-20])
    detector = Detector.load(tiny_run)
    spread, _ = shared(detector, hands=2)
    met = []
    for judge in (detector, spread):
        reading = judge.read([logs[0], str(broken), logs[3]])
        before = []
        with pytest.raises(CutOff) as fault:
            before.extend((verdict.session, verdict.score) for verdict in reading)
        met.append((before, str(fault.value)))
    assert met[0] == met[1]
    assert "broken.gz is damaged or cut off after" in met[0][1]
    assert met[0][0]


def test_a_log_in_another_format_and_an_empty_one(tiny_run, tmp_path) -> None:
    (tmp_path / "other.log").write_text("not json\n" * 9)
    (tmp_path / "empty.log").write_text("")
    detector = Detector.load(tiny_run)
    spread, _ = shared(detector, hands=2)
    for name in ("other.log", "empty.log"):
        texts = []
        for judge in (detector, spread):
            with pytest.raises(DataError) as fault:
                list(judge.read([str(tmp_path / name)]))
            texts.append(str(fault.value))
        assert texts[0] == texts[1]


def test_what_has_one_reader_is_refused(tiny_run) -> None:
    spread, _ = shared(Detector.load(tiny_run), hands=1)
    with pytest.raises(
        DataError, match=r"standard input \(-\) can be read only once: write it to a file first"
    ):
        spread.read(["-"])


def test_lots_of_sessions_are_scored_side_by_side(tiny_run) -> None:
    spread, hired = shared(Detector.load(tiny_run), hands=2)
    messages = pl.Series(["open file", "close file", "lost replica"])
    lots = [[np.array([0, 1])], [np.array([2]), np.array([1])], [np.array([0])]]
    opinions = list(spread.run.many(lots, messages))
    assert [len(opinion.scores) for opinion in opinions] == [1, 2, 1]
    assert [len(hand.did) for hand in hired] == [2, 1]
    alone = Detector.load(tiny_run)
    assert [opinion.scores.tolist() for opinion in opinions] == [
        alone.score(lot, messages).tolist() for lot in lots
    ]
