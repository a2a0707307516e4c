"""A run from its files alone scores as through transformers, and imports neither it nor PEFT."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from logllm.config.detect import DetectSection
from logllm.detect.detector import Detector
from logllm.errors import ModelError
from logllm.methods.bundle import Bundle, export_run
from logllm.metrics import sigmoid
from logllm.model.checkpoint import load_run
from logllm.model.fast.light import FileTokenizer, Light, light_model, load_network
from logllm.model.fast.scorer import Engine, Scorer
from logllm.model.fast.source import mapped, rotary_of, source_of
from logllm.model.logllm import LogLLM, assemble
from logllm.runs.manifest import read_manifest, read_recipe, write_manifest, write_recipe
from logllm.storage import sha256

MESSAGES = pl.Series(
    [
        "open file <*>",
        "disk full",
        "",
        "Überlauf in ☃",
        "retry 2 of 5",
        "x" * 400,
        "[CLS] is no token here [SEP]",
    ]
)
SESSIONS = [np.array(rows) for rows in ([0, 1], [0, 1, 2], [3], [4, 4, 4, 5], [6, 0, 1, 2, 3, 4])]
CPU = torch.device("cpu")


def scores(engine: Engine, tokenizer) -> np.ndarray:
    return sigmoid(Scorer(engine, tokenizer, max_tokens=100).score(SESSIONS, MESSAGES))


def engine_of(run: Path, section: DetectSection | None = None) -> tuple[Engine, object]:
    recipe = read_recipe(run)
    network, tokenizer = load_network(run, recipe=recipe, manifest=read_manifest(run))
    return Engine(network, section=section or recipe.detect), tokenizer


@pytest.mark.parametrize("engine", ["exact", "bf16"])
def test_scores_are_those_through_transformers(tiny_run, engine) -> None:
    network, tokenizer, _, _ = load_run(tiny_run)
    section = DetectSection(engine=engine)
    light, words = engine_of(tiny_run, section)
    assert isinstance(light.model, Light)
    np.testing.assert_allclose(
        scores(light, words), scores(Engine(network, section=section), tokenizer), rtol=0, atol=1e-6
    )


def test_a_merged_bundle_needs_no_transformers_either(tiny_run, tmp_path) -> None:
    export_run(tiny_run, tmp_path / "bundle", bundle=Bundle(merged=True))
    engine, tokenizer = engine_of(tmp_path / "bundle")
    assert isinstance(engine.model, Light)
    np.testing.assert_allclose(
        scores(engine, tokenizer), scores(*engine_of(tiny_run)), rtol=0, atol=1e-6
    )


def test_weights_of_few_bits_go_through_transformers(tiny_run, tmp_path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    recipe = read_recipe(run)
    decoder = recipe.model.decoder.model_copy(update={"dtype": "bfloat16"})
    halved = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"decoder": decoder})}
    )
    write_recipe(run, halved)
    assert light_model(run, halved.model, adapters=True) is None


def test_adapters_of_another_model_are_refused(tiny_run, tmp_path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    path = run / "decoder" / "adapter_model.safetensors"
    tensors = load_file(path)
    del tensors[sorted(tensors)[0]]
    save_file(tensors, path)
    with pytest.raises(ModelError, match="decoder does not fit the base model: .*self_attn"):
        light_model(run, read_recipe(run).model, adapters=True)


@pytest.mark.parametrize("layers", [None, 1])
@pytest.mark.parametrize("tied", [False, True])
def test_what_is_read_is_what_transformers_holds(tiny_models, tmp_path, layers, tied) -> None:
    torch.manual_seed(1)
    sizes = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
    }
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    }
    rope["original_max_position_embeddings"] = 64
    config = LlamaConfig(
        vocab_size=64, tie_word_embeddings=tied, rope_parameters=rope, attention_bias=True, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    shutil.copy(Path(tiny_models.decoder.weights) / "tokenizer.json", tmp_path)
    shutil.copy(Path(tiny_models.decoder.weights) / "tokenizer_config.json", tmp_path)
    decoder = tiny_models.decoder.model_copy(update={"weights": str(tmp_path), "layers": layers})
    wanted = source_of(
        assemble(tiny_models.model_copy(update={"decoder": decoder}), adapters=False)[
            0
        ].decoder.model
    )
    found = mapped(tmp_path, decoder, adapters=None, device=CPU)
    assert found is not None
    assert found.rotary is not None
    assert wanted.rotary is not None
    assert found.shapes == wanted.shapes
    assert all(torch.equal(found.read(name), wanted.read(name)) for name in found.shapes)
    torch.testing.assert_close(
        found.rotary.frequencies, wanted.rotary.frequencies, rtol=1e-6, atol=0
    )


def test_positions_of_an_unknown_kind_are_left_to_transformers() -> None:
    assert (
        rotary_of(
            LlamaConfig(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0})
        )
        is None
    )


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_tokens_are_those_of_transformers(tiny_models, part) -> None:
    folder = Path(getattr(tiny_models, part).weights)
    ours, theirs = FileTokenizer.of(folder), AutoTokenizer.from_pretrained(folder)
    assert ours is not None
    check_alike(ours, theirs, texts=MESSAGES.to_list())


def check_alike(ours: FileTokenizer, theirs, *, texts: list[str]) -> None:
    """All that is asked of a tokenizer."""
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        assert getattr(ours, name) == getattr(theirs, name)
    for cut in (8, 100):
        assert (
            ours(texts, truncation=True, max_length=cut)["input_ids"]
            == theirs(texts, truncation=True, max_length=cut)["input_ids"]
        )
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    for text in texts:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
        assert (
            ours(text, add_special_tokens=False)["input_ids"]
            == theirs(text, add_special_tokens=False)["input_ids"]
        )


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer_class": "LlamaTokenizer"},
        {"add_bos_token": True},
        {"pad_token": "<a new one>"},
        {"tokenizer_class": "BertTokenizer"},
    ],
)
def test_a_tokenizer_that_is_more_than_its_file_is_left_to_transformers(
    tiny_models, tmp_path, change
) -> None:
    folder = Path(shutil.copytree(tiny_models.decoder.weights, tmp_path / "model"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert FileTokenizer.of(folder) is None


LOAD = """
import sys
from logllm.detect.detector import Detector
detector = Detector.load(sys.argv[1])
list(detector.detect(open(sys.argv[2])))
for name in sys.argv[3:]:
    assert name not in sys.modules, name
