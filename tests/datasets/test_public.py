"""The paper's data sets: its settings for each, and its counts."""

import pytest

from logllm.config.recipe import Recipe
from logllm.datasets.published.public import CATALOG, paper_settings

WINDOWS = {"by": "count", "size": 100, "step": 100}


@pytest.mark.parametrize("name", CATALOG)
def test_paper_mode(name) -> None:
    settings, recipe = paper_settings(CATALOG[name]), Recipe.load(name)
    by_key = {"by": "key", "key_pattern": r"blk_-?\d+"}
    wanted = (by_key if name == "hdfs" else WINDOWS) | {"max_messages": 128, "long": "cut"}
    assert settings.sessions.model_dump().items() >= wanted.items()
    assert settings.split.model_dump() == {
        "by": "random" if name == "hdfs" else "time",
        "test": 0.2,
        "validation": 0.0,
        "seed": 0,
    }
    assert (settings.format.name, settings.format.encoding, settings.mask.rules) == (
        name,
        "latin-1",
        "paper",
    )
    assert (recipe.model.encoder.max_tokens, recipe.model.encoder.pooling) == (100, "pooler")


@pytest.mark.parametrize(
    ("name", "windows"), [("bgl", None), ("liberty", 5_000_000), ("thunderbird", None)]
)
def test_the_papers_counts_fit_together(name, windows) -> None:
    """Windows of 100 of what parses of the slice; the last of each part is short."""
    dataset, paper = CATALOG[name], CATALOG[name].paper
    assert paper["sessions"] == paper["train.sessions"] + paper["test.sessions"]
    assert paper["anomalous"] == paper["train.anomalous"] + paper["test.anomalous"]
    if dataset.stop is not None:
        assert dataset.stop - dataset.start == paper["lines"]
    assert 0.99 < paper["sessions"] * 100 / paper["lines"] <= 1
    assert paper["test.sessions"] == pytest.approx(paper["sessions"] / 5, abs=1)
    if windows is not None:
        assert paper["sessions"] * 100 == windows
