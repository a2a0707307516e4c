"""Methods by name: logllm's own, and those of other packages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logllm.config.recipe import Recipe
from logllm.errors import ModelError, RecipeError
from logllm.methods.checks import check_method
from logllm.methods.contract import Needs, Workplace
from logllm.methods.registry import entry, make, names, recipe_for

EXAMPLE = Path(__file__).parents[2] / "docs" / "example_method"
GOOD = '''
from logllm.methods.unseen import Unseen

def old_news(recipe, workplace):
    """what is not new.

    Not shown."""
    return Unseen(recipe, workplace)

class Named(Unseen):
    """a class will do."""

def raising(recipe, workplace):
    raise ValueError("no such lamp\\nsecond line")

number = 3
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a made-up package: a module and its entry points."""

    def install(name: str, text: str, **points: str) -> None:
        home = tmp_path / name
        info = home / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (home / f"{name}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"{point.replace('_', '-')} = {value}" for point, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[logllm.methods]", *lines, ""]))
        monkeypatch.syspath_prepend(home)

    return install


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RecipeError, match="nearest is 'deeplog'") as error:
        entry("deplog")
    assert all(name in str(error.value) for name in names())


def test_an_entry_says_what_and_whence() -> None:
    assert entry("deeplog")[:3] == (
        "LSTM that predicts the next event of normal sessions",
        "DeepLog, Du et al. 2017",
        Needs.NOTHING,
    )
    assert names()[0] == "logllm"


def test_a_name_is_a_recipe_a_file_or_a_method(tmp_path) -> None:
    assert recipe_for("small") == Recipe.load("small")
    assert recipe_for("small", overrides=["train.seed=4"]).train.seed == 4
    recipe = recipe_for("tree-counts", overrides=["train.seed=4"])
    assert (recipe.name, recipe.method, recipe.train.seed) == ("tree-counts", "tree-counts", 4)
    (tmp_path / "own.toml").write_text('name = "own"\nmethod = "unseen"\n')
    assert recipe_for(str(tmp_path / "own.toml")).method == "unseen"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("smal", "small"),
        ("tree-count", "tree-counts"),
        ("decision tree", "tree-counts"),
        ("LSTM", "deeplog"),
    ],
)
def test_a_name_of_neither_kind_gets_the_nearest_of_both(name, near) -> None:
    with pytest.raises(
        RecipeError, match=f"no recipe or method '{name}': the nearest is '{near}'"
    ) as error:
        recipe_for(name)
    assert "a recipe (" in str(error.value)
    assert "a method (" in str(error.value)


def test_logllm_alone_is_no_recipe() -> None:
    with pytest.raises(RecipeError, match="method logllm needs stages: say extends = 'small'"):
        recipe_for("logllm")


def test_options_that_nobody_reads_are_refused() -> None:
    recipe = Recipe.of_method("unseen", overrides=["options.most=3"])
    with pytest.raises(RecipeError, match="'unseen' has no options, recipe unseen sets most"):
        make("unseen", recipe, workplace=Workplace())


def test_methods_of_other_packages_are_found(package, tmp_path) -> None:
    package("lamps", GOOD, old_news="lamps:old_news", named="lamps:Named")
    assert names()[-2:] == ["named", "old-news"]
    assert entry("old-news")[:3] == ("what is not new.", "lamps 1.2", None)
    assert entry("named")[:3] == ("a class will do.", "lamps 1.2", Needs.NOTHING)
    recipe = recipe_for("named", overrides=["options.most=3"])
    assert make("named", recipe, workplace=Workplace()).needs is Needs.NOTHING
    check_method(lambda recipe, workplace: make("old-news", recipe, workplace=workplace), tmp_path)


def test_a_broken_package_is_named_and_breaks_nobody_else(package) -> None:
    package("shards", "import nowhere", broken="shards:Method", other="shards:Other")
    package(
        "lamps",
        GOOD,
        named="lamps:Named",
        raising="lamps:raising",
        number="lamps:number",
        missing="lamps:nothing",
    )
    assert {"broken", "named", "unseen"} <= set(names())
    said = {
        "broken": (
            "method 'broken' of shards 1.2 cannot be loaded: shards:Method: No module named"
            " 'nowhere'"
        ),
        "missing": "method 'missing' of lamps 1.2 cannot be loaded: lamps:nothing",
        "number": (
            "method 'number' of lamps 1.2 cannot be made: lamps:number is no class and no function"
        ),
        "raising": (
            "method 'raising' of lamps 1.2 cannot be made: lamps:raising: no such lamp; install"
            " another version"
        ),
    }
    for name, text in said.items():
        with pytest.raises(ModelError, match=text):
            make(name, recipe_for(name), workplace=Workplace())
    for name in ("named", "unseen"):
        assert make(name, recipe_for(name), workplace=Workplace()).needs is Needs.NOTHING


