"""What was acknowledged is there, and once, whatever became of the process or the disk."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logllm.errors import DataError
from logllm.serve.store.troubles import StoreFull
from logllm.serve.store.verdict_store import Store
from tests.serve.postgres import serving
from tests.serve.store_contract import frame, kept, verdict

pytestmark = pytest.mark.real

KILLS = 20


def killed_writer(where: str, rng: random.Random) -> int:
    """Let a process write for a moment, and kill it in the middle; the last line that it knew to be
    stored."""
    command = [
        sys.executable,
        "-m",
        "tests.serve.store_writer",
        where,
        str(rng.choice([3, 20, 400])),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout
        first = process.stdout.readline()
        time.sleep(rng.random() * 0.3)
        process.kill()
        return int([first, *process.stdout.read().split("\n")[:-1]][-1])


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    if request.param == "sqlite":
        yield str(tmp_path / "verdicts.db")
    else:
        with serving() as databases:
            yield databases.fresh()


def test_twenty_kills_lose_and_double_nothing(where):
    rng = random.Random(0)
    for kill in range(1, KILLS + 1):
        acknowledged = killed_writer(where, rng)
        store = Store.open(where)
        mine = store.claim("app", "p", owner="check")
        assert mine.epoch == 2 * kill
        assert mine.low >= acknowledged
        assert mine.place == {"line": mine.low}
        assert mine.counters == {"written": mine.low}

        # A line is a session: each is there once, and those that are over end where the place says.
        rows = store.verdicts("app", limit=10_000_000)
        over = rows.filter(state="closed")["first_position"]
        assert rows["first_position"].n_unique() == rows.height == mine.low + 2
        assert sorted(over) == list(range(mine.low))
        assert store.check() == []
        store.close()
    if "://" not in where:
        with sqlite3.connect(where) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def test_copies_of_a_store_that_is_written_are_whole(tmp_path):
    where = tmp_path / "verdicts.db"
    command = [sys.executable, "-m", "tests.serve.store_writer", str(where), "50"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout
        process.stdout.readline()
        store = Store.open(where)
        lows = []
        for number in range(5):
            store.backup(tmp_path / f"copy{number}.db")
            copy = Store.open(tmp_path / f"copy{number}.db")
            low = copy.claim("app", "p", owner="check").low
            assert copy.verdicts("app", limit=10_000_000).height == low + 2
            assert copy.check() == []
            copy.close()
            lows.append(low)
        assert process.poll() is None
        process.kill()
    assert lows == sorted(lows)
    assert lows[0] < lows[-1]
    store.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, and a file on it that can be deleted to make room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("needs a machine on which this user may mount")
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    yield folder, ballast
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing(small_disk):
    folder, ballast = small_disk
    store = Store.open(folder / "verdicts.db")
    mine = store.claim("app", "p", owner="me")

    step = 0

    def write():
        rows = (verdict(f"s{step}-{at}", step, texts="x" * 1000, piece=at) for at in range(20))
        return store.write("app", verdicts=frame(*rows), kept=kept(mine, step + 1))

    def fill() -> None:
        nonlocal step
        while True:
            write()
            step += 1

    with pytest.raises(StoreFull, match="is full: free some space"):
        fill()
    assert step > 10

    # It can be read while it is full, and tried in vain as often as one likes.
    for _ in range(5):
        assert store.verdicts(limit=10_000).height == 20 * step
        with pytest.raises(StoreFull):
            write()
    with pytest.raises(DataError, match="copy"):
        store.backup(folder / "copy.db")
    assert {path.name for path in folder.iterdir()} <= {
        "ballast",
        "verdicts.db",
        "verdicts.db-wal",
        "verdicts.db-shm",
    }

    ballast.unlink()
    assert write().new == 20
    assert store.verdicts(limit=10_000).height == 20 * (step + 1)
    assert store.check() == []
    store.close()

    again = Store.open(folder / "verdicts.db")
    assert again.claim("app", "p", owner="me").low == step + 1
    again.close()


def test_a_store_on_a_disk_that_is_full_from_the_start(small_disk):
    folder, ballast = small_disk
    room = os.statvfs(folder)
    more = folder / "more"
    more.write_bytes(bytes(room.f_bavail * room.f_frsize))
    with pytest.raises((StoreFull, DataError), match=r"full|disk"):
        Store.open(folder / "verdicts.db").claim("app", "p", owner="me")
    ballast.unlink()
    store = Store.open(folder / "verdicts.db")
    assert store.claim("app", "p", owner="me").low == 0
    store.close()


def test_a_disk_that_may_only_be_read(small_disk):
    folder, _ = small_disk
    Store.open(folder / "verdicts.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(DataError, match="cannot be written .*: give its folder and files to this"):
        Store.open(folder / "verdicts.db").claim("app", "p", owner="me")
    with pytest.raises(DataError, match="cannot be written"):
        Store.open(folder / "new.db")
