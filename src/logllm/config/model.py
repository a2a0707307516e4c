"""Encoder, projector, decoder and the words around the messages."""

from typing import Literal

from pydantic import Field

from logllm.config.section import Section

Pooling = Literal["mean", "pooler"]
"""How an encoder's states become one vector."""


class LoraSection(Section):
    """Low-rank adapters (LoRA) of one model."""

    r: int = Field(ge=1)
    """Rank."""
    alpha: int = Field(ge=1)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(ge=0, lt=1)
    """Dropout on the adapters' input."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers that get adapters; empty: the query and value projections found
    for the architecture (paper)."""


class EncoderLoraSection(LoraSection):
    """The encoder's adapters (paper: 4, 32, .01)."""

    r: int = Field(default=4, ge=1)
    """Rank."""
    alpha: int = Field(default=32, ge=1)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(default=0.01, ge=0, lt=1)
    """Dropout on the adapters' input."""


class DecoderLoraSection(LoraSection):
    """The decoder's adapters (paper: 8, 16, .1)."""

    r: int = Field(default=8, ge=1)
    """Rank."""
    alpha: int = Field(default=16, ge=1)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout on the adapters' input."""


class EncoderSection(Section):
    """The model that turns each message into one vector."""

    # Which model, and what is read of it.
    weights: str = "all-MiniLM-L6-v2"
    """A folder, a model of the small tier (`logllm show weights`), or a name on the Hugging Face
    hub (paper: bert-base-uncased)."""
    pooling: Pooling = "mean"
    """`pooler`: the model's own pooled output (paper, for BERT-base); `mean`: the mean of its last
    states over the tokens."""
    max_tokens: int = Field(default=100, ge=3)
    """Tokens read of a message, special ones included (paper: 100)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the frozen weights."""
    quantize: Literal["none", "nf4"] = "none"
    """`nf4`: the frozen weights in 4 bits (paper); needs the extra `qlora`."""
    compute: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Number format in which 4-bit weights are multiplied (paper: bfloat16); without 4 bits `dtype`
    says it."""
    lora: EncoderLoraSection = EncoderLoraSection()
    """Adapters trained in stages whose parts name the encoder."""


class ProjectorSection(Section):
    """The linear layer from the encoder's space to the decoder's.

    Its weights are always float32.
    """

    output: Literal["decoder", "float16"] = "decoder"
    """`float16`: rounded to float16 before the decoder reads it (the paper's scripts); `decoder`:
    straight to the decoder's number format."""
    start: Literal["random", "words", "alerts"] = "random"
    """What training begins with: `random` (paper); `words`: fitted, without labels, to the
    decoder's own embeddings of the training messages' words, so that a message's vector means to
    the decoder from the start what its text would; `alerts`: fitted to the labels of lines, so that
    a message means to the decoder how much of an alert it is by itself, and nothing else: for a few
    hundred sessions, the projector left as it is."""


class DecoderSection(Section):
    """The causal language model that reads the sequence and judges it."""

    # Which model, and how much of it.
    weights: str = "SmolLM2-135M-Instruct"
    """A folder, a model of the small tier, or a name on the Hugging Face hub (paper:
    meta-llama/Meta-Llama-3-8B)."""
    layers: int | None = Field(default=None, ge=1)
    """First layers that are kept, beneath the model's own final norm and output head; none: all of
    them (paper). Time and memory fall with them; adapters belong to the number they were trained
    with."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the frozen weights."""
    quantize: Literal["none", "nf4"] = "none"
    """`nf4`: the frozen weights in 4 bits (paper); needs the extra `qlora`."""
    compute: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Number format in which 4-bit weights are multiplied (paper: bfloat16); without 4 bits `dtype`
    says it."""
    lora: DecoderLoraSection = DecoderLoraSection()
    """Adapters trained in stages whose parts name the decoder."""


class PromptSection(Section):
    """The words around the messages, and the two answers (paper, section 1)."""

    head: str = "Below is a sequence of system log messages:"
    """Before the first message."""
    tail: str = ". Is this sequence normal or anomalous? \n"
    """After the last message. The authors' scripts have a backslash and an n where this has a
    newline."""
    normal: str = "The sequence is normal."
    """The answer for a normal session."""
    anomalous: str = "The sequence is anomalous."
    """The answer for an anomalous session; the verdict is read where the two answers' tokens first
    differ."""


class ModelSection(Section):
    """The three parts and the prompt."""

    encoder: EncoderSection = EncoderSection()
    """Message to vector."""
    projector: ProjectorSection = ProjectorSection()
    """Vector to vector."""
    decoder: DecoderSection = DecoderSection()
    """Sequence of vectors to verdict."""
    prompt: PromptSection = PromptSection()
    """The words around."""
    verdict: Literal["last", "largest"] = "last"
    """`last`: a session's score is the verdict after its last message (paper). `largest`: the
    largest of the verdicts after each of its messages, so that an alert is not forgotten over what
    follows it, in about 1.2 times the time; for models that were taught to judge beginnings
    (`train.stages.beginnings`)."""

    @property
    def weights(self) -> dict[str, str]:
        """Names of the two base models by what they are."""
        return {"encoder": self.encoder.weights, "decoder": self.decoder.weights}
