"""Exported bundles: they score as the run does, tell what it is, and tell nothing of this
machine."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.errors import DataError, ModelError
from logllm.evaluate.evaluation import evaluate
from logllm.methods.bundle import Bundle, export_run
from logllm.methods.train import train
from logllm.model.checkpoint import hashes, load_run, save_model
from logllm.runs.manifest import read_manifest, read_recipe, write_manifest, write_recipe
from logllm.sessions.message_table import rows_of


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory) -> Path:
    """The trained tiny run, its adapters made to matter."""
    import torch

    out = shutil.copytree(tiny_run, tmp_path_factory.mktemp("export") / "tiny")
    model, _, recipe, manifest = load_run(out)
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    save_model(out, model, section=recipe.model)
    write_manifest(out, {**manifest, "files": hashes(out)})
    return out


@pytest.fixture
def elsewhere(tiny_models, tmp_path_factory, monkeypatch) -> Path:
    """Another machine: the base models are in a folder of their own, called by their names."""
    place = tmp_path_factory.mktemp("elsewhere")
    for section in (tiny_models.encoder, tiny_models.decoder):
        shutil.copytree(section.weights, place / Path(section.weights).name)
    monkeypatch.setenv("LOGLLM_WEIGHTS", str(place))
    monkeypatch.chdir(place)
    return place


def scores(run: Path, data: Path) -> np.ndarray:
    prepared = Prepared.load(data)
    return Detector.load(run).score(rows_of(prepared.part("test")["messages"]), prepared.messages)


def test_a_bundle_of_adapters_scores_as_the_run(run, tiny_data, tmp_path, elsewhere) -> None:
    manifest = export_run(run, tmp_path / "bundle", bundle=Bundle())
    assert manifest["base_models"]["encoder"] == {
        **read_manifest(run)["base_models"]["encoder"],
        "weights": "tiny-bert",
    }
    wanted = scores(run, tiny_data)
    np.testing.assert_array_equal(scores(tmp_path / "bundle", tiny_data), wanted)
    assert np.ptp(wanted) > 1e-3
    assert Detector.load(tmp_path / "bundle").model == Detector.load(run).model


@pytest.mark.real
@pytest.mark.parametrize("merged", [False, True], ids=["adapters", "merged"])
def test_a_bundle_of_several_minds_holds_them_all(
    tiny_recipe, tiny_data, tmp_path, elsewhere, merged
) -> None:
    stages = tuple(
        stage.model_copy(update={"epochs": None, "max_sessions": 16})
        for stage in tiny_recipe.train.stages
    )
    recipe = tiny_recipe.model_copy(
        update={"method": "both", "train": tiny_recipe.train.model_copy(update={"stages": stages})}
    )
    train(recipe, tiny_data, out=tmp_path / "run")
    wanted = scores(tmp_path / "run", tiny_data)
    # Lines have no labels.
    assert json.loads((tmp_path / "run" / "weights.json").read_text()) == {
        "logllm": 6.0,
        "words": 1.0,
    }
    manifest = export_run(tmp_path / "run", tmp_path / "bundle", bundle=Bundle(merged=merged))
    assert {Path(name).parts[0] for name in manifest["files"]} >= {
        "words",
        "ends.safetensors",
        "projector.safetensors",
    }
    np.testing.assert_allclose(
        scores(tmp_path / "bundle", tiny_data), wanted, atol=1e-4 if merged else 0, rtol=0
    )
    assert (
        "Learners of words and of lines judge beside them"
        in (tmp_path / "bundle" / "README.md").read_text()
    )


def test_a_merged_bundle_needs_no_base_models(run, tiny_data, tmp_path, monkeypatch) -> None:
    wanted = scores(run, tiny_data)
    manifest = export_run(run, tmp_path / "bundle", bundle=Bundle(merged=True))
    assert manifest["bundle"] == "merged"
    assert not list((tmp_path / "bundle").rglob("adapter*"))
    moved = (tmp_path / "bundle").rename(tmp_path / "moved")
    monkeypatch.delenv("LOGLLM_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)  # where no folder has the base models' names
    np.testing.assert_allclose(scores(moved, tiny_data), wanted, atol=1e-4, rtol=0)


def test_a_changed_file_of_a_merged_bundle_is_refused(run, tmp_path) -> None:
    export_run(run, tmp_path / "bundle", bundle=Bundle(merged=True))
    (tmp_path / "bundle" / "decoder" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"files.decoder/config.json disagrees"):
        load_run(tmp_path / "bundle")


@pytest.mark.parametrize("merged", [False, True])
def test_nothing_of_this_machine_is_in_a_bundle(run, tiny_models, tmp_path, merged) -> None:
    export_run(run, tmp_path / "bundle", bundle=Bundle(merged=merged))
    places = [
        str(tmp_path.parent),
        str(Path(tiny_models.encoder.weights).parent),
        str(run.parent),
        str(Path.home()) + "/",
    ]
    contents = {
        file: file.read_bytes() for file in (tmp_path / "bundle").rglob("*") if file.is_file()
    }
    assert len(contents) > 7
    assert [
        (file.name, place)
        for file, content in contents.items()
        for place in places
        if place.encode() in content
    ] == []


@pytest.fixture(scope="module")
def report(run, tiny_data) -> dict:
    return evaluate(Detector.load(run), tiny_data)


@pytest.fixture
def card(run, report, tmp_path) -> str:
    """The card of a bundle with a report."""
    (tmp_path / "test.json").write_text(json.dumps(report))
    export_run(
        run,
        tmp_path / "bundle",
        bundle=Bundle(license="apache-2.0", reports=(tmp_path / "test.json",)),
    )
    return (tmp_path / "bundle" / "README.md").read_text()


def test_the_card_says_what_it_is_and_how_good(card, run, report, tiny_data) -> None:
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["library_name"], front["license"]) == ("logllm", "apache-2.0")
    assert "base_model" not in front  # folders, not names on the hub
    manifest, prepared = read_manifest(run), Prepared.load(tiny_data)
    assert manifest["data"]["fingerprint"] in card
    train = prepared.manifest["parts"]["train"]
    assert f"train: {train['sessions']:,} sessions, {train['anomalous']:,} anomalous" in card
    row = next(line for line in card.splitlines() if line.startswith("| test: all"))
    assert f"{report['f1']:.3f} (" in row
    assert [cell.strip() for cell in row.split("|")[-5:-1]] == [
        str(report[name]) for name in ("tp", "fp", "tn", "fn")
    ]
    assert (
        f"{manifest['threshold']['value']:.4g} are called anomalous"
        f" ({manifest['threshold']['how']})" in card
    )
    assert "set `LOGLLM_WEIGHTS`" in card
    assert "2411.08561" in card
    assert re.search(r"`tiny-bert` and `tiny-llama`: their licences hold too", card)


def test_the_card_of_small_models_names_their_home(run, tmp_path) -> None:
    """Hub names in the front matter come from the recipe's names; no weights are needed to copy
    adapters."""
    copy = shutil.copytree(run, tmp_path / "run")
    recipe = read_recipe(copy)
    named = {"encoder": "all-MiniLM-L6-v2", "decoder": "somebody/decoder"}
    parts = {
        part: getattr(recipe.model, part).model_copy(update={"weights": name})
        for part, name in named.items()
    }
    write_recipe(copy, recipe.model_copy(update={"model": recipe.model.model_copy(update=parts)}))
    export_run(copy, tmp_path / "bundle", bundle=Bundle())
    front = yaml.safe_load((tmp_path / "bundle" / "README.md").read_text().split("---\n")[1])
    assert front["base_model"] == ["sentence-transformers/all-MiniLM-L6-v2", "somebody/decoder"]
    assert front["base_model_relation"] == "adapter"


def test_the_card_of_merged_halves_says_that_merging_rounds(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    recipe = read_recipe(copy)
    decoder = recipe.model.decoder.model_copy(update={"dtype": "bfloat16"})
    write_recipe(
        copy,
        recipe.model_copy(update={"model": recipe.model.model_copy(update={"decoder": decoder})}),
    )
    for merged, said in ((True, True), (False, False)):
        export_run(copy, tmp_path / "bundle", bundle=Bundle(merged=merged), force=True)
        assert (
            "Merging rounded to bfloat16" in (tmp_path / "bundle" / "README.md").read_text()
        ) is said


def test_a_report_of_another_run_is_refused(run, tmp_path) -> None:
    report = {
        "model": "other@12345678",
        "split": "test",
        "average_precision": 1.0,
        "intervals": {},
        "threshold": 0.5,
    }
    (tmp_path / "test.json").write_text(json.dumps(report))
    with pytest.raises(DataError, match="a report of other@12345678, not of tiny@"):
        export_run(run, tmp_path / "bundle", bundle=Bundle(reports=(tmp_path / "test.json",)))
    manifest = read_manifest(run)
    own = {
        "model": f"tiny@{manifest['files']['projector.safetensors'][:8]}",
        "threshold": manifest["threshold"]["value"] / 2,
    }
    (tmp_path / "test.json").write_text(json.dumps(report | own))
    with pytest.raises(
        DataError, match="was made at the threshold .*, and the run's is .*: evaluate it again"
    ):
        export_run(run, tmp_path / "bundle", bundle=Bundle(reports=(tmp_path / "test.json",)))
    (tmp_path / "test.json").write_text("[]")
    with pytest.raises(DataError, match="is no report: write it with logllm evaluate --json"):
        export_run(run, tmp_path / "bundle", bundle=Bundle(reports=(tmp_path / "test.json",)))
    assert not (tmp_path / "bundle").exists()


def test_4_bit_weights_are_not_merged_into(run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    recipe = read_recipe(copy)
    decoder = recipe.model.decoder.model_copy(update={"quantize": "nf4"})
    write_recipe(
        copy,
        recipe.model_copy(update={"model": recipe.model.model_copy(update={"decoder": decoder})}),
    )
    with pytest.raises(ModelError, match="4-bit weights.*export without --merged"):
        export_run(copy, tmp_path / "bundle", bundle=Bundle(merged=True))
    assert not (tmp_path / "bundle").exists()
    assert export_run(copy, tmp_path / "bundle", bundle=Bundle())["bundle"] == "adapters"


def test_a_bundle_is_not_exported_again_and_not_overwritten(run, tmp_path) -> None:
    export_run(run, tmp_path / "bundle", bundle=Bundle())
    with pytest.raises(ModelError, match="is an exported bundle already"):
        export_run(tmp_path / "bundle", tmp_path / "again", bundle=Bundle())
    with pytest.raises(DataError, match="exists.*--force"):
        export_run(run, tmp_path / "bundle", bundle=Bundle())
    with pytest.raises(ModelError, match="is the run itself: name another folder"):
        export_run(run, run, bundle=Bundle(), force=True)
    assert (
        export_run(run, tmp_path / "bundle", bundle=Bundle(merged=True), force=True)["bundle"]
        == "merged"
    )


def test_the_card_of_the_run_that_comes_with_logllm(run, report, tmp_path) -> None:
    """It is used without being fetched, and its figures are of several logs."""
    shutil.copytree(run, tmp_path / "postgres")
    manifest = {**read_manifest(run), "name": "postgres"}
    write_manifest(tmp_path / "postgres", manifest)
    reports = []
    for name in ("test.log.xz", "changed.log.xz"):
        reports.append(tmp_path / f"{name}.json")
        model = f"postgres@{manifest['files']['projector.safetensors'][:8]}"
        reports[-1].write_text(json.dumps({**report, "model": model, "log": name}))
    export_run(
        tmp_path / "postgres",
        tmp_path / "bundle",
        bundle=Bundle(license="apache-2.0", reports=tuple(reports)),
    )
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "    logllm detect postgresql.log\n" in card
    assert "hf download" not in card
    assert "data set `postgres` that comes with logllm" in card
    assert f"| test (changed.log.xz): all {report['sessions']:,} |" in card
