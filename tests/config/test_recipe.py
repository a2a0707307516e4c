"""Recipes: packaged, one's own, overridden; mistakes named."""

import pytest

from logllm.config.recipe import Recipe, packaged
from logllm.errors import RecipeError


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_recipe_reads_back(name, tmp_path) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.title
    (tmp_path / "copy.toml").write_text(recipe.toml())
    assert Recipe.load(tmp_path / "copy.toml") == recipe


def test_the_papers_settings() -> None:
    """paper.md, section 1."""
    for name in ("hdfs", "bgl", "liberty", "thunderbird"):
        recipe = Recipe.load(name)
        encoder, decoder, train = recipe.model.encoder, recipe.model.decoder, recipe.train
        assert (encoder.lora.r, encoder.lora.alpha, encoder.lora.dropout) == (4, 32, 0.01)
        assert (decoder.lora.r, decoder.lora.alpha, decoder.lora.dropout) == (8, 16, 0.1)
        assert (encoder.pooling, encoder.max_tokens, encoder.quantize, decoder.quantize) == ("pooler", 100, "nf4", "nf4")
        assert (train.objective, train.oversample, train.batch, train.micro_batch, train.draw) == ("answer", 0.3, 16, 4, "sessions")
        assert [(stage.lr, stage.epochs, stage.max_sessions) for stage in train.stages] == [
            (5e-4, None, 1000),
            (5e-5, 2, None),
            (5e-5, 2, None),
        ]
        assert all((stage.clip, stage.message_dropout, stage.shuffle_messages) == (None, 0.0, False) for stage in train.stages)
        assert (recipe.data.sessions.by, recipe.data.split.by) == (("key", "random") if name == "hdfs" else ("count", "time"))
        assert (recipe.data.sessions.max_messages, recipe.data.sessions.long, recipe.data.split.validation) == (128, "cut", 0)


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
        ('extends = "small"\nname = "x"\n[train]\nbatchh = 3', "unknown key 'train.batchh'; the nearest known one is 'batch'"),
        ('extends = "small"\nname = "x"\n[train]\nbatch = 10\nmicro_batch = 4', "not a multiple of micro_batch"),
        ('extends = "small"\nname = "x"\n[[train.stages]]\ntrains = ["encodr"]\nlr = 1.0\nepochs = 1', "encodr"),
        ('extends = "small"\nname = "x"\n[[train.stages]]\ntrains = ["encoder"]\nlr = 1.0', "one of epochs and max_sessions"),
        ('extends = "small"\nname = "x"\n[train]\nseed = "seven"', "train.seed: .*found 'seven'"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path, monkeypatch, text, said) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(RecipeError, match=said):
        Recipe.load("own.toml")


@pytest.mark.parametrize("override", ["train.stages.9.lr=1", "train.stages.x.lr=1", "train.draw.deeper=1"])
def test_an_override_that_leads_nowhere(override) -> None:
    with pytest.raises(RecipeError, match=f"--set {override}"):
        Recipe.load("small", overrides=[override])
