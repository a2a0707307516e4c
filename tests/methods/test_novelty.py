"""Novelty: what is new, troubled, repeated or missing, without labels."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.config.recipe import Recipe
from logllm.methods.contract import Workplace
from logllm.methods.likeness import Likeness, alike
from logllm.methods.novelty import Novelty
from logllm.methods.trouble import grades

OPEN, WRITE, CLOSE, IDLE, NEW, FAILED, LIKE, NAMED = range(8)
MESSAGES = pl.Series(
    [
        "file opened",
        "bytes written to <*>",
        "file closed",
        "nothing to do for <*> s",
        "cache warmed",
        "replica failed",
        "bytes read from <*>",
        'user "bob" looked',
    ]
)
USUAL = [np.array([OPEN, WRITE, WRITE, CLOSE]), np.array([OPEN, WRITE, CLOSE])]


def learnt(sessions):
    """Novelty that has learnt from sessions over `MESSAGES`."""
    method = Novelty(Recipe.of_method("novelty"), Workplace())
    method.fit(sessions, MESSAGES, labels=None, line_labels=None, seed=0)
    return method


@pytest.fixture(scope="module")
def method():
    """It knows two hundred sessions that open, write and close."""
    return learnt(USUAL * 100)


def scored(method, *sessions, messages=MESSAGES):
    """Scores of sessions given as lists."""
    return method.score([np.array(session, dtype=np.int64) for session in sessions], messages)


def test_the_usual_is_under_one_half_and_all_that_is_not_over_it(method) -> None:
    assert (method.score(USUAL, MESSAGES) < 0.2).all()
    odd = scored(
        method,
        [OPEN, WRITE, CLOSE, NEW],
        [OPEN, FAILED, WRITE, CLOSE],
        [OPEN, WRITE],
        [OPEN, *[WRITE] * 9, CLOSE],
        [],
    )
    assert (odd >= 0.5).all(), odd


def test_trouble_comes_before_what_is_merely_new(method) -> None:
    new, failed = scored(method, [OPEN, WRITE, CLOSE, NEW], [OPEN, WRITE, CLOSE, FAILED])
    assert failed > new


def test_what_is_like_the_known_is_less_new(method) -> None:
    new, like = scored(method, [OPEN, WRITE, CLOSE, NEW], [OPEN, WRITE, CLOSE, LIKE])
    assert like < new


def test_messages_that_differ_in_quotes_are_one_kind() -> None:
    method = learnt([np.array([OPEN, NAMED, CLOSE])] * 50)
    table = pl.Series(["file opened", 'user "ann" looked', "file closed"])
    same, other = scored(method, [0, 1, 2], messages=table), scored(method, [OPEN, NAMED, CLOSE])
    assert same == other < 0.5
    assert method.new_kinds(pl.Series(['user "eve" looked', "user eve"])).tolist() == [False, True]


def test_where_learning_brings_new_trouble_new_trouble_alone_is_no_alarm() -> None:
    table = pl.Series(
        ["file opened", *[f"{word} failed" for word in ("disk", "fan", "link", "port", "lamp")]]
    )
    sessions = [np.array([0, 1 + at // 20] if at % 20 == 10 else [0]) for at in range(100)]
    method = Novelty(Recipe.of_method("novelty"), Workplace())
    method.fit(sessions, table, labels=None, line_labels=None, seed=0)
    score = method.score([np.array([0, 1])], pl.Series(["file opened", "pump failed"]))
    assert score.item() < 0.5


def test_p_values_are_shares_of_what_was_held_back(method) -> None:
    scores = method.score([USUAL[0], np.array([OPEN, FAILED])], MESSAGES)
    usual, failed = method.tail.p_values(scores)
    assert usual > 0.5
    assert failed == 1 / 201
    assert method.about() == {"held_back": 200}


def test_with_labels_anomalous_sessions_are_left_out() -> None:
    method = Novelty(Recipe.of_method("novelty"), Workplace())
    bad = np.array([OPEN, FAILED, CLOSE])
    labels = np.array([False] * 100 + [True] * 20)
    method.fit([*USUAL * 50, *[bad] * 20], MESSAGES, labels=labels, line_labels=None, seed=0)
    assert method.score([bad], MESSAGES) >= 0.5


def test_what_one_sort_of_session_does_all_day_is_strange_in_another() -> None:
    table = pl.Series(["login of service", "login of person", "no such table", "bye"])
    service, person = [0, 3], [1, 2, 3]
    method = Novelty(Recipe.of_method("novelty"), Workplace())
    usual = [np.array(session) for session in (service, person)] * 100
    method.fit(usual, table, labels=None, line_labels=None, seed=0)
    same, other = scored(method, person, [0, 2, 3], messages=table)
    assert same < 0.5 <= other


def test_rare_messages_are_stranger_the_more_often_they_are_there(method) -> None:
    usual = [OPEN, WRITE, CLOSE]
    scores = scored(method, *([*usual, *[NEW] * times] for times in (1, 2, 4, 16, 32)))
    assert (np.diff(scores[:4]) > 0).all()
    assert scores[3] == scores[4]


def test_a_run_that_is_read_again_gives_the_same_scores(method, tmp_path) -> None:
    method.save(tmp_path)
    again = Novelty(Recipe.of_method("novelty"), Workplace())
    again.load(tmp_path)
    odd = [np.array([OPEN, FAILED, FAILED, CLOSE]), np.array([OPEN, LIKE]), *USUAL]
    assert again.score(odd, MESSAGES).tolist() == method.score(odd, MESSAGES).tolist()


def test_lines_say_which_message_it_is(method) -> None:
    (scores,) = method.score_lines([np.array([OPEN, WRITE, FAILED, CLOSE])], MESSAGES)
    assert scores.argmax() == 2
    assert scores[2] >= 0.5 > np.delete(scores, 2).max()


@given(st.lists(st.lists(st.integers(0, 7), max_size=12), min_size=1, max_size=12), st.randoms())
def test_a_session_s_score_has_nothing_to_do_with_its_neighbours(method, sessions, random) -> None:
    order = list(range(len(sessions)))
    random.shuffle(order)
    scores = scored(method, *sessions)
    assert scored(method, *(sessions[at] for at in order)).tolist() == scores[order].tolist()
    assert scored(method, sessions[0]).item() == scores[0]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_more_of_a_known_thing_is_never_less_strange(method, session) -> None:
    once, more = scored(method, session, [*session, NEW])
    assert more >= once


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("FATAL:  the database system is starting up", 2),
        ("<*> kernel panic - not syncing", 2),
        ("Connection refused", 1),
        ("java.net.SocketTimeoutException", 1),
        ("FEHLER:  Relation »x« existiert nicht", 1),
        ("Échec de la connexion", 1),
        ("Не удалось подключиться", 1),
        ("连接失败", 1),
        ("deadline in <*> s", 0),
        ("LOG:  statement: SELECT error FROM failed", 0),
        ("query: SELECT 'fatal'", 0),
        ("query: connection refused", 1),
        ("file opened", 0),
        ("wearable connected", 0),
        ("", 0),
    ],
    ids=(
        "fatal panic refused java german french russian chinese deadline statement query chain file"
        " wearable nothing".split()
    ),
)
def test_words_of_trouble(text, grade) -> None:
    assert grades(pl.Series([text])).tolist() == [grade]


def test_likeness_counts_rare_words_more() -> None:
    texts = pl.Series(["disk <*> is full", "disk <*> is slow", "disk <*> is new", "lamp <*> is on"])
    likeness = Likeness.of(texts)
    vectors = likeness.vectors(texts)
    weights = np.eye(4)
    near = alike(vectors[:1], vectors, weights=weights)[0]
    assert near[0] == pytest.approx(1.0, abs=1e-5)
    assert near[0] > near[1] > near[3]
