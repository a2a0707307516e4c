"""What incidents do, whichever database holds them."""

import json
import time
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from logllm.config.alerts import IncidentSection
from logllm.errors import DataError
from logllm.serve.feedback.answers_given import Said, find_incident, give, take_back
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.incidents.incident_rows import Wished, incident, incidents
from logllm.serve.incidents.mutes import Muting, mute, mutes, unmute
from logllm.serve.incidents.quiet_ending import ending_quiet
from logllm.serve.store.schema import verdicts
from logllm.serve.store.service_schema import outbox
from tests.serve.store_contract import NOON, frame, kept, verdict

SECTION = IncidentSection(quiet=900, together=60, repeat=14_400)


def bad(session: str, line: int, kind: str = "ERROR: disk full", **more) -> dict:
    """An anomalous verdict whose telling lines are of some kinds, the first the most telling."""
    kinds = [kind, *more.pop("others", [])]
    telling = [
        {"line": line + at, "score": 0.9, "text": f"10:00 {name}"} for at, name in enumerate(kinds)
    ]
    row = verdict(session, *(line + at for at in range(len(kinds))), anomalous=True, score=0.9)
    shown = {"evidence": json.dumps(telling), "kind": kind, "messages": json.dumps(kinds)}
    return row | shown | more


class Writing:
    """Writes verdicts of one stream as a watch does."""

    def __init__(
        self, store, clock, section: IncidentSection = SECTION, stream: str = "app"
    ) -> None:
        self.store, self.clock, self.stream = store, clock, stream
        self.incidents = Incidents(section, clock=clock)
        self.mine = store.claim(stream, "p", owner="me")
        self.line = 0

    def write(self, *rows: dict) -> None:
        self.store.write(
            self.stream, verdicts=frame(*rows), kept=kept(self.mine), also=[self.incidents]
        )

    def bad(self, *kinds: str, at: datetime | None = None, **more) -> None:
        """A session for each kind, which ends at a time of the log."""
        rows = []
        for kind in kinds:
            self.line += 10
            when = {"start": at, "end": at} if at or "end" not in more else {}
            rows.append(bad(f"s{self.line}", self.line, kind, **(when | more)))
        self.write(*rows)

    def all(self, **wished) -> list[dict]:
        return incidents(self.store, Wished(**wished), now=self.clock.now)

    def told(self) -> list[tuple[int, str]]:
        """Messages so far: of which incident, and what."""
        with self.store.transaction(reading=True) as connection:
            rows = connection.execute(
                select(outbox.c.incident, outbox.c.event).order_by(outbox.c.id)
            )
            return [tuple(row) for row in rows]

    def of_sessions(self) -> dict[str, int | None]:
        """Which incident each session belongs to."""
        with self.store.transaction(reading=True) as connection:
            rows = connection.execute(select(verdicts.c.session, verdicts.c.incident))
            return {row.session: row.incident for row in rows}


