"""Scores on disk: found again, bounded, shared, and never in the way."""

import logging
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from tests.detect.test_detector import line

from logllm.datasets.prepared import Prepared
from logllm.detect.cache import _ASKED, RUNS, ScoreCache, identity
from logllm.detect.detector import Detector
from logllm.runs.manifest import read_recipe, verified
from logllm.sessions.message_table import rows_of


@pytest.fixture(autouse=True)
def _own_cache(cached) -> None:
    """An empty one."""


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def scores(*numbers: int) -> dict[bytes, tuple[float, str | None]]:
    """A score of each; of odd ones something is said besides."""
    return {key(number): (number / 3, '{"minds": 1}' if number % 2 else None) for number in numbers}


def kept(run: str = "run", *, most: int = 100) -> set[int]:
    with closing(ScoreCache(run, most=most)) as cache:
        return {
            int.from_bytes(found, "big")
            for found in cache.known(key(number) for number in range(1_000))
        }


def keep(*numbers: int, run: str = "run", most: int = 100) -> None:
    with closing(ScoreCache(run, most=most)) as cache:
        cache.keep(scores(*numbers))


def test_scores_are_found_again_to_the_last_bit() -> None:
    keep(1, 2, 7)
    with closing(ScoreCache("run", most=100)) as cache:
        assert cache.known([key(1), key(7), key(8), key(1)]) == scores(1, 7)
        cache.keep({key(8): (float("nan"), None)})
        assert cache.known([key(8)]) == {}
    assert kept("another run") == set()


def test_those_longest_out_of_use_go_first() -> None:
    keep(1, most=4)
    keep(2, 3, 4, most=4)
    with closing(ScoreCache("run", most=4)) as cache:
        cache.known([key(1)])
        cache.keep(scores(5, 6))
    left = kept(most=4)
    assert {1, 5, 6} < left
    assert len(left) == 4


def test_scores_of_few_runs_are_kept() -> None:
    for run in range(RUNS + 3):
        keep(1, run=f"run{run}")
    with closing(ScoreCache("last", most=1)) as cache:
        assert len(list(cache.path.parent.iterdir())) == RUNS
        assert cache.path.exists()


@pytest.mark.parametrize("damage", ["no database", "cut off", "overwritten"])
def test_a_damaged_file_is_made_anew(damage, caplog) -> None:
    keep(*range(900), most=1_000)
    with closing(ScoreCache("run", most=1_000)) as cache:
        path = cache.path
    whole = path.read_bytes()
    if damage == "no database":
        path.write_bytes(b"nothing of the kind" * 500)
    elif damage == "cut off":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with caplog.at_level(logging.WARNING), closing(ScoreCache("run", most=1_000)) as cache:
        cache.known(key(number) for number in range(1_000))
        cache.keep(scores(1, 2))
        assert cache.known([key(1), key(2)]) == scores(1, 2)
    assert [record.message.split(":")[0] for record in caplog.records] == ["scores are cached anew"]
    assert kept() == {1, 2}


def test_without_a_place_it_is_said_once_and_nothing_else_happens(cached, caplog) -> None:
    cached.parent.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING), closing(ScoreCache("run", most=9)) as cache:
        assert cache.known([key(1)]) == {}
        cache.keep(scores(1))
        cache.keep(scores(2))
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "going on without the cache of scores"
    ]


def test_a_full_disk_ends_the_keeping_and_not_the_work(caplog) -> None:
    with caplog.at_level(logging.WARNING), closing(ScoreCache("run", most=10_000)) as cache:
        cache._file.execute("PRAGMA max_page_count = 4")
        cache.keep(scores(*range(5_000)))
        assert cache.known([key(1)]) == {}
        cache.keep(scores(1))
    assert len(caplog.records) == 1
    assert "full" in caplog.text


def test_a_file_that_can_only_be_read_is_read(caplog) -> None:
    keep(1)
    with closing(ScoreCache("run", most=9)) as cache:
        cache.close()
        cache._file = sqlite3.connect(f"file:{cache.path}?mode=ro", uri=True)
        cache._file.executescript(_ASKED)
        assert cache.known([key(1)]) == scores(1) == cache.known([key(1)])
    assert not caplog.records


