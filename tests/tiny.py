"""Tiny random models with real tokenizers: they show mechanics (parity, gradients, files), never
accuracy."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from logllm.config.model import (
    DecoderLoraSection,
    DecoderSection,
    EncoderLoraSection,
    EncoderSection,
    ModelSection,
    ProjectorSection,
)
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import PARTS, Prepared, write_prepared
from logllm.datasets.settings import choose
from logllm.model.logllm import LogLLM, assemble

WORDS = (
    "Below is a sequence of system log messages : . Is this sequence normal or anomalous ? The"
).split()


def make_models(folder: Path) -> ModelSection:
    """Write a tiny BERT and a tiny Llama, and give the model section that names them."""
    encoder, decoder = folder / "tiny-bert", folder / "tiny-llama"
    torch.manual_seed(0)
    byte_tokenizer().save_pretrained(encoder)
    BertModel(
        BertConfig(
            vocab_size=300,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=128,
        )
    ).save_pretrained(encoder)
    word_tokenizer(bos=True).save_pretrained(decoder)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=96,
            max_position_embeddings=16_384,
        )
    ).save_pretrained(decoder)
    return ModelSection(
        encoder=EncoderSection(weights=str(encoder)), decoder=DecoderSection(weights=str(decoder))
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, [CLS] first and [SEP] last, as BERT's."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate([*special, *alphabet])}, merges=[]
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )


def word_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """One token a word of the prompt, a beginning-of-sequence token first, as Llama's."""
    vocabulary = {
        token: number
        for number, token in enumerate(["<unk>", "<s>", "</s>", *dict.fromkeys(WORDS)])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def make_log(*, sessions: int, seed: int) -> tuple[list[str], list[tuple[str, str]]]:
    """JSON lines of a made log by key, and a label a key; every fourth session fails."""
    rng = np.random.default_rng(seed)
    steps = [
        "open file /data/a1",
        "write 17 bytes",
        "sync replica 10.0.0.3:50010",
        "retry 2 of 5",
        "close file",
    ]
    lines, labels = [], []
    for number in range(sessions):
        words = [
            "open file /data/a1",
            *rng.choice(steps[1:4], size=rng.integers(1, 6)),
            "close file",
        ]
        if number % 4 == 0:
            words[-1] = "lost replica 4f2a99c1, giving up"
        labels.append((f"job-{number}", "anomalous" if number % 4 == 0 else "normal"))
        for at, word in enumerate(words):
            lines.append(
                json.dumps(
                    {
                        "time": 1_700_000_000 + 10 * number + at,
                        "job": f"job-{number}",
                        "message": str(word),
                    }
                )
            )
    return lines, labels


def make_data(folder: Path, *, sessions: int = 120) -> Path:
    """A made log, prepared: split at random, labels from a CSV file."""
    lines, labels = make_log(sessions=sessions, seed=0)
    (folder / "app.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "labels.csv").write_text(
        "session,label\n" + "".join(f"{key},{label}\n" for key, label in labels)
    )
    overrides = {
        "format": {"time": "time", "time_format": ["epoch"]},
        "sessions": {"by": "key", "key_field": "job"},
        "split": {"by": "random"},
        "mask": {},
    }
    out = folder / "data"
    prepare(
        [folder / "app.jsonl"],
        out,
        settings=choose("json", recipe=None, overrides=overrides),
        labels=folder / "labels.csv",
    )
    return out


def with_parts(data: Path, out: Path, **parts: pl.DataFrame) -> Path:
    """Prepared data once more, with other sessions in some parts."""
    prepared = Prepared.load(data)
    frames = {name: parts.get(name, prepared.part(name)) for name in PARTS}
    messages = prepared.messages.to_frame("message")
    write_prepared(
        out, {**frames, "messages": messages}, manifest=dict(prepared.manifest), force=False
    )
    return out


def make_released(folder: Path, section: ModelSection) -> LogLLM:
    """Write a folder in the layout of the paper's released adapters, and give the model it holds,
    rounded as their scripts do."""
    parts = {
        "encoder": section.encoder.model_copy(
            update={"pooling": "pooler", "lora": EncoderLoraSection(r=3, alpha=24)}
        ),
        "decoder": section.decoder.model_copy(update={"lora": DecoderLoraSection(r=5, alpha=10)}),
        "prompt": section.prompt.model_copy(
            update={"tail": r". Is this sequence normal or anomalous? \n"}
        ),
        "projector": ProjectorSection(output="float16"),
    }
    torch.manual_seed(3)
    model, _ = assemble(section.model_copy(update=parts))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    for part, name in ((model.encoder.model, "Bert_ft"), (model.decoder.model, "Llama_ft")):
        part.peft_config["default"].base_model_name_or_path = f"/elsewhere/models/{name}"
        part.save_pretrained(folder / name, save_embedding_layers=False)
        (folder / name / "README.md").unlink(missing_ok=True)
    torch.save(model.projector.state_dict(), folder / "projector.pt")
    return model
