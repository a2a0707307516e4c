"""What is missing in a session, and after which of its messages."""

import random

import numpy as np
import polars as pl
import pytest

from logllm.detect.evidence.gaps import gap
from logllm.sessions.following import END, Following, Goals, Way
from logllm.sessions.message_sets import keys_of_messages

QUERIES = [f"db query {name} took 5" for name in ("items", "orders", "users")]
PAGES = [f"web render {name} page" for name in ("cart", "login", "pay")]
TABLE = pl.Series(["web request", *QUERIES, "cache miss", *PAGES, "web done 200", "a b c d"])
KEYS = dict(zip(TABLE, keys_of_messages(TABLE), strict=True))
TEXTS = {int(key): text for text, key in KEYS.items()}


def keys(*messages: str) -> np.ndarray:
    return np.array([KEYS[message] for message in messages], dtype=np.uint64)


@pytest.fixture(scope="module")
def following() -> Following:
    """Requests with one to three queries in any order, and a page of three."""
    draw = random.Random(0)
    sets, last, next_ones = [], [], []
    for _ in range(600):
        queries = draw.choices(QUERIES, k=draw.randint(1, 3))
        session = keys("web request", *queries, draw.choice(PAGES), "web done 200")
        for place, key in enumerate(session):
            sets.append(np.unique(session[: place + 1]).sum(dtype=np.uint64))
            last.append(key)
            next_ones.append(session[place + 1] if place + 1 < len(session) else END)
    columns = (np.array(column, dtype=np.uint64) for column in (sets, last, next_ones))
    first, second, third = columns
    return Following.learn(first, second, following=third)


@pytest.mark.parametrize(
    ("session", "place", "missing"),
    [
        # It stops: not further queries are missed, which may or may not come.
        (("web request", QUERIES[1]), 1, ["web render", "web done"]),
        (("web request", QUERIES[1], QUERIES[0], PAGES[0]), 3, ["web done"]),
        # It stops after a way that training never saw.
        (("web request", QUERIES[1], "cache miss"), 2, ["web render", "web done"]),
        # A step in the middle is lost: whichever page it would have been.
        (("web request", QUERIES[2], "web done 200"), 1, ["web render"]),
        # A step is repeated, or all is well.
        (("web request", QUERIES[2], PAGES[1], PAGES[1], "web done 200"), None, []),
        (("web request", QUERIES[2], PAGES[1], "web done 200"), None, []),
        # Nothing is known of how it begins.
        (("a b c d", "web done 200"), None, []),
    ],
)
def test_what_is_missing_and_after_which_message(following, session, place, missing) -> None:
    told = gap(keys(*session), following, texts=TEXTS)
    if place is None:
        assert told is None
        return
    assert told is not None
    named = [" ".join(TEXTS[key].split()[:2]) for key in told.missing]
    assert (told.place, named) == (place, missing)


def test_what_the_log_holds_nowhere_is_not_missed(following) -> None:
    texts = {key: text for key, text in TEXTS.items() if "done" not in text}
    told = gap(keys("web request", *QUERIES, PAGES[0]), following, texts=texts)
    assert told is None


def test_where_sessions_come_by_again_it_is_looked_up_once(following, monkeypatch) -> None:
    asked = []

    def looked_up(self: Following, beginning: Way) -> Goals:
        asked.append(beginning)
        return real(self, beginning)

    real = Following._looked_up
    monkeypatch.setattr(Following, "_looked_up", looked_up)
    following.__dict__.pop("_goals", None)
    # A thousand beginnings of ten sessions: the same queries, by one of three last.
    polling = keys("web request", *QUERIES * 33)
    for _ in range(10):
        gap(polling, following, texts=TEXTS)
    assert len(asked) == len(set(asked)) <= 7
