"""The list of faults that tests must notice is one of this very source; which of them tests do
notice: `make mutants`."""

import pytest
from mutants import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.what)
def test_a_mutant_can_be_applied(mutant) -> None:
    sound = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.applied(sound) != sound
    assert all((ROOT / test).is_file() for test in mutant.tests)


@pytest.mark.parametrize("text", ["x = 2", "x = 1; x = 1"])
def test_code_that_has_moved_on_is_told(text) -> None:
    mutant = Mutant("x is two", "src/a.py", "x = 1", "x = 2", [])
    with pytest.raises(
        ValueError,
        match=r"src/a.py holds 'x = 1' \d times, not once: mend this mutant in mutants.toml",
    ):
        mutant.applied(text)
