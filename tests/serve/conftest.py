"""Stores, and the clock that they go by."""

import shutil

import pytest

from logllm.serve.store.verdict_store import Store
from tests.serve.store_contract import Clock, empty_store


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """The path of a store that holds nothing, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "verdicts.db"
    path.write_bytes(empty_store())
    return path


@pytest.fixture
def store(tmp_path, clock, empty):
    shutil.copy(empty, tmp_path / "verdicts.db")
    opened = Store.open(tmp_path / "verdicts.db", clock=clock)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def databases():
    """A real PostgreSQL server, which gives places for stores."""
    from tests.serve.postgres import serving

    with serving() as running:
        yield running
