"""A model drawn from its configuration alone: every layer and every shape, no weights.

A model of 8 billion parameters is drawn in seconds.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from logllm.config.model import DecoderSection, EncoderSection, ModelSection
from logllm.errors import ModelError, first_line
from logllm.model.base.backbone import first_layers, refusal
from logllm.model.base.published import AssumedTokenizer, configuration
from logllm.model.base.weights import here
from logllm.model.decoder import Decoder
from logllm.model.encoder import Encoder
from logllm.model.logllm import LogLLM
from logllm.model.prompt import render

_NF4_BLOCK = 64
"""4-bit weights that share one float32 scale."""


@dataclass
class Blueprint:
    """LogLLM without weights.

    Its layers run on tensors that have a shape, a number format and a device, but hold nothing.
    """

    model: LogLLM
    tokenizer: Any
    """The encoder's."""
    assumed: tuple[str, ...]
    """Base models that are not here, whose shapes are the published ones and whose tokenizers are
    assumed."""
    weights: int
    """Bytes of the base models' weights."""
    transient: int
    """Bytes of the largest 4-bit layer while it is multiplied."""
    mode: FakeTensorMode = field(repr=False)
    """Torch's `FakeTensorMode`: what runs inside it computes shapes alone, on the paths that real
    tensors would take."""


def draw(section: ModelSection) -> Blueprint:
    """Draw a model without reading or fetching weights.

    Raises:
        ModelError: neither a model's configuration nor its published shape is here, or it cannot
            serve in its part.
    """
    sections: list[EncoderSection | DecoderSection] = [section.encoder, section.decoder]
    folders = {network.weights: here(network.weights) for network in sections}
    bases = [outline(configuration(network.weights), network) for network in sections]

    # A 4-bit layer is unpacked while it is multiplied: the largest one takes most, one at a time.
    weights = transient = 0
    for base, network in zip(bases, sections, strict=True):
        weights += weight_bytes(base, quantize=network.quantize)
        if network.quantize == "nf4":
            largest = max((layer.weight.numel() for layer in packed_layers(base)), default=0)
            a_number = getattr(torch, network.compute).itemsize
            transient = max(transient, largest * a_number)

    tokenizers = [_tokenizer(folders[network.weights]) for network in sections]
    rounding = torch.float16 if section.projector.output == "float16" else torch.float32
    with torch.device("meta"):
        prompt = render(section.prompt, tokenizers[-1])
        encoder = Encoder(bases[0], section.encoder)
        decoder = Decoder(bases[1], section.decoder)
        model = LogLLM(encoder, decoder, prompt=prompt, rounding=rounding)
    mode = pretend(model)
    try_out(model.encoder, mode, name=section.encoder.weights)
    try_out(model.decoder, mode, name=section.decoder.weights)
    return Blueprint(
        model=model.eval(),
        tokenizer=tokenizers[0],
        assumed=tuple(name for name, folder in folders.items() if folder is None),
        weights=weights,
        transient=transient,
        mode=mode,
    )


def outline(config: Any, section: EncoderSection | DecoderSection) -> nn.Module:
    """A base model, or what the section keeps of it, on torch's `meta` device.

    Its parameters have shape and format, and take no memory.

    Raises:
        ModelError: it cannot serve as what the section asks for, or has fewer layers than it asks
            for.
    """
    encoder = isinstance(section, EncoderSection)
    reason = refusal(config, encoder=encoder)
    if reason is not None:
        network = "encoder" if encoder else "decoder"
        raise ModelError(f"{section.weights} cannot serve as {network}: {reason}")
    dtype = getattr(torch, section.dtype)
    return bare(first_layers(config, section), encoder=encoder, dtype=dtype)


def bare(config: Any, *, encoder: bool, dtype: torch.dtype) -> nn.Module:
    """What transformers builds of a configuration on the `meta` device, a decoder with its head.

    Raises:
        ModelError: transformers cannot build it.
    """
    from transformers import AutoModel, AutoModelForCausalLM

    kind: Any = AutoModel if encoder else AutoModelForCausalLM
    try:
        with torch.device("meta"):
            model = kind.from_config(config, dtype=dtype)
    except (ValueError, KeyError, ImportError) as exc:
        reason = first_line(exc)
        what = f"transformers cannot build a {config.model_type} model of this configuration"
        raise ModelError(f"{what} ({reason:.120})") from exc
    model.eval().requires_grad_(False)
    return model  # type: ignore[no-any-return]


def packed_layers(base: Any) -> list[Any]:
    """The layers that 4-bit loading packs: all linear ones except the output head."""
    head = base.get_output_embeddings()
    linear = (layer for layer in base.modules() if type(layer).__name__ in {"Linear", "Conv1D"})
    return [layer for layer in linear if layer is not head]


def weight_bytes(base: nn.Module, *, quantize: str) -> int:
    """Bytes of a base model's weights; tied ones count once."""
    packed = set()
    if quantize == "nf4":
        packed = {id(layer.weight) for layer in packed_layers(base)}
    total = 0
    for parameter in base.parameters():
        if id(parameter) not in packed:
            total += parameter.nbytes
            continue
        # Half a byte a number, and a float32 for each block that shares a scale; -(-a // b) rounds
        # up.
        count = parameter.numel()
        total += count // 2 + 4 * -(-count // _NF4_BLOCK)
    return total


def pretend(model: nn.Module) -> FakeTensorMode:
    """Give a model on `meta` tensors that say they are on the CPU.

    Torch then chooses the CPU's paths, of attention above all.

    Returns:
        The mode in which such a model runs.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    made: dict[int, Tensor] = {}

    def pretended(tensor: Tensor) -> Tensor:
        # Tied weights stay tied: the same tensor gives the same stand-in.
        if id(tensor) not in made:
            convert = mode.fake_tensor_converter.from_meta_and_device
            fake: Tensor = convert(mode, tensor.detach(), torch.device("cpu"))
            if isinstance(tensor, nn.Parameter):
                fake = nn.Parameter(fake, requires_grad=tensor.requires_grad)
            made[id(tensor)] = fake
        return made[id(tensor)]

    kept = [*model.parameters(), *model.buffers()]  # ids stay theirs while they live
    for module in model.modules():
        places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for place in places:
            present = {name: tensor for name, tensor in place.items() if tensor is not None}
            place.update({name: pretended(tensor) for name, tensor in present.items()})
    del kept
    return mode


def try_out(part: Encoder | Decoder, mode: FakeTensorMode, *, name: str) -> None:
    """Run an encoder or decoder on two short inputs.

    Raises:
        ModelError: its forward pass does not take what LogLLM gives, or does not give what LogLLM
            takes.
    """
    with mode, torch.no_grad():
        ids = torch.zeros((2, 4), dtype=torch.int64)
        mask = torch.ones((2, 4), dtype=torch.int64)
        try:
            if isinstance(part, Encoder):
                part(ids, mask)
            else:
                part(part.embed(ids), mask, keep=1)
        except (TypeError, ValueError, AttributeError) as exc:
            kind = type(part).__name__.lower()
            why = first_line(exc)
            what = f"{name} cannot serve as {kind}"
            raise ModelError(f"{what}: its forward pass fails ({why:.160})") from exc
        except RuntimeError:
            # Shapes that depend on what is computed, as in a mixture of experts: nothing is known
            # against the model.
            return


def _tokenizer(folder: Path | None) -> Any:
    from transformers import AutoTokenizer

    return AssumedTokenizer() if folder is None else AutoTokenizer.from_pretrained(folder)
