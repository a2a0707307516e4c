"""Recipes: packaged, one's own, overridden; mistakes named."""

import re
from collections.abc import Iterator

import pytest

from logllm.config.recipe import Recipe, packaged
from logllm.config.section import Section
from logllm.errors import RecipeError


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_recipe_reads_back(name, tmp_path) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.title
    (tmp_path / "copy.toml").write_text(recipe.toml())
    assert Recipe.load(tmp_path / "copy.toml") == recipe


def test_brief_and_nano_are_small_asked_in_fewer_words() -> None:
    small, brief, nano = (Recipe.load(name) for name in ("small", "brief", "nano"))
    question = {
        "head": "Is this sequence of system log messages normal or anomalous?",
        "tail": "",
        "normal": " normal",
        "anomalous": " anomalous",
    }
    assert brief.model.prompt.model_dump() == nano.model.prompt.model_dump() == question
    assert (small.model.decoder.layers, brief.model.decoder.layers) == (None, None)
    assert 1 <= nano.model.decoder.layers < 30
    assert brief.model.model_copy(update={"prompt": small.model.prompt}) == small.model
    assert nano.model.model_copy(update={"decoder": brief.model.decoder}) == brief.model
    assert nano.model.decoder.model_copy(update={"layers": None}) == brief.model.decoder
    assert {recipe.train.objective for recipe in (small, brief, nano)} == {"verdict"}


@pytest.mark.parametrize("layers", ["0", "-1", "1.5", "'all'"])
def test_layers_are_a_whole_number_from_one(layers) -> None:
    with pytest.raises(RecipeError, match="model.decoder.layers"):
        Recipe.load("small", overrides=[f"model.decoder.layers={layers}"])


def test_overrides_are_toml_or_text() -> None:
    lora = ["model.decoder.lora.targets=['q', 'v']", "model.encoder.lora.r=16"]
    sets = ["train.seed=7", "model.encoder.pooling=pooler", "train.stages.0.lr=1e-5", *lora]
    recipe = Recipe.load("small", overrides=sets)
    assert recipe.train.seed == 7
    assert recipe.model.encoder.pooling == "pooler"
    assert recipe.train.stages[0].lr == 1e-5
    assert (recipe.model.decoder.lora.targets, recipe.model.decoder.lora.r) == (("q", "v"), 8)
    assert (recipe.model.encoder.lora.r, recipe.model.encoder.lora.alpha) == (16, 32)


def test_own_recipe_extends_a_packaged_one(tmp_path) -> None:
    (tmp_path / "own.toml").write_text('extends = "small"\nname = "own"\n[train]\nseed = 3\n')
    own, small = Recipe.load(tmp_path / "own.toml"), Recipe.load("small")
    assert own.train.stages == small.train.stages
    assert (own.name, own.train.seed) == ("own", 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not TOML"),
        ('extends = "own.toml"\nname = "x"', "extends itself"),
        ('extends = 3\nname = "x"', "extends takes one recipe's name"),
        (
            'extends = "small"\nname = "x"\n[train]\nbatchh = 3',
            "unknown key 'train.batchh'; the nearest known one is 'batch'",
        ),
        (
            'extends = "small"\nname = "x"\n[train]\nbatch = 10\nmicro_batch = 4',
            "not a multiple of micro_batch",
        ),
        (
            (
                'extends = "small"\nname = "x"\n[[train.stages]]\ntrains = ["encodr"]\nlr ='
                " 1.0\nepochs = 1"
            ),
            "encodr",
        ),
        (
            'extends = "small"\nname = "x"\n[[train.stages]]\ntrains = ["encoder"]\nlr = 1.0',
            "one of epochs and max_sessions",
        ),
        (
            'extends = "small"\nname = "x"\n[train]\nseed = "seven"',
            "train.seed: takes a whole number .found 'seven'",
        ),
        (
            'extends = "small"\nname = "x"\n[train]\nseed = -1',
            r"train.seed: must be at least 0 \(found -1\)",
        ),
        (
            'extends = "small"\nname = "x"\n[train]\nseed = 18446744073709551616',
            "train.seed: must be less than 18446744073709551616",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path, monkeypatch, text, said) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(RecipeError, match=said):
        Recipe.load("own.toml")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.seed=seven", "train.seed: takes a whole number (found 'seven')"),
        ("train.seed=1.5", "train.seed: takes a whole number (found 1.5)"),
        ("train.batch=0", "train.batch: must be at least 1 (found 0)"),
        ("train.oversample=1.5", "train.oversample: must be less than 1 (found 1.5)"),
        ("train.stages.0.lr=0", "train.stages.0.lr: must be more than 0 (found 0)"),
        ("train.stages.0.lr=high", "train.stages.0.lr: takes a number (found 'high')"),
        ("train.stages.0.insert=2", "train.stages.0.insert: must be at most 1 (found 2)"),
        ("train.draw=all", "train.draw: takes 'sessions', 'distinct' or 'roots' (found 'all')"),
        ("train.drop_last=maybe", "train.drop_last: takes true or false (found 'maybe')"),
        ("train.stages=3", "train.stages: takes a list (found 3)"),
        (
            "train.stages=[]",
            "method logllm needs stages: say extends = 'small', or write train.stages",
        ),
        ("train.stages=[{}]", "train.stages.0.trains: is missing (and 1 more)"),
        ("train.stages.0.epochs=2", "train.stages.0: a stage takes one of epochs and max_sessions"),
        ("model=3", "model: is a section, and takes a table of settings (found 3)"),
        ("model.encoder.weights=3", "model.encoder.weights: takes a text (found 3)"),
    ],
)
def test_what_does_not_fit_is_said_in_our_words(override, said) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load("small", overrides=[override])
    assert str(caught.value).removeprefix("recipe small: ") == said


