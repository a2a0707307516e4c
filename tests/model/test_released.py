"""The authors' folder layout, made from a tiny model: imported it scores the same; anything else in
its place is refused."""

import json
import os
import pickle
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from logllm.config.recipe import Recipe
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.errors import DataError, ModelError
from logllm.metrics import sigmoid
from logllm.model.fast.scorer import Engine, Scorer
from logllm.model.imported import Terms, import_released
from logllm.model.logllm import LogLLM, assemble
from logllm.model.released import read_released
from logllm.runs.manifest import read_manifest, read_recipe

pytestmark = pytest.mark.real  # for its time alone

SESSIONS = [np.array(session) for session in ([0, 1, 2], [3, 3], [2, 0], [1])]
MESSAGES = pl.Series(["disk full", "block <*> served", "ok", "lost replica <*>, giving up"])
OWN = {"format": {}, "sessions": {}, "split": {}, "mask": {}}


def recipe_for(folder, tiny_models, *sets: str) -> Recipe:
    plain = [
        f"model.{part}.{key}"
        for part in ("encoder", "decoder")
        for key in ("quantize=none", "dtype=float32")
    ]
    weights = [
        f"model.encoder.weights={tiny_models.encoder.weights}",
        f"model.decoder.weights={tiny_models.decoder.weights}",
    ]
    return Recipe.load(
        "bgl", overrides=[*read_released(folder).overrides(), *plain, *weights, *sets]
    )


def take(folder, out, tiny_models, *sets: str, force: bool = False) -> dict:
    terms = Terms(
        recipe_for(folder, tiny_models, *sets), choose("bgl", recipe="bgl", overrides=OWN)
    )
    return import_released(read_released(folder), out, terms=terms, force=force)


@pytest.fixture
def original(authors, tiny_models) -> LogLLM:
    """The model the authors' folder was made from, with the prompt and rounding of their
    scripts."""
    return authors[1]


@pytest.fixture
def folder(authors):
    return authors[0]


def test_an_imported_run_scores_as_the_model_it_came_from(
    folder, original, tiny_models, tmp_path
) -> None:
    manifest = take(folder, tmp_path / "run", tiny_models)
    detector = Detector.load(tmp_path / "run")
    recipe = read_recipe(tmp_path / "run")
    _, tokenizer = assemble(recipe.model)
    wanted = sigmoid(
        Scorer(
            Engine(original, section=recipe.detect),
            tokenizer,
            max_tokens=recipe.model.encoder.max_tokens,
        ).score(SESSIONS, MESSAGES)
    )
    np.testing.assert_allclose(detector.score(SESSIONS, MESSAGES), wanted, atol=1e-6, rtol=0)
    assert np.ptp(wanted) > 1e-4  # sessions differ, so that agreement says something
    assert recipe.model.prompt.tail.endswith("anomalous? \\n")
    assert not recipe.model.prompt.tail.endswith("\n")
    assert (recipe.model.encoder.lora.r, recipe.model.encoder.lora.alpha) == (3, 24)
    assert (
        recipe.model.projector.output,
        recipe.model.encoder.pooling,
        recipe.train.objective,
    ) == ("float16", "pooler", "answer")
    assert manifest["threshold"]["value"] == 0.5
    assert manifest["imported"]["from"] == "ft_model_bgl"
    assert set(manifest["imported"]["files"]) == {
        str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()
    }


def test_float16_files_and_a_prefixed_projector(folder, tiny_models, tmp_path) -> None:
    state = torch.load(folder / "projector.pt", weights_only=True)
    torch.save(
        {f"module.{name}": tensor.half() for name, tensor in state.items()}, folder / "projector.pt"
    )
    take(folder, tmp_path / "run", tiny_models)
    held = load_file(tmp_path / "run" / "projector.safetensors")
    assert held["weight"].dtype == torch.float32
    torch.testing.assert_close(held["weight"], state["weight"], atol=1e-3, rtol=1e-3)


def test_a_hub_name_in_the_configuration_is_used_and_a_folder_of_another_machine_is_not(
    folder,
) -> None:
    change(
        folder / "Llama_ft" / "adapter_config.json",
        base_model_name_or_path="/elsewhere/Meta-Llama-3-8B",
    )
    change(folder / "Bert_ft" / "adapter_config.json", base_model_name_or_path="bert-base-cased")
    recipe = Recipe.load("bgl", overrides=read_released(folder).overrides())
    assert recipe.model.encoder.weights == "bert-base-cased"
    assert recipe.model.decoder.weights == Recipe.load("bgl").model.decoder.weights


def change(path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"peft_type": "IA3"}, "no LoRA adapter's: peft_type is 'IA3'"),
        ({"task_type": "SEQ_CLS"}, "task_type SEQ_CLS has a head"),
        ({"bias": "all"}, "bias = 'all' is not supported"),
        ({"use_dora": True}, "use_dora = True"),
        ({"use_rslora": True}, "use_rslora = True"),
        ({"modules_to_save": ["pooler"]}, r"modules_to_save = \['pooler'\]"),
        ({"rank_pattern": {"query": 8}}, "rank_pattern = "),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
        ({"a_feature_to_come": 3}, "a_feature_to_come = 3"),
        ({"target_modules": "all-linear"}, "target_modules is 'all-linear'.*as a list"),
        ({"r": "eight"}, "adapter_config.json: r: .*found 'eight'"),
        ({"r": None}, "adapter_config.json: r: "),
    ],
)
def test_other_adapters_are_refused_by_name(folder, values, said) -> None:
    change(folder / "Bert_ft" / "adapter_config.json", **values)
    with pytest.raises(ModelError, match=said):
        read_released(folder)


