"""Years, days, zones and the order of records: what is told from the lines around a time."""

import io
from collections.abc import Iterator
from datetime import date, datetime

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.errors import DataError, RecipeError
from logllm.logs.arriving import Arriving
from logllm.logs.calendar.years import Years
from logllm.logs.calendar.zones import ZONES, check_zone, zone_notes
from logllm.logs.reader import Reader
from logllm.logs.times import parse_times

TODAY = date(2026, 11, 26)
YEARLESS = "%b %d %H:%M:%S"
ROUND = FormatSection(
    name="own",
    pattern=r"(?<time>[A-Z][a-z]{2} +\d+ [\d:]+) (?<message>.*)",
    time="time",
    time_format=(YEARLESS,),
)
OF_DAY = FormatSection(
    name="own",
    pattern=r"(?<time>[\d:.]+) (?<message>.*)",
    time="time",
    time_format=("%H:%M:%S.%f",),
)
DATED = FormatSection(
    name="own", pattern=r"(?<time>[\d-]+ [\d:.]+) (?<message>.*)", time="time", continuation=".*"
)


def read(described, lines, *, file=None, batch_lines=100_000):
    settings = PrepareSection(format=described, mask=MaskSection(rules="off"))
    text = "".join(f"{line}\n" for line in lines).encode()
    reader = Reader(settings, today=TODAY, batch_lines=batch_lines, stdin=io.BytesIO(text))
    if file is not None:
        file.write_bytes(text)
    frames = list(reader.read(["-" if file is None else file]))
    return pl.concat(frames), reader.tally.counts


def times(text, form=YEARLESS, zone=None):
    return [
        time and time.isoformat(" ")[:16]
        for time in parse_times(pl.Series(text), [form], today=TODAY, zone=zone)
    ]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["Nov 3", "Feb 3"], [(2025, 11), (2026, 2)]),
        (["Nov 3", "Feb 3", "Nov 3", "Feb 3"], [(2024, 11), (2025, 2), (2025, 11), (2026, 2)]),
        (["Dec 31", "Jan 1"], [(2025, 12), (2026, 1)]),
        (["Dec 31", "Jan 1", "Dec 31", "Jan 1"], [(2025, 12), (2026, 1)] * 2),
        (["Nov 25", "Nov 26", "Nov 27"], [(2026, 11)] * 3),
        (["Nov 27", "Nov 28"], [(2025, 11)] * 2),
        (["Feb 28", "Feb 29", "Mar 1"], [(2024, 2), (2024, 2), (2024, 3)]),
        (["Nov 3", "Feb 29", "Nov 3", "Mar 1"], [(2023, 11), (2024, 2), (2024, 11), (2025, 3)]),
        (["Jul 9", "Jul 3", "Jul 9"], [(2026, 7)] * 3),
    ],
    ids=lambda value: "-".join(value).replace(" ", "") if isinstance(value[0], str) else "",
)
@pytest.mark.parametrize("batch_lines", [1, 2, 100], ids="batches of {}".format)
def test_years_are_carried_from_line_to_line(days, expected, batch_lines, tmp_path):
    lines = [f"{day} 09:00:00 up" for day in days]
    records, counts = read(ROUND, lines, file=tmp_path / "log", batch_lines=batch_lines)
    assert [(time.year, time.month) for time in records["time"]] == expected
    assert counts["moved_years"] == 0
    assert read(ROUND, lines, batch_lines=batch_lines)[0]["time"].equals(records["time"])


def test_each_file_has_years_of_its_own(tmp_path):
    for name, days in (("a", ["Dec 31", "Jan 1"]), ("b", ["Dec 30", "Jan 2"])):
        (tmp_path / name).write_text("".join(f"{day} 09:00:00 up\n" for day in days))
    reader = Reader(PrepareSection(format=ROUND), today=TODAY)
    records = pl.concat(list(reader.read([tmp_path / "a", tmp_path / "b"])))
    assert records["time"].dt.year().to_list() == [2025, 2026, 2025, 2026]


def test_a_year_that_standard_input_shows_late_is_counted():
    lines = ["Nov 3 09:00:00 up"] * 6000 + ["Feb 3 09:00:00 up"] * 2
    records, counts = read(ROUND, lines)
    assert records["time"].dt.year().unique(maintain_order=True).to_list() == [2026]
    assert counts["moved_years"] == 1