def test_several_at_once() -> None:
    def work(first: int) -> int:
        with closing(ScoreCache("run", most=500)) as cache:
            for number in range(first, first + 200, 10):
                cache.keep(scores(*range(number, number + 10)))
            return len(cache.known(key(number) for number in range(first, first + 200)))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, [0, 100, 200, 300])) == [200] * 4
    assert kept(most=500) == set(range(500))


def test_a_process_killed_while_it_writes_leaves_what_was_there() -> None:
    keep(1, 2)
    with closing(ScoreCache("run", most=9)) as cache:
        path = cache.path
    program = """
import os, signal, sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute("PRAGMA cache_size = 1")  # so that it writes before it commits
keys = [(os.urandom(16),) for _ in range(5000)]
file.executemany("INSERT INTO scores VALUES (?, 1.0, 9, NULL)", keys)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert path.with_name(f"{path.name}-journal").exists()
    with closing(ScoreCache("run", most=9)) as cache:
        assert cache.known([key(1), key(2)]) == scores(1, 2)
        assert cache._file.execute("SELECT count(*) FROM scores").fetchone() == (2,)


def test_a_runs_identity_is_what_determines_its_scores(tiny_run, tmp_path) -> None:
    manifest, recipe = verified(tiny_run), read_recipe(tiny_run)
    named = identity(manifest, recipe, threshold=0.5)
    copied = shutil.copytree(tiny_run, tmp_path / "renamed")
    sizes = recipe.detect.model_copy(update={"batch_positions": 7, "cache_sessions": 7})
    prompt = recipe.model.prompt.model_copy(update={"tail": "?"})
    resized = recipe.model_copy(update={"detect": sizes})
    assert identity(verified(copied) | {"name": "renamed"}, resized, threshold=0.5) == named
    projector = manifest | {"files": manifest["files"] | {"projector.safetensors": "0"}}
    assert identity(projector, recipe, threshold=0.5) != named
    asked = recipe.model_copy(update={"model": recipe.model.model_copy(update={"prompt": prompt})})
    assert identity(manifest, asked, threshold=0.5) != named


def test_sessions_are_known_by_their_texts_and_a_score_alone_never_asks(
    tiny_run, tiny_data
) -> None:
    """Poisoned scores show who reads them: `read` does, whatever the order of messages in the log;
    `score` and `evaluate` do not."""
    lines = [
        line("a", "open file /x"),
        line("b", "lost replica 1"),
        line("a", "close file", 1_700_000_009),
    ]
    detector = Detector.load(tiny_run, cache=True)
    first = detector.detect(lines)
    honest = {verdict.session: verdict.score for verdict in first}
    assert first.counts["scores_from_cache"] == 0
    list(detector.read([tiny_data.parent / "app.jsonl"]))
    prepared = Prepared.load(tiny_data)
    test = rows_of(prepared.part("test")["messages"])
    alone = detector.score(test, prepared.messages)  # what `evaluate` asks for
    named = identity(detector.manifest, detector.recipe, threshold=detector.threshold)
    path = ScoreCache(named, most=9).path
    with closing(sqlite3.connect(path)) as file, file:
        assert file.execute("UPDATE scores SET score = 1").rowcount > 20
    reading = detector.detect(lines[::-1])
    other_way_round = {verdict.session: verdict.score for verdict in reading}
    assert (
        other_way_round["b"],
        other_way_round["a"] < 1,
        reading.counts["scores_from_cache"],
    ) == (1.0, True, 1)
    assert [verdict.score for verdict in detector.detect([lines[1], lines[0], lines[2]])] == [
        1.0,
        1.0,
    ]
    assert {
        verdict.session: verdict.score for verdict in Detector.load(tiny_run).detect(lines)
    } == honest
    assert detector.score(test, prepared.messages).tolist() == alone.tolist()
    assert alone.max() < 1
