"""Base models from their folders: as many layers as are kept, and whether they can serve."""

import ctypes
import inspect
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from logllm.config.model import DecoderSection, EncoderSection
from logllm.errors import ModelError, first_line
from logllm.extras import require
from logllm.model.base.packed import WORTH_KEEPING, is_kept, keep, packed_place

_ENCODER_INPUTS = ("input_ids", "attention_mask")
_DECODER_INPUTS = ("inputs_embeds", "attention_mask", "position_ids", "logits_to_keep")


def load_backbone(
    folder: Path, section: EncoderSection | DecoderSection, *, worth: int = WORTH_KEEPING
) -> tuple[nn.Module, Any]:
    """A base model, as many layers of it as the section keeps, and its tokenizer from a folder.

    Weights in 4 bits go straight to the accelerator where there is one, and are kept packed in the
    cache for the next time.

    Args:
        folder: the model's.
        section: how it is used.
        worth: bytes of weights from which on packed ones are kept.

    Returns:
        The model in evaluation mode with frozen weights, and its tokenizer.

    Raises:
        ModelError: transformers cannot read the folder, 4-bit weights are asked for without
            bitsandbytes, or the model cannot serve as what the section wants it for; the message
            gives the reason.
    """
    require("train", to=f"read {section.weights}")
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    kind: Any = AutoModel if isinstance(section, EncoderSection) else AutoModelForCausalLM
    how: dict[str, Any] = {"dtype": getattr(torch, section.dtype), "output_loading_info": True}
    place = None
    if section.quantize != "none":
        how["quantization_config"] = _nf4(section)
        place = packed_place(folder, section, worth=worth)
        if torch.cuda.is_available():
            how["device_map"] = {"": torch.cuda.current_device()}
    source = folder
    if place is not None and is_kept(place):
        source = place
        del how["quantization_config"]  # its own configuration says it
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        config = first_layers(AutoConfig.from_pretrained(source), section)
        # Transformers lists the weights of layers that are not kept.
        with without_bars(), _unheard("transformers.modeling_utils"):
            model, loaded = kind.from_pretrained(source, config=config, **how)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
        if source is not folder:  # what was kept is damaged: it is packed again
            shutil.rmtree(source)
            return load_backbone(folder, section, worth=worth)
        raise ModelError(f"weights {section.weights} cannot be read: {first_line(exc)}") from exc
    if section.quantize != "none":
        if place is not None and source is folder:
            with without_bars():
                keep(model, place)
        _settle_quantized(model)
        _let_go_of_files(model)
    check_serves(model.eval(), section, absent=loaded["missing_keys"])
    return model.requires_grad_(False), tokenizer


def first_layers(config: Any, section: EncoderSection | DecoderSection) -> Any:
    """The configuration of the model that a section keeps.

    Transformers then neither builds nor reads the later layers. Its final norm and output head
    stay. What an architecture derives from its depth, such as MiniCPM3's scale of the residual
    branches, is that of a model so deep.

    Args:
        config: transformers' configuration of the whole model; it is left as it is.
        section: an encoder's, of which all layers are kept, or a decoder's.

    Raises:
        ModelError: more layers are asked for than there are.
    """
    if not isinstance(section, DecoderSection) or section.layers is None:
        return config
    layers = section.layers
    whole = _text(config).num_hidden_layers
    if layers > whole:
        asks = f"model.decoder.layers asks for {layers}"
        remedy = f"set it to {whole} or less, or leave it out to keep all"
        raise ModelError(f"decoder {section.weights} has {whole} layers, and {asks}: {remedy}")
    kept = deepcopy(config)
    text = _text(kept)
    for name, value in vars(text).items():
        # One entry a layer, whatever an architecture calls it: layer_types, mlp_layer_types,
        # no_rope_layers, ...
        if (
            isinstance(value, list | tuple)
            and len(value) == whole
            and not name.endswith("_token_id")
        ):
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers
    return kept


def _text(config: Any) -> Any:
    """The part of a configuration that describes the language model; of most it is the whole."""
    return config.get_text_config(decoder=True)