def test_no_kind_of_problem_is_told_in_pydantic_s_words() -> None:
    """Whatever a setting may be wrong in: the sections' own fields decide which kinds there are."""

    def constraints(section: type[Section]) -> Iterator[object]:
        for field in section.model_fields.values():
            yield from field.metadata
            inner = [
                each
                for each in (field.annotation, *getattr(field.annotation, "__args__", ()))
                if isinstance(each, type)
            ]
            for each in inner:
                if issubclass(each, Section):
                    yield from constraints(each)

    used = {type(constraint).__name__ for constraint in constraints(Recipe)}
    # What a plain validator raises is in our words already.
    assert used <= {"Ge", "Gt", "Le", "Lt", "MinLen", "MaxLen", "PlainValidator"}


@pytest.mark.parametrize("override", ["train.stages.0.crop=false", "train.stages[0].crop=false"])
def test_a_stage_is_named_by_its_number(override) -> None:
    few = Recipe.load("few")
    assert few.train.stages[0].crop
    assert not Recipe.load("few", overrides=[override]).train.stages[0].crop


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "train.stages.crop=false",
            (
                "train.stages is a list with the numbers 0 alone: write, for example, --set"
                " train.stages.0.crop=false"
            ),
        ),
        (
            "train.stages.7.crop=false",
            (
                "train.stages is a list with the numbers 0 alone: write, for example, --set"
                " train.stages.0.crop=false"
            ),
        ),
        ("train.stages.first.crop=false", "write, for example, --set train.stages.0.crop=false"),
    ],
)
def test_an_error_about_a_stage_names_what_works(override, said) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)) as caught:
        Recipe.load("few", overrides=[override])
    example = str(caught.value).rpartition("--set ")[2]
    assert not Recipe.load("few", overrides=[example]).train.stages[0].crop


@pytest.mark.parametrize(
    "override", ["train.stages.9.lr=1", "train.stages.x.lr=1", "train.draw.deeper=1"]
)
def test_an_override_that_leads_nowhere(override) -> None:
    with pytest.raises(RecipeError, match=f"--set {override}"):
        Recipe.load("small", overrides=[override])


def test_a_recipe_names_its_method(tmp_path) -> None:
    assert Recipe.load("small").method == "logllm"
    text = 'name = "own"\nmethod = "new-words"\n[options]\nmost = 3\nwords = ["a", "b"]\n'
    (tmp_path / "own.toml").write_text(text)
    own = Recipe.load(tmp_path / "own.toml", overrides=["options.most=4", "train.seed=2"])
    assert (own.method, own.options, own.train.seed) == (
        "new-words",
        {"most": 4, "words": ["a", "b"]},
        2,
    )
    assert own.train.stages == ()
    (tmp_path / "copy.toml").write_text(own.toml())
    assert Recipe.load(tmp_path / "copy.toml") == own


def test_method_and_options_leave_the_settings_of_older_recipes_alone() -> None:
    """What a recipe sets is what a cell of the paper's tables is found by: those that are done stay
    done."""
    assert set(Recipe.load("small").model_dump(exclude_defaults=True)) == {"name", "title", "train"}
    first, second = (Recipe.of_method("unseen", overrides=[f"options.a={n}"]) for n in (1, 2))
    assert (first.options, second.options, Recipe.of_method("unseen").options) == (
        {"a": 1},
        {"a": 2},
        {},
    )


def test_a_method_alone_is_a_recipe() -> None:
    recipe = Recipe.of_method("tree-counts", overrides=["train.seed=7"])
    assert (recipe.name, recipe.method, recipe.train.seed) == ("tree-counts", "tree-counts", 7)
    assert recipe.model == Recipe.of_method("unseen").model
    with pytest.raises(
        RecipeError, match="method unseen: unknown key 'train.sed'; the nearest .* is 'seed'"
    ):
        Recipe.of_method("unseen", overrides=["train.sed=7"])
    with pytest.raises(RecipeError, match="no recipe 'tree-counts'"):
        Recipe.load("tree-counts")


@pytest.mark.parametrize(
    "text", ['name = "x"', 'extends = "small"\nname = "x"\n[train]\nstages = []']
)
def test_logllm_needs_stages(tmp_path, text) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(RecipeError, match="method logllm needs stages"):
        Recipe.load(tmp_path / "own.toml")
