"""Messages on their way from a real PostgreSQL: what is said of SQLite holds."""

import pytest

from logllm.serve.store.verdict_store import Store
from tests.serve.test_alerts import *  # noqa: F403 - the same tests

pytestmark = pytest.mark.real


@pytest.fixture
def store(databases, clock):
    opened = Store.open(databases.fresh(), clock=clock)
    yield opened
    opened.close()
