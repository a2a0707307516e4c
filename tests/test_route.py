"""Who follows a line to its verdict, or sessions to weights, does not meet more code than
before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "route.py"
MOST = {
    "lines": {"functions": 268, "modules": 56, "changes_of_file": 160},
    "weights": {"functions": 235, "modules": 51, "changes_of_file": 142},
}
"""What the routes have now: lower it where they become shorter."""


@pytest.mark.parametrize("route", MOST)
def test_a_route_does_not_grow(route) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), route], check=True, capture_output=True, text=True
    )
    figures = json.loads(done.stdout)
    longer = {
        name: (figures[name], most) for name, most in MOST[route].items() if figures[name] > most
    }
    assert not longer, f"python benchmarks/route.py {route} --show says what is on it"
