"""A run directory is what its manifest says, or is refused."""

import json
import shutil

import pytest

from logllm.errors import ModelError
from logllm.model.checkpoint import load_run
from logllm.runs.manifest import read_manifest


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the trained tiny run, to be spoilt."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def test_a_run_holds_what_it_promises(tiny_run) -> None:
    manifest = read_manifest(tiny_run)
    assert manifest["state"] == "done"
    assert {
        "versions",
        "seed",
        "threads",
        "data",
        "base_models",
        "threshold",
        "metrics",
        "files",
    } <= manifest.keys()
    files = {str(file.relative_to(tiny_run)) for file in tiny_run.rglob("*") if file.is_file()}
    assert files == {"manifest.json", "recipe.toml", "steps.jsonl", *manifest["files"]}
    adapter = json.loads((tiny_run / "decoder" / "adapter_config.json").read_text())
    assert sorted(adapter["target_modules"]) == ["q_proj", "v_proj"]


def test_saved_and_loaded_scores_alike(tiny_run, tiny_data) -> None:
    """Loading twice gives the same scores, and not those of the base models."""
    import torch

    from logllm.datasets.prepared import Prepared
    from logllm.model.fast.scorer import Engine, Scorer
    from logllm.model.logllm import assemble
    from logllm.sessions.message_table import rows_of

    prepared = Prepared.load(tiny_data)
    sessions = rows_of(prepared.part("test")["messages"])

    def logits(model, tokenizer, recipe):
        return Scorer(
            Engine(model, section=recipe.detect),
            tokenizer,
            max_tokens=recipe.model.encoder.max_tokens,
        ).score(sessions, prepared.messages)

    model, tokenizer, recipe, _ = load_run(tiny_run)
    again = load_run(tiny_run)
    torch.manual_seed(1)
    fresh, words = assemble(recipe.model)
    assert (logits(model, tokenizer, recipe) == logits(*again[:3])).all()
    assert abs(logits(model, tokenizer, recipe) - logits(fresh, words, recipe)).max() > 1e-3


def test_a_changed_adapter_is_refused(run) -> None:
    with (run / "decoder" / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(ModelError, match=r"files.decoder/adapter_model.safetensors disagrees"):
        load_run(run)


def test_a_missing_projector_is_refused(run) -> None:
    (run / "projector.safetensors").unlink()
    with pytest.raises(ModelError, match=r"files.projector.safetensors disagrees.*missing"):
        load_run(run)


def test_changed_base_weights_are_refused(run) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["base_models"]["encoder"]["sha256"] = "0" * 64
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ModelError, match=r"base_models.encoder disagrees.*restore those weights or train again"
    ):
        load_run(run)


def test_an_unfinished_run_is_refused(run) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "state": "training"}))
    with pytest.raises(ModelError, match="is not finished.*--resume"):
        load_run(run)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is damaged.*train it again"),
        ("{}", "of another kind"),
        ('{"kind": "run"}', "field version"),
    ],
)
def test_a_spoilt_manifest_is_refused(run, content, said) -> None:
    (run / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match=said):
        load_run(run)
