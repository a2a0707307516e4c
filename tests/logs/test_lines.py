"""Lines of files, archives, globs and standard input."""

import bz2
import gzip
import io
import lzma
import random
import subprocess
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from shutil import which

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import DataError
from logllm.logs.inputs.folders import passed_over, session_names, walked
from logllm.logs.lines import (
    LONGEST_LINE,
    lines_at,
    named_files,
    read_lines,
)
from tests.rights import bound_by_rights, folder_of_the_bound


def zst(plain):
    return zstandard.ZstdCompressor().compress(plain)


ARCHIVES = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zst}


def read(*sources, **options):
    """Everything read: (file, line, text) rows and the sums of what was counted."""
    batches = list(read_lines(sources, **options))
    rows = [(batch.file, *row) for batch in batches for row in batch.frame.iter_rows()]
    return rows, sum(batch.replaced for batch in batches), sum(batch.cut for batch in batches)


def texts(raw, **options):
    rows, replaced, cut = read("-", stdin=io.BytesIO(raw), **options)
    assert [line for _, line, _ in rows] == list(range(1, len(rows) + 1))
    return [text for *_, text in rows], replaced, cut


@pytest.mark.parametrize(
    ("raw", "expected", "replaced"),
    [
        (b"a\nb\n", ["a", "b"], 0),
        (b"a\nb", ["a", "b"], 0),
        (b"\n", [""], 0),
        (b"\n\na\n\n", ["", "", "a", ""], 0),
        (b"a\r\nb\rc\r\n\r\n", ["a", "b\rc", ""], 0),
        (b"a\r\r\nb\x0bc\x85\xc2\x85d\n", ["a\r", "b\x0bc\ufffd\x85d"], 1),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "b"], 0),
        (b"caf\xc3\xa9\ncaf\xe9\n\xff\xfe\n", ["café", "caf\ufffd", "\ufffd\ufffd"], 3),
        (b"\xef\xbf\xbd\xff\n", ["\ufffd\ufffd"], 1),
        (b"a\0b\n\0\0\n\0\0c\0\n", ["a\ufffdb", "", "c"], 6),
    ],
)
def test_bytes_become_lines(raw, expected, replaced):
    assert texts(raw) == (expected, replaced, 0)


def test_latin_1_has_a_character_for_every_byte():
    raw = bytes(byte for byte in range(1, 256) if byte != 10)
    assert texts(raw, encoding="latin-1") == ([raw.decode("latin-1")], 0, 0)
    assert texts(b"a\0\n", encoding="latin-1") == (["a\ufffd"], 1, 0)


class Trickle(io.BytesIO):
    """A stream that says that its bytes arrive when they do: what a read gives, a few of them at
    most, is a block."""

    arriving = True

    def __init__(self, raw: bytes, *, most: int) -> None:
        super().__init__(raw)
        self._most = most

    def read(self, size=-1, /):
        return super().read(self._most if size is None or size < 0 else min(size, self._most))

    def comes(self, wait: float) -> bool:
        return True


@given(
    raw=st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"\r", b"\xc3\xa9", b"\xff"]), min_size=1),
    block=st.integers(1, 9),
)
def test_no_size_of_block_changes_a_line(raw, block):
    plain = b"".join(raw)
    expected = [line.removesuffix(b"\r") for line in plain.split(b"\n")]
    if not expected[-1] and plain.endswith(b"\n"):
        expected.pop()
    if not plain.endswith(b"\n"):
        expected[-1] = plain.split(b"\n")[-1]
    rows, *_ = read("-", stdin=Trickle(plain, most=block))
    assert [number for _, number, _ in rows] == list(range(1, len(rows) + 1))
    assert [text for *_, text in rows] == [line.decode(errors="replace") for line in expected]


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("where", ["file", "stdin"])
def test_archives_are_known_by_content(kind, where, tmp_path):
    packed = ARCHIVES[kind](b"a\nb") + ARCHIVES[kind](b"c\n") + ARCHIVES[kind](b"")
    path = tmp_path / "app.log"
    path.write_bytes(packed)
    rows, *_ = read(path) if where == "file" else read("-", stdin=io.BytesIO(packed))
    assert [text for *_, text in rows] == ["a", "bc"]