def test_a_name_means_one_method(package) -> None:
    package("lamps", GOOD, named="lamps:Named", unseen="lamps:Named")
    assert names().count("unseen") == 1
    with pytest.raises(
        RecipeError, match="'unseen' is brought by logllm and by lamps 1.2: uninstall one"
    ):
        entry("unseen")
    assert entry("named").what == "a class will do."
    package("torches", GOOD, named="torches:Named")
    with pytest.raises(RecipeError, match="'named' is brought by torches 1.2 and by lamps 1.2"):
        entry("named")
    assert entry("tree-counts").needs is Needs.SESSIONS


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The example of the documentation, installed where nothing else is."""
    target = tmp_path_factory.mktemp("installed")
    options = [
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
    ]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", target, EXAMPLE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def with_example(installed: Path, program: str) -> str:
    """What a program writes in a process that has the example."""
    place = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": place},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_is_found_fitted_and_loaded_by_its_name(installed, tmp_path) -> None:
    out = with_example(
        installed,
        "import json, sys\nfrom pathlib import Path\nimport polars as pl, numpy as np\nfrom"
        " logllm.methods.contract import Workplace\nfrom logllm.methods.registry import entry,"
        " make, names, recipe_for\nrecipe = recipe_for('new-words',"
        " overrides=['options.ignore=[\"<*>\"]'])\nmethod, loaded = (make('new-words', recipe,"
        " workplace=Workplace()) for _ in range(2))\nmessages = pl.Series(['file opened', 'replica"
        " lost at <*>', 'file lost'])\nmethod.fit([np.array([0])], messages, labels=None,"
        " line_labels=None, seed=0)\nfolder ="
        f" Path({str(tmp_path)!r})\nmethod.save(folder)\nloaded.load(folder)\nscores ="
        " loaded.score([np.array([0]), np.array([1]), np.array([2, 0])],"
        " messages)\nprint(json.dumps(['new-words' in names(), *entry('new-words')[:3],"
        " scores.tolist(), 'torch' in sys.modules]))\n",
    )
    found, what, source, needs, scores, torch = json.loads(out)
    assert (found, source, needs, torch) == (True, "logllm-new-words 1.0", "nothing", False)
    assert what == "share of a session's words that no normal session in training had."
    assert scores == [0.0, 0.75, 1 / 3]


def test_the_example_keeps_the_contract(installed, tmp_path) -> None:
    with_example(
        installed,
        "from pathlib import Path\n"
        "from logllm.methods.checks import check_method\n"
        "from new_words import NewWords\n"
        f"check_method(NewWords, Path({str(tmp_path)!r}))\n",
    )


@pytest.mark.real
def test_the_example_is_trained_and_judges_as_every_other_method(
    installed, tiny_data, tmp_path
) -> None:
    log, run = tiny_data.parent / "app.jsonl", tmp_path / "run"
    out = with_example(
        installed,
        f"import sys\nfrom logllm.cli.app import app\ndata, run, log = {str(tiny_data)!r},"
        f" {str(run)!r}, {str(log)!r}\nfor line in (['train', 'new-words', '--data', data, '--out',"
        " run], ['evaluate', run, '--data', data], ['detect', run, log]):\n    app(line,"
        " standalone_mode=False)\n",
    )
    # The figures of `evaluate` come before the verdicts.
    assert "24 test sessions" in out
    verdicts = [json.loads(line) for line in out.splitlines() if line.startswith('{"session"')]
    assert len(verdicts) == 120
    # Of 120, those that are anomalous.
    assert sum(verdict["score"] > 0 for verdict in verdicts) == 30
    assert json.loads((run / "manifest.json").read_text())["method"] == "new-words"


def test_the_documentation_shows_the_example_as_it_is() -> None:
    page = (EXAMPLE.parent / "extend" / "method.md").read_text(encoding="utf-8")
    code = (EXAMPLE / "new_words.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```\n" in page
