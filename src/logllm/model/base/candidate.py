"""What a model would bring, told from its configuration: `logllm show weights NAME`."""

from dataclasses import dataclass
from typing import Any

import torch

from logllm.config.model import DecoderSection, EncoderSection, PromptSection
from logllm.errors import ModelError
from logllm.model.base.backbone import first_layers, refusal
from logllm.model.base.blueprint import bare, outline, pretend, try_out, weight_bytes
from logllm.model.base.published import configuration
from logllm.model.base.weights import here
from logllm.model.decoder import Decoder
from logllm.model.encoder import Encoder
from logllm.model.prompt import render


@dataclass(frozen=True)
class Role:
    """A model as one of LogLLM's two."""

    refused: str | None
    """Why it cannot serve; none: it can."""
    targets: tuple[str, ...] = ()
    """Layers that get adapters."""
    adapter_parameters: int = 0
    """Of adapters with the default rank."""


@dataclass(frozen=True)
class Candidate:
    """What a model would bring."""

    name: str
    architecture: str
    here: bool
    """Whether its weights are; the figures need its configuration alone."""
    parameters: int
    layers: int | None
    width: int | None
    vocabulary: int | None
    pooler: bool
    """Whether `pooling = "pooler"` is to be had."""
    sets_bos: bool | None
    """Whether its tokenizer begins a text with a token of its own; none where the tokenizer is not
    here."""
    encoder: Role
    decoder: Role
    bytes: dict[str, int]
    """Of the weights in each number format."""


def describe(name: str, *, layers: int | None = None) -> Candidate:
    """A model as it would be used.

    Args:
        name: a folder, a model of the small tier, or a name on the Hugging Face hub, of which the
            configuration alone is fetched.
        layers: of a decoder, the first layers that would be kept; none: all.

    Raises:
        ModelError: no configuration, transformers cannot read it, or it has fewer layers.
    """
    section = DecoderSection(weights=name, layers=layers)
    config = first_layers(configuration(name), section)
    encoder = Role(refused="an encoder keeps all its layers")
    if layers is None:
        encoder = _role(config, EncoderSection(weights=name))
    decoder = _role(config, section)

    # The half that would be loaded: the whole with its output head where it can serve as decoder.
    without_head = refusal(config, encoder=False) is not None
    base = bare(config, encoder=without_head, dtype=torch.bfloat16)
    parameters = sum(parameter.numel() for parameter in base.parameters())
    pooler = False
    if refusal(config, encoder=True) is None:
        plain = bare(config, encoder=True, dtype=torch.bfloat16)
        pooler = getattr(plain, "pooler", None) is not None
    return Candidate(
        name=name,
        architecture=type(base).__name__,
        here=here(name) is not None,
        parameters=parameters,
        layers=getattr(config, "num_hidden_layers", None),
        width=getattr(config, "hidden_size", None),
        vocabulary=getattr(config, "vocab_size", None),
        pooler=pooler,
        sets_bos=_sets_bos(name),
        encoder=encoder,
        decoder=decoder,
        bytes={
            "float32": 4 * parameters,
            "bfloat16": weight_bytes(base, quantize="none"),
            "nf4": weight_bytes(base, quantize="nf4"),
        },
    )


def _role(config: Any, section: EncoderSection | DecoderSection) -> Role:
    """Build the part on shapes alone and try it."""
    try:
        base = outline(config, section)
        with torch.device("meta"):
            part: Encoder | Decoder
            if isinstance(section, EncoderSection):
                part = Encoder(base, section)
            else:
                part = Decoder(base, section)
        try_out(part.eval(), pretend(part), name=section.weights)
    except ModelError as exc:
        # "NAME cannot serve as decoder: REASON": the table says the rest in a column of its own.
        _, _, refused = str(exc).partition("cannot serve as ")
        reason = refused.partition(": ")[2]
        return Role(refused=reason or str(exc))

    # Of "layers.0.self_attn.q_proj.lora_A.default.weight" the layer is called q_proj.
    parameters = part.named_parameters()
    adapters = {name: parameter.numel() for name, parameter in parameters if "lora_" in name}
    layers = [name.partition(".lora_")[0] for name in adapters]
    targets = dict.fromkeys(layer.rpartition(".")[2] for layer in layers)
    return Role(refused=None, targets=tuple(targets), adapter_parameters=sum(adapters.values()))


def _sets_bos(name: str) -> bool | None:
    from transformers import AutoTokenizer

    folder = here(name)
    if folder is None:
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError):
        return None
    # Many have such a token, and not all set it: a rendered prompt shows it.
    bos = tokenizer.bos_token_id
    return bos is not None and render(PromptSection(), tokenizer).head[0] == bos
