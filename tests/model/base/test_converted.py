"""The small tier's decoder out of its GGUF file, as transformers would have written it, byte for
byte."""

import gguf
import pytest
import torch
from tests.tiny_gguf import FILE, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from logllm.errors import ModelError
from logllm.model.base.backbone import without_bars
from logllm.model.base.converted import convert


def test_every_byte_is_as_transformers_writes_it(tmp_path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        write_gguf(folder)
    convert(ours, FILE)
    assert not (ours / FILE).exists()
    with without_bars():
        model = AutoModelForCausalLM.from_pretrained(theirs, gguf_file=FILE, dtype=torch.float32)
        model.hf_quantizer = None
        del model.config.quantization_config
        model.save_pretrained(theirs)
    AutoTokenizer.from_pretrained(theirs, gguf_file=FILE).save_pretrained(theirs)
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_a_kind_of_numbers_not_known_is_named(tmp_path) -> None:
    write_gguf(tmp_path, kind=gguf.GGMLQuantizationType.Q5_0)
    with pytest.raises(ModelError, match=r"blk.0.\S+ is in GGUF's kind 6, which is not read here"):
        convert(tmp_path, FILE)


@pytest.mark.parametrize("content", [b"GGUX" + b"\0" * 40, b"GGUF\3\0\0\0\xff"])
def test_a_damaged_file_is_refused(tmp_path, content) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ModelError, match="is no GGUF file, or a damaged one"):
        convert(tmp_path, FILE)
