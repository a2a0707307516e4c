"""Lines of files through rotations and restarts, driven without waiting."""

import gzip
import json
import os
import shutil
import threading
import time
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
                    assert given.setdefault(number, text) == text, (
                        "another line under a number that was given"
                    )
            if not taken.arrivals and times == 20:
                break

    def store(self, low: int | None = None) -> None:
        for partition in self.claimed:
            given = self.lines.get(partition, {})
            line = max(given, default=0) + 1 if low is None else low
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


def test_what_was_passed_over_is_counted(log):
    write(log, "a", "b")
    empty = log.with_name("empty.log")
    empty.touch()
    watch = Watch(log, empty, begin="end")
    assert watch.source.passed_over is None
    watch.take()
    assert watch.source.passed_over == {str(log): 2, str(empty): 0}
    write(log, "c")
    watch.take()
    assert watch.source.passed_over == {str(log): 2, str(empty): 0}


def test_a_log_that_is_read_from_its_start_or_gone_on_with_passes_nothing_over(log):
    write(log, "a", "b")
    watch = Watch(log)
    watch.take()
    assert watch.source.passed_over == {}
    watch.store()
    watch.options["begin"] = "end"
    watch.restart()
    watch.take()
    assert watch.source.passed_over == {}


def test_a_file_that_is_not_there_yet_is_waited_for(log):
    watch = Watch(log, begin="end")
    watch.take()
    write(log, "a")
    watch.take()
    assert watch.texts(log) == ["a"]


@pytest.mark.parametrize("begin", ["start", "end"])
def test_a_log_that_is_waited_for_is_stored_and_a_restart_waits_for_it(log, begin):
    watch = Watch(log, begin=begin)
    for _ in range(2):
        watch.take()
        watch.store()
        watch.restart()
    write(log, "a", "b")
    watch.take()
    watch.store()
    watch.restart()
    write(log, "c")
    watch.take()
    assert watch.texts(log) == ["a", "b", "c"]
    assert watch.numbers(log) == [1, 2, 3]


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


def test_files_that_keep_changing_names_are_waited_for(log):
    write(log, "a")
    log.with_name("app.log.8").write_text("of last week\n")
    watch = Watch(log)
    watch.take()
    write(log, "b")
    log.rename(log.with_name("app.log.1"))
    write(log, "c")
    # Another program numbers old files for longer than many looks take.
    goes_on = time.monotonic() + 0.5
    names = log.with_name("app.log.8"), log.with_name("app.log.9")

    def rename() -> None:
        while time.monotonic() < goes_on:
            names[0].rename(names[1])
            names[1].rename(names[0])

    renaming = threading.Thread(target=rename)
    renaming.start()
    watch.take()
    renaming.join()
    watch.take()
    assert watch.texts(log) == ["a", "b", "c"]
    assert "unsettled_rotations" not in watch.source.counts


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


def test_a_hole_before_the_lines_is_passed_over(log):
    write(log, "a" * 5000)
    watch = Watch(log)
    watch.take()
    os.truncate(log, 0)
    with log.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"after\n" + b"more\n" * 3)
    watch.take()
    assert watch.texts(log) == ["a" * 5000, "after", "more", "more", "more"]
    assert watch.source.counts["nul_bytes"] == 3_000_000
    watch.store(3)
    watch.restart()
    watch.take()
    assert watch.numbers(log) == [1, 2, 3, 4, 5]


def test_room_that_was_made_for_lines_is_written_over(log):
    log.write_bytes(b"a\n" + bytes(5000))
    watch = Watch(log)
    watch.take()
    with log.open("r+b") as file:
        file.seek(2)
        file.write(b"b\nc")
    os.utime(log, ns=(1, 1))
    watch.take()
    assert watch.texts(log) == ["a", "b"]
    assert "truncations" not in watch.source.counts


@pytest.mark.parametrize("mark", ["\ufeff", ""], ids=["mark", "no-mark"])
@pytest.mark.parametrize("kind", ["utf-16-le", "utf-16-be"])
def test_utf_16(log, kind, mark):
    lines = [f"{mark}erste Zeile ü\r\n", "zweite \u0a0a\u0d0a\n", "dritte\n"]
    raw = "".join(lines).encode(kind)
    log.write_bytes(raw[:31])
    watch = Watch(log)
    watch.take()
    with log.open("ab") as file:
        file.write(raw[31:-3])
    watch.take()
    watch.store(2)
    watch.restart()
    watch.take()
    with log.open("ab") as file:
        file.write(raw[-3:])
    watch.take()
    assert watch.texts(log) == ["erste Zeile ü", "zweite \u0a0a\u0d0a", "dritte"]