"""
HEAVY = [
    "transformers",
    "peft",
    "accelerate",
    "sklearn",
    "scipy",
    "gguf",
    "huggingface_hub",
    "sympy",
]


@pytest.mark.real
def test_judging_imports_no_more_than_it_needs_and_prints_nothing(tiny_run, tiny_data) -> None:
    log = tiny_data.parent / "app.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tiny_run), str(log), *HEAVY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_printed_on_the_way_through_transformers(
    tiny_run, tmp_path, tiny_data, capfd, monkeypatch
) -> None:
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    recipe = read_recipe(run)
    encoder = recipe.model.encoder.model_copy(update={"dtype": "bfloat16"})
    write_recipe(
        run,
        recipe.model_copy(update={"model": recipe.model.model_copy(update={"encoder": encoder})}),
    )
    manifest = read_manifest(run)
    write_manifest(
        run,
        {**manifest, "files": {**manifest["files"], "recipe.toml": sha256(run / "recipe.toml")}},
    )
    capfd.readouterr()
    detector = Detector.load(run)
    assert isinstance(detector.method.scorer.engine.model, LogLLM)  # and no files of ours
    assert list(detector.detect((tiny_data.parent / "app.jsonl").read_text().splitlines()))
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_network_and_its_files_are_the_same_sources(tiny_run) -> None:
    network, _, recipe, _ = load_run(tiny_run)
    found = light_model(tiny_run, recipe.model, adapters=True)
    assert found is not None
    assert isinstance(network, LogLLM)
    light, _ = found
    for ours, theirs in (
        (light.encoder.model, source_of(network.encoder.model)),
        (light.decoder.model, source_of(network.decoder.model)),
    ):
        assert ours.architecture == theirs.architecture
        for name in ours.shapes.keys() & theirs.shapes.keys():
            torch.testing.assert_close(ours.read(name), theirs.read(name), rtol=0, atol=1e-6)
