"""How the logits of several minds become one."""

import json

import numpy as np
import pytest

from logllm.errors import ModelError
from logllm.methods.mixture import WEIGHTS, mixed, read_weights, write_weights


def test_a_mind_that_counts_nothing_says_nothing() -> None:
    logits = {"reader": np.array([1.0, -3.0]), "words": np.array([50.0, 50.0])}
    np.testing.assert_allclose(mixed(logits, {"reader": 2.0, "words": 0.0}), logits["reader"])


def test_weights_are_read_as_they_were_written(tmp_path) -> None:
    write_weights(tmp_path, {"reader": 0.5, "words": 1.0})
    assert read_weights(tmp_path, otherwise={}) == {"reader": 0.5, "words": 1.0}
    assert json.loads((tmp_path / WEIGHTS).read_text()) == {"reader": 0.5, "words": 1.0}


def test_a_run_from_before_has_the_weights_that_all_had(tmp_path) -> None:
    assert read_weights(tmp_path, otherwise={"reader": 0.25}) == {"reader": 0.25}


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"reader": "much"}', '{"reader": null}'],
    ids=["empty", "list", "word", "null"],
)
def test_weights_that_cannot_be_read_are_an_error_with_the_remedy(tmp_path, content) -> None:
    (tmp_path / WEIGHTS).write_text(content)
    with pytest.raises(ModelError, match=r"weights\.json cannot be read: .*train it again"):
        read_weights(tmp_path, otherwise={})
