"""The two implementations side by side: the same tiny base models, the same learnt weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from logllm.config.model import ModelSection
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, assemble
from logllm.sessions.message_table import Rows
from tests.fidelity.plain import PlainLogLLM, Session
from tests.tiny import byte_tokenizer

PROMPT = (
    "Below is a sequence of system log messages: . Is this sequence normal or anomalous? \n The"
    " sequence is normal. The sequence is anomalous."
)
MESSAGES = [
    "open file <*>",
    "write <*> bytes to <*>",
    "",
    "sync replica <*>",
    "lost replica <*>, giving up",
    "x" * 97,
    "y" * 98,
    "z" * 99,
    "a stack of <*> frames: " + "at <*> in <*>; " * 12,
]


class Pair(NamedTuple):
    """One model twice, and the message table of the one that has such a thing."""

    ours: LogLLM
    plain: PlainLogLLM
    tokens: MessageTokens

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """Our learnt weights by their plain names."""
        return {
            plain_name(name): value
            for name, value in self.ours.named_parameters()
            if "lora_" in name or name.startswith("projector")
        }


def plain_name(name: str) -> str:
    """`encoder.model.base_model.model.<layer>.lora_A.default.weight`, as PEFT has it, is plainly
    `encoder.<layer>.A`."""
    name = name.replace("model.base_model.model.", "", 1)
    return name.replace("lora_A.default.weight", "A").replace("lora_B.default.weight", "B")


def prompt_tokenizer(*, bos: bool, split: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE as Llama 3's; with `split` the word "anomalous" is several tokens, so that the
    answers' lengths differ as Llama 3's do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        [PROMPT.replace("anomalous", "anomal") + " ous" if split else PROMPT], trainer
    )
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def write_models(folder: Path, *, bos: bool = True, split: bool = True, scale: float = 0.1) -> Path:
    """A tiny BERT and a tiny Llama, their weights spread wider than the usual .02, so that
    everything they read shows."""
    torch.manual_seed(1)
    byte_tokenizer().save_pretrained(folder / "encoder")
    bert = BertConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=scale,
    )
    BertModel(bert).save_pretrained(folder / "encoder")
    tokenizer = prompt_tokenizer(bos=bos, split=split)
    tokenizer.save_pretrained(folder / "decoder")
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        initializer_range=scale,
    )
    LlamaForCausalLM(llama).save_pretrained(folder / "decoder")
    return folder


def model_section(
    folder: Path, *, pooling: str = "pooler", tail: str | None = None
) -> ModelSection:
    """Our settings for these models: the defaults, which are the paper's where it says anything,
    and LoRA's dropout off."""
    settings = {
        "encoder": {
            "weights": str(folder / "encoder"),
            "pooling": pooling,
            "lora": {"dropout": 0.0},
        },
        "decoder": {"weights": str(folder / "decoder"), "lora": {"dropout": 0.0}},
        "prompt": {} if tail is None else {"tail": tail},
    }
    return ModelSection.read(settings, source="test")


def make_pair(folder: Path, *, learnt: bool = True, **settings: str) -> Pair:
    """Both implementations with the same weights; with `learnt` LoRA's are not at their beginning,
    where B is zero."""
    torch.manual_seed(2)
    ours, encoder_tokenizer = assemble(model_section(folder, **settings))
    for name, value in ours.named_parameters():
        if learnt and "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)
    encoder = BertModel.from_pretrained(folder / "encoder").eval()
    decoder = LlamaForCausalLM.from_pretrained(folder / "decoder").eval()
    tokenizers = tuple(
        AutoTokenizer.from_pretrained(folder / part) for part in ("encoder", "decoder")
    )
    pair = Pair(
        ours,
        PlainLogLLM(encoder, decoder, tokenizers, **settings),
        MessageTokens(MESSAGES, encoder_tokenizer, max_tokens=100),
    )
    copy_weights(pair)
    return pair


def copy_weights(pair: Pair) -> None:
    """Let the plain model begin with what ours has learnt."""
    own = dict(pair.plain.named_parameters())
    with torch.no_grad():
        for name, value in pair.weights().items():
            own[name].copy_(value)


def make_sessions(count: int, *, seed: int, longest: int = 4) -> tuple[list[Rows], np.ndarray]:
    """Random sessions over `MESSAGES`, messages repeated in some, and random labels, a third of
    them anomalous."""
    rng = np.random.default_rng(seed)
    sessions = [
        rng.integers(0, len(MESSAGES), size=rng.integers(1, longest + 1)) for _ in range(count)
    ]
    return sessions, np.arange(count) % 3 == 0


def plainly(rows: Sequence[Rows], labels: Sequence[bool]) -> list[Session]:
    """Sessions as the plain implementation takes them."""
    return [
        Session([MESSAGES[row] for row in session], bool(label))
        for session, label in zip(rows, labels, strict=True)
    ]
