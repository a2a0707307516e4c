"""Sessions to parts."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.datasets.splits import last_share, number_of, random_share, without_overlap
from logllm.sessions.sessionizer import SESSIONS


def frame(anomalous, *, parts=None, starts=None):
    """Sessions a session per label; `parts` numbers the parts of sessions that go on."""
    parts = parts or [1] * len(anomalous)
    names, base = [], -1
    for part in parts:
        base += part == 1
        names.append(f"s{base}" if part == 1 else f"s{base}#{part}")
    moments = [
        None if start is None else datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
        for start in starts or [0] * len(names)
    ]
    rows = {
        "session": names,
        "part": parts,
        "start": moments,
        "anomalous": anomalous,
        "first": range(1, len(names) + 1),
    }
    return pl.DataFrame(rows, schema_overrides={name: SESSIONS[name] for name in rows})


def draw(sessions, share, seed=0):
    return random_share(sessions, share, generator=np.random.default_rng(seed))


@settings(deadline=None)
@given(
    normal=st.integers(0, 40),
    anomalous=st.integers(0, 40),
    share=st.floats(0, 0.99),
    seed=st.integers(0, 9),
)
def test_random_shares_keep_the_labels_shares(normal, anomalous, share, seed):
    sessions = frame([False] * normal + [True] * anomalous)
    rest, drawn = draw(sessions, share, seed)
    assert drawn.height == number_of(normal + anomalous, share)
    assert abs((drawn["anomalous"].sum() or 0) - anomalous * share) < 1
    assert pl.concat([rest, drawn]).sort("first").equals(sessions)
    assert rest["first"].is_sorted()
    assert drawn["first"].is_sorted()


def test_random_shares_are_seeded():
    sessions = frame([False, True] * 20)
    assert draw(sessions, 0.3)[1].equals(draw(sessions, 0.3)[1])
    assert not draw(sessions, 0.3)[1].equals(draw(sessions, 0.3, 1)[1])


def test_the_paper_s_share_of_the_sample():
    rest, drawn = draw(frame([False] * 11_151 + [True] * 350), 0.2)
    assert (rest.height, drawn.height, drawn["anomalous"].sum()) == (9_200, 2_301, 70)


@pytest.mark.parametrize("divide", [last_share, draw])
def test_parts_of_a_session_stay_together(divide):
    sessions = frame([False, True, False, False] * 10, parts=[1, 2, 3, 1] * 10)
    rest, drawn = divide(sessions, 0.5)
    assert rest.height + drawn.height == 40
    both = {name.split("#")[0] for name in rest["session"]} & {
        name.split("#")[0] for name in drawn["session"]
    }
    assert not both


def test_last_shares_go_by_start_then_by_first_record():
    rest, drawn = last_share(frame([False] * 5, starts=[5, 1, 1, None, 0]), 0.5)
    assert drawn["session"].to_list() == ["s0", "s2", "s3"]
    assert rest["session"].to_list() == ["s1", "s4"]
    assert last_share(frame([False] * 5), 0)[1].height == 0


def test_windows_that_reach_into_later_ones_go():
    sessions = pl.DataFrame({"first": [1, 3, 5, 7], "last": [4, 6, 8, 10]})
    assert without_overlap(sessions.head(2), sessions.tail(2))["first"].to_list() == [1]
    assert without_overlap(sessions, sessions.clear()).equals(sessions)


def test_one_record_in_common_is_an_overlap():
    sessions = pl.DataFrame({"first": [1, 2], "last": [4, 5]})
    later = pl.DataFrame({"first": [5], "last": [8]})
    assert without_overlap(sessions, later)["first"].to_list() == [1]
