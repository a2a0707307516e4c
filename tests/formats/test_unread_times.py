"""What a person is told of times that are not written as the format says."""

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.config.sessions import SessionSection
from logllm.datasets.prepare import prepare
from logllm.formats.time_notes import unread_times

PATTERN = r"(?<time>\S+ \S+) \[(?<order>\d+)\] (?<message>.*)"


def described(*ways: str) -> FormatSection:
    return FormatSection(
        name="shop", kind="pattern", pattern=PATTERN, time="time", time_format=ways or ("iso",)
    )


def log(*times: str) -> pl.Series:
    return pl.Series([f"{time} [{place}] opened" for place, time in enumerate(times)])


@pytest.mark.parametrize(
    ("times", "way"),
    [
        (("27.11.26 08.00.00", "28.11.26 08.00.00"), "%d.%m.%y %H.%M.%S"),
        (("27.11.2026 08:00:00", "28.11.2026 08:00:00"), "%d.%m.%Y %H:%M:%S"),
        (("11/27/26 08:00", "11/28/26 08:00"), "%m/%d/%y %H:%M"),
        (("261127 080000", "261128 080000"), "%y%m%d %H%M%S"),
    ],
    ids=["dots", "four digits", "month first", "without separators"],
)
def test_the_remedy_reads_the_times(times, way) -> None:
    sentence = unread_times(log(*times), described())
    assert sentence is not None
    assert f'"{times[0]}"' in sentence
    assert f'time_format = ["{way}"]' in sentence
    assert unread_times(log(*times), described(way)) is None


def test_only_times_that_are_not_read_are_named() -> None:
    times = ("2026-11-27 08:00:00", "27.11.26 08.00.00")
    sentence = unread_times(log(*times), described())
    assert sentence is not None
    assert times[0] not in sentence
    assert times[1] in sentence


def test_a_time_that_nothing_reads_is_shown_all_the_same() -> None:
    sentence = unread_times(log("vii idus", "vi idus"), described())
    assert sentence is not None
    assert '"vii idus" could not be read: say how they are written' in sentence


def test_prepare_says_it(tmp_path) -> None:
    raw = tmp_path / "shop.log"
    raw.write_text("\n".join(log(*["27.11.26 08.00.00"] * 50)) + "\n")
    sessions = SessionSection(by="count", size=5)
    settings = PrepareSection(format=described(), sessions=sessions)
    manifest = prepare([raw], tmp_path / "data", settings=settings)
    first = manifest["warnings"].index("50 records have no time that could be read")
    told = [warning for warning in manifest["warnings"][first:] if "%d.%m.%y %H.%M.%S" in warning]
    assert len(told) == 1
