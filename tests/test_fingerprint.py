"""A base model's hash is remembered as long as its files stay as they are, and nothing depends on
the memory."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from logllm.storage import fingerprint


@pytest.fixture
def model(tiny_models, tmp_path, monkeypatch) -> Path:
    """A copy of a tiny model, and an empty cache."""
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny_models.encoder.weights, tmp_path / "model"))


def test_files_are_read_once_and_again_when_asked(model, tmp_path) -> None:
    """What is remembered is believed: another hash in the memory makes another fingerprint, until
    the files are read again."""
    first, memory = fingerprint(model), tmp_path / "cache" / "hashes.json"
    remembered = json.loads(memory.read_text())
    assert sorted(Path(name).name for name in remembered) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    memory.write_text(
        json.dumps({name: {**entry, "sha256": "0" * 64} for name, entry in remembered.items()})
    )
    assert fingerprint(model) != first
    assert fingerprint(model, full=True) == first
    assert json.loads(memory.read_text()) == remembered


def test_a_change_of_one_byte_is_seen(model) -> None:
    before = fingerprint(model)
    weights = model / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert fingerprint(model) != before


def test_another_file_of_the_same_size_and_time_is_seen(model) -> None:
    before, weights = fingerprint(model), model / "model.safetensors"
    status, content = weights.stat(), weights.read_bytes()
    other = model / "other"
    other.write_bytes(content[:-1] + b"\x7f")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(weights)
    assert fingerprint(model) != before


def test_only_full_sees_what_hides_its_time(model) -> None:
    before, weights = fingerprint(model), model / "model.safetensors"
    status = weights.stat()
    with weights.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(model) == before
    changed = fingerprint(model, full=True)
    assert changed != before
    assert fingerprint(model) == changed


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"x": 3}', "replace"])
def test_a_damaged_memory_does_no_harm(model, tmp_path, damage) -> None:
    before, memory = fingerprint(model), tmp_path / "cache" / "hashes.json"
    text = memory.read_text()
    entries = {name: {**entry, "sha256": 3} for name, entry in json.loads(text).items()}
    memory.write_text(json.dumps(entries) if damage == "replace" else damage)
    assert fingerprint(model) == before


def test_a_cache_that_cannot_be_written_does_no_harm(model, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("no folder")
    before = fingerprint(model)
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "file" / "cache"))
    assert fingerprint(model) == before


def test_several_at_once(model, tmp_path) -> None:
    copies = [Path(shutil.copytree(model, tmp_path / f"copy{number}")) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(fingerprint, copies))) == 1
    json.loads((tmp_path / "cache" / "hashes.json").read_text())
