"""`logllm reproduce`, from its options to a table, with tiny models."""

import json
import shutil

import pytest

from logllm.config.recipe import Recipe
from logllm.evaluate.tables.cell_data import given_data
from logllm.evaluate.tables.grid import Asked
from logllm.evaluate.tables.process import Spent
from logllm.evaluate.tables.running import opened
from logllm.evaluate.tables.running import run as work


@pytest.fixture
def here(logllm):
    """Runs commands of the cells in this process: those of their own would pay for their imports
    each time."""

    def run(arguments, log) -> Spent:
        done = logllm(*arguments)
        return Spent(0.1, 10**8, done.code, done.out, done.err.strip().rpartition("\n")[2])

    return run


@pytest.mark.real
def test_two_cells_of_the_table_of_stages(logllm, here, tiny_data, tiny_models, tmp_path) -> None:
    """They are worked off here; then the command line, with options that mean the same, finds them
    done."""
    weights = [
        f"model.{part}.weights={getattr(tiny_models, part).weights}"
        for part in ("encoder", "decoder")
    ]
    options = [
        "--data",
        f"made={tiny_data}",
        "--out",
        tmp_path,
        "--recipe",
        "tiny",
        "--set",
        weights[0],
        "--set",
        weights[1],
        "--sessions",
        24,
    ]
    recipe = Recipe.load("tiny", overrides=weights)
    asked = Asked("stages", (given_data(f"made={tiny_data}"),), recipe, sessions=24)
    worked = work(
        opened(asked, tmp_path, command="as in the test"),
        only="3/",
        watch=lambda text: None,
        runner=here,
    )
    done = logllm("reproduce", "stages", *options, "--only", "3/", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["rows"] == json.loads(json.dumps(worked["rows"]))
    found = json.loads(done.out)
    assert found["missing"] == 3
    assert [
        (cell["variant"], cell["state"]) for cell in found["cells"] if cell["state"] == "done"
    ] == [
        ("only 3", "done"),
        ("without 3", "done"),
    ]
    cell = next(cell for cell in found["cells"] if cell["variant"] == "without 3")
    assert cell["stages"] == [8, 8, 8]
    assert cell["tp"] + cell["fp"] + cell["tn"] + cell["fn"] == cell["sessions"] == 24
    assert cell["intervals"].keys() == {"precision", "recall", "f1", "average_precision"}
    assert cell["versions"]["torch"]
    assert str(tmp_path) not in done.out
    listed = logllm("reproduce", "stages", *options, "--list")
    assert "2 of 5 done" in listed.err

    run = tmp_path / "cells" / cell["cell"] / "run"
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["state"], manifest["seed"]) == ("done", 0)
    shutil.rmtree(run)  # a finished cell asks for nothing more
    again = logllm("reproduce", "stages", *options, "--only", "3/", "--json")
    assert json.loads(again.out)["rows"] == found["rows"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["beta", "--betas", "0,x"], "write numbers separated by commas"),
        (["beta", "--betas", "0,1.5"], "oversample"),
        (["stages", "--baselines", "cnn"], "leave --baselines out"),
        (["everything"], "there is no table"),
    ],
)
def test_a_wrong_option_is_one_line(logllm, tiny_data, tmp_path, options, said) -> None:
    done = logllm("reproduce", *options, "--data", tiny_data, "--out", tmp_path)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
