"""Which tests are tried by default."""

from types import SimpleNamespace

import pytest

from tests.conftest import pytest_collection_modifyitems


class Item:
    """A test with a parameter, as pytest collects it."""

    def __init__(self, nodeid: str, *, every: int | None) -> None:
        self.nodeid = nodeid
        self.every = every
        self.added: list[str] = []

    def get_closest_marker(self, name: str) -> SimpleNamespace | None:
        if name == "real":
            return None
        return None if self.every is None else SimpleNamespace(args=(self.every,))

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.added.append(mark.name)


def test_one_in_so_many_parameters_is_tried_by_default() -> None:
    sampled = [Item(f"a.py::test_a[{place}]", every=3) for place in range(7)]
    others = [Item(f"a.py::test_b[{place}]", every=None) for place in range(3)]
    config = SimpleNamespace(stash={})
    pytest_collection_modifyitems(config, sampled + others)
    left_out = [item.nodeid for item in sampled + others if item.added == ["real"]]
    assert left_out == [f"a.py::test_a[{place}]" for place in (1, 2, 4, 5)]