def test_marks_codes_and_line_ends_are_taken_out(log):
    log.write_bytes(b"\xef\xbb\xbfone\r\n\x1b[31mtwo\x1b[0m\nbad \xff\n")
    watch = Watch(log)
    watch.take()
    assert watch.texts(log) == ["one", "two", "bad \ufffd"]
    assert watch.source.counts == {"coloured_lines": 1, "replaced_characters": 1}


def test_a_line_that_is_too_long_is_cut_when_it_ends(log):
    log.write_bytes("é".encode() * 3_000_000)
    watch = Watch(log)
    watch.take()
    assert watch.texts(log) == []
    write(log, "", "next")
    watch.take()
    assert watch.texts(log) == ["é" * (1 << 20), "next"]
    assert watch.source.counts == {"cut_lines": 1}


def test_a_long_line_is_given_whole(log):
    write(log, "x" * 1_048_570, "next")
    watch = Watch(log)
    watch.take()
    assert [len(text) for text in watch.texts(log)] == [1_048_570, 4]


def test_take_is_bounded_and_a_place_is_near(log):
    write(log, *(f"line {number}" for number in range(1, 30_001)))
    watch = Watch(log)
    taken = watch.source.take(0)
    assert [arrival.lines.height for arrival in taken.arrivals] == [8000]
    stretch = watch.source.place(str(log), 5000)["stretches"][0]
    assert 5000 - 64 < stretch["line"] <= 5000
    watch.source.stored({str(log): 5000})
    assert watch.source.place(str(log), 1)["stretches"][0]["line"] == stretch["line"]
    assert watch.source.lag == log.stat().st_size - len(
        "".join(f"line {number}\n" for number in range(1, 8001))
    )


def test_no_file_starves_another(tmp_path):
    for number in range(5):
        write(tmp_path / f"{number}.log", *["x"] * (20_000 if number == 0 else 10))
    watch = Watch(tmp_path / "*.log")
    first = watch.source.take(0)
    assert len(first.arrivals) == 5
    assert sum(arrival.lines.height for arrival in first.arrivals) <= 8000


def test_compressed_files_of_a_glob_are_read_once_each(tmp_path):
    for number in (1, 2):
        (tmp_path / f"app.log.{number}.gz").write_bytes(gzip.compress(b"banner\n%d\nend" % number))
    watch = Watch(tmp_path / "*.gz")
    watch.take()
    (tmp_path / "app.log.2.gz").rename(tmp_path / "app.log.3.gz")
    (tmp_path / "app.log.1.gz").rename(tmp_path / "app.log.2.gz")
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(b"banner\n0\nend"))
    watch.take()
    watch.store()
    watch.restart()
    watch.take()
    texts = [line for given in watch.lines.values() for line in given.values()]
    assert sorted(texts) == sorted(
        ["banner", "1", "end", "banner", "2", "end", "banner", "0", "end"]
    )


def test_a_compressed_file_still_in_the_making_is_waited_for(tmp_path):
    path = tmp_path / "app.gz"
    whole = gzip.compress(b"".join(b"%d\n" % number for number in range(5000)))
    path.write_bytes(whole[:3000])
    watch = Watch(tmp_path / "*.gz")
    watch.take()
    with path.open("ab") as file:
        file.write(whole[3000:])
    watch.take()
    assert watch.texts(path) == [str(number) for number in range(5000)]