class IncidentContract:
    """Tests of incidents; `store` and `clock` are fixtures of who inherits."""

    @pytest.fixture
    def app(self, store, clock):
        return Writing(store, clock)

    def test_sessions_of_one_kind_are_one_incident(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        clock.later(seconds=30)
        app.bad("ERROR: disk full", "ERROR: disk full", at=NOON + timedelta(seconds=30))
        (one,) = app.all()
        assert (one["sessions"], one["state"], one["stream"]) == (3, "open", "app")
        assert one["kind"] == "ERROR: disk full"
        assert one["title"] == "10:00 ERROR: disk full"
        assert one["start"] == "2026-11-27T12:00:00.000000Z"
        assert one["end"] == "2026-11-27T12:00:30.000000Z"
        assert one["evidence"] == {"line": 10, "score": 0.9, "text": "10:00 ERROR: disk full"}
        assert [session["session"] for session in one["top"]] == ["s10", "s20", "s30"]
        assert app.of_sessions() == dict.fromkeys(("s10", "s20", "s30"), one["id"])
        assert app.told() == [(one["id"], "opened")]

    def test_normal_sessions_are_in_none(self, app):
        app.write(verdict("a", 1), verdict("b", 2, state="open"))
        assert app.all() == []
        assert app.of_sessions() == {"a": None, "b": None}

    def test_what_is_read_twice_after_a_kill_counts_once(self, app):
        rows = [bad("a", 1), bad("b", 10)]
        app.write(*rows)
        app.write(*rows, bad("c", 20))
        assert app.all()[0]["sessions"] == 3
        assert len(app.told()) == 1

    def test_an_open_session_counts_once_when_it_goes_on_and_when_it_closes(self, app):
        app.write(bad("a", 1, state="open", score=0.7))
        app.write(bad("a", 1, state="open", score=0.8))
        app.write(bad("a", 1, score=0.95))
        (one,) = app.all()
        assert (one["sessions"], one["score"]) == (1, 0.95)
        assert [session["score"] for session in one["top"]] == [0.95]
        assert len(app.told()) == 1

    def test_an_open_session_that_stays_as_it_is_writes_its_incident_once(self, app):
        app.write(bad("a", 1, state="open"))
        before = app.all()
        app.write(bad("a", 1, state="open"))
        assert app.all() == before

    def test_a_session_that_becomes_anomalous_counts_from_then_on(self, app):
        app.write(verdict("a", 1, state="open"))
        assert app.all() == []
        app.write(bad("a", 1, state="open"))
        assert app.all()[0]["sessions"] == 1

    def test_a_session_that_turns_out_normal_leaves_its_incident(self, app):
        app.write(bad("a", 1, state="open"), bad("b", 10))
        app.write(verdict("a", 1))
        (one,) = app.all()
        assert (one["sessions"], one["state"]) == (1, "open")
        assert [session["session"] for session in one["top"]] == ["b"]
        assert app.of_sessions() == {"a": None, "b": one["id"]}

    def test_an_incident_without_sessions_is_over_and_that_is_told(self, app):
        app.write(bad("a", 1, state="open"))
        app.write(verdict("a", 1))
        (one,) = app.all()
        assert (one["sessions"], one["state"]) == (0, "closed")
        assert [event for _, event in app.told()] == ["opened", "closed"]

    def test_a_session_leaves_an_incident_that_is_over_already(self, app, clock):
        app.write(bad("a", 1, state="open"), bad("b", 10))
        clock.later(hours=1)
        app.incidents.tidy(app.store)
        app.write(verdict("a", 1))
        assert app.all()[0]["sessions"] == 1

    def test_quiet_ends_an_incident_by_this_machines_time(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        clock.later(seconds=899)
        assert app.incidents.tidy(app.store) == 0
        clock.later(seconds=61)
        assert app.incidents.tidy(app.store) == 1
        (one,) = app.all()
        assert (one["state"], one["closed"]) == ("closed", "2026-11-27T12:16:00.000000Z")
        assert [event for _, event in app.told()] == ["opened", "closed"]
        assert app.incidents.tidy(app.store) == 0
        app.bad("ERROR: disk full", at=clock.now)
        assert [it["state"] for it in app.all()] == ["open", "closed"]

    def test_a_session_that_goes_on_does_not_keep_its_incident_open(self, app, clock):
        app.write(bad("a", 1, state="open"))
        clock.later(seconds=800)
        app.write(bad("a", 1, state="open", end=clock.now))
        clock.later(seconds=200)
        assert app.incidents.tidy(app.store) == 1

    def test_after_a_pause_of_the_watch_what_came_meanwhile_joins_first(self, app, clock, store):
        app.bad("ERROR: disk full", at=NOON)
        clock.later(hours=1)
        again = Writing(store, clock)
        again.line = 500
        assert again.incidents.tidy(store) == 0
        again.bad("ERROR: disk full", at=NOON + timedelta(minutes=10))
        (one,) = again.all()
        assert one["sessions"] == 2

    def test_an_old_log_that_is_read_fast_has_the_incidents_of_its_own_time(self, app):
        week_ago = NOON - timedelta(days=7)
        for minutes in (0, 5, 10, 60, 65, 200):
            app.bad("ERROR: disk full", at=week_ago + timedelta(minutes=minutes))
        found = app.all()
        assert [it["sessions"] for it in reversed(found)] == [3, 2, 1]
        assert [it["state"] for it in reversed(found)] == ["closed", "closed", "open"]
        assert [event for _, event in app.told()] == [
            "opened",
            "closed",
            "opened",
            "closed",
            "opened",
        ]

    def test_incidents_of_one_transaction_are_those_of_several(self, app):
        week_ago = NOON - timedelta(days=7)
        rows = [
            bad(
                f"s{minutes}",
                10 * minutes + 1,
                start=week_ago,
                end=week_ago + timedelta(minutes=minutes),
            )
            for minutes in (0, 5, 10, 60, 65, 200)
        ]
        app.write(*rows)
        assert sorted(it["sessions"] for it in app.all()) == [1, 2, 3]
        assert sum(it["state"] == "open" for it in app.all()) == 1

    def test_a_log_without_times_goes_by_the_coming_of_its_sessions(self, app, clock):
        app.bad("ERROR: disk full", end=None, start=None)
        clock.later(seconds=800)
        app.bad("ERROR: disk full", end=None, start=None)
        clock.later(seconds=901)
        app.bad("ERROR: disk full", end=None, start=None)
        assert [it["sessions"] for it in app.all()] == [1, 2]

    def test_a_time_in_the_future_keeps_no_incident_open(self, app, clock):
        app.bad("ERROR: disk full", at=datetime.fromisoformat("2099-01-01T00:00Z"))
        assert app.all()[0]["end"] == "2026-11-27T12:00:00.000000Z"
        clock.later(minutes=30)
        app.bad("ERROR: disk full", at=clock.now)
        assert [it["state"] for it in app.all()] == ["open", "closed"]

    def test_two_partitions_read_at_different_speeds_do_not_end_each_others_incidents(self, app):
        for minutes in range(5):
            app.bad("ERROR: disk full", at=NOON + timedelta(minutes=minutes))
            app.bad("ERROR: disk full", at=NOON - timedelta(hours=3) + timedelta(minutes=minutes))
        (one,) = app.all()
        assert one["sessions"] == 10

    def test_kinds_that_come_together_are_one_incident(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        clock.later(seconds=50)
        app.bad("PANIC: could not write", at=clock.now)
        clock.later(seconds=600)
        app.bad("PANIC: could not write", at=clock.now)
        (one,) = app.all()
        told = [(kind["kind"], kind["sessions"]) for kind in one["kinds"]]
        assert told == [("ERROR: disk full", 1), ("PANIC: could not write", 2)]

    def test_another_kind_later_is_an_incident_of_its_own(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        clock.later(seconds=61)
        app.bad("FATAL: password wrong", at=clock.now)
        assert len(app.all()) == 2

    def test_a_session_that_shows_an_open_incidents_line_joins_it(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        clock.later(seconds=300)
        app.bad(
            "PANIC: could not write", at=clock.now, others=["LOG: retrying", "ERROR: disk full"]
        )
        (one,) = app.all()
        assert one["sessions"] == 2

    def test_an_error_joins_by_errors_and_not_by_what_both_had_asked_for(self, app, clock):
        app.bad("LOG: statement SELECT", at=NOON)
        clock.later(seconds=300)
        app.bad("ERROR: deadlock found", at=clock.now, others=["LOG: statement SELECT"])
        assert len(app.all()) == 2

    def test_kinds_that_say_nearly_the_same_are_one_incident(self, app, clock):
        app.bad("ERROR: job nightly-a failed with code <*>", at=NOON)
        clock.later(seconds=300)
        app.bad("ERROR: job nightly-b failed with code <*>", at=clock.now)
        (one,) = app.all()
        assert one["sessions"] == 2

    def test_streams_have_incidents_of_their_own(self, app, store, clock):
        other = Writing(store, clock, stream="shop")
        app.bad("ERROR: disk full", at=NOON)
        other.bad("ERROR: disk full", at=NOON)
        assert {it["stream"] for it in app.all()} == {"app", "shop"}
        assert len(app.all(stream="shop")) == 1

    def test_an_incident_that_goes_on_is_told_again_now_and_then(self, app, clock):
        for _ in range(36):
            app.bad("ERROR: disk full", at=clock.now)
            clock.later(minutes=15)
        assert [event for _, event in app.told()] == ["opened", "continues", "continues"]

    def test_a_session_no_line_of_which_tells_has_an_incident(self, app):
        app.write(verdict("a", 1, anomalous=True, score=0.9))
        (one,) = app.all()
        assert (one["kind"], one["title"]) == ("", "sessions that are anomalous as a whole")

    def test_titles_hold_no_codes_for_a_terminal_and_are_short(self, app):
        evidence = json.dumps([{"line": 1, "score": 0.9, "text": "\x1b[31m" + "x" * 5000}])
        app.write(bad("a", 1, evidence=evidence))
        title = app.all()[0]["title"]
        assert len(title) == 300
        assert title.isprintable()

    def test_a_muted_kind_has_an_incident_that_nobody_is_told_of(self, app, clock):
        mute(app.store, self.muting(clock), now=clock.now)
        app.bad("ERROR: disk full", at=NOON)
        (one,) = app.all()
        assert (one["muted"], one["muted_until"]) == (True, "2026-11-27T14:00:00.000000Z")
        clock.later(hours=1)
        app.incidents.tidy(app.store)
        assert app.told() == []

    def test_a_mute_holds_for_an_incident_that_is_open(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        mute(app.store, self.muting(clock), now=clock.now)
        (one,) = app.all()
        assert one["muted"]
        clock.later(hours=1)
        app.incidents.tidy(app.store)
        assert [event for _, event in app.told()] == ["opened"]

    def test_of_an_incident_with_two_kinds_the_other_one_is_told_on(self, app, clock):
        app.bad("ERROR: disk full", "PANIC: could not write", at=NOON)
        mute(app.store, self.muting(clock), now=clock.now)
        app.bad("ERROR: disk full", "PANIC: could not write", at=NOON)
        quiet, loud = sorted(app.all(), key=lambda it: not it["muted"])
        assert (quiet["kind"], quiet["sessions"]) == ("ERROR: disk full", 1)
        assert (loud["kind"], loud["title"]) == (
            "PANIC: could not write",
            "10:00 PANIC: could not write",
        )
        assert loud["sessions"] == 3
        assert {number for number, _ in app.told()} == {loud["id"]}

    def test_what_is_muted_takes_no_other_kind_with_it(self, app, clock):
        mute(app.store, self.muting(clock), now=clock.now)
        app.bad("ERROR: disk full", at=NOON)
        app.bad("PANIC: could not write", at=NOON, others=["ERROR: disk full"])
        assert sorted((it["kind"], it["muted"]) for it in app.all()) == [
            ("ERROR: disk full", True),
            ("PANIC: could not write", False),
        ]

    def test_an_open_session_that_comes_to_be_of_a_muted_kind_leaves_what_is_told(self, app, clock):
        mute(app.store, self.muting(clock), now=clock.now)
        app.write(bad("a", 1, "LOG: connection lost", state="open"))
        app.write(bad("a", 1, "ERROR: disk full", state="open"))
        app.write(bad("a", 1, "ERROR: disk full"))
        told, quiet = sorted(app.all(), key=lambda it: it["muted"])
        assert (told["sessions"], told["state"]) == (0, "closed")
        assert (quiet["sessions"], quiet["muted"]) == (1, True)
        assert app.of_sessions() == {"a": quiet["id"]}

    def test_after_the_end_of_a_mute_it_is_told_again(self, app, clock):
        mute(app.store, self.muting(clock), now=clock.now)
        for _ in range(13):
            app.bad("ERROR: disk full", at=clock.now)
            clock.later(minutes=10)
        (one,) = app.all()
        assert (one["muted"], one["sessions"]) == (False, 13)
        assert [event for _, event in app.told()] == ["opened"]

    def test_a_mute_that_is_taken_back_holds_no_longer(self, app, clock):
        made = mute(app.store, self.muting(clock), now=clock.now)
        app.bad("ERROR: disk full", at=NOON)
        assert [it["id"] for it in mutes(app.store, now=clock.now)] == [made["id"]]
        assert unmute(app.store, made["id"], now=clock.now)
        assert not unmute(app.store, made["id"], now=clock.now)
        assert mutes(app.store, now=clock.now) == []
        assert not app.all()[0]["muted"]
        app.bad("ERROR: disk full", at=NOON)
        assert [event for _, event in app.told()] == ["opened"]

    def test_one_of_two_mutes_taken_back_leaves_the_other(self, app, clock):
        first = mute(app.store, self.muting(clock), now=clock.now)
        mute(app.store, self.muting(clock, hours=5), now=clock.now)
        app.bad("ERROR: disk full", at=NOON)
        unmute(app.store, first["id"], now=clock.now)
        assert app.all()[0]["muted_until"] == "2026-11-27T17:00:00.000000Z"

    def test_a_mute_ends_in_the_future(self, app, clock):
        with pytest.raises(DataError, match="which is past: name a later time"):
            mute(app.store, self.muting(clock, hours=-1), now=clock.now)

    def muting(self, clock, hours: int = 2) -> Muting:
        return Muting(
            "app", "ERROR: disk full", clock.now + timedelta(hours=hours), by="ann", why="known"
        )

    def test_incidents_are_read_by_what_is_asked_for(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        clock.later(hours=1)
        app.incidents.tidy(app.store)
        app.bad("FATAL: password wrong", at=clock.now)
        newer, older = app.all()
        assert app.all(state="open") == [newer]
        assert app.all(state="closed") == [older]
        assert app.all(since=clock.now) == [newer]
        assert app.all(before=newer["change"]) == [older]
        assert app.all(after=older["change"]) == [newer]
        assert app.all(after=0, limit=1) == [older]
        assert app.all(limit=1) == [newer]
        assert incident(app.store, older["id"], now=clock.now) == older
        assert incident(app.store, 99, now=clock.now) is None

    def test_a_page_does_not_divide_what_one_transaction_changed(self, app, clock):
        for kind in ("FATAL: a", "ERROR: b", "PANIC: c"):
            app.bad(kind, at=clock.now)
            clock.later(seconds=61)
        app.bad("FATAL: a", "ERROR: b", "PANIC: c", at=clock.now)
        assert len(app.all(limit=1)) == len(app.all(after=0, limit=1)) == 3

    def test_every_write_of_an_incident_has_the_number_of_its_change(self, app, clock):
        app.bad("ERROR: disk full", at=NOON)
        first = app.all()[0]["change"]
        app.bad("ERROR: disk full", at=NOON)
        second = app.all()[0]["change"]
        clock.later(hours=1)
        app.incidents.tidy(app.store)
        assert first < second < app.all()[0]["change"]

    def test_a_false_alarm_on_an_incident_mutes_all_its_kinds(self, app, store, clock):
        app.bad("ERROR: disk full", "ERROR: cannot write", "ERROR: cannot write", at=NOON)
        (one,) = app.all()
        key = find_incident(store, one["id"])
        given = give(store, key, said=Said("normal", "ann", incident=one["id"]), now=clock.now)
        assert sorted(given["muted"]) == ["ERROR: cannot write", "ERROR: disk full"]
        assert sorted(mute["kind"] for mute in mutes(store, now=clock.now)) == sorted(
            given["muted"]
        )
        assert [(it["muted"], len(it["kinds"])) for it in app.all()] == [(True, 2)]
        app.bad("ERROR: disk full", "ERROR: cannot write", at=NOON)
        assert [(it["muted"], it["sessions"]) for it in app.all()] == [(True, 5)]

        # Taken back, all of them are told of again.
        assert take_back(store, given["id"], now=clock.now)
        assert mutes(store, now=clock.now) == []
        assert app.all()[0]["muted"] is False

    def test_a_false_alarm_on_a_session_mutes_its_own_kind(self, app, store, clock):
        app.bad("ERROR: disk full", "ERROR: cannot write", at=NOON)
        (one,) = app.all()
        given = give(
            store, find_incident(store, one["id"]), said=Said("normal", "ann"), now=clock.now
        )
        assert given["muted"] == [given["kind"]]
        assert app.all()[0]["muted"] is False
        with pytest.raises(DataError, match=r"no session of incident 99"):
            give(
                store,
                find_incident(store, one["id"]),
                said=Said("normal", "ann", incident=99),
                now=clock.now,
            )
        with pytest.raises(DataError, match=r"no incident 99"):
            find_incident(store, 99)

    def test_what_is_quiet_ends_where_nobody_watches(self, app, store, clock):
        app.bad("ERROR: disk full")
        shown = Incidents(SECTION, clock=clock)
        clock.later(seconds=2_000)
        assert shown.tidy(store, watched={"app"}) == 0
        assert app.all()[0]["state"] == "open"
        clock.later(seconds=2_000)
        assert shown.tidy(store, watched={"other"}) == 1
        assert app.all()[0]["state"] == "closed"

    def test_a_service_ends_what_is_quiet(self, app, store, clock):
        app.bad("ERROR: disk full")
        with ending_quiet(store, SECTION, every=0.01, clock=clock):
            clock.later(seconds=2_000)
            until = time.monotonic() + 20
            while app.all()[0]["state"] == "open":
                assert time.monotonic() < until
                time.sleep(0.01)
