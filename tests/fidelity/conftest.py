"""Tiny base models for both implementations, written once."""

import pytest

from tests.fidelity.pairs import make_pair, write_models


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Base models whose tokenizer sets a beginning of sequence and whose answers differ in length,
    as Llama 3's do."""
    return write_models(tmp_path_factory.mktemp("fidelity"))


@pytest.fixture
def pair(folder):
    """Both implementations with the paper's settings and random learnt weights."""
    return make_pair(folder)
