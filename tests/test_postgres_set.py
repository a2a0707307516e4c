"""The PostgreSQL set that the package holds: complete, as its card says, and labelled by the rule
that the card states."""

import csv
import importlib.util
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.logs.masking import mask

ROOT = Path(__file__).resolve().parent.parent
SET = Path(str(files("logllm.datasets"))) / "sets" / "postgres"
SCRIPTS = ROOT / "datasets" / "postgres"
RUNS = ("train", "test", "changed", "german")
CARD = (SET / "README.md").read_text(encoding="utf-8")


@cache
def label() -> ModuleType:
    spec = importlib.util.spec_from_file_location("postgres_label", SCRIPTS / "label.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def text(run: str) -> str:
    return lzma.decompress((SET / f"{run}.log.xz").read_bytes()).decode("utf-8")


@cache
def records(run: str) -> list[Any]:
    found: list[Any] = label().read(text(run))
    return found


@cache
def labels(run: str) -> dict[int, str]:
    with (SET / f"{run}.labels.csv").open(encoding="utf-8", newline="") as stream:
        return {int(row["line"]): row["label"] for row in csv.DictReader(stream)}


def injections(run: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (SET / f"{run}.injections.jsonl").read_text(encoding="utf-8").splitlines()
    ]


@cache
def sessions(run: str) -> dict[int, tuple[str, list[str]]]:
    """Kind of fault (empty: normal) and masked messages of every session."""
    masked = mask(pl.Series([record.text for record in records(run)]), MaskSection()).to_list()
    found = {}
    by_line = dict(zip((record.number for record in records(run)), masked, strict=True))
    for session, part in label().sessions(records(run)).items():
        kind = next(
            (labels(run)[record.number] for record in part if record.number in labels(run)), ""
        )
        found[session] = (kind, [by_line[record.number] for record in part])
    return found


def of_kinds(run: str) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for kind, _ in sessions(run).values():
        counts[kind] += 1
    counts.pop("", None)
    return counts


def test_small_and_freely_licensed() -> None:
    assert sum(path.stat().st_size for path in SET.iterdir()) < 3_000_000
    assert "CC-BY-4.0" in (SET / "LICENSE").read_text(encoding="utf-8")
    assert sum(text(run).count("\n") for run in RUNS) >= 20_000


@pytest.mark.parametrize("run", RUNS)
def test_counts_are_the_cards(run: str) -> None:
    row = re.search(rf"^\| {run} \|(.*)\|$", CARD, re.MULTILINE)
    assert row
    distinct = {message for _, messages in sessions(run).values() for message in messages}
    anomalous = sum(bool(kind) for kind, _ in sessions(run).values())
    counted = (
        text(run).count("\n"),
        len(sessions(run)),
        anomalous,
        len(labels(run)),
        len(distinct),
    )
    assert [int(cell.replace(",", "")) for cell in row.group(1).split("|")[:5]] == list(counted)


@pytest.mark.parametrize("run", RUNS)
def test_labels_follow_from_the_record(run: str) -> None:
    record = injections(run)
    assert label().labels(records(run), record) == labels(run)
    assert max(labels(run)) <= text(run).count("\n")
    assert {entry["kind"] for entry in record} >= set(labels(run).values())


@pytest.mark.parametrize("run", RUNS)
def test_every_line_belongs_to_a_record(run: str) -> None:
    assert records(run)[0].number == 1
    # a prefix that is not read would make one record go on for ever
    assert max(record.last - record.number for record in records(run)) < 60


@pytest.mark.parametrize(
    ("run", "anomalous", "each"), [("train", 150, 5), ("test", 80, 5), ("changed", 60, 1)]
)
def test_enough_of_every_kind(run: str, anomalous: int, each: int) -> None:
    counts = of_kinds(run)
    assert len(counts) >= 14
    assert min(counts.values()) >= each
    assert sum(counts.values()) >= anomalous
    assert 0.05 <= sum(counts.values()) / len(sessions(run)) <= 0.13


def test_what_a_session_says_decides() -> None:
    seen: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for run in RUNS[:3]:
        for kind, messages in sessions(run).values():
            seen[tuple(messages)][bool(kind)] += 1
    assert sum(min(pair) for pair in seen.values()) < 0.005 * sum(map(sum, seen.values()))


def test_saying_error_is_not_the_answer() -> None:
    severe = [
        kind
        for kind, messages in sessions("test").values()
        if any(re.match(r"ERROR|FATAL|PANIC", message) for message in messages)
    ]
    assert sum(not kind for kind in severe) > 0.3 * len(severe)


def test_test_holds_faults_that_train_does_not() -> None:
    variants = {
        run: {(entry["kind"], entry["variant"]) for entry in injections(run)} for run in RUNS
    }
    assert len(variants["test"] - variants["train"]) >= 10
    assert len(variants["test"] & variants["train"]) >= 10


@pytest.mark.parametrize("run", RUNS)
def test_addresses_are_made_up(run: str) -> None:
    assert {found for found in re.findall(r"[\w.]+@([\w-]+\.[a-z]+)\b", text(run))} <= {
        "example.com"
    }
    assert not re.search(r"/(?:home|root|work)/", text(run))


def test_one_way_of_writing_where_the_prefix_differs() -> None:
    first = {run: text(run).split("\n", 1)[0] for run in RUNS}
    prefixes = label().PREFIXES
    assert re.fullmatch(prefixes["debian"], first["train"])
    assert re.fullmatch(prefixes["cloud"], first["changed"])


@pytest.mark.real
def test_sessions_contradict_each_other_as_the_card_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import check

    parts = [check.read(SET, run)[0] for run in ("train", "test", "changed")]
    assert (sum(len(part.kinds) for part in parts), check.contradictions(*parts)[0]) == (8915, 2)


def test_the_card_gives_no_figures_of_methods() -> None:
    """They stand in one place."""
    assert "benchmarks/postgres_figures.py" in CARD
    assert not re.search(r"0?\.\d{3}\b", CARD)


@pytest.mark.real
def test_one_command_gives_the_figures_of_simple_methods(tmp_path: Path) -> None:
    import postgres_figures

    figures = {
        title: list(map(str, row))
        for title, row in postgres_figures.rows(SET, run=None, scratch=tmp_path)
    }
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    for title, row in figures.items():
        assert f"| {title} | {' | '.join(row)} |" in page
    assert len(figures) == 5


@pytest.mark.real
def test_made_again(tmp_path: Path) -> None:
    if (
        os.geteuid() != 0
        or not Path("/usr/lib/postgresql/15/bin/postgres").exists()
        or not shutil.which("runuser")
    ):
        pytest.skip("needs root and Debian's package postgresql-15")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs psycopg (datasets/postgres/requirements.txt)")
    command = [
        sys.executable,
        SCRIPTS / "make.py",
        "--run",
        "test",
        "--out",
        tmp_path,
        "--minutes",
        "0.4",
        "--rounds",
        "1",
    ]
    subprocess.run(
        [*command, "--kinds", "sql_injection,password_guessing"], check=True, timeout=120
    )
    with (tmp_path / "test.labels.csv").open(encoding="utf-8") as stream:
        assert {row["label"] for row in csv.DictReader(stream)} == {
            "sql_injection",
            "password_guessing",
        }
