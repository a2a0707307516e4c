"""Tiny random models with real tokenizers: they show mechanics (parity, gradients, files), never accuracy."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from logllm.config.model import DecoderSection, EncoderSection, ModelSection

WORDS = "Below is a sequence of system log messages : . Is this sequence normal or anomalous ? The".split()  # noqa: SIM905


def make_models(folder: Path) -> ModelSection:
    """Write a tiny BERT and a tiny Llama, and give the model section that names them."""
    encoder, decoder = folder / "tiny-bert", folder / "tiny-llama"
    torch.manual_seed(0)
    byte_tokenizer().save_pretrained(encoder)
    BertModel(
        BertConfig(
            vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=128
        )
    ).save_pretrained(encoder)
    word_tokenizer(bos=True).save_pretrained(decoder)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
            max_position_embeddings=16_384,
        )
    ).save_pretrained(decoder)  # fmt: skip
    return ModelSection(encoder=EncoderSection(weights=str(encoder)), decoder=DecoderSection(weights=str(decoder)))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, [CLS] first and [SEP] last, as BERT's."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")


def word_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """One token a word of the prompt, a beginning-of-sequence token first, as Llama's."""
    vocabulary = {token: number for number, token in enumerate(["<unk>", "<s>", "</s>", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