def test_a_name_does_not_make_an_archive(tmp_path):
    path = tmp_path / "app.log.gz"
    path.write_bytes(b"plain\n")
    assert read(path)[0] == [(str(path), 1, "plain")]


def test_zero_padding_after_an_archive_is_none_of_it():
    assert texts(gzip.compress(b"a\n") + bytes(512))[0] == ["a"]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_cut_off_archive_says_how_much_can_be_read(kind, tmp_path):
    path = tmp_path / "app.log"
    generator = random.Random(0)
    plain = b"".join(
        b"%d %s\n" % (number, generator.randbytes(8).hex().encode()) for number in range(40_000)
    )
    packed = ARCHIVES[kind](plain)
    path.write_bytes(packed[:-20])
    seen = []

    def collect():
        for lines in read_lines([path], batch_lines=1000):
            seen.extend(lines.frame["text"])

    with pytest.raises(
        DataError,
        match=(
            r"app\.log is damaged or cut off after [\d,]+ whole lines .*; to use those: \w+cat"
            r" .*/app\.log > part\.log 2>/dev/null, then name part\.log$"
        ),
    ) as caught:
        collect()
    assert seen == plain.decode().split("\n")[: len(seen)]
    assert len(seen) > 1000 or kind == "bz2"  # bz2 packs everything into one block
    # What is advised gives a file of those lines, which can be named wherever the archive was.
    command = str(caught.value).partition("to use those: ")[2].partition(", then")[0]
    if which(command.split()[0]) and kind != "bz2":
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=False)
        part = (tmp_path / "part.log").read_text().split("\n")
        assert part[: len(seen) - 1] == seen[:-1]


def test_a_damaged_archive_is_an_error():
    packed = bytearray(gzip.compress(b"a line\n" * 10))
    packed[-6] ^= 1  # the checksum
    with pytest.raises(DataError, match="standard input is damaged"):
        texts(bytes(packed))
    with pytest.raises(DataError, match="damaged"):
        texts(gzip.compress(b"a\n") + b"garbage")


def test_archives_of_several_files_are_refused(tmp_path):
    inner = tmp_path / "inner.log"
    inner.write_text("a\n")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(inner, "inner.log")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(inner, "inner.log")
    with pytest.raises(DataError, match=r"tar archive: zcat .* \| tar -xO FILE > one.log"):
        read(tmp_path / "x.tar.gz")
    with pytest.raises(DataError, match="zip archive: unzip -p"):
        read(tmp_path / "x.zip")


BINARY = {
    "program": b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(range(3, 40)) * 20,
    "noise": random.Random(0).randbytes(5_000),
    "packed noise": gzip.compress(random.Random(0).randbytes(5_000)),
}


