"""Damaged logs: no traceback, no line lost without a count, nothing that depends on how the bytes
come."""

import random

import pytest
from benchmarks.fuzz import UNDAMAGED, Outcome, Trial, real_logs, recognised
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.formats.description import known, load_format


@pytest.mark.real
@settings(max_examples=3, derandomize=True)  # `benchmarks/fuzz.py` tries far more
@given(seed=st.integers(0, 2**32))
def test_a_damaged_log_is_read_or_refused_and_every_line_counted(seed) -> None:
    assert Trial(seed).fault() is None


@settings(max_examples=25, derandomize=True)
@given(
    name=st.sampled_from(known()),
    lines=st.lists(
        st.text(
            st.sampled_from("aA1 0:-/.,;=|[]{}()<>\"'\\#%\t\x00\x1b\u2028\ufeff\u00e9"), max_size=40
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_any_text_is_read_or_refused_by_any_format(name, lines) -> None:
    content = "\n".join(lines).encode()
    whole = Outcome(content, load_format(name), batch_lines=100, chance=None)
    pieces = Outcome(content, load_format(name), batch_lines=2, chance=random.Random(len(content)))
    assert not (whole.read_whole and whole.unaccounted)
    assert (whole.counts, whole.rejects, whole.error) == (
        pieces.counts,
        pieces.rejects,
        pieces.error,
    )


def test_a_lost_line_would_be_seen() -> None:
    outcome = Outcome(b"\n".join(real_logs()[0]), recognised(0), batch_lines=100, chance=None)
    assert (outcome.error, outcome.unaccounted) == ("", 0)
    outcome.counts["lines"] += 1
    assert outcome.unaccounted == 1


@pytest.mark.parametrize("seed", [3, 4])
def test_a_seed_gives_the_same_log_each_time(seed) -> None:
    assert Trial(seed).content == Trial(seed).content
    assert Trial(seed).name in {"auto", UNDAMAGED, *known()}
