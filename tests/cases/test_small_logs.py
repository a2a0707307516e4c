"""Small logs as real programs write them: everything that is right of each, an aspect a test.

`cases.toml` says what is right (its keys: `right_readings.py`), `logs/` holds the logs. What is not
right yet is in a case's list `open`; such a test must fail, so whoever mends it takes the aspect
off the list. The first command shows what is wrong with one log in all aspects, the second takes
what is right by now off the lists of some logs, or of all:

    python -m tests.cases.right_readings pg-cri
    python -m tests.cases.right_readings --close pg-cri pg-docker-json
"""

import tomllib
from pathlib import Path

import pytest

from tests.cases.right_readings import (
    ASPECTS,
    CASES,
    lines_of,
    log_of,
    read,
    right_records,
    slips,
    wrong,
)

OPEN = pytest.mark.xfail(strict=True, raises=AssertionError)
JUDGED = [
    pytest.param(
        name,
        aspect,
        id=f"{name}-{aspect}",
        marks=[
            *([pytest.mark.real] if place % 3 else []),  # one log in three, in all aspects
            *([OPEN] if aspect in case.get("open", ()) else []),
        ],
    )
    for place, (name, case) in enumerate(CASES.items())
    for aspect in ASPECTS
]


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    """What logllm makes of a log, read once for all aspects."""
    made = {}

    def reading(name):
        if name not in made:
            options = CASES[name].get("options", ())
            made[name] = read(log_of(name), tmp_path_factory.mktemp("prepared") / "data", *options)
        return made[name]

    return reading


@pytest.mark.parametrize("name", CASES)
def test_the_table_agrees_with_the_log(name) -> None:
    assert slips(CASES[name], right_records(CASES[name], lines_of(log_of(name)))) == []


@pytest.mark.parametrize(("name", "aspect"), JUDGED)
def test_a_log_is_read_right(readings, name, aspect) -> None:
    assert wrong(CASES[name], log_of(name), readings(name), aspect) is None


def test_every_log_has_its_case() -> None:
    folder = Path(__file__).parent
    assert {path.name.removesuffix(".log.gz") for path in (folder / "logs").iterdir()} == set(CASES)
    assert set(tomllib.loads((folder / "cases.toml").read_text())) == set(CASES)