@pytest.mark.parametrize("kind", BINARY)
def test_what_is_binary_is_refused_without_showing_it(kind, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(BINARY[kind])
    with pytest.raises(DataError, match=r"app\.log is binary, and a log is text") as caught:
        read(path)
    assert str(caught.value).isprintable()
    path.write_bytes(b"LPKSHHRH" + bytes(200))
    with pytest.raises(DataError, match=r"a journal of systemd's: journalctl --file .* -o export"):
        read(path)


@pytest.mark.parametrize(
    "text",
    [
        b"8=FIX.4.4\x019=65\x0135=A\x0134=1\x01\n" * 50,
        "\N{CYRILLIC SMALL LETTER A}\n".encode("koi8-r") * 500,
        bytes(5_000) + b"went on\n",
        b"\x1b[31mdown\x1b[0m\x07\n" * 50,
    ],
    ids=["FIX", "KOI8-R", "NULs before the next line", "colours"],
)
def test_text_with_some_odd_bytes_is_a_log(text):
    assert texts(text)[0]


def test_a_log_that_was_rotated_a_moment_ago_names_the_file_before(tmp_path):
    log = tmp_path / "app.log"
    log.touch()
    with pytest.raises(DataError, match=r"app\.log holds no lines: see whether this is the file"):
        read(log)
    (tmp_path / "app.log.1").write_text("up\n")
    (tmp_path / "app.log.bak").write_text("up\n")
    with pytest.raises(DataError, match=r"it was rotated, and the lines before are in .*log\.1$"):
        read(log)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
def test_utf_16_is_read_with_its_mark_and_without(encoding, size):
    """However many bytes come at once; Windows' line ends, and a character of four bytes."""

    class Slow(io.BytesIO):
        def read(self, most=-1):
            return super().read(size if most < 0 else min(size, most))

    written = "started\r\nnot \N{SNOWMAN} nor \N{PILE OF POO}\r\nended"
    wanted = ["started", "not \N{SNOWMAN} nor \N{PILE OF POO}", "ended"]
    read = read_lines(["-"], stdin=Slow(written.encode(encoding)))
    assert [text for lines in read for text in lines.frame["text"]] == wanted


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("\x1b[31mERROR\x1b[0m down", "ERROR down"),
        ("\x1b[38;5;196mred\x1b[m and \x1b[1;4mbold\x1b[22;24m", "red and bold"),
        ("\x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\ here", "link here"),
        ("\x1b]0;title\x07up", "up"),
        ("\x1b[2K\x1b[1Gdone", "done"),
        ("#033[32mok#033[0m", "ok"),
        ("array[31m] stays", "array[31m] stays"),
    ],
    ids=["level", "palette", "link", "title", "cursor", "rsyslog", "none"],
)
def test_codes_for_a_terminal_are_taken_out_and_counted(line, text):
    (lines,) = read_lines(["-"], stdin=io.BytesIO(f"plain\n{line}\n".encode()))
    assert (lines.frame["text"].to_list(), lines.coloured) == (["plain", text], int(line != text))


def test_latin_1_keeps_codes():
    """The paper's data sets are read as they were."""
    (lines,) = read_lines(["-"], stdin=io.BytesIO(b"\x1b[31ma\n"), encoding="latin-1")
    assert (lines.frame["text"].to_list(), lines.coloured) == (["\x1b[31ma"], 0)


def test_a_failing_disk_is_an_error():
    class Failing(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match="standard input cannot be read on after 0 whole lines"):
        read("-", stdin=Failing())


def test_long_lines_are_cut_and_counted():
    rows, _, cut = texts(
        b"a\n" + b"x" * (LONGEST_LINE + 1) + b"\n" + b"y" * LONGEST_LINE + b"\nb\n"
    )
    assert [len(text) for text in rows] == [1, LONGEST_LINE, LONGEST_LINE, 1]
    assert cut == 1


def test_a_line_of_100_megabytes_takes_little_memory():
    long = io.BytesIO("aéb€".encode() * 15_000_000 + b"\nlast\n")
    tracemalloc.start()
    try:
        rows, replaced, cut = read("-", stdin=long)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(text) for *_, text in rows] == [LONGEST_LINE, 4]
    assert (replaced, cut) == (0, 1)
    assert peak < 60 << 20


def test_several_inputs_are_numbered_each_from_1(tmp_path):
    for name in ("b.log", "a.log", "[x].log"):
        (tmp_path / name).write_text(f"{name} 1\n{name} 2\n")
    (tmp_path / "folder.log").mkdir()
    batches = list(
        read_lines([tmp_path / "[x].log", str(tmp_path / "?.log"), "-"], stdin=io.BytesIO(b"s\n"))
    )
    assert [
        (batch.index, batch.frame["line"].to_list(), batch.frame["text"][0]) for batch in batches
    ] == [
        (0, [1, 2], "[x].log 1"),
        (1, [1, 2], "a.log 1"),
        (2, [1, 2], "b.log 1"),
        (3, [1], "s"),
    ]
    assert [batch.read for batch in batches] == [20, 36, 52, 54]


