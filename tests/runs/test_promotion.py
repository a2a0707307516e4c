"""A newer run in a run's place, and the former one again."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from logllm.detect.detector import Detector
from logllm.detect.threshold import current, given, write
from logllm.errors import ModelError
from logllm.methods.train import train
from logllm.runs.manifest import find_run
from logllm.runs.promotion import (
    Promotion,
    current_run,
    home_of,
    pointer_of,
    read_promotion,
    write_promotion,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def runs(tiny_run, tmp_path) -> Path:
    """A run `app`, and a copy of it beside, `app.2`, with another threshold."""
    for name in ("app", "app.2"):
        shutil.copytree(tiny_run, tmp_path / name)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
    write(tmp_path / "app.2", given(0.25, because="another one"))
    return tmp_path


def promoted(run: Path) -> Promotion:
    promotion = Promotion(run.name).noted({"promoted": True}).to("app.2", now=NOW)
    write_promotion(run, promotion)
    return promotion


def test_a_run_of_its_own_is_its_own_folder(runs) -> None:
    assert find_run(runs / "app") == runs / "app"
    assert read_promotion(runs / "app") is None
    assert find_run(Path()) == Path()


def test_the_promoted_run_judges_where_the_run_is_named(runs, monkeypatch) -> None:
    promotion = promoted(runs / "app")
    assert (promotion.current, promotion.former, promotion.lineage) == (
        "app.2",
        "app",
        ("app.2", "app"),
    )
    assert read_promotion(runs / "app") == promotion
    assert Detector.load(runs / "app").model.startswith("app.2@")
    assert current(runs / "app").value == 0.25
    assert Detector.load(runs / "app.2").model == Detector.load(runs / "app").model
    monkeypatch.chdir(runs)
    assert find_run("app") == Path("app.2")
    write(Path("app"), given(0.75, because="too many alarms"))
    assert (current(Path("app.2")).value, current(Path("app")).value) == (0.75, 0.75)


def test_a_roll_back_is_the_former_run(runs) -> None:
    run = runs / "app"
    back = promoted(run).to("app.3", now=NOW).back(run=run, now=NOW)
    assert back.lineage == ("app.2", "app")
    write_promotion(run, back.back(run=run, now=NOW))
    assert find_run(run) == run
    assert find_run(find_run(run)) == run
    with pytest.raises(ModelError, match="no former run to go back to"):
        read_promotion(run).back(run=run, now=NOW)


def test_gates_are_remembered_up_to_a_number(runs) -> None:
    promotion = Promotion("app")
    for number in range(60):
        promotion = promotion.noted({"number": number})
    write_promotion(runs / "app", promotion)
    gates = read_promotion(runs / "app").gates
    assert (len(gates), gates[0]["number"], gates[-1]["number"]) == (50, 59, 10)
    assert find_run(runs / "app") == runs / "app"


def test_a_folder_in_anothers_place_knows_its_home(runs, monkeypatch) -> None:
    promoted(runs / "app")
    assert home_of(runs / "app.2") == runs / "app"
    assert home_of(runs / "app") is None
    monkeypatch.chdir(runs)
    assert home_of(Path("app.2")) == Path("app")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"version": 2, "current": "app", "earlier": [], "gates": []}',
        '{"version": 1, "current": "../app", "earlier": [], "gates": []}',
        '{"version": 1, "current": "app", "earlier": ["/etc"], "gates": []}',
        '{"version": 1, "current": "", "earlier": [], "gates": []}',
        '{"version": 1, "current": "app", "earlier": 3, "gates": []}',
    ],
    ids=["empty", "no object", "newer", "elsewhere", "absolute", "nameless", "no list"],
)
def test_a_damaged_pointer_is_an_error_that_says_what_to_do(runs, content) -> None:
    pointer_of(runs / "app").write_text(content)
    with pytest.raises(ModelError, match="delete it to let the run itself judge again"):
        find_run(runs / "app")


def test_a_promoted_run_that_is_gone_is_an_error(runs) -> None:
    promoted(runs / "app")
    shutil.rmtree(runs / "app.2")
    with pytest.raises(ModelError, match="--roll-back"):
        current_run(runs / "app")


def test_nobody_trains_over_a_run_in_whose_place_another_one_stands(
    runs, tiny_recipe, tiny_data
) -> None:
    promoted(runs / "app")
    before = (runs / "app" / "manifest.json").read_bytes()
    with pytest.raises(
        ModelError, match=r"app.2 stands in the place of .*delete .*app.current.json"
    ):
        train(tiny_recipe, tiny_data, out=runs / "app", force=True)
    assert (runs / "app" / "manifest.json").read_bytes() == before
