"""Where an engine's time goes, on tiny models."""

import pytest
from kernels import KINDS, measure


def test_every_kernels_share_is_told(tiny_run, tiny_data, small_products) -> None:
    found = measure(tiny_run, tiny_data, sessions=5, messages=3)
    for part in found.values():
        assert set(part["kernels"]) == {*KINDS, "the rest"}
        assert sum(part["kernels"].values()) == pytest.approx(1)
        assert all(
            part["kernels"][kind] > 0
            for kind in ("linear layers", "attention", "activation", "norms")
        )
        assert part["products"] > 0
