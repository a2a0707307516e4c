"""Weights in 4 bits are packed once and kept: the same numbers, from a quarter of the bytes."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from logllm.config.model import DecoderSection, ModelSection
from logllm.model.base.backbone import load_backbone
from logllm.model.base.packed import packed_place

pytestmark = [
    pytest.mark.real,  # for the time that bitsandbytes takes
    pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra qlora"),
]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packed"


def packed(section: ModelSection) -> DecoderSection:
    return section.decoder.model_copy(update={"quantize": "nf4"})


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def test_what_was_kept_is_what_was_packed(tiny_models, cache) -> None:
    section = packed(tiny_models)
    folder = Path(section.weights)
    first, _ = load_backbone(folder, section, worth=1)
    assert 0 < bytes_in(cache) < bytes_in(folder)
    second, _ = load_backbone(folder, section, worth=1)
    for name, value in first.state_dict().items():
        again = second.state_dict()[name]
        assert torch.equal(value, again), name
        assert value.dtype == again.dtype, name
    layers = [
        [layer for layer in model.modules() if hasattr(layer, "quant_state")]
        for model in (first, second)
    ]
    assert [layer.compute_dtype for layer in layers[0]] == [
        layer.compute_dtype for layer in layers[1]
    ]
    assert not any(parameter.requires_grad for parameter in second.parameters())


def test_the_second_time_reads_what_was_kept(tiny_models, cache) -> None:
    section = packed(tiny_models)
    folder = Path(section.weights)
    load_backbone(folder, section, worth=1)
    (kept,) = cache.glob("*/model.safetensors")
    tensors = load_file(kept)
    tensors["model.norm.weight"] += 1
    save_file(tensors, kept, metadata={"format": "pt"})
    model, _ = load_backbone(folder, section, worth=1)
    torch.testing.assert_close(model.model.norm.weight, tensors["model.norm.weight"])


def test_what_is_damaged_is_packed_again(tiny_models, cache) -> None:
    section = packed(tiny_models)
    folder = Path(section.weights)
    load_backbone(folder, section, worth=1)
    (kept,) = cache.glob("*/model.safetensors")
    whole = kept.read_bytes()
    kept.write_bytes(b"damaged")
    load_backbone(folder, section, worth=1)
    assert kept.read_bytes() == whole


def test_other_settings_have_another_place(tiny_models, cache) -> None:
    section = packed(tiny_models)
    folder = Path(section.weights)
    sections = [
        section,
        *(
            section.model_copy(update=other)
            for other in ({"layers": 1}, {"compute": "float32"}, {"dtype": "bfloat16"})
        ),
    ]
    assert len({packed_place(folder, one, worth=1) for one in sections}) == 4
    assert packed_place(folder, section) is None  # too small to be worth it


def test_no_room_is_no_failure(tiny_models, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "file" / "cache"))
    section = packed(tiny_models)
    model, _ = load_backbone(Path(section.weights), section, worth=1)
    assert next(model.parameters()) is not None
