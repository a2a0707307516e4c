"""The paper's released adapters, read: a folder with `Bert_ft/` and `Llama_ft/` in PEFT's format and `projector.pt`."""

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
FILES = (
    *(f"{folder}/{name}" for folder in FOLDERS.values() for name in ("adapter_config.json", "adapter_model.safetensors")),
    "projector.pt",
)
"""Every file of the layout that is read."""
PROMPT = PromptSection(tail=". Is this sequence normal or anomalous? \\n")
"""The prompt of the authors' scripts: what ends it are a backslash and an n, not a newline."""
_LAYOUT = "expected Bert_ft/ and Llama_ft/, each with adapter_config.json and adapter_model.safetensors, and projector.pt"
_READ = {"peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "task_type", "base_model_name_or_path"}
_HARMLESS = {"auto_mapping", "fan_in_fan_out", "inference_mode", "peft_version"}
_TASKS = {"encoder": (None, "FEATURE_EXTRACTION"), "decoder": (None, "CAUSAL_LM")}


@dataclass(frozen=True)
class Adapter:
    """One of the two adapters.

    Attributes:
        lora: what its configuration says, as our settings.
        base: the base model's name on a hub; None where the configuration names a folder of another machine.
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
        settled: dict[str, Any] = {f"model.prompt.{key}": text for key, text in PROMPT.model_dump().items()}
        for part, adapter in self.adapters.items():
            settled |= {f"model.{part}.lora.{key}": value for key, value in adapter.lora.model_dump(mode="json").items()}
            settled |= {f"model.{part}.weights": adapter.base} if adapter.base else {}
        settled |= {"model.encoder.pooling": "pooler", "train.objective": "answer", **_numerics()}
        # JSON's texts, numbers and lists are TOML's too.
        return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settled.items()]


def read_released(folder: Path) -> Released:
    """Read the authors' layout; nothing in it is executed.

    Raises:
        ModelError: a file is missing or cannot be read, or an adapter has a feature that logllm does not have.
    """
    for name in FILES:
        if not (folder / name).is_file():
            if name.endswith(".safetensors") and (folder / name).with_suffix(".bin").is_file():
                raise ModelError(
                    f"{folder / name} is missing; the adapter_model.bin beside it is a pickle, which logllm does not open: convert it with "
                    "safetensors.torch.save_file(torch.load('adapter_model.bin', weights_only=True), 'adapter_model.safetensors')"
                )
            raise ModelError(f"{folder} has no {name}: {_LAYOUT}")
    adapters = {part: _adapter(folder / inner, part) for part, inner in FOLDERS.items()}
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
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ModelError(f"{path} is no LoRA adapter's: peft_type is {config.get('peft_type') if isinstance(config, dict) else config!r}")
    if config.get("task_type") not in _TASKS[part]:
        raise ModelError(f"{path}: task_type {config['task_type']} has a head that LogLLM's {part} does not have")
    _check_features(config, path)
    targets = config.get("target_modules")
    if not isinstance(targets, list):
        raise ModelError(f"{path}: target_modules is {targets!r}, which logllm does not resolve: write the layers' names as a list")
    settings = {"r": config.get("r"), "alpha": config.get("lora_alpha"), "dropout": config.get("lora_dropout"), "targets": sorted(targets)}
    try:
        lora = LoraSection.read(settings, source=str(path))
    except RecipeError as exc:
        raise ModelError(str(exc)) from exc
    return Adapter(lora, _hub_name(config.get("base_model_name_or_path")), folder / "adapter_model.safetensors")


def _check_features(config: Mapping[str, Any], path: Path) -> None:
    """Refuse what would make the adapter compute something else: all that differs from PEFT's plain LoRA."""
    import_bitsandbytes()
    from peft import LoraConfig

    plain = asdict(LoraConfig())
    for name, value in config.items():
        started = name == "init_lora_weights" and value in (True, False, "gaussian")  # other starts change the base weights too
        if name in _READ | _HARMLESS or started or value == plain.get(name) or value in (None, False, {}, []):
            continue
        raise ModelError(f"{path}: {name} = {value!r} is not supported: logllm has plain LoRA on linear layers, without biases")


def _hub_name(name: Any) -> str | None:
    """A base model's name if it may be one on a hub: the authors' configurations hold folders of their machine."""
    named = isinstance(name, str) and name != "" and name.count("/") <= 1 and not name.startswith(("/", ".", "~")) and "\\" not in name
    return name if named else None


def _projector(path: Path) -> dict[str, Tensor]:
    """The projector's weight and bias, read by torch's weights-only unpickler."""
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a file of torch.save's (a Git LFS pointer, perhaps: fetch it with git lfs pull)")
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
        raise ModelError(f"{path} is refused: it holds more than tensors, or is broken ({first_line(exc)})") from exc
    tensors = state if isinstance(state, Mapping) else {}
    prefixes = {str(name).rpartition(".")[0] for name in tensors}
    found = {str(name).rpartition(".")[2]: tensor for name, tensor in tensors.items()}
    whole = len(tensors) == 2 and len(prefixes) == 1 and found.keys() == {"weight", "bias"}
    if not whole or not all(isinstance(tensor, Tensor) and tensor.is_floating_point() for tensor in found.values()):
        raise ModelError(
            f"{path}: expected the state of one linear layer, weight and bias (found {', '.join(map(str, tensors)) or type(state)})"
        )
    if not all(bool(tensor.isfinite().all()) for tensor in found.values()):
        raise ModelError(f"{path}: its numbers are not all finite: the file is broken")
    return found