@pytest.mark.parametrize("batch_lines", [1, 100])
def test_times_of_day_go_over_midnight(batch_lines, tmp_path):
    clock = [
        "23:58:11.000",
        "23:59:59.5",
        "00:00:01",
        "23:59:59.9",
        "00:00:02",
        "20:00:00",
        "01:00:00",
    ]
    records, _ = read(
        OF_DAY, [f"{time} up" for time in clock], file=tmp_path / "log", batch_lines=batch_lines
    )
    assert [time.day for time in records["time"]] == [24, 24, 25, 24, 25, 25, 26]
    assert records["message"].unique().to_list() == ["up"]


def test_a_log_that_is_written_newest_first_is_turned(tmp_path):
    lines = [
        line
        for second in reversed(range(60))
        for line in (f"2024-01-02 03:04:{second:02d} failed {second}", "  at x")
    ]
    records, counts = read(DATED, lines, file=tmp_path / "log", batch_lines=7)
    assert records["time"].is_sorted()
    assert records["record"].to_list() == list(range(1, 61))
    assert (records["line"][0], records["message"][0]) == (119, "failed 0\nat x")
    assert (counts["turned"], counts["lines"], counts["rejected"]) == (60, 120, 0)
    few, _ = read(DATED, lines[:10])
    assert few["time"].is_sorted()
    unordered, counts = read(DATED, [*lines[:6], *lines[::-2]])
    assert (unordered["line"][0], counts["turned"]) == (1, 0)


def test_newest_first_and_without_years(tmp_path):
    lines = [
        f"{day} 09:00:00 up" for day in ("Feb 3", "Feb 2", "Jan 1", "Dec 31", "Nov 3", "Nov 2")
    ]
    records, _ = read(ROUND, lines, file=tmp_path / "log")
    assert [time.year for time in records["time"]] == [2025] * 3 + [2026] * 3
    assert records["time"].is_sorted()


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2024-07-03 09:00:00 IST", None, "2024-07-03 03:30"),
        ("2024-07-03 09:00:00 IST", "Asia/Jerusalem", "2024-07-03 07:00"),
        ("2024-07-03 09:00:00 IST", "+02:00", "2024-07-03 07:00"),
        ("2024-07-03 09:00:00 CST", None, "2024-07-03 15:00"),
        ("2024-07-03 09:00:00 CST", "Asia/Shanghai", "2024-07-03 01:00"),
        ("2024-07-03 09:00:00 CEST", "Asia/Shanghai", "2024-07-03 07:00"),
        ("2024-07-03 09:00:00 XYZT", "Asia/Shanghai", "2024-07-03 01:00"),
        ("2024-07-03 09:00:00", "Europe/Berlin", "2024-07-03 07:00"),
        ("2024-01-03 09:00:00", "Europe/Berlin", "2024-01-03 08:00"),
        ("2024-03-31 02:30:00", "Europe/Berlin", "2024-03-31 01:30"),
        ("2024-07-03 09:00:00Z", "Europe/Berlin", "2024-07-03 09:00"),
        ("2024-07-03 09:00:00 GMT+2", None, "2024-07-03 07:00"),
        ("2024-07-03T09:00:00+02:00[Europe/Berlin]", None, "2024-07-03 07:00"),
        ("2024-07-03 09:00:00 PM", None, None),
    ],
)
def test_zones(text, zone, expected):
    assert times([text], "iso", zone) == [expected]


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("Wed Jul  3 09:00:00 CEST 2024", "%a %b %d %H:%M:%S %Z %Y", "2024-07-03 07:00"),
        ("Wed Jul  3 09:00:00 -03 2024", "%a %b %d %H:%M:%S %Z %Y", "2024-07-03 12:00"),
        ("May 18, 2018 12:00:01 PM CST", "%b %d, %Y %I:%M:%S %p %Z", "2018-05-18 18:00"),
        ("Wed Jul  3 09:00:00", "%a %b %d %H:%M:%S", "2026-07-03 09:00"),
        ("Jul  3 09:00:00 CEST", "%b %d %H:%M:%S %Z", "2026-07-03 07:00"),
        ("1709250607000001000", "epoch_ns", "2024-02-29 23:50"),
    ],
)
def test_zones_behind_times_in_codes(text, form, expected):
    assert times([text], form) == [expected]


