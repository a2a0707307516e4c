"""Logs behind URLs."""

import gzip

import fsspec
import pytest

from logllm.errors import DataError
from logllm.logs.first_lines import first_lines, read_again
from logllm.logs.inputs.folders import session_names
from logllm.logs.lines import input_bytes, named_files, read_lines


@pytest.fixture
def memory():
    """A file system in memory with three logs."""
    system = fsspec.filesystem("memory")
    logs = {
        "/logs/b.log": b"b1\nb2\n",
        "/logs/a.log.gz": gzip.compress(b"a1\n"),
        "/logs/old/c.log": b"c1\n",
    }
    for path, content in logs.items():
        system.pipe_file(path, content)
    yield system
    system.rm("/logs", recursive=True)


def texts(*sources: str) -> list[tuple[str, list[str]]]:
    return [(lines.file, lines.frame["text"].to_list()) for lines in read_lines(sources)]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("memory://logs/b.log", ["b.log"]),
        ("memory://logs/*.log*", ["a.log.gz", "b.log"]),
        ("memory://logs", ["a.log.gz", "b.log", "old/c.log"]),
    ],
    ids=["file", "glob", "folder"],
)
def test_files_globs_and_folders(memory, source, names) -> None:
    assert named_files([source]) == [f"memory:///logs/{name}" for name in names]
    assert [name.rpartition("logs/")[2] for name, _ in texts(source)] == names


def test_archives_are_read_as_they_are(memory) -> None:
    assert [lines for _, lines in texts("memory://logs/a.log.gz", "memory://logs/b.log")] == [
        ["a1"],
        ["b1", "b2"],
    ]
    assert input_bytes(["memory://logs/b.log", "memory://logs/old/c.log"]) == 9


def test_a_url_is_read_again_and_names_sessions(memory) -> None:
    assert read_again("memory://logs/b.log")
    assert first_lines(["memory://logs/b.log"]).text.to_list() == ["b1", "b2"]
    assert session_names(["memory://logs/b.log", "memory://logs/old/c.log"], by="file") == [
        "b.log",
        "c.log",
    ]
    assert session_names(["memory://logs/b.log", "memory://logs/old/c.log"], by="folder") == [
        "logs",
        "old",
    ]


@pytest.mark.parametrize(
    "source", ["memory://logs/none.log", "memory://logs/*.txt", "nonsense://logs/a.log"]
)
def test_what_is_not_there_is_an_error(memory, source) -> None:
    with pytest.raises(DataError, match="there is no file|cannot be read"):
        named_files([source])
