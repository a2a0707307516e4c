"""LogLLM: log anomaly detection with language models.

The public names are resolved when first used, so that `import logllm` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.config.recipe import Recipe
    from logllm.datasets.prepare import prepare
    from logllm.detect.detector import Detector
    from logllm.detect.verdict import Verdict
    from logllm.methods.train import train

__version__ = "0.1.0"
__all__ = ["Detector", "Recipe", "Verdict", "prepare", "train"]

_HOMES = {
    "Detector": "logllm.detect.detector",
    "Recipe": "logllm.config.recipe",
    "Verdict": "logllm.detect.verdict",
    "prepare": "logllm.datasets.prepare",
    "train": "logllm.methods.train",
}


def __getattr__(name: str) -> object:
    """Import a public name's module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'logllm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
