"""Parts of a large file: the lines, the frames and the counts of one pass over it."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.errors import DataError
from logllm.formats.description import load_format
from logllm.logs.inputs.spans import WHOLE, Span, line_by_line, oldest_first, span_lines, spans
from logllm.logs.lines import BLOCK, CutOff, Lines, read_lines

LONG = b"x" * 999
"""A long line, so that a large file takes few of them."""


def large(path: Path, *, begin: bytes = b"", blocks: float = 3.4, end: bytes = b"\n") -> str:
    """A file of numbered lines of many lengths, of about so many blocks."""
    count = int(blocks * BLOCK) // (len(LONG) // 2 + 8)
    lines = [b"%06d %s" % (number, LONG[: number * 37 % len(LONG)]) for number in range(count)]
    path.write_bytes(begin + b"\r\n".join(lines) + end)
    return str(path)


def in_parts(name: str, parts: list[Span], **how) -> Iterator[Lines]:
    for part in parts:
        yield from span_lines(name, part, **how)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("size", [1, 2], ids=["a-block", "two-blocks"])
@pytest.mark.parametrize(
    ("begin", "end"),
    [(b"", b"\n"), (b"\xef\xbb\xbf", b""), (b"\x1b[1mbold\n\xff\n", b"\n\n")],
    ids=["plain", "with-a-mark", "with-faults"],
)
def test_frames_are_those_of_one_pass(tmp_path, size, begin, end) -> None:
    name = large(tmp_path / "app.log", begin=begin, end=end)
    how = {"encoding": "utf-8", "batch_lines": 3_000}
    parts = spans(name, size=size * BLOCK)
    assert len(parts) == (4 if size == 1 else 2)
    whole, divided = list(read_lines([name], **how)), list(in_parts(name, parts, **how))
    assert [lines.frame["text"].to_list() for lines in divided] == [
        lines.frame["text"].to_list() for lines in whole
    ]
    for counts in ("replaced", "cut", "coloured"):
        assert [getattr(lines, counts) for lines in divided] == [
            getattr(lines, counts) for lines in whole
        ]
    assert divided[0].file == name


def test_a_part_does_not_end_where_no_line_ends(tmp_path) -> None:
    """A line longer than what is looked at before the place keeps two parts together."""
    path = tmp_path / "app.log"
    around = b"short\n" * (BLOCK // 6 - 20_000)
    path.write_bytes(around + b"y" * 300_000 + b"\n" + around[:600_000])
    assert spans(str(path), size=BLOCK) == [WHOLE]


@pytest.mark.parametrize(
    "change",
    [gzip.compress, lambda text: text.decode().encode("utf-16"), lambda text: text[:BLOCK]],
    ids=["archive", "utf-16", "small"],
)
def test_what_cannot_be_read_from_its_middle_is_one_part(tmp_path, change) -> None:
    path = tmp_path / "app.log"
    large(path)
    path.write_bytes(change(path.read_bytes()))
    assert spans(str(path), size=BLOCK if change is not gzip.compress else 1024) == [WHOLE]
    assert spans("memory://app.log", size=BLOCK) == [WHOLE]


def test_faults_are_errors(tmp_path) -> None:
    with pytest.raises(DataError, match="nothing.log cannot be read"):
        spans(str(tmp_path / "nothing.log"), size=BLOCK)
    name = large(tmp_path / "logs.zip", begin=b"PK\x03\x04")
    first, *_ = spans(name, size=BLOCK)
    with pytest.raises(DataError, match=r"logs\.zip is a zip archive"):
        list(span_lines(name, first, encoding="utf-8", batch_lines=10))
    Path(name).unlink()
    with pytest.raises(CutOff, match="after 0 whole lines from byte 8 on"):
        list(span_lines(name, Span(8, None), encoding="utf-8", batch_lines=10))


@pytest.mark.parametrize(
    ("named", "wanted"),
    [("hdfs", True), ("thunderbird", True), ("syslog", False), ("postgresql", False)],
)
def test_lines_that_need_those_before_them_are_not_divided(named, wanted) -> None:
    assert line_by_line(load_format(named)) is wanted


def test_a_table_s_rows_need_its_header() -> None:
    assert not line_by_line(FormatSection(name="app", kind="csv"))


def test_a_file_that_is_written_newest_first_is_not_divided() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = pl.Series([start + timedelta(minutes=number) for number in range(60)])
    assert oldest_first(times)
    assert not oldest_first(times.reverse())
    assert not oldest_first(times.head(20))
