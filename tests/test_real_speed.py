"""Speed by ratios alone: the small tier next to the published way, and repetition next to none
(under a minute)."""

import json
import random
import re
import subprocess
import sys
import time

import pytest
from plain_path import PlainModel, read_sessions

from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.detect.detector import Detector
from logllm.methods.train import train
from logllm.runs.manifest import read_manifest
from tests.test_real import a_part

pytestmark = [pytest.mark.real, pytest.mark.alone]

AT_LEAST = 2.0
"""Times as fast as the published way on 500 lines of PostgreSQL's, which repeat themselves little;
half of what was measured."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the small tier that has learnt next to nothing: speed does not depend on it."""
    folder = tmp_path_factory.mktemp("speed")
    lengths = [f"train.stages.{stage}.max_sessions=16" for stage in range(3)]
    data = a_part(folder, lines=1500)
    train(Recipe.load("small", overrides=lengths), data, out=folder / "run")
    return folder / "run"


def seconds(detector: Detector, lines: list[str]) -> float:
    started = time.perf_counter()
    assert list(detector.detect(lines))
    return time.perf_counter() - started


def test_ours_is_many_times_as_fast_as_the_published_way(run, tmp_path) -> None:
    log = tmp_path / "first.log"
    lines = (run.parent / "part.log").read_text().splitlines()[:500]
    log.write_text("\n".join(lines))
    settings = PrepareSection.read(read_manifest(run)["data"]["prepare"], source="manifest")
    grouped = list(read_sessions(log, settings).values())
    plain, detector = PlainModel(run), Detector.load(run)
    some = random.Random(0).sample(grouped, 8)
    seconds(detector, lines[:40])
    plain.answers_of(some[:2], micro_batch=2)
    ratios = [
        plain.answers_of(some, micro_batch=8)[1]
        * len(grouped)
        / len(some)
        / seconds(detector, lines)
        for _ in range(2)
    ]
    assert max(ratios) >= AT_LEAST, ratios


def test_what_is_repeated_costs_next_to_nothing(run) -> None:
    """The same sessions four times over, under other names."""
    detector = Detector.load(run)
    lines = (run.parent / "part.log").read_text().splitlines()[:150]
    again = [re.sub(r"\[(\d+)\]", rf"[{copy}\1]", line) for copy in range(4) for line in lines]
    seconds(detector, lines[:40])
    once = min(seconds(detector, lines) for _ in range(2))
    four = min(seconds(detector, again) for _ in range(2))
    assert four < 2 * once, (once, four)


def test_a_fresh_process_measures_and_starts(run, tmp_path) -> None:
    """The verb as a user calls it; its figures hang together."""
    log = tmp_path / "first.log"
    log.write_text("".join((run.parent / "part.log").read_text().splitlines(keepends=True)[:100]))
    done = subprocess.run(
        [sys.executable, "-m", "logllm", "bench", str(run), str(log), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["start_seconds"] > report["load_seconds"]
    assert 0 < report["stages"]["decode"]["share"] < 1.5
    assert report["stages"]["decode"]["sessions"] == report["work"]["distinct_sessions"] > 1
