"""A tiny model in a GGUF file, as the small tier's decoder comes."""

from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize
from tokenizers import pre_tokenizers

FILE = "tiny.gguf"
HIDDEN, INNER, HEADS, KV, LAYERS = 64, 96, 4, 2, 2
TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    "lo",
    "log",
]


def write_gguf(
    folder: Path, *, kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q4_1
) -> None:
    """A tiny model as the small tier's file holds its own: embeddings in 8 bits, matrices in 4,
    norms whole."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(folder / FILE, "llama")
    writer.add_name("Tiny é")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_add_bos_token(False)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["l o", "lo g"])
    for number, add in enumerate(
        (writer.add_unk_token_id, writer.add_bos_token_id, writer.add_eos_token_id)
    ):
        add(number)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages }}")
    whole, bytewise = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0

    def add(name: str, *shape: int, packed: gguf.GGMLQuantizationType) -> None:
        writer.add_tensor(
            name, quantize(rng.normal(size=shape).astype(np.float32), packed), raw_dtype=packed
        )

    add("token_embd.weight", len(TOKENS), HIDDEN, packed=bytewise)
    for layer in range(LAYERS):
        matrices = {
            "attn_q": (HIDDEN, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN),
            "ffn_gate": (INNER, HIDDEN),
            "ffn_up": (INNER, HIDDEN),
        }
        matrices |= {
            "attn_k": (HIDDEN // 2, HIDDEN),
            "attn_v": (HIDDEN // 2, HIDDEN),
            "ffn_down": (HIDDEN, INNER),
        }
        for name, shape in matrices.items():
            add(f"blk.{layer}.{name}.weight", *shape, packed=kind)
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}.weight", HIDDEN, packed=whole)
    add("output_norm.weight", HIDDEN, packed=whole)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
