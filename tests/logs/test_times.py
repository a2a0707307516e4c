"""Written times."""

from datetime import date

import polars as pl
import pytest

from logllm.errors import RecipeError
from logllm.logs.times import check_time_format, parse_times

TODAY = date(2024, 3, 1)


@pytest.mark.parametrize(
    ("text", "formats", "expected"),
    [
        ("2024-02-03T04:05:06Z", ["iso"], "2024-02-03T04:05:06+00:00"),
        ("2024-02-03 04:05:06", ["iso"], "2024-02-03T04:05:06+00:00"),
        (" 2024-02-03T04:05:06,5+0230 ", ["iso"], "2024-02-03T01:35:06.500000+00:00"),
        ("2024-02-03T04:05:06.1234567-01:00", ["iso"], "2024-02-03T05:05:06.123456+00:00"),
        ("2024-02-03 04:05:06.5 UTC", ["iso"], "2024-02-03T04:05:06.500000+00:00"),
        ("2024-02-03 04:05:06 CEST", ["iso"], "2024-02-03T02:05:06+00:00"),
        ("2024-02-03 04:05:06 est", ["iso"], "2024-02-03T09:05:06+00:00"),
        ("2024-02-03 04:05:06 XYZ", ["iso"], "2024-02-03T04:05:06+00:00"),
        ("2024-02-03 04:05:06 +05", ["iso"], "2024-02-02T23:05:06+00:00"),
        ("2024-02-03 04:05:06 -0330", ["iso"], "2024-02-03T07:35:06+00:00"),
        ("2024-02-03 04:05:06 and so on", ["iso"], None),
        ("2024-02-30T04:05:06Z", ["iso"], None),
        ("2024-02-03", ["iso"], None),
        ("1117838570.363779", ["epoch"], "2005-06-03T22:42:50.363779+00:00"),
        ("1117838570363", ["epoch"], None),
        ("1117838570363", ["epoch", "epoch_ms"], "2005-06-03T22:42:50.363000+00:00"),
        ("1117838570363", ["epoch_ms"], "2005-06-03T22:42:50.363000+00:00"),
        ("1117838570363779", ["epoch", "epoch_ms", "epoch_us"], "2005-06-03T22:42:50.363779+00:00"),
        ("20240203-4:5:6:7", ["%Y%m%d-%H:%M:%S:%f"], "2024-02-03T04:05:06.007000+00:00"),
        ("20240203-14:05:06:070", ["%Y%m%d-%H:%M:%S:%f"], "2024-02-03T14:05:06.070000+00:00"),
        ("2024-02-03\t04:05:06", ["iso"], "2024-02-03T04:05:06+00:00"),
        ("03.02.2024 04:05:06,007", ["%d.%m.%Y %H:%M:%S,%f"], "2024-02-03T04:05:06.007000+00:00"),
        (
            "Sat Feb  3 04:05:06.25 2024",
            ["%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S.%f %Y"],
            "2024-02-03T04:05:06.250000+00:00",
        ),
        ("-5", ["epoch"], "1969-12-31T23:59:55+00:00"),
        ("nan", ["epoch"], None),
        ("1e400", ["epoch"], None),
        ("081109 203530", ["%y%m%d %H%M%S"], "2008-11-09T20:35:30+00:00"),
        (
            "2024/01/02 03:04:05.5",
            ["iso", "%Y/%m/%d %H:%M:%S.%f"],
            "2024-01-02T03:04:05.500000+00:00",
        ),
        ("10/Oct/2000:13:55:36 -0700", ["%d/%b/%Y:%H:%M:%S %z"], "2000-10-10T20:55:36+00:00"),
        ("Mar  2 23:59:59", ["%b %d %H:%M:%S"], "2024-03-02T23:59:59+00:00"),
        ("Mar  3 00:00:00", ["%b %d %H:%M:%S"], "2023-03-03T00:00:00+00:00"),
        ("Feb 29 00:00:00", ["%b %d %H:%M:%S"], "2024-02-29T00:00:00+00:00"),
        ("soon", ["iso", "epoch", "%Y-%m-%d"], None),
        (None, ["iso"], None),
    ],
)
def test_times(text, formats, expected):
    time = parse_times(pl.Series([text], dtype=pl.String), formats, today=TODAY).item()
    assert (time and time.isoformat()) == expected


def test_the_leap_day_of_the_year_before():
    assert (
        parse_times(pl.Series(["Feb 29 1:02:03"]), ["%b %d %H:%M:%S"], today=date(2025, 1, 5))
        .item()
        .year
        == 2024
    )


def test_the_first_format_that_fits_counts_line_by_line():
    times = parse_times(
        pl.Series(["1117838570", "2005-06-03T22:42:50Z", None, "x"]), ["iso", "epoch"], today=TODAY
    )
    assert times[0] == times[1]
    assert times.null_count() == 2


@pytest.mark.parametrize(
    ("form", "message"),
    [("epoc", "none of iso, epoch"), ("%Y %H:%M:%S", "says no day"), ("%Y", "says no day")],
)
def test_formats_that_are_none(form, message):
    with pytest.raises(RecipeError, match=message):
        check_time_format(form, what="format x")
