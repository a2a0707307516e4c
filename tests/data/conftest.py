"""Tests of reading and grouping know nothing of torch."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """In the place of the fixture that sets torch's threads: it would import torch."""
