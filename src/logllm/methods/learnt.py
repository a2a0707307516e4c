"""What a method has learnt, as files that everybody can read: safetensors and JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from logllm.errors import ModelError, first_line
from logllm.storage import write_atomic, write_json

Array = npt.NDArray[Any]

ARRAYS = "fitted.safetensors"
"""File of the arrays."""
FACTS = "fitted.json"
"""File of everything else."""


class Learnt(NamedTuple):
    """Arrays and plain facts, both by name."""

    arrays: Mapping[str, Array]
    facts: Mapping[str, Any]
    folder: Path | None = None
    """Where they were read from, for errors."""

    def write(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`.

        What else the folder holds is left alone.
        """
        from safetensors.numpy import save

        # As bytes: safetensors' own file is readable to nobody but its owner.
        content = save({name: np.ascontiguousarray(array) for name, array in self.arrays.items()})
        write_atomic(folder / ARRAYS, content)
        write_json(folder / FACTS, self.facts)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `write` wrote.

        Raises:
            ModelError: a file is missing or broken.
        """
        from safetensors.numpy import load

        try:
            arrays = load((folder / ARRAYS).read_bytes())
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError, SafetensorError) as exc:
            what = f"{folder} holds no fitted method that can be read"
            raise ModelError(f"{what}: {first_line(exc)}; train it again") from exc
        if not isinstance(facts, dict):
            raise ModelError(f"{folder / FACTS} is not what a fitted method writes: train it again")
        return cls(arrays, facts, folder)

    def array(self, name: str) -> Array:
        """One of the arrays.

        Raises:
            ModelError: there is none of the name.
        """
        if name not in self.arrays:
            raise self._misfit(ARRAYS, name)
        return self.arrays[name]

    def fact(self, name: str) -> Any:
        """One of the facts.

        Raises:
            ModelError: there is none of the name.
        """
        if name not in self.facts:
            raise self._misfit(FACTS, name)
        return self.facts[name]

    def _misfit(self, file: str, name: str) -> ModelError:
        """The error for files of another method."""
        what = f"{self.folder}: {file} has no {name!r}, so it is of another method"
        return ModelError(f"{what}: train it again")