def test_batches_are_bounded():
    batches = list(read_lines(["-"], stdin=io.BytesIO(b"a\0\n" * 25), batch_lines=10))
    assert [(batch.frame.height, batch.frame["line"][0], batch.replaced) for batch in batches] == [
        (10, 1, 25),
        (10, 11, 0),
        (5, 21, 0),
    ]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "no input"),
        (["missing.log"], "there is no file .*missing.log"),
        (["*.nothing"], r"no file matches .*\*\.nothing"),
        (["."], "is a folder without a log"),
        (["-", "-"], "only once"),
    ],
)
def test_inputs_that_are_none(sources, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        named_files(sources)


@pytest.mark.parametrize("kind", [str, Path])
def test_one_name_is_a_list_of_one(kind, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("up\n")
    assert named_files(kind(log)) == [str(log)]


@pytest.mark.parametrize("source", ["x" * 300, "x" * 300 + "*"])
def test_a_name_that_no_file_can_have(source):
    with pytest.raises(DataError, match=r"x+\*? cannot be read: File name too long"):
        named_files([source])


def test_a_folder_one_may_not_enter():
    with folder_of_the_bound() as folder, bound_by_rights():
        secret = folder / "secret"
        secret.mkdir()
        (secret / "app.log").touch()
        secret.chmod(0)
        with pytest.raises(
            DataError, match=r"^/.*/secret/app.log cannot be read: Permission denied$"
        ):
            named_files([secret / "app.log"])
        secret.chmod(0o700)


def test_standard_input_that_is_closed(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match=r"standard input \(-\) is closed"):
        next(read_lines(["-"]))
    assert texts(b"given all the same")[0] == ["given all the same"]


@pytest.mark.parametrize("raw", [b"", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
def test_an_input_without_lines_is_an_error(raw):
    with pytest.raises(DataError, match="standard input holds no lines: see what the command"):
        texts(raw)


def test_a_folder_is_its_logs_oldest_first(tmp_path):
    folder = tmp_path / "logs"
    texts = {
        "app.log": b"new\n",
        "app.log.1": b"older\n",
        "app.log.2.gz": gzip.compress(b"old\n"),
        "sub/web.txt": b"up\n",
        "wide.log": "up\n".encode("utf-16"),
    }
    others = {
        ".hidden": b"up\n",
        "empty.log": b"",
        "core": bytes(range(256)) * 20,
        "blank.gz": gzip.compress(b"\n"),
        "cut.gz": gzip.compress(b"up\n" * 99)[:12],
    }
    for name, content in (texts | others).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    names = ["app.log.2.gz", "app.log.1", "app.log", "sub/web.txt", "wide.log"]
    assert named_files([folder]) == [f"{folder}/{name}" for name in names]
    (words,) = passed_over([folder])
    assert words.startswith("5 files passed over: ")
    found = walked(folder).passed_over
    reasons = {name: found[f"{folder}/{name}"] for name in others}
    assert reasons.pop("cut.gz")
    assert reasons == {
        ".hidden": "hidden",
        "empty.log": "empty",
        "core": "binary",
        "blank.gz": "empty",
    }


@pytest.mark.parametrize(
    ("by", "files", "names"),
    [
        ("file", ["l/a/x.log", "l/a/y.log"], ["x.log", "y.log"]),
        ("file", ["l/a/x.log", "l/b/x.log"], ["a/x.log", "b/x.log"]),
        ("folder", ["l/a/x.log", "l/a/y.log", "l/b/x.log"], ["a", "a", "b"]),
        ("folder", ["l/a/1/x.log", "l/b/1/x.log"], ["a/1", "b/1"]),
    ],
    ids=["files", "alike files", "folders", "alike folders"],
)
def test_sessions_of_files_and_folders_are_told_apart(by, files, names):
    assert session_names(files, by=by) == names


def test_lines_by_their_numbers(tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"".join(b"line %d\r\n" % number for number in range(1, 10))))
    assert lines_at(str(path), {9, 2}) == {2: "line 2", 9: "line 9"}
    assert lines_at(str(path), {10}) == {}
