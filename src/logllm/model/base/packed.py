"""Weights in 4 bits, packed once and kept: 6 GB to read, not the 16 GB they were packed from."""

import hashlib
import json
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from logllm.config.model import DecoderSection, EncoderSection
from logllm.errors import DataError
from logllm.storage import cache, fingerprint, new_folder

WORTH_KEEPING = 256 * 2**20
"""Bytes of weights from which on packed ones are kept: smaller ones are packed as soon as read."""
_LIBRARIES = ("bitsandbytes", "transformers")


def packed_place(
    folder: Path,
    section: EncoderSection | DecoderSection,
    *,
    worth: int = WORTH_KEEPING,
) -> Path | None:
    """Where a model's packed weights are kept; None for a model that is too small to be worth it.

    Each model, setting and release of the libraries has a place of its own.

    Args:
        folder: the model's, with whole weights.
        section: how it is packed, and how many layers of it are kept.
        worth: bytes of weights from which on it is worth it.
    """
    files = list(folder.glob("*.safetensors"))
    if sum(file.stat().st_size for file in files) < worth:
        return None
    settings = {"dtype", "quantize", "compute", "layers"}
    made_with = {
        "model": fingerprint(folder),
        "part": type(section).__name__,
        "settings": section.model_dump(mode="json", include=settings),
        "libraries": {library: version(library) for library in _LIBRARIES},
    }
    digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()
    return cache() / "packed" / digest[:24]


def is_kept(place: Path | None) -> bool:
    """Whether packed weights lie at a place."""
    return place is not None and (place / "config.json").is_file()


def keep(model: Any, place: Path) -> None:
    """Write a packed model, whole or not at all.

    A disk without room for it is no failure: the model is packed again next time.
    """
    with suppress(DataError, OSError), new_folder(place, force=False) as scratch:
        model.save_pretrained(scratch)
