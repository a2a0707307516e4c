"""A decoder's first layers alone, wherever a decoder is loaded, drawn, trained, described or handed
on."""

import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.training.test_train import changed
from transformers import AutoConfig

from logllm.config.model import DecoderSection, ModelSection
from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.errors import ModelError
from logllm.methods.bundle import Bundle, export_run
from logllm.methods.train import train
from logllm.model.base import backbone
from logllm.model.base.backbone import first_layers, load_backbone
from logllm.model.base.blueprint import draw, outline, weight_bytes
from logllm.model.base.candidate import describe
from logllm.model.base.published import configuration
from logllm.model.base.weights import base_models
from logllm.model.checkpoint import hashes, load_run, save_model
from logllm.model.logllm import assemble
from logllm.runs.manifest import read_manifest, read_recipe, write_manifest
from logllm.sessions.message_table import rows_of
from logllm.training.plan import plan

pytestmark = pytest.mark.real  # for its time alone


def cut(section: ModelSection, layers: int = 1, **settings) -> ModelSection:
    """The same models, fewer of the decoder's layers."""
    return section.model_copy(
        update={"decoder": section.decoder.model_copy(update={"layers": layers, **settings})}
    )


@pytest.fixture(scope="module")
def shallow(tiny_recipe) -> Recipe:
    """The recipe `tiny` with one of the decoder's two layers."""
    return tiny_recipe.model_copy(update={"model": cut(tiny_recipe.model)})


@pytest.fixture(scope="module")
def run(shallow, tiny_data, tmp_path_factory) -> Path:
    """A run of that recipe, its adapters made to matter."""
    import torch

    out = tmp_path_factory.mktemp("shallow") / "run"
    train(shallow, tiny_data, out=out)
    model, _, recipe, manifest = load_run(out)
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    save_model(out, model, section=recipe.model)
    write_manifest(out, {**manifest, "files": hashes(out)})
    return out


def scores(run: Path, data: Path) -> np.ndarray:
    prepared = Prepared.load(data)
    return Detector.load(run).score(rows_of(prepared.part("test")["messages"]), prepared.messages)


