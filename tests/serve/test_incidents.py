"""Incidents in SQLite, and what makes two kinds of message one."""

from datetime import datetime, timedelta

from logllm.config.alerts import IncidentSection
from logllm.serve.incidents.board import MOST_OPEN, Anomaly, Board
from tests.serve.incident_contract import IncidentContract
from tests.serve.store_contract import NOON


class TestSqlite(IncidentContract):
    """The contract."""


def anomaly(kind: str, at: datetime) -> Anomaly:
    """A session of a kind."""
    return Anomaly({"session": str(at)}, kind, (), kind, None, 0.9, at, at, at)


def test_ever_new_kinds_open_a_bounded_number_of_incidents():
    board = Board([], stream="app", section=IncidentSection(), muted=set())
    now = NOON
    for number in range(400):
        now += timedelta(seconds=61 if number < 80 else 5)
        board.place(anomaly(f"w{number} x{number} y{number} z{number}", now))
        assert sum(not it.over for it in board.incidents) <= MOST_OPEN
    assert sum(it.sessions for it in board.incidents) == 400


def test_an_incident_remembers_a_bounded_number_of_kinds():
    board = Board([], stream="app", section=IncidentSection(), muted=set())
    for number in range(100):
        board.place(anomaly(f"w{number} x{number} y{number} z{number}", NOON))
    (one,) = board.incidents
    assert one.sessions == 100
    assert len(one.kinds) == 20


def test_an_incident_that_a_fast_log_has_left_behind_makes_room():
    board = Board([], stream="app", section=IncidentSection(), muted=set())
    for number in range(MOST_OPEN):
        board.place(anomaly(f"kind {number}", NOON + number * timedelta(minutes=2)))
    later = board.place(anomaly("another", NOON + timedelta(hours=5)))
    assert [it for it in board.incidents if not it.over] == [later]
    assert later.sessions == 1


def test_of_two_thousand_sessions_whose_line_differs_in_a_name_one_incident_is_told():
    board = Board([], stream="app", section=IncidentSection(), muted=set())
    for number in range(2_000):
        kind = f"ERROR: job n{number} failed with code <*>"
        board.place(anomaly(kind, NOON + number * timedelta(seconds=1)))
    (one,) = board.incidents
    assert one.sessions == 2_000
