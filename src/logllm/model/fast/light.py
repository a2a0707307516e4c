"""A run's network and tokenizer, read from its files: enough to score, without transformers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from logllm.config.model import DecoderSection, EncoderSection, ModelSection, Pooling
from logllm.config.recipe import Recipe
from logllm.model.base.adapters import Adapters
from logllm.model.base.weights import locate
from logllm.model.checkpoint import inside, restored
from logllm.model.fast.source import EMBEDDINGS, Source, mapped
from logllm.model.logllm import LogLLM
from logllm.model.prompt import Prompt, render
from logllm.progress import Report
from logllm.runs.card import MERGED
from logllm.runs.manifest import ADAPTERS, PROJECTOR

_TOKENIZER = "tokenizer.json"
_AS_THE_FILE_SAYS = ("TokenizersBackend", "PreTrainedTokenizerFast")
_BERTS = ("BertTokenizer", "BertTokenizerFast")
_BERTS_PIECES = {
    "normalizer": "BertNormalizer",
    "pre_tokenizer": "BertPreTokenizer",
    "post_processor": "TemplateProcessing",
}
_BERTS_NAMES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ALTERS = (
    "add_bos_token",
    "add_eos_token",
    "added_tokens_decoder",
    "additional_special_tokens",
    "extra_special_tokens",
)
"""Settings by which transformers may change what the file says."""


def load_network(
    run: Path, *, recipe: Recipe, manifest: Mapping[str, Any], progress: Report | None = None
) -> tuple["LogLLM | Light", Any]:
    """A verified run ready for an engine, on a GPU where there is one.

    Args:
        run: a finished run whose files, and whose base models, are what its manifest says.
        recipe: the run's.
        manifest: the run's.
        progress: told of fetches and conversions of base models.

    Returns:
        The network, or what its files hold where that is enough; and the encoder's tokenizer.

    Raises:
        ModelError: a base model that is missing, has changed or does not serve.
        RecipeError: it takes transformers, which is not installed.
    """
    whole = manifest.get("bundle") == MERGED
    section = inside(run, recipe.model) if whole else recipe.model
    light = light_model(run, section, adapters=not whole)
    if light is not None:
        return light
    # Other weights than float32 would round the updates away: their adapters stay beside them.
    parts = (section.encoder, section.decoder)
    float32 = all((part.dtype, part.quantize) == ("float32", "none") for part in parts)
    network, tokenizer = restored(run, section, whole=whole, merged=float32, progress=progress)
    return network.to(device()), tokenizer


def light_model(
    run: Path, section: ModelSection, *, adapters: bool
) -> "tuple[Light, FileTokenizer] | None":
    """A run's network from its files, and the encoder's tokenizer.

    Args:
        run: a finished run.
        section: its model settings, with base models that are here.
        adapters: whether the run has adapters; a merged bundle has none.

    Returns:
        None where passes of our own do not serve both models, or where a tokenizer does more than
        its file says.

    Raises:
        ModelError: adapters of other models, or a prompt that cannot be rendered.
    """
    parts: dict[str, EncoderSection | DecoderSection] = {
        "encoder": section.encoder,
        "decoder": section.decoder,
    }
    folders = {name: locate(part.weights) for name, part in parts.items()}
    tokenizer, words = map(FileTokenizer.of, folders.values())
    if tokenizer is None or words is None:
        return None
    where = device()
    sources = []
    for name, part in parts.items():
        added = None
        if adapters:
            tensors = load_file(run / name / ADAPTERS)
            added = Adapters(tensors, part.lora, str(run / name))
        sources.append(mapped(folders[name], part, adapters=added, device=where))
    encoder, decoder = sources
    if encoder is None or encoder.passes != "bert":
        return None
    if decoder is None or decoder.passes != "llama":
        return None

    # Of the embeddings only the prompt's own words are needed.
    prompt = render(section.prompt, words)
    ids = torch.tensor(prompt.words, device=where)
    projector = {name: tensor.to(where) for name, tensor in load_file(run / PROJECTOR).items()}
    reads = LightPart(encoder, encoder.config.max_position_embeddings, section.encoder.pooling)
    light = Light(
        reads,
        LightPart(decoder, decoder.config.max_position_embeddings),
        projector=projector,
        prompt=prompt,
        words=decoder.read(EMBEDDINGS)[ids],
        rounding=torch.float16 if section.projector.output == "float16" else torch.float32,
        device=where,
    )
    return light, tokenizer


def device() -> torch.device:
    """The accelerator of this machine, else its processor.

    The machine itself is asked: PyTorch's usual Linux build is made for CUDA, and would name CUDA
    even on a machine without a GPU.
    """
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@dataclass(frozen=True)
class LightPart:
    """Encoder or decoder.

    Attributes:
        model: its source.
        positions: most that it can read.
        pooling: how an encoder makes one vector of a message's states.
    """

    model: Source
    positions: int
    pooling: Pooling = "mean"

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The part's tensors by name."""
        for name in self.model.shapes:
            yield name, self.model.read(name)