@pytest.mark.parametrize(
    ("kind", "settings", "lists"),
    [
        (
            "gemma2",
            {},
            {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
        ),
        ("smollm3", {}, {"no_rope_layers": [1, 1, 1], "layer_types": ["full_attention"] * 3}),
        (
            "qwen3",
            {"use_sliding_window": True, "max_window_layers": 2},
            {"layer_types": ["full_attention"] * 2 + ["sliding_attention"]},
        ),
        (
            "gpt_neo",
            {"attention_types": [[["global", "local"], 3]], "num_layers": 6},
            {"attention_layers": ["global", "local", "global"]},
        ),
        (
            "gpt2",
            {"eos_token_id": [1, 2, 3, 4, 5, 6]},
            {"eos_token_id": [1, 2, 3, 4, 5, 6], "n_layer": 3},
        ),
    ],
)
def test_what_a_configuration_says_of_each_layer_is_cut_too(kind, settings, lists) -> None:
    config = AutoConfig.for_model(kind, **{"num_hidden_layers": 6, **settings})
    kept = first_layers(config, DecoderSection(layers=3))
    assert (kept.num_hidden_layers, config.num_hidden_layers) == (3, 6)
    assert {name: getattr(kept, name) for name in lists} == lists
    # As a merged bundle's is read.
    assert type(kept).from_dict(json.loads(json.dumps(kept.to_dict()))).num_hidden_layers == 3


def test_the_text_half_of_a_larger_configuration_is_cut() -> None:
    config = AutoConfig.for_model("gemma3", text_config={"num_hidden_layers": 6})
    assert (
        first_layers(config, DecoderSection(layers=2)).text_config.layer_types
        == ["sliding_attention"] * 2
    )


@pytest.mark.parametrize("way", [assemble, draw])
def test_more_layers_than_there_are_are_refused(tiny_models, way) -> None:
    with pytest.raises(
        ModelError,
        match=(
            r"tiny-llama has 2 layers, and model.decoder.layers asks for 3:"
            r" set it to 2 or less, or leave it"
        ),
    ):
        way(cut(tiny_models, 3))
    way(cut(tiny_models, 2))


def test_a_drawn_model_has_the_loaded_ones_parameters(tiny_models) -> None:
    model, _ = assemble(cut(tiny_models))
    drawn = draw(cut(tiny_models))
    assert {name: value.shape for name, value in drawn.model.named_parameters()} == {
        name: value.shape for name, value in model.named_parameters()
    }
    whole = draw(tiny_models)
    layer = sum(
        value.nbytes
        for name, value in whole.model.named_parameters()
        if ".layers.1." in name and "lora_" not in name
    )
    assert whole.weights - drawn.weights == layer > 0


def test_later_layers_are_left_out_without_a_word(tiny_models, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        logger = logging.getLogger("transformers")
        logger.addHandler(caplog.handler)
        try:
            load_backbone(Path(tiny_models.decoder.weights), cut(tiny_models).decoder)
        finally:
            logger.removeHandler(caplog.handler)
    assert caplog.messages == []


@pytest.mark.real  # for its time alone
def test_a_plan_foresees_the_smaller_model(tiny_recipe, shallow, tiny_data) -> None:
    stages = [{"trains": ["encoder", "projector", "decoder"], "lr": 1e-3, "max_sessions": 16}]
    found, whole = (
        plan(changed(recipe, stages=stages), tiny_data) for recipe in (shallow, tiny_recipe)
    )
    assert found.parameters < whole.parameters
    for stage, deep in zip(found.stages, whole.stages, strict=True):
        assert stage.memory.weights < deep.memory.weights
        assert stage.memory.activations < deep.memory.activations
        assert stage.parameters == deep.parameters - ("decoder" in stage.trains) * 8 * (
            (64 + 64) + (64 + 32)
        )
    assert found.seconds is not None


def test_a_run_says_its_layers_and_stands_on_the_whole_base(run, tiny_models) -> None:
    assert read_recipe(run).model.decoder.layers == 1
    assert "layers = 1" in (run / "recipe.toml").read_text()
    assert read_manifest(run)["base_models"] == base_models(tiny_models.weights)


def test_adapters_of_another_depth_are_refused(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    text = (copy / "recipe.toml").read_text()
    (copy / "recipe.toml").write_text(text.replace("layers = 1", "layers = 2"))
    with pytest.raises(ModelError, match=r"run/decoder does not fit the base model: .*layers.1"):
        load_run(copy)


@pytest.mark.parametrize("merged", [False, True])
def test_a_bundle_scores_as_the_run(
    run, tiny_models, tiny_data, tmp_path, monkeypatch, merged
) -> None:
    wanted = scores(run, tiny_data)
    export_run(run, tmp_path / "bundle", bundle=Bundle(merged=merged))
    if merged:
        assert (
            json.loads((tmp_path / "bundle" / "decoder" / "config.json").read_text())[
                "num_hidden_layers"
            ]
            == 1
        )
    else:
        monkeypatch.setenv("LOGLLM_WEIGHTS", str(Path(tiny_models.decoder.weights).parent))
    np.testing.assert_allclose(scores(tmp_path / "bundle", tiny_data), wanted, atol=1e-4, rtol=0)
    assert np.ptp(wanted) > 1e-3
    assert (
        "| decoder | `tiny-llama`, its first layers: 1, float32"
        in (tmp_path / "bundle" / "README.md").read_text()
    )


def test_released_adapters_are_for_all_layers(tiny_models, authors, tmp_path) -> None:
    from logllm.datasets.settings import choose
    from logllm.model.imported import Terms, import_released
    from logllm.model.released import read_released

    released = read_released(authors[0])
    named = [
        f"model.encoder.weights={tiny_models.encoder.weights}",
        f"model.decoder.weights={tiny_models.decoder.weights}",
    ]
    own = {"format": {}, "sessions": {}, "split": {}, "mask": {}}
    prepare = choose("bgl", recipe="bgl", overrides=own)
    plain = ["model.encoder.quantize=none", "model.decoder.quantize=none"]
    recipe = Recipe.load(
        "bgl", overrides=[*released.overrides(), *named, *plain, "model.decoder.layers=1"]
    )
    with pytest.raises(
        ModelError,
        match=(
            r"layers.1.*does not fit: .*takes none; name .* and a recipe that keeps as many layers"
        ),
    ):
        import_released(released, tmp_path / "run", terms=Terms(recipe, prepare))


def test_in_4_bits(tiny_models, shallow, tiny_data, tmp_path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    section = cut(tiny_models, quantize="nf4", compute="float32")
    loaded, _ = load_backbone(Path(section.decoder.weights), section.decoder)
    assert sum(isinstance(module, bitsandbytes.nn.Linear4bit) for module in loaded.modules()) == 7
    size = sum(
        value.nbytes + (value.quant_state.absmax.nbytes if hasattr(value, "quant_state") else 0)
        for value in loaded.parameters()
    )
    drawn = outline(configuration(section.decoder.weights), section.decoder)
    assert weight_bytes(drawn, quantize="nf4") == size
    train(shallow.model_copy(update={"model": section}), tiny_data, out=tmp_path / "run")
    assert np.ptp(scores(tmp_path / "run", tiny_data)) > 0


def test_a_candidate_with_fewer_layers(tiny_models) -> None:
    whole, found = (
        describe(tiny_models.decoder.weights),
        describe(tiny_models.decoder.weights, layers=1),
    )
    assert (found.layers, whole.layers) == (1, 2)
    assert found.parameters < whole.parameters
    assert found.bytes["nf4"] < whole.bytes["nf4"]
    assert found.decoder.adapter_parameters * 2 == whole.decoder.adapter_parameters
    assert found.encoder.refused == "an encoder keeps all its layers"
    with pytest.raises(ModelError, match="has 2 layers"):
        describe(tiny_models.decoder.weights, layers=3)


def test_bitsandbytes_is_imported_without_a_word(tmp_path, monkeypatch, caplog) -> None:
    """It warns of a kernel that is not used; PEFT and transformers would let it."""
    (tmp_path / "bitsandbytes.py").write_text(
        'import logging\nlogging.getLogger("bitsandbytes.backends.cpu.ops").warning("no kernel")\n'
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "bitsandbytes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert backbone.import_bitsandbytes()
    assert sys.modules["bitsandbytes"].__file__ == str(tmp_path / "bitsandbytes.py")
    assert caplog.messages == []
    logging.getLogger("bitsandbytes.backends.cpu.ops").warning("something else")
    assert caplog.messages == ["something else"]
