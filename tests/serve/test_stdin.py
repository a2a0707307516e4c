"""Standard input through the spool."""

import gzip
import io
import os
import time
from contextlib import suppress

import pytest

from logllm.errors import ServeError
from logllm.serve.sources.stdin import StdinSource
from tests.serve.spooling import Stored, eventually, taken


def started(folder, stream, *, stored=None, **options) -> StdinSource:
    source = StdinSource(folder, stream=stream, **options)
    source.begin((stored or Stored()).claim)
    return source


@pytest.fixture
def pipe():
    """Both ends of a pipe."""
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb", buffering=0) as ours,
        os.fdopen(writing, "wb", buffering=0) as theirs,
    ):
        yield ours, theirs


def test_lines_come_with_numbers_and_then_it_is_over(tmp_path):
    source = started(tmp_path, io.BytesIO(b"a\r\nb\n\nlast"))
    frame = taken(source, until=lambda: source.over)
    assert frame.rows() == [(1, "a"), (2, "b"), (3, ""), (4, "last")]
    assert (source.name, source.partition, source.lag) == ("-", "stdin", 0)
    source.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (gzip.compress(b"a\nb\n"), ["a", "b"]),
        ("\ufeffa\nb\n".encode("utf-16-le"), ["a", "b"]),
        (b"\xef\xbb\xbfa\n\x1b[31mb\x1b[0m\n", ["a", "b"]),
        (b"a\xff\0b\n", ["a\ufffd\ufffdb"]),
        (b"", []),
    ],
    ids=["gzip", "utf-16", "mark and colours", "invalid bytes", "nothing"],
)
def test_it_is_read_as_files_are(tmp_path, given, expected):
    source = started(tmp_path, io.BytesIO(given))
    assert taken(source, until=lambda: source.over)["text"].to_list() == expected
    source.close()


def test_what_was_replaced_and_cut_is_counted(tmp_path):
    source = started(
        tmp_path, io.BytesIO(b"a\xff\n" + b"x" * ((1 << 20) + 1) + b"\n\x1b[1mc\x1b[0m\n")
    )
    assert taken(source, until=lambda: source.over).height == 3
    assert source.counts == {"replaced": 1, "cut_lines": 1, "coloured_lines": 1}
    source.close()


def test_a_damaged_archive_gives_its_lines_and_then_an_error(tmp_path):
    whole = gzip.compress(
        os.urandom(2000).hex().encode() + b"\nb\n" + os.urandom(2000).hex().encode() + b"\n"
    )
    source = started(tmp_path, io.BytesIO(whole[:-900]))
    assert eventually(lambda: source.lag == 2)
    assert sum(arrival.lines.height for arrival in source.take(1).arrivals) > 0
    with pytest.raises(ServeError, match="damaged or cut off after"):
        taken(source, until=lambda: source.over)
    source.close()


def test_a_line_is_given_as_soon_as_it_comes(tmp_path, pipe):
    ours, theirs = pipe
    source = started(tmp_path, ours)
    for text in ("a", "b"):
        theirs.write(f"{text}\n".encode())
        began = time.monotonic()
        assert taken(source, lines=1)["text"].to_list() == [text]
        assert time.monotonic() - began < 1.5
    assert not source.over
    theirs.close()
    assert taken(source, until=lambda: source.over).height == 0
    source.close()


@pytest.mark.real
def test_a_full_spool_stops_the_pipe_and_nothing_is_lost(tmp_path, pipe):
    ours, theirs = pipe
    os.set_blocking(theirs.fileno(), False)
    stored = Stored()
    source = started(tmp_path, ours, stored=stored, limit=100_000)
    block = b"".join(os.urandom(200).hex().encode() + b"\n" for _ in range(2000))
    sent, quiet, left = 0, 0, block
    while left and quiet < 30:  # until it takes no more
        try:
            count = theirs.write(left) or 0
        except BlockingIOError:
            count = 0
        quiet = 0 if count else quiet + 1
        time.sleep(0 if count else 0.02)
        sent, left = sent + count, left[count:]
    assert left
    assert sent < 600_000
    assert (
        source.trouble
        == f"-: the spool {tmp_path} is full; nothing more is taken until lines of it are stored"
    )

    got: list[str] = []
    while len(got) < 2000:
        frames = [arrival.lines for arrival in source.take(0.05).arrivals]
        got += [text for frame in frames for text in frame["text"]]
        for frame in frames:
            stored.keep(source, {"stdin": int(frame["line"][-1]) + 1})
        if left:
            with suppress(BlockingIOError):
                left = left[theirs.write(left) or 0 :]
    assert got == block.decode().splitlines()
    source.close()


def test_lines_not_stored_are_given_again_with_their_numbers(tmp_path):
    stored = Stored()
    source = started(tmp_path, io.BytesIO(b"a\nb\nc\n"), stored=stored)
    assert taken(source, lines=3).height == 3
    stored.keep(source, {"stdin": 2})
    source.close()
    source = started(tmp_path, io.BytesIO(b"d\n"), stored=stored)
    assert taken(source, lines=3).rows() == [(2, "b"), (3, "c"), (4, "d")]
    source.close()


def test_numbers_go_on_where_the_spool_was_deleted(tmp_path):
    stored = Stored()
    source = started(tmp_path / "one", io.BytesIO(b"a\nb\n"), stored=stored)
    taken(source, lines=2)
    stored.keep(source, {"stdin": 3})
    source.close()
    source = started(tmp_path / "two", io.BytesIO(b"c\n"), stored=stored)
    assert taken(source, lines=1).rows() == [(3, "c")]
    source.close()


def test_what_was_read_when_it_is_closed_is_kept(tmp_path, pipe):
    ours, theirs = pipe
    stored = Stored()
    source = started(tmp_path, ours, stored=stored)
    theirs.write(b"a\nhalf a li")
    assert taken(source, lines=1)["text"].to_list() == ["a"]
    source.close()
    source = started(tmp_path, io.BytesIO(b""), stored=stored)
    assert taken(source, until=lambda: source.over)["text"].to_list() == ["a", "half a li"]
    source.close()