def test_zones_of_times_without_a_year():
    assert times(["Jan 3 09:00:00", "Jul 3 09:00:00"], zone="Europe/Berlin") == [
        "2026-01-03 08:00",
        "2026-07-03 07:00",
    ]


def test_what_is_said_of_zones():
    assert [note.split(":")[0] for note in zone_notes(["CEST", "BST", "XYZT"], zone=None)] == [
        "times are in the zone BST, taken as +01",
        "times are in the zone XYZT, which is not known",
    ]
    assert "or +11:00 (Bougainville): --time-zone" in zone_notes(["BST"], zone=None)[0]
    assert zone_notes(["BST", "XYZT"], zone="Europe/London") == []


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        *(
            ("IST", 5.5),
            ("CST", -6),
            ("SAST", 2),
            ("BST", 1),
            ("PST", -8),
            ("AEST", 10),
            ("WIT", 9),
            ("WIB", 7),
            ("PKT", 5),
        ),
        *(
            ("HKT", 8),
            ("CEST", 2),
            ("EEST", 3),
            ("BRT", -3),
            ("ART", -3),
            ("NPT", 5.75),
            ("UTC", 0),
            ("NST", -3.5),
            ("MSK", 3),
        ),
    ],
)
def test_the_table_of_zones(name, hours):
    assert ZONES[name][0][0] == hours * 60


@pytest.mark.parametrize("zone", ["Europe/Berlim", "IST", "+5:", "25"])
def test_zones_that_are_none(zone):
    with pytest.raises(RecipeError, match="there is no time zone"):
        check_zone(zone, what="format x")


def test_zone_names_are_counted():
    described = FormatSection(
        name="own", pattern=r"(?<time>\S+ \S+ [A-Z]+) (?<message>.*)", time="time"
    )
    _, counts = read(
        described, [f"2024-07-03 09:00:00 {zone} up" for zone in ("IST", "CEST", "XYZT", "IST")]
    )
    assert (counts["ambiguous_zones"], counts["unknown_zones"]) == (1, 1)


def test_any_time_is_read_with_its_year_again():
    days = pl.datetime_range(datetime(2020, 1, 1), datetime(2026, 11, 20), "5d", eager=True)
    assert (
        parse_times(days.dt.strftime("%b %d %H:%M:%S"), [YEARLESS], today=TODAY)
        .dt.replace_time_zone(None)
        .equals(days)
    )


def test_what_waited_for_the_order_comes_before_a_fault() -> None:
    def broken() -> Iterator[bytes]:
        yield from (f"2024-07-03 09:00:0{second} up\n".encode() for second in range(5))
        raise ConnectionError("the broker is gone")

    reader = Reader(PrepareSection(format=DATED), today=TODAY, stdin=Arriving(broken()))
    frames = []
    with pytest.raises(DataError, match="the broker is gone"):
        frames.extend(reader.read(["-"]))
    assert pl.concat(frames)["line"].to_list() == [1, 2, 3, 4, 5]


def test_what_is_counted_of_lines_is_counted_once_where_records_wait_for_their_order() -> None:
    lines = b"".join(b"2024-07-03 09:00:0%d \x1b[31mup\x1b[0m\n" % second for second in range(5))
    reader = Reader(PrepareSection(format=DATED), today=TODAY, stdin=io.BytesIO(lines))
    assert sum(records.height for records in reader.read(["-"])) == 5
    assert reader.tally.counts["lines_with_colours"] == 5


@pytest.mark.parametrize("length", [1, 2, 9])
def test_years_and_days_are_those_of_whole_times_beside(length):
    written = [
        datetime(2023, 12, 31, 23, 0),
        datetime(8, 12, 31, 23, 1),
        datetime(8, 1, 1, 0, 1),
        datetime(2024, 1, 1, 0, 2),
        datetime(4, 1, 1, 3),
    ]
    times = pl.Series(written).dt.replace_time_zone("UTC")
    years = Years(today=date(2026, 11, 1))
    for start in range(0, len(times), length):
        years.look(times[start : start + length])
    assert years.given(times).dt.strftime("%F %H").to_list() == ["2023-12-31 23"] * 2 + [
        "2024-01-01 00"
    ] * 2 + ["2024-01-01 03"]