def test_the_compressed_form_of_a_watched_log_is_no_log_of_its_own(log):
    write(log, "a", "b")
    watch = Watch(log.with_name("app*"))
    watch.take()
    log.rename(log.with_name("app-2026-11-27.log"))
    write(log, "c")
    watch.take()
    old = log.with_name("app-2026-11-27.log")
    old.with_name(f"{old.name}.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    watch.take()
    assert watch.lines == {str(log): {1: "a", 2: "b", 3: "c"}}


def test_names_like_those_of_earlier_files_may_be_logs(tmp_path):
    for name in ("node.log", "node-1.log", "node-2.log"):
        write(tmp_path / name, name)
    watch = Watch(tmp_path / "node*.log")
    watch.take()
    write(tmp_path / "node-2.log", "more")
    watch.take()
    assert {Path(path).name: list(lines.values()) for path, lines in watch.lines.items()} == {
        "node.log": ["node.log"],
        "node-1.log": ["node-1.log"],
        "node-2.log": ["node-2.log", "more"],
    }


def test_earlier_files_that_match_come_first(log):
    for number, name in enumerate(["app.log.2", "app.log.1", "app.log"]):
        write(log.with_name(name), name)
        os.utime(log.with_name(name), ns=(number, number))
    watch = Watch(log.with_name("app.log*"))
    watch.take()
    assert watch.lines == {str(log): {1: "app.log.2", 2: "app.log.1", 3: "app.log"}}


def test_files_that_begin_alike_are_told_apart(log):
    banner = "=" * 2000
    write(log, banner, "a")
    watch = Watch(log)
    watch.take()
    watch.store()
    for name in ("b", "c"):
        log.rename(log.with_name(f"app.log.{ord('d') - ord(name)}"))
        write(log, banner, name)
    watch.restart()
    watch.take()
    assert watch.texts(log) == [banner, "a", banner, "b", banner, "c"]


def test_a_number_of_the_file_system_is_used_again(log):
    write(log, "a", "b")
    watch = Watch(log)
    watch.take()
    watch.store()
    watch.source.close()
    number = log.stat().st_ino
    log.unlink()
    write(log, "x", "y", "z")
    watch.restart()
    watch.take()
    assert watch.texts(log)[2:] == ["x", "y", "z"]
    assert log.stat().st_ino != number or watch.source.counts["lost_files"] == 1


def test_what_cannot_be_found_again_is_counted(log):
    write(log, *"abcde")
    watch = Watch(log)
    watch.take()
    watch.store(3)
    log.unlink()
    write(log, "f")
    watch.restart()
    watch.take()
    assert watch.lines[str(log)][6] == "f"
    assert watch.source.counts["lost_files"] == 1
    assert watch.source.counts["lost_lines"] == 5


def test_what_is_no_file_or_may_not_be_read_is_said_once(tmp_path, caplog):
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "loop.log").symlink_to("loop.log")
    write(tmp_path / "good.log", "a")
    watch = Watch(tmp_path / "*.log")
    watch.take()
    watch.take()
    assert watch.texts(tmp_path / "good.log") == ["a"]
    assert watch.source.counts == {"unreadable_files": 2}
    assert len(caplog.messages) == 2
    (tmp_path / "loop.log").unlink()
    write(tmp_path / "loop.log", "b")
    watch.take()
    assert watch.texts(tmp_path / "loop.log") == ["b"]


def test_a_folder_that_goes_and_comes_again(tmp_path):
    folder = tmp_path / "a" / "logs"
    folder.mkdir(parents=True)
    write(folder / "app.log", "a")
    watch = Watch(tmp_path / "**" / "*.log")
    watch.take()
    shutil.rmtree(folder)
    watch.take()
    folder.mkdir()
    write(folder / "app.log", "b")
    watch.take()
    assert watch.texts(folder / "app.log") == ["a", "b"]


def test_another_sources_place_is_refused(log):
    write(log, "a")
    watch = Watch(log)
    watch.stored[str(log)] = Resumed(1, {"offset": 3})
    with pytest.raises(ServeError, match="name another store"):
        watch.restart()


def test_a_link_and_its_target_are_read_once(tmp_path):
    write(tmp_path / "target.log", "a")
    (tmp_path / "link.log").symlink_to(tmp_path / "target.log")
    watch = Watch(tmp_path / "*.log")
    watch.take()
    assert [list(lines.values()) for lines in watch.lines.values()] == [["a"]]


def test_many_files_take_few_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    paths = [tmp_path / f"{number}.log" for number in range(100)]
    for path in paths:
        write(path, "a")
    watch = Watch(tmp_path / "*.log")
    watch.take(6)
    for path in paths:
        path.rename(path.with_suffix(".log.1"))
        write(path, "b")
    watch.take(6)
    watch.take()
    open_files = [
        str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
    ]
    assert sum(str(tmp_path) in name for name in open_files) <= 32
    assert all(watch.texts(path) == ["a", "b"] for path in paths)


@pytest.mark.parametrize("begin", ["start", "end"])
@pytest.mark.parametrize("size", [0, 3, 12, 60])
def test_a_damaged_archive_stops_nobody(tmp_path, size, begin):
    whole = gzip.compress(b"".join(b"%d\n" % number for number in range(50)))
    (tmp_path / "a.gz").write_bytes(whole[:size] + b"\xff" * 20 * (size > 3))
    write(tmp_path / "b.log", "b")
    watch = Watch(tmp_path / "*", begin=begin)
    watch.take()
    write(tmp_path / "b.log", "c")
    with (tmp_path / "a.gz").open("ab") as file:
        file.write(b"\xff" * 20)
    watch.take()
    watch.take()
    assert watch.texts(tmp_path / "b.log")[-1] == "c"
