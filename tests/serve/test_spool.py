"""The spool on disk: numbers that go on, tails that were torn, bounds, and disks that are full."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ServeError
from logllm.serve.sources.spool.segments import ENTRY_BYTES, ENTRY_LINES, Spool
from logllm.serve.sources.spool.writer import Writer
from tests.serve.spooling import eventually


class Batch(NamedTuple):
    lines: Sequence[str]
    arrived: float = 1.0


def opened(folder, **options) -> Spool:
    spool = Spool(folder, **options)
    spool.open()
    return spool


def numbered(spool: Spool, line: int = 0) -> list[tuple[int, str]]:
    """All lines from one on."""
    rows: list[tuple[int, str]] = []
    line = line or spool.first
    while (group := spool.read(line)) is not None:
        rows += group.lines.rows()
        line = rows[-1][0] + 1
    return rows


def test_lines_come_back_with_their_numbers_and_times(tmp_path):
    spool = opened(tmp_path)
    spool.append([Batch(["a", "", "ü\ufffd"], 5.0), Batch(["d"], 6.0)])
    group = spool.read(1)
    assert group.lines.rows() == [(1, "a"), (2, ""), (3, "ü\ufffd")]
    assert group.arrived == 5.0
    assert spool.read(2).lines.rows() == [(2, ""), (3, "ü\ufffd")]
    assert spool.read(4).arrived == 6.0
    assert spool.read(5) is None
    assert spool.next == 5


def test_numbers_go_on_when_all_was_stored_and_at_every_restart(tmp_path):
    for start in (1, 41, 81):
        spool = opened(tmp_path, segment=64)
        assert spool.next == start
        for line in range(40):
            spool.append([Batch([f"{start + line} {os.urandom(20).hex()}"])])
        assert [number for number, _ in numbered(spool, start)] == list(range(start, start + 40))
        spool.forget(start + 40)
        assert len(list(tmp_path.glob("*.lines"))) == 1
        spool.close()


def test_only_whole_segments_below_are_deleted(tmp_path):
    spool = opened(tmp_path, segment=1)
    for text in "abcde":
        spool.append([Batch([text, text])])
    spool.forget(6)
    assert spool.first == 5
    assert numbered(spool) == [(5, "c"), (6, "c"), (7, "d"), (8, "d"), (9, "e"), (10, "e")]
    spool.forget(4)
    assert spool.size == sum(path.stat().st_size for path in tmp_path.glob("*.lines"))


def test_numbers_go_on_after_somebody_deleted_the_folder(tmp_path):
    spool = opened(tmp_path)
    spool.skip_to(100)
    spool.append([Batch(["a"])])
    spool.close()
    spool = opened(tmp_path)
    spool.skip_to(7)
    assert numbered(spool, 100) == [(100, "a")]
    assert spool.next == 101


def test_many_or_long_lines_are_read_in_pieces(tmp_path):
    spool = opened(tmp_path)
    spool.append(
        [Batch(["x"] * (3 * ENTRY_LINES)), Batch(["y" * (ENTRY_BYTES + 1), "z" * ENTRY_BYTES])]
    )
    assert spool.read(1).lines.height <= ENTRY_LINES
    assert len(numbered(spool)) == 3 * ENTRY_LINES + 2
    assert spool.read(3 * ENTRY_LINES + 1).lines.height == 1


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_a_torn_tail_is_cut_at_the_last_whole_entry(tmp_path, lost):
    spool = opened(tmp_path)
    spool.append([Batch(["a"])])
    whole = spool.size
    spool.append([Batch(["b" * 30])])
    size = spool.size
    spool.close()
    [path] = tmp_path.glob("*.lines")
    os.truncate(path, max(size - lost, whole + 1))
    spool = opened(tmp_path)
    assert numbered(spool) == [(1, "a")]
    assert spool.counts["torn_bytes"] == max(size - lost - whole, 1)
    assert spool.next == 2
    spool.append([Batch(["c"])])
    assert numbered(spool) == [(1, "a"), (2, "c")]


def test_what_is_damaged_in_the_middle_is_passed_over_and_counted(tmp_path):
    spool = opened(tmp_path, segment=1 << 20)
    sizes = []
    for text in "abc":
        spool.append([Batch([text, text])])
        sizes.append(spool.size)
    spool.close()
    [path] = tmp_path.glob("*.lines")
    block = bytearray(path.read_bytes())
    block[sizes[1] - 1] ^= 1
    path.write_bytes(block)
    spool = opened(tmp_path)
    assert numbered(spool) == [(1, "a"), (2, "a"), (5, "c"), (6, "c")]
    assert (spool.counts["damaged_bytes"], spool.counts["missing_lines"], spool.next) == (
        sizes[1] - sizes[0],
        2,
        7,
    )


def test_two_processes_cannot_have_one_spool(tmp_path):
    spool = opened(tmp_path)
    program = (
        "import sys; from pathlib import Path; from logllm.serve.sources.spool.segments import"
        " Spool\ntry:\n    Spool(Path(sys.argv[1])).open()\nexcept Exception as exc:\n   "
        " print(type(exc).__name__, exc)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert (
        out
        == f"ServeError another process keeps lines in {tmp_path}: give each watch a store of its"
        " own\n"
    )
    spool.close()
    opened(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServeError, match="lines cannot be kept in .*spool"):
        Spool(tmp_path / "file" / "spool").open()


@settings(max_examples=20, deadline=None)
@given(
    appended=st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8),
            min_size=1,
            max_size=4,
        ),
        max_size=6,
    ),
    acknowledged=st.integers(0, 6),
    keeps=st.floats(0, 1),
    garbage=st.binary(max_size=60),
)
def test_any_kill_leaves_every_acknowledged_line_once_with_its_number(
    appended, acknowledged, keeps, garbage
):
    """What was not flushed when power went may be there, in part, or as anything."""
    with tempfile.TemporaryDirectory() as folder:
        spool = opened(Path(folder))
        rows: list[tuple[int, str]] = []
        flushed, reached = 0, 0
        for place, lines in enumerate(appended):
            spool.append([Batch(lines)])
            rows += [(len(rows) + 1 + at, line) for at, line in enumerate(lines)]
            if place < acknowledged:
                flushed, reached = spool.size, len(rows)
        size = spool.size
        spool.close()
        [path] = Path(folder).glob("*.lines")
        block = path.read_bytes()
        path.write_bytes(block[: flushed + int(keeps * (size - flushed))] + garbage)

        spool = opened(Path(folder))
        again = numbered(spool)
        assert again[:reached] == rows[:reached]
        assert again == rows[: len(again)]
        spool.append([Batch(["new"])])
        assert numbered(spool) == [*again, (len(again) + 1, "new")]
        spool.close()


class Refusing(Spool):
    """A spool on a disk that is full for some time."""

    refuses = 0

    def append(self, batches):
        if self.refuses:
            self.refuses -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(batches)


@pytest.fixture
def refusing(tmp_path):
    spool = Refusing(tmp_path)
    spool.open()
    yield spool
    spool.close()


def test_lines_of_many_senders_are_flushed_together(tmp_path):
    spool = opened(tmp_path)
    writer = Writer(spool, limit=1 << 20, linger=0.01)
    lots = [writer.add([f"{sender}"]) for sender in range(9)]
    writer.start()
    assert all(writer.confirmed(lot, 5) for lot in lots)
    writer.close()
    assert [text for _, text in numbered(spool)] == [str(sender) for sender in range(9)]


def test_a_full_spool_has_no_room_until_lines_are_stored(tmp_path):
    spool = opened(tmp_path, segment=4096)
    writer = Writer(spool, limit=16_384, linger=0.0)
    writer.start()
    given = 0
    while writer.room(0):
        assert writer.confirmed(writer.add([os.urandom(512).hex()]), 5)
        given += 1
    assert spool.size <= 16_384 + 1100
    assert not writer.room(0.05)
    assert len(numbered(spool)) == given
    spool.forget(given + 1)
    assert writer.room(0)
    writer.close()


def test_there_is_room_again_after_more_came_at_once_than_may_be_there(tmp_path):
    for start in (1, 101):
        spool = opened(tmp_path, segment=1024)
        writer = Writer(spool, limit=16_384, linger=0.0)
        writer.start()
        assert writer.confirmed(writer.add([os.urandom(512).hex() for _ in range(100)]), 5)
        assert not writer.room(0)
        writer.close()
        spool.close()
        spool = opened(tmp_path, segment=1024)
        spool.forget(start + 100)
        assert Writer(spool, limit=16_384, linger=0.0).room(0)
        spool.close()


def test_what_waits_to_be_written_is_bounded(refusing):
    refusing.refuses = 10**9
    writer = Writer(refusing, limit=1 << 30, linger=0.0)
    while writer.room(0):
        writer.add(["x" * (1 << 20)])
    assert sum(lot.size for lot in writer._lots) <= 9 << 20


def test_a_full_disk_is_said_and_lines_are_written_when_there_is_room(refusing):
    refusing.refuses = 1
    writer = Writer(refusing, limit=1 << 20, linger=0.0)
    lot = writer.add(["a"])
    writer.start()
    assert eventually(
        lambda: (
            writer.trouble == f"the disk that holds {refusing.folder} is full"
            or lot.stored.is_set()
        )
    )
    assert writer.confirmed(lot, 10)
    assert writer.trouble is None
    assert writer.counts == {"spool_refused_writes": 1}
    writer.close()
    assert numbered(refusing) == [(1, "a")]


def test_lines_that_were_refused_never_come_back(refusing):
    refusing.refuses = 1
    writer = Writer(refusing, limit=1 << 20, linger=0.0)
    refused = writer.add(["refused"])
    writer.start()
    assert not writer.confirmed(refused, 0.05)
    assert writer.confirmed(writer.add(["accepted"]), 10)
    writer.close()
    assert numbered(refusing) == [(1, "accepted")]
    assert "lost_lines" not in writer.counts


def test_lines_that_could_not_be_written_until_the_end_are_counted(refusing):
    refusing.refuses = 10**9
    writer = Writer(refusing, limit=1 << 20, linger=0.0)
    writer.start()
    writer.add(["a", "b"])
    writer.close()
    assert writer.counts["lost_lines"] == 2
    assert not refusing.read(1)


def test_a_disk_that_is_full_for_the_system_is_said(tmp_path):
    """A device that is always full stands in for the segment."""
    spool = opened(tmp_path, segment=1)
    (tmp_path / f"{2:020d}.lines").symlink_to("/dev/full")
    spool.append([Batch(["a"])])
    with pytest.raises(OSError, match="No space left"):
        spool.append([Batch(["b"])])
    assert numbered(spool) == [(1, "a")]
    spool.close()


@pytest.mark.real
def test_every_line_acknowledged_before_kill_9_is_there_once(tmp_path):
    """Twenty kills in the middle of writing."""
    program = (
        "import sys; from pathlib import Path\nfrom logllm.serve.sources.spool.segments import"
        " Spool\nfrom logllm.serve.sources.spool.writer import Writer\nspool ="
        " Spool(Path(sys.argv[1]), segment=50_000); spool.open(); writer = Writer(spool, limit=1 <<"
        " 30, linger=0); writer.start()\nplace = 0\nwhile True:\n    lot ="
        " writer.add([f'{sys.argv[2]} {place + at} ' + 'x' * 300 for at in range(7)]); place += 7\n"
        "    assert writer.confirmed(lot, 60); print(place, flush=True)"
    )
    acknowledged: list[str] = []
    for kill in range(20):
        command = [sys.executable, "-c", program, str(tmp_path), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            last = [int(process.stdout.readline()) for _ in range(3 + 11 * kill)][-1]
            process.send_signal(signal.SIGKILL)
            last = max([last, *map(int, process.stdout.read().split("\n")[:-1])])
        acknowledged += [f"{kill} {place}" for place in range(last)]
    spool = opened(tmp_path)
    rows = pl.DataFrame(numbered(spool), schema=["line", "text"], orient="row")
    names = rows["text"].str.extract(r"^(\d+ \d+)").to_list()
    assert rows["line"].to_list() == list(range(1, rows.height + 1))
    assert len(set(names)) == len(names)
    assert set(acknowledged) <= set(names)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.real
def test_a_disk_that_is_really_full_loses_nothing_and_goes_on(small_disk):
    (small_disk / "others").write_bytes(bytes(700_000))
    spool = opened(small_disk / "spool", segment=50_000)
    writer = Writer(spool, limit=1 << 30, linger=0.0)
    writer.start()
    lots = [writer.add([os.urandom(1000).hex()]) for _ in range(600)]
    assert eventually(lambda: writer.trouble == f"the disk that holds {spool.folder} is full")
    (small_disk / "others").unlink()
    spool.forget(spool.next)
    assert all(writer.confirmed(lot, 20) for lot in lots)
    assert writer.trouble is None
    assert spool.next == 601
    writer.close()
    spool.close()
