"""The paper's released adapters: `Bert_ft/` and `Llama_ft/` in PEFT's format, `projector.pt`."""

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from logllm.config.model import LoraSection, PromptSection
from logllm.errors import ModelError, RecipeError, first_line
from logllm.model.base.backbone import import_bitsandbytes

FOLDERS = {"encoder": "Bert_ft", "decoder": "Llama_ft"}
"""The authors' names of the two adapters' folders."""
_OF_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
FILES = (
    *(f"{folder}/{name}" for folder in FOLDERS.values() for name in _OF_ADAPTER),
    "projector.pt",
)
"""Every file of the layout that is read."""
PROMPT = PromptSection(tail=". Is this sequence normal or anomalous? \\n")
"""The prompt of the authors' scripts: what ends it are a backslash and an n, not a newline."""
_LAYOUT = (
    f"expected Bert_ft/ and Llama_ft/, each with {' and '.join(_OF_ADAPTER)}, and projector.pt"
)
_READ = {
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "task_type",
    "base_model_name_or_path",
}
"""Fields of PEFT's configuration that are read."""
_HARMLESS = {"auto_mapping", "fan_in_fan_out", "inference_mode", "peft_version"}
_TASKS = {"encoder": (None, "FEATURE_EXTRACTION"), "decoder": (None, "CAUSAL_LM")}


@dataclass(frozen=True)
class Adapter:
    """One of the two adapters.

    Attributes:
        lora: what its configuration says, as our settings.
        base: the base model's name on a hub; None where the configuration names a folder of another
            machine.
        weights: its tensors.
    """

    lora: LoraSection
    base: str | None
    weights: Path


@dataclass(frozen=True)
class Released:
    """A folder in the authors' layout, read and found whole."""

    folder: Path
    adapters: dict[str, Adapter]
    projector: dict[str, Tensor]

    def overrides(self) -> list[str]:
        """What the files and the authors' scripts settle, as `key.path=value` for `Recipe.load`."""
        prompt = PROMPT.model_dump()
        settled: dict[str, Any] = {f"model.prompt.{key}": text for key, text in prompt.items()}
        for network, adapter in self.adapters.items():
            lora = adapter.lora.model_dump(mode="json")
            settled |= {f"model.{network}.lora.{key}": value for key, value in lora.items()}
            if adapter.base:
                settled[f"model.{network}.weights"] = adapter.base
        settled |= {"model.encoder.pooling": "pooler", "train.objective": "answer", **_numerics()}
        # JSON's texts, numbers and lists are TOML's too.
        return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settled.items()]


def read_released(folder: Path) -> Released:
    """Read the authors' layout; nothing in it is executed.

    Raises:
        ModelError: a file is missing or cannot be read, or an adapter has a feature that logllm
            does not have.
    """
    for name in FILES:
        path = folder / name
        if path.is_file():
            continue
        # Older versions of PEFT wrote a pickle, which may run whatever it likes when it is opened.
        if name.endswith(".safetensors") and path.with_suffix(".bin").is_file():
            pickled = "the adapter_model.bin beside it is a pickle, which logllm does not open"
            load = "torch.load('adapter_model.bin', weights_only=True)"
            save = f"safetensors.torch.save_file({load}, 'adapter_model.safetensors')"
            raise ModelError(f"{path} is missing; {pickled}: convert it with {save}")
        raise ModelError(f"{folder} has no {name}: {_LAYOUT}")
    adapters = {network: _adapter(folder / inner, network) for network, inner in FOLDERS.items()}
    return Released(folder, adapters, _projector(folder / "projector.pt"))


def _numerics() -> dict[str, str]:
    """Settings of the scripts' number formats: the projector's output is cast to float16."""
    return {"model.projector.output": "float16"}


def _adapter(folder: Path, part: str) -> Adapter:
    """One adapter's configuration, checked."""
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no LoRA adapter's: peft_type is {config!r}")
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{path} is no LoRA adapter's: peft_type is {config.get('peft_type')!r}")
    if config.get("task_type") not in _TASKS[part]:
        task = config["task_type"]
        raise ModelError(f"{path}: task_type {task} has a head that LogLLM's {part} does not have")
    _check_features(config, path)

    # A pattern may mean other layers in another version of PEFT.
    targets = config.get("target_modules")
    if not isinstance(targets, list):
        what = f"{path}: target_modules is {targets!r}, which logllm does not resolve"
        raise ModelError(f"{what}: write the layers' names as a list")
    settings = {
        "r": config.get("r"),
        "alpha": config.get("lora_alpha"),
        "dropout": config.get("lora_dropout"),
        "targets": sorted(targets),
    }
    try:
        lora = LoraSection.read(settings, source=str(path))
    except RecipeError as exc:
        raise ModelError(str(exc)) from exc
    base = _hub_name(config.get("base_model_name_or_path"))
    return Adapter(lora, base, folder / "adapter_model.safetensors")


def _check_features(config: Mapping[str, Any], path: Path) -> None:
    """Refuse what would make the adapter compute something else than PEFT's plain LoRA."""
    import_bitsandbytes()
    from peft import LoraConfig

    plain = asdict(LoraConfig())
    for name, value in config.items():
        # How the weights began says nothing of them now; other starts change the base weights too.
        started = name == "init_lora_weights" and value in (True, False, "gaussian")
        is_off = value == plain.get(name) or value in (None, False, {}, [])
        if name in _READ | _HARMLESS or started or is_off:
            continue
        plainly = "logllm has plain LoRA on linear layers, without biases"
        raise ModelError(f"{path}: {name} = {value!r} is not supported: {plainly}")


def _hub_name(name: Any) -> str | None:
    """A base model's name where it may be one on a hub.

    The authors' configurations name folders of their own machine instead.
    """
    if not isinstance(name, str) or name == "":
        return None
    is_path = name.count("/") > 1 or name.startswith(("/", ".", "~")) or "\\" in name
    return None if is_path else name


def _projector(path: Path) -> dict[str, Tensor]:
    """The projector's weight and bias, read by torch's weights-only unpickler."""
    if not zipfile.is_zipfile(path):
        pointer = "a Git LFS pointer, perhaps: fetch it with git lfs pull"
        raise ModelError(f"{path} is not a file of torch.save's ({pointer})")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
    ) as exc:
        why = first_line(exc)
        raise ModelError(
            f"{path} is refused: it holds more than tensors, or is broken ({why})"
        ) from exc

    # Two tensors of one layer, whatever that is called: `projector.weight`, `linear.weight`.
    tensors = state if isinstance(state, Mapping) else {}
    prefixes = {str(name).rpartition(".")[0] for name in tensors}
    by_leaf = {str(name).rpartition(".")[2]: tensor for name, tensor in tensors.items()}
    whole = len(tensors) == 2 and len(prefixes) == 1 and by_leaf.keys() == {"weight", "bias"}
    if not whole or not all(map(_is_floats, by_leaf.values())):
        present = ", ".join(map(str, tensors)) or type(state)
        expected = "expected the state of one linear layer, weight and bias"
        raise ModelError(f"{path}: {expected} (found {present})")
    if not all(bool(tensor.isfinite().all()) for tensor in by_leaf.values()):
        raise ModelError(f"{path}: its numbers are not all finite: the file is broken")
    return by_leaf


def _is_floats(tensor: object) -> bool:
    """Whether it is a tensor of floating-point numbers."""
    return isinstance(tensor, Tensor) and tensor.is_floating_point()
