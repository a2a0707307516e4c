"""Files and folders that are whole or not there."""

import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from logllm.errors import DataError
from logllm.storage import MANIFEST, explained, new_folder, sha256, write_atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def written(text="", kind="data", **further):
    """A manifest of logllm's."""
    return json.dumps({"kind": kind, "version": 1, "text": text, **further})


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, b"one")
    write_atomic(path, lambda place: place.write_text("two"))
    assert path.read_text() == "two"
    assert names(tmp_path) == ["a.json"]
    assert sha256(path) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fails(place):
        place.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DataError, match=r"disk that holds .*a\.json is full: free some space"):
        write_atomic(path, fails)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs Linux's device that is always full"
)
def test_a_full_disk_under_polars():
    with pytest.raises(DataError, match="is full"), explained(Path("x")):
        pl.DataFrame({"a": range(1_000_000)}).write_parquet("/dev/full")


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_atomic(tmp_path / "none" / "a", b"")
    with (
        pytest.raises(DataError, match="cannot be written"),
        new_folder(tmp_path / "file" / "out", force=False),
    ):
        pass
    with pytest.raises(DataError, match="cannot be read"):
        sha256(tmp_path / "none")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "out"
    with new_folder(out, force=False) as folder:
        (folder / MANIFEST).write_text(written("1"))
        assert not out.exists()
    assert names(out) == [MANIFEST]

    def fill(content):
        with new_folder(out, force=True) as folder:
            (folder / MANIFEST).write_text(written(content))
            if content == "3":
                raise OSError(errno.ENOSPC, "No space left on device")

    fill("2")
    with pytest.raises(DataError, match="is full"):
        fill("3")
    assert (out / MANIFEST).read_text() == written("2")
    assert names(out.parent) == ["out"]


def test_nothing_is_overwritten_unasked(tmp_path):
    with new_folder(tmp_path, force=False) as folder:  # an empty folder is nothing
        (folder / MANIFEST).write_text(written())
    with (
        pytest.raises(DataError, match="exists; choose another place, or replace it with --force"),
        new_folder(tmp_path, force=False),
    ):
        pass
    (tmp_path / MANIFEST).unlink()
    (tmp_path / "thesis.tex").touch()
    with (
        pytest.raises(DataError, match="not a folder that logllm wrote"),
        new_folder(tmp_path, force=True),
    ):
        pass
    assert names(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("manifest", "kind", "said"),
    [
        (written(kind="run"), "data", "holds a run, which is not replaced by prepared data"),
        (written(kind="run"), "bundle", "holds a run, which is not replaced by an exported run"),
        (
            written(kind="run", bundle="merged"),
            "run",
            "holds an exported run, which is not replaced by a run",
        ),
        (written(kind="data"), "folds", "holds prepared data, which is not replaced by folds"),
        (written(kind="report"), "baseline", "holds a report, which is not replaced by a baseline"),
        ('{"name": "a web page", "version": 2}', "data", "is not a folder that logllm wrote"),
        ('{"kind": "data"}', "data", "is not a folder that logllm wrote"),
        ("{", "data", "is not a folder that logllm wrote"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_only_what_is_of_the_same_kind_is_replaced(tmp_path, manifest, kind, said, force):
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(DataError, match=said), new_folder(tmp_path, force=force, kind=kind):
        pass
    assert names(tmp_path) == [MANIFEST]


def fill(out, content, *, force=False):
    with new_folder(out, force=force) as folder:
        (folder / "parts").mkdir()
        (folder / "parts" / content).touch()
        (folder / MANIFEST).write_text(written(content))


def test_the_folder_one_is_in_can_be_filled(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for content in ("one", "two"):
        fill(Path(), content, force=content == "two")
        assert names(Path()) == names(here) == [MANIFEST, "parts"]
        assert names(here / "parts") == [content]
    with pytest.raises(DataError, match=r"^\. exists"):
        fill(Path(), "three")
    assert names(tmp_path) == ["here"]


def test_a_link_to_a_folder_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(tmp_path / "real")
    for content in ("one", "two"):
        fill(link, content, force=content == "two")
        assert link.readlink() == tmp_path / "real"
        assert names(tmp_path / "real" / "parts") == [content]
    with pytest.raises(DataError, match="elsewhere/link exists"):
        fill(link, "three")
    assert names(tmp_path) == ["elsewhere", "real"]
    assert names(tmp_path / "elsewhere") == ["link"]


class Renames:
    """Renames of this process, as the interpreter tells of them; one of a name may be let fail, as
    on a device that fails."""

    def __init__(self) -> None:
        self.sources: list[Path] = []
        self.failing: str | None = None
        self.over = False  # a hook stays for as long as the process
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.over or event != "os.rename":
            return
        source = Path(arguments[0])
        self.sources.append(source)
        if source.name == self.failing and source.parent.name.endswith(".tmp"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def renames() -> Iterator[Renames]:
    watched = Renames()
    yield watched
    watched.over = True


def test_what_cannot_be_replaced_comes_back(tmp_path, renames):
    out = tmp_path / "out"
    fill(out, "one")
    renames.failing = MANIFEST
    with pytest.raises(DataError, match="out cannot be written: Input/output error"):
        fill(out, "two", force=True)
    assert names(tmp_path) == ["out"]
    assert names(out / "parts") == ["one"]
    assert (out / MANIFEST).read_text() == written("one")


def test_a_full_disk_inside_safetensors_is_told_as_one(tmp_path) -> None:
    from safetensors import SafetensorError

    with pytest.raises(DataError, match="is full: free some space"), explained(tmp_path / "x"):
        raise SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )


def test_a_manifest_goes_first_and_comes_last(tmp_path, renames):
    """Whatever moment a process is killed at, a manifest vouches for what is there."""
    with new_folder(tmp_path / "out", force=False) as folder:
        for name, text in (("a", "old"), (MANIFEST, written()), ("z", "old")):
            (folder / name).write_text(text)
    renames.sources.clear()
    with new_folder(tmp_path / "out", force=True) as folder:
        for name, text in (("a", "new"), (MANIFEST, written()), ("z", "new")):
            (folder / name).write_text(text)
    came = [path.name for path in renames.sources if path.parent.name.endswith(".tmp")]
    went = [path.name for path in renames.sources if path.parent.name == "out"]
    assert sorted(came) == sorted(went) == sorted(["a", MANIFEST, "z"])
    assert came[-1] == went[0] == MANIFEST