@pytest.mark.parametrize(
    "name", ["Bert_ft/adapter_config.json", "Llama_ft/adapter_model.safetensors", "projector.pt"]
)
def test_a_missing_file_names_the_layout(folder, name) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"has no {name}: expected Bert_ft/ and Llama_ft/"):
        read_released(folder)


def test_a_pickled_adapter_is_refused_with_the_remedy(folder) -> None:
    weights = folder / "Bert_ft" / "adapter_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelError, match="adapter_model.bin beside it is a pickle.*save_file"):
        read_released(folder)


class Evil:
    """A pickle that makes a folder when it is opened."""

    def __init__(self, mark) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("bare", [False, True])
def test_a_malicious_projector_is_refused_and_does_nothing(folder, tmp_path, bare) -> None:
    mark = tmp_path / "mark"
    if bare:
        (folder / "projector.pt").write_bytes(pickle.dumps(Evil(mark)))
    else:
        torch.save({"weight": Evil(mark), "bias": torch.zeros(3)}, folder / "projector.pt")
    with pytest.raises(ModelError, match="projector.pt is"):
        read_released(folder)
    assert not mark.exists()
    if not bare:  # the same file does its evil where it is trusted: the test can fail
        torch.load(folder / "projector.pt", weights_only=False)
        assert mark.is_dir()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"weight": torch.zeros(2, 2)}, r"expected the state of one linear layer.*found weight"),
        (
            {"a.weight": torch.zeros(2, 2), "b.bias": torch.zeros(2)},
            "expected the state of one linear layer",
        ),
        ({"weight": torch.zeros(2, 2), "bias": 3}, "expected the state of one linear layer"),
        ([torch.zeros(2)], "expected the state of one linear layer.*list"),
        ({"weight": torch.full((2, 2), torch.nan), "bias": torch.zeros(2)}, "not all finite"),
    ],
)
def test_a_projector_that_is_no_linear_layer(folder, state, said) -> None:
    torch.save(state, folder / "projector.pt")
    with pytest.raises(ModelError, match=said):
        read_released(folder)


def test_a_projector_of_other_widths(folder, tiny_models, tmp_path) -> None:
    torch.save(torch.nn.Linear(48, 64).state_dict(), folder / "projector.pt")
    with pytest.raises(
        ModelError,
        match=r"projector.pt: weight has shape \(64, 48\), encoder and decoder take \(64, 32\)",
    ):
        take(folder, tmp_path / "run", tiny_models)
    assert not (tmp_path / "run").exists()


def spoil_shape(tensors: dict) -> dict:
    name = next(name for name in tensors if "lora_A" in name)
    return {**tensors, name: torch.zeros(3, 31)}


def spoil_names(tensors: dict) -> dict:
    return {
        name.replace("base_model.model.", "base_model.model.bert."): tensor
        for name, tensor in tensors.items()
    }


def drop_one(tensors: dict) -> dict:
    return dict(list(tensors.items())[1:])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            spoil_shape,
            (
                r"query.lora_A.weight does not fit: found \(3, 31\),"
                r" the base model takes \(3, 32\); name the base"
            ),
        ),
        (spoil_names, r"base_model.model.bert.encoder.*does not fit: found \(.*takes none"),
        (drop_one, r"does not fit: found none"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, tiny_models, tmp_path, spoil, said) -> None:
    path = folder / "Bert_ft" / "adapter_model.safetensors"
    save_file(spoil(load_file(path)), path)
    with pytest.raises(ModelError, match=said):
        take(folder, tmp_path / "run", tiny_models)
    assert not (tmp_path / "run").exists()


def test_a_pointer_in_place_of_a_file(folder, tiny_models, tmp_path) -> None:
    (folder / "Bert_ft" / "adapter_model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\n"
    )
    with pytest.raises(ModelError, match="no safetensors file.*git lfs pull"):
        take(folder, tmp_path / "run", tiny_models)
    shutil.copy(folder / "Bert_ft" / "adapter_model.safetensors", folder / "projector.pt")
    with pytest.raises(
        ModelError, match="projector.pt is not a file of torch.save's.*git lfs pull"
    ):
        read_released(folder)


def test_nothing_is_overwritten_unasked(folder, tiny_models, tmp_path) -> None:
    first = take(folder, tmp_path / "run", tiny_models)
    with pytest.raises(DataError, match="exists.*--force"):
        take(folder, tmp_path / "run", tiny_models)
    take(folder, tmp_path / "run", tiny_models, force=True)
    assert read_manifest(tmp_path / "run") == first


@pytest.mark.real
def test_real_small_models_imported_exported_and_merged(tmp_path) -> None:
    """The same scores from the original, the imported run, and the bundle with everything merged
    in."""
    from tests.tiny import make_released

    from logllm.methods.bundle import Bundle, export_run

    layout, small = tmp_path / "ft_model_bgl", Recipe.load("small").model
    original = make_released(layout, small)
    take(layout, tmp_path / "run", small)
    recipe = read_recipe(tmp_path / "run")
    wanted = sigmoid(
        Scorer(
            Engine(original, section=recipe.detect),
            assemble(recipe.model)[1],
            max_tokens=recipe.model.encoder.max_tokens,
        ).score(SESSIONS, MESSAGES)
    )
    assert np.ptp(wanted) > 1e-4
    np.testing.assert_allclose(
        Detector.load(tmp_path / "run").score(SESSIONS, MESSAGES), wanted, atol=1e-6, rtol=0
    )
    export_run(tmp_path / "run", tmp_path / "whole", bundle=Bundle(merged=True))
    np.testing.assert_allclose(
        Detector.load(tmp_path / "whole").score(SESSIONS, MESSAGES), wanted, atol=1e-4, rtol=0
    )
