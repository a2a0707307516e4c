"""A server to fetch from, and a cache to fetch into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.site import Site, serving


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    """A server that answers as it is told."""
    monkeypatch.setenv("no_proxy", "*")
    with serving() as found:
        yield found


@pytest.fixture
def cached(tmp_path, monkeypatch) -> Path:
    """An empty cache; the folder where data sets will be."""
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LOGLLM_DATASETS", raising=False)
    return tmp_path / "cache" / "datasets"
