"""Stores, and the clock that they go by."""

import shutil

import pytest

from logllm.serve.store.verdict_store import Store
from tests.serve.store_contract import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A store that holds nothing: to copy it is faster than to make another."""
    path = tmp_path_factory.mktemp("empty") / "verdicts.db"
    Store.open(path).close()
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
