"""Logs that were kept apart while the reader was made: of other programs, of the same kinds as the
small logs."""

from pathlib import Path

import pytest

from tests.cases.right_readings import ASPECTS, HELD_OUT, log_of, read, wrong


@pytest.mark.real
@pytest.mark.parametrize("name", HELD_OUT)
def test_a_log_of_a_known_kind_is_read_right(name, tmp_path) -> None:
    case = HELD_OUT[name]
    reading = read(log_of(name), tmp_path / "data", *case.get("options", ()))
    assert {
        aspect: fault for aspect in ASPECTS if (fault := wrong(case, log_of(name), reading, aspect))
    } == {}


def test_every_held_out_log_has_its_case() -> None:
    logs = Path(__file__).parent / "held_out"
    assert {path.name.removesuffix(".log.gz") for path in logs.iterdir()} == set(HELD_OUT)
