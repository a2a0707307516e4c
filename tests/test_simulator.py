"""The simulated log of `make demo`: what it promises to tests and readers."""

import csv
import io
import re
import tomllib
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from demo import simulate as simulator

from logllm.config.format import FormatSection

DEMO = Path(simulator.__file__).parent


@pytest.fixture(scope="module")
def simulated() -> tuple[list[str], list[simulator.Label]]:
    return simulator.simulate(seed=0, sessions=1500)


@pytest.fixture(scope="module")
def form() -> FormatSection:
    return FormatSection.read(tomllib.loads((DEMO / "storage.toml").read_text(encoding="utf-8")), source="demo/storage.toml")


def sessions_of(lines: list[str], form: FormatSection) -> dict[str, list[tuple[str, str]]]:
    assert form.pattern is not None
    pattern = re.compile(form.pattern.replace("(?<", "(?P<"))
    sessions: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in lines:
        found = pattern.fullmatch(line)
        assert found, line
        sessions[found["op"]].append((found["time"], found["message"]))
    return sessions


def test_same_seed_same_log() -> None:
    assert simulator.simulate(seed=3, sessions=50) == simulator.simulate(seed=3, sessions=50)
    assert simulator.simulate(seed=3, sessions=50) != simulator.simulate(seed=4, sessions=50)


def test_size(simulated: tuple[list[str], list[simulator.Label]]) -> None:
    lines, labels = simulated
    assert len(lines) >= 5_000
    assert len(labels) == len({label.session for label in labels}) == 1500
    assert 0.08 <= sum(label.label == "anomalous" for label in labels) / len(labels) <= 0.12


def test_labels_agree_with_faults(simulated: tuple[list[str], list[simulator.Label]]) -> None:
    _, labels = simulated
    assert {label.fault for label in labels} == {"", *simulator.FAULTS}
    assert all(label.label == ("anomalous" if label.fault else "normal") for label in labels)


def test_every_line_fits_the_format(simulated: tuple[list[str], list[simulator.Label]], form: FormatSection) -> None:
    lines, labels = simulated
    sessions = sessions_of(lines, form)
    assert sessions.keys() == {label.session for label in labels}
    assert all(2 <= len(messages) <= simulator.LONGEST for messages in sessions.values())
    assert form.sessions.key_field == "op"


def test_lines_are_in_order_and_interleaved(simulated: tuple[list[str], list[simulator.Label]]) -> None:
    lines, _ = simulated
    stamps = [line.split(" ", 1)[0] for line in lines]
    assert stamps == sorted(stamps)
    operations = [line.split(" op=")[1][:8] for line in lines]
    assert sum(a != b for a, b in pairwise(operations)) > len(lines) / 2


def test_no_word_gives_a_fault_away(simulated: tuple[list[str], list[simulator.Label]], form: FormatSection) -> None:
    lines, labels = simulated
    sessions = sessions_of(lines, form)
    faulty = {label.session for label in labels if label.fault}
    holders = defaultdict(set)
    for session, messages in sessions.items():
        for _, message in messages:
            for word in re.findall(r"[a-z]{3,}", message):
                holders[word].add(session)
    telling = {word: len(held) for word, held in holders.items() if held <= faulty}
    assert all(count < len(faulty) / 3 for count in telling.values()), telling


def test_faults_of_order_share_all_their_messages_with_normal_sessions() -> None:
    for fault in ("commit before quorum", "freed before verified"):
        steps = {re.split(r"[?*]", step)[0] for course in simulator.FAULTS[fault][1] for step in course.split()}
        assert any(steps <= {re.split(r"[?*]", step)[0] for step in course.split()} for _, course in simulator.NORMAL)


def test_label_file_is_csv(tmp_path: Path, form: FormatSection) -> None:
    labels = [simulator.Label("0a", "normal", ""), simulator.Label("0b", "anomalous", "double free")]
    simulator.write_labels(labels, tmp_path / "labels.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "labels.csv").read_text(encoding="utf-8"))))
    assert rows == [label._asdict() for label in labels]
    assert rows[0][form.label_file.label] in form.label_file.normal


def test_messages_are_all_used() -> None:
    courses = [course for _, course in simulator.NORMAL] + [course for _, some in simulator.FAULTS.values() for course in some]
    used = {re.split(r"[?*]", step)[0] for course in courses for step in course.split()} | set(simulator.ASIDES)
    assert used == set(simulator.MESSAGES)