@dataclass(frozen=True)
class Light:
    """Encoder, projector and decoder around a prompt, for scoring and nothing else.

    What an engine asks of a network has the same names here as in `LogLLM`.

    Attributes:
        encoder: makes the messages' vectors.
        decoder: reads the prompt.
        projector: its `weight` and `bias`.
        prompt: the words.
        words: their input vectors, (w, d_dec).
        rounding: what the projector's numbers are rounded to.
        device: where the tensors are wanted.
    """

    encoder: LightPart
    decoder: LightPart
    projector: Mapping[str, Tensor]
    prompt: Prompt
    words: Tensor
    rounding: torch.dtype
    device: torch.device

    def table(self, vectors: Tensor) -> Tensor:
        """Input vectors of the prompt's words, then of messages, (w + u, d_dec).

        Args:
            vectors: the messages', (u, d_enc).
        """
        projected = nn.functional.linear(vectors, self.projector["weight"], self.projector["bias"])
        messages = projected.to(self.rounding).to(self.words.dtype)  # (u, d_dec)
        return torch.cat([self.words, messages])


@dataclass(frozen=True)
class FileTokenizer:
    """Text to token ids by a model's `tokenizer.json` alone, as transformers' tokenizers give them.

    Attributes:
        tokenizer: the library's, which neither pads nor cuts.
        pad_token_id: what pads, where the model has such a token.
        bos_token_id: what begins a text, where the model has such a token.
        eos_token_id: what ends a text, where the model has such a token.
    """

    tokenizer: Tokenizer
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | None

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """A folder's tokenizer; None where transformers would not take the file as it is."""
        config = _config(folder)
        if config is None or any(config.get(name) for name in _ALTERS):
            return None
        kind = config.get("tokenizer_class")
        names = {}
        if kind in _BERTS and _as_written(folder, config):
            names = _BERTS_NAMES
        elif kind not in _AS_THE_FILE_SAYS:
            return None
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        ids: dict[str, int | None] = {}
        for special in ("pad", "bos", "eos", "unk", "sep", "cls", "mask"):
            token = config.get(f"{special}_token", names.get(f"{special}_token"))
            if isinstance(token, Mapping):
                token = token["content"]
            ids[special] = None if token is None else tokenizer.token_to_id(token)
            if token is not None and ids[special] is None:  # transformers would add it
                return None
        return cls(tokenizer, ids["pad"], ids["bos"], ids["eos"])

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int | None = None,
    ) -> dict[str, Any]:
        """Token ids of a text, or of several, as `input_ids`.

        Args:
            text: what is tokenised.
            add_special_tokens: with what the tokenizer itself puts before and after a text.
            truncation: cut after `max_length` ids.
            max_length: special tokens included.
        """
        if truncation and max_length is not None:
            self.tokenizer.enable_truncation(max_length)
        else:
            self.tokenizer.no_truncation()
        how: Any = {"add_special_tokens": add_special_tokens}
        if isinstance(text, str):
            encoding = self.tokenizer.encode(text, **how)
            return {"input_ids": encoding.ids}
        encodings = self.tokenizer.encode_batch_fast(list(text), **how)
        return {"input_ids": [encoding.ids for encoding in encodings]}


def _config(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its tokenizer; None where it lacks a file."""
    try:
        config: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return None
    names = folder / "special_tokens_map.json"
    if names.is_file():
        config = {**json.loads(names.read_bytes()), **config}
    return config if (folder / _TOKENIZER).is_file() else None


def _as_written(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether BERT's file holds what transformers builds anew from its settings."""
    written = json.loads((folder / _TOKENIZER).read_bytes())
    for piece, kind in _BERTS_PIECES.items():
        settings = written.get(piece) or {}
        if settings.get("type") != kind:
            return False
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
        "lowercase": config.get("do_lower_case", True),
    }
    ends = [next(iter(piece)) for piece in written["post_processor"]["single"]]
    is_usual = ends == ["SpecialToken", "Sequence", "SpecialToken"]
    return bool(written["normalizer"] == normalizer and is_usual)
