"""Kinds of fault that are held out."""

import numpy as np
import polars as pl
import pytest

from logllm.methods.held_out import folds, known_by, labels_of, renamed
from logllm.methods.prepared_part import Part

FAULTS = [
    f"ERROR: {word} failed"
    for word in ("disk", "fan", "link", "clock", "memory", "socket", "battery", "cable")
]
ROUTINE = [f"INFO: step {word} of a job" for word in "abcdefghij"]


def part(*, faults: int = len(FAULTS), lines: bool = True) -> Part:
    """Sessions of routine messages; every fifth one holds a fault as well."""
    dice = np.random.default_rng(0)
    messages = pl.Series([*ROUTINE, *FAULTS])
    sessions, labels, alerts = [], [], []
    for number in range(200):
        session = dice.integers(0, len(ROUTINE), 4)
        if number % 5 == 0:
            session = np.append(session, len(ROUTINE) + number // 5 % faults)
        sessions.append(session)
        labels.append(number % 5 == 0)
        alerts.append(session >= len(ROUTINE))
    return Part(sessions, messages, np.array(labels), alerts if lines else None)


@pytest.mark.parametrize("lines", [True, False], ids=["lines-labelled", "sessions-labelled"])
def test_an_anomalous_session_is_known_by_its_fault(lines: bool) -> None:
    data = part(lines=lines)
    known = known_by(data)
    kinds = {
        int(kind): data.sessions[row][-1]
        for row, kind in enumerate(known)
        if data.labels is not None and data.labels[row]
    }
    assert len(set(kinds.values())) == len(FAULTS)


def test_whole_kinds_of_fault_are_held_out_and_others_in_each_fold() -> None:
    data = part()
    known = known_by(data)
    labels = data.labels
    assert labels is not None
    absent = []
    for fold in folds(labels, known, count=2, seed=0):
        assert sorted([*fold.learnt, *fold.held]) == list(range(len(data.sessions)))
        learnt = set(known[fold.learnt][labels[fold.learnt]])
        absent.append(set(known[fold.held][labels[fold.held]]) - learnt)
        assert not labels[fold.held].all()
    assert all(absent)
    assert absent[0].isdisjoint(absent[1])


def test_the_folds_are_the_same_for_the_same_seed() -> None:
    data = part()
    labels, known = labels_of(data), known_by(data)
    first, again, other = (
        [fold.held.tolist() for fold in folds(labels, known, count=2, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_names_become_other_words_everywhere_and_keys_stay() -> None:
    before = pl.Series(
        ['user=carla host=<*> table "carts"', "UPDATE carts SET id = <*>", "host=alpha FATAL"]
    )
    after = renamed(before).to_list()
    name = after[1].split()[1]
    assert name not in ("carts", "")
    assert after[0].endswith(f'table "{name}"')
    assert after[0].startswith("user=")
    assert "carla" not in after[0]
    assert "host=<*>" in after[0]
    assert after[2].endswith(" FATAL")
