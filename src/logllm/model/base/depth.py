"""A decoder's first layers alone: `model.decoder.layers`."""

from copy import deepcopy
from typing import Any

from logllm.config.model import DecoderSection, EncoderSection
from logllm.errors import ModelError


def first_layers(config: Any, section: EncoderSection | DecoderSection) -> Any:
    """The configuration of the model that a section keeps: transformers then neither builds nor reads the later layers.

    Its final norm and output head stay. What an architecture derives from its depth, such as MiniCPM3's scale of the
    residual branches, is that of a model so deep.

    Args:
        config: transformers' configuration of the whole model; it is left as it is.
        section: an encoder's, of which all layers are kept, or a decoder's.

    Raises:
        ModelError: more layers are asked for than there are.
    """
    if not isinstance(section, DecoderSection) or section.layers is None:
        return config
    layers, whole = section.layers, _text(config).num_hidden_layers
    if layers > whole:
        raise ModelError(
            f"decoder {section.weights} has {whole} layers, and model.decoder.layers asks for {layers}: set it to {whole} or less, "
            "or leave it out to keep all"
        )
    kept = deepcopy(config)
    text = _text(kept)
    for name, value in vars(text).items():
        # One entry a layer, whatever an architecture calls it: layer_types, mlp_layer_types, no_rope_layers, ...
        if isinstance(value, list | tuple) and len(value) == whole and not name.endswith("_token_id"):
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers
    return kept


def _text(config: Any) -> Any:
    """The part of a configuration that describes the language model; of most it is the whole."""
    return config.get_text_config(decoder=True)