def check_serves(
    model: Any, section: EncoderSection | DecoderSection, *, absent: Iterable[str] = ()
) -> None:
    """Whether a model can be the encoder or the decoder that a section describes.

    Args:
        model: a transformers model in evaluation mode.
        section: an encoder's or a decoder's.
        absent: names of the model's weights that its files lack.

    Raises:
        ModelError: it cannot; the message gives the reason.
    """
    encoder = isinstance(section, EncoderSection)
    network, needs = ("encoder", _ENCODER_INPUTS) if encoder else ("decoder", _DECODER_INPUTS)
    refused = f"{section.weights} ({type(model).__name__}) cannot serve as {network}: "
    reason = refusal(model.config, encoder=encoder)
    if reason is not None:
        raise ModelError(f"{refused}{reason}")
    lacking = set(needs) - set(inspect.signature(model.forward).parameters)
    if lacking:
        raise ModelError(f"{refused}it takes no {' and no '.join(sorted(lacking))}")

    # Weights that the files lack were drawn at random, and would be taken for learnt ones. A pooler
    # that nobody reads may lack.
    if isinstance(section, EncoderSection) and section.pooling != "pooler":
        absent = [name for name in absent if not name.startswith("pooler.")]
    missing = sorted(absent)
    if missing:
        remedy = ""
        if missing[0].startswith("pooler."):
            remedy = "; set model.encoder.pooling = 'mean'"
        lack = f"its files lack {len(missing)} of its weights, such as {missing[0]}"
        raise ModelError(f"{refused}{lack}{remedy}")
    if encoder:
        return
    # The logits at a position must be the same whatever comes after it.
    ids = torch.tensor([[1, 2, 3], [1, 2, 4]], device=model.device)
    with torch.no_grad():
        output = model(inputs_embeds=model.get_input_embeddings()(ids), use_cache=False)
    logits = output.logits[:, 0].float()  # (2, v)
    close = 1e-5 if model.dtype == torch.float32 else 1e-2
    if (logits[0] - logits[1]).abs().max() > close * logits.abs().max():
        raise ModelError(
            f"{refused}it reads what comes after a token, too; a causal language model is needed"
        )


def refusal(config: Any, *, encoder: bool) -> str | None:
    """Why an architecture cannot serve as encoder, or as decoder.

    None where no reason is known.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, MODEL_MAPPING

    kind = type(config)
    if config.is_encoder_decoder:
        return f"{config.model_type} is an encoder-decoder model, and LogLLM wants one half alone"
    if encoder:
        if kind in MODEL_MAPPING:
            return None
        return f"transformers knows no plain model of {config.model_type}"
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return f"{config.model_type} is no causal language model: it gives no next-token logits"
    if kind in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        reads = "reads in both directions and was not taught to go on with a text"
        return f"{config.model_type} {reads}: it may serve as encoder"
    return None


def _settle_quantized(model: Any) -> None:
    """Keep bitsandbytes' 4-bit layers to what the settings say.

    Left alone they change the compute format to that of their first input, and on processors with
    AVX512-BF16 the first pass without gradients repacks their weights for a kernel that has no
    backward pass: training would go on, and nothing below would learn.
    """
    for module in model.modules():
        if hasattr(module, "compute_type_is_set"):
            module.compute_type_is_set = True
            module.support_avx512bf16_for_cpu = False


def _let_go_of_files(model: nn.Module) -> None:
    """Give back what 4-bit loading on the CPU leaves behind: more than the 4 bits save.

    Weights that stay whole, such as the embeddings, keep the mapped file of all weights in memory;
    what was read to be packed stays with the C library's allocator (small tier, measured: 1,035 MB
    beyond the libraries' own, 297 MB after this; 629 MB in float32).
    """
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()
            # Packed weights that were kept bring their scales from the file, too: one tensor that
            # still lies in it holds all of the file in memory.
            state = getattr(parameter, "quant_state", None)
            if state is not None:
                state.absmax = state.absmax.clone()
                state.code = state.code.clone()
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc has it, musl has not
        trim(0)


def _nf4(section: EncoderSection | DecoderSection) -> Any:
    """Transformers' settings for 4-bit weights: NF4 without double quantisation (paper, section 1).

    Raises:
        ModelError: bitsandbytes is not installed.
    """
    if not import_bitsandbytes():
        remedy = "pip install 'logllm[qlora]', or set quantize = 'none'"
        raise ModelError(f"4-bit weights of {section.weights} need bitsandbytes: {remedy}")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=False,
        bnb_4bit_compute_dtype=getattr(torch, section.compute),
    )


def import_bitsandbytes() -> bool:
    """Import bitsandbytes where it is installed, before PEFT does and it warns of a missing kernel.

    That kernel is for 4-bit weights without a backward pass, which LogLLM does not use anyway.

    Returns:
        Whether it is installed.
    """
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        return False
    with _unheard("bitsandbytes.backends.cpu.ops"):
        import bitsandbytes  # noqa: F401
    return True


@contextmanager
def _unheard(name: str) -> Iterator[None]:
    """Nothing but errors from one logger of a library's, inside a `with` block."""

    def grave(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    # A filter, not a level: transformers takes its logger's level for a wish to hear more.
    logger = logging.getLogger(name)
    logger.addFilter(grave)
    try:
        yield
    finally:
        logger.removeFilter(grave)


@contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars of transformers' inside a `with` block.

    What was set before is set again after it.
    """
    from transformers.utils import logging as talk

    bars: Any = talk
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
