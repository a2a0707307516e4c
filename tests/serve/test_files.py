"""Lines of files through rotations and restarts, driven without waiting."""

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from logllm.errors import ServeError
from logllm.serve.sources.contract import Resumed
from logllm.serve.sources.files import FilesSource


class Watch:
    """A source, what it gave, and the store's part: places."""

    def __init__(self, *patterns: Path | str, begin="start", quiet=0.0, **options):
        self.patterns = [str(pattern) for pattern in patterns]
        self.options = {"begin": begin, "quiet": quiet, "poll": 0.0, **options}
        self.stored: dict[str, Resumed] = {}
        self.lines: dict[str, dict[int, str]] = {}
        self.start()

    def start(self) -> None:
        self.source = FilesSource(self.patterns, **self.options)
        self.claimed: set[str] = set()
        self.source.begin(self.claim)

    def claim(self, partition: str) -> Resumed | None:
        self.claimed.add(partition)
        return self.stored.get(partition)

    def take(self, times=20) -> None:
        for _ in range(times):
            taken = self.source.take(0)
            for arrival in taken.arrivals:
                given = self.lines.setdefault(arrival.partition, {})
                for number, text in arrival.lines.iter_rows():
                    assert given.setdefault(number, text) == text, "another line under a number that was given"
            if not taken.arrivals and times == 20:
                break

    def store(self, low: int | None = None) -> None:
        for partition in self.claimed & self.lines.keys():
            given = self.lines[partition]
            line = max(given) + 1 if low is None else low
            place = json.loads(json.dumps(self.source.place(partition, line)))
            self.stored[partition] = Resumed(line, place)
            self.source.stored({partition: line})

    def restart(self) -> None:
        self.source.close()
        self.start()

    def texts(self, path: Path | str) -> list[str]:
        given = self.lines.get(str(path), {})
        assert sorted(given) == list(given), "numbers rise"
        return list(given.values())

    def numbers(self, path: Path | str) -> list[int]:
        return list(self.lines.get(str(path), {}))


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "app.log"


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_lines_come_as_they_are_written(log):
    write(log, "a", "b")
    watch = Watch(log)
    watch.take()
    write(log, "c")
    watch.take()
    assert watch.texts(log) == ["a", "b", "c"]
    assert watch.numbers(log) == [1, 2, 3]


def test_a_line_waits_for_its_end(log):
    watch = Watch(log)
    watch.take()
    log.write_bytes(b"one\ntw")
    watch.take()
    assert watch.texts(log) == ["one"]
    with log.open("ab") as file:
        file.write("o é".encode()[:-1])
    watch.take()
    with log.open("ab") as file:
        file.write("é\n".encode()[1:])
    watch.take()
    assert watch.texts(log) == ["one", "two é"]


def test_begin_at_the_end_numbers_what_was_passed_over(log):
    write(log, "a", "b")
    with log.open("a") as file:
        file.write("unfini")
    watch = Watch(log, begin="end")
    watch.take()
    with log.open("a") as file:
        file.write("shed\nnew\n")
    watch.take()
    assert watch.lines == {str(log): {3: "unfinished", 4: "new"}}


def test_a_file_that_is_not_there_yet_is_waited_for(log):
    watch = Watch(log, begin="end")
    watch.take()
    write(log, "a")
    watch.take()
    assert watch.texts(log) == ["a"]


def test_rename_and_create(log):
    write(log, "a")
    watch = Watch(log)
    watch.take()
    old = log.open("a")
    log.rename(log.with_name("app.log.1"))
    old.write("b\n")
    old.flush()
    watch.take()
    write(log, "d")
    old.write("c\n")
    old.close()
    watch.take()
    assert watch.texts(log) == ["a", "b", "c", "d"]
    assert watch.source.counts == {"rotations": 1}


def test_the_next_file_waits_until_the_old_one_is_quiet(log):
    write(log, "a")
    watch = Watch(log, quiet=3600)
    watch.take()
    old = log.open("a")
    log.rename(log.with_name("app.log.1"))
    write(log, "c")
    watch.take()
    old.write("b")
    old.close()
    watch.take()
    assert watch.texts(log) == ["a"]


def test_the_last_line_of_a_rotated_file_needs_no_end(log):
    log.write_text("a\nb")
    watch = Watch(log)
    watch.take()
    assert watch.texts(log) == ["a"]
    log.rename(log.with_name("app.log.1"))
    write(log, "c")
    watch.take()
    assert watch.texts(log) == ["a", "b", "c"]
    assert watch.source.counts["unfinished_lines"] == 1


def test_copytruncate_reads_the_rest_from_the_copy(log):
    write(log, "a")
    watch = Watch(log)
    watch.take()
    write(log, "b")
    shutil.copy2(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    write(log, "c")
    watch.take()
    assert watch.texts(log) == ["a", "b", "c"]
    assert watch.source.counts["truncations"] == 1


def test_what_was_cut_before_it_was_read_is_counted(log):
    write(log, "a")
    watch = Watch(log)
    watch.take()
    write(log, "b" * 99)
    watch.source._look(0)
    os.truncate(log, 0)
    write(log, "c")
    watch.take()
    assert watch.texts(log) == ["a", "c"]
    assert watch.source.counts["truncated_bytes"] == 100


def test_a_file_that_was_cut_and_grew_beyond_is_read_anew(log):
    write(log, "a", "b")
    watch = Watch(log)
    watch.take()
    log.write_text("x\ny\nz\n")
    watch.take()
    assert watch.texts(log) == ["a", "b", "x", "y", "z"]


def test_restart_goes_on_in_rotated_and_compressed_files(log):
    write(log, "a", "b")
    watch = Watch(log)
    watch.take()
    watch.store(2)
    write(log, "c")
    log.rename(log.with_name("app.log.2"))
    write(log, "d")
    for name in ("app.log.2",):
        path = log.with_name(name)
        packed = path.with_name(f"{name}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        shutil.copystat(path, packed)
        path.unlink()
    log.rename(log.with_name("app.log.1"))
    write(log, "e")
    watch.restart()
    watch.take()
    assert watch.texts(log) == list("abcde")
    assert watch.numbers(log) == [1, 2, 3, 4, 5]
    assert "lost_files" not in watch.source.counts


def test_only_known_logs_are_read_where_the_store_has_to_know(log):
    write(log, "a")
    with pytest.raises(ServeError, match="knows nothing"):
        Watch(log, begin="stored")
