"""Messages on their way: once each, in order, again where a place fails, never more than it may
get."""

import threading
import time
from datetime import timedelta
from itertools import cycle, pairwise
from random import Random

import pytest

from logllm.config.alerts import IncidentSection, SinkSection
from logllm.serve.alerts.alert_rows import alerts, letters, revive
from logllm.serve.alerts.delivering import Delivery
from logllm.serve.alerts.sink_worker import Around, SinkWorker
from logllm.serve.alerts.sinks import sinks_of
from logllm.serve.incidents.mutes import Muting, mute
from tests.serve.incident_contract import Writing
from tests.serve.receiver import receiving
from tests.serve.store_contract import NOON

APART = ("FATAL: a", "ERROR: b", "PANIC: c", "LOG: d", "WARN: e")


@pytest.fixture
def place():
    with receiving() as server:
        yield server


@pytest.fixture
def app(store, clock):
    """Kinds come together at once only."""
    return Writing(store, clock, IncidentSection(quiet=900, together=0, repeat=14_400))


class Sending:
    """A process that sends to one place, step by step."""

    def __init__(
        self, store, clock, place, *, owner: str = "me", chance: Random | None = None, **settings
    ) -> None:
        self.clock = clock
        self.words: list[str] = []
        section = SinkSection(**({"url": place.url, "name": "ops", "wait": 0} | settings))
        (sink,) = sinks_of([section], environment={}, page=None)
        around = Around(store, owner, None, clock, chance or Random(0), self.words.append)
        self.worker = SinkWorker(sink, around)
        self.worker.introduce()

    def go(self, **duration: float) -> int:
        """Send what is due, for a time that passes bit by bit; how many requests were taken."""
        for_ = timedelta(**duration)
        until = self.clock.now + for_
        bit = max(1.0, for_.total_seconds() / 60)
        taken = 0
        while True:
            waits = self.worker.step()
            if waits == 0:
                taken += 1
            elif self.clock.now >= until:
                return taken
            else:
                self.clock.later(seconds=bit)


@pytest.fixture
def sending(store, clock, place):
    return Sending(store, clock, place)


def states(store, clock) -> dict[str, int]:
    (sink,) = alerts(store, now=clock.now)["sinks"]
    names = ("waiting", "held", "sent", "folded", "dead", "withdrawn")
    return {name: sink[name] for name in names if sink[name]}


def test_an_incident_is_told_when_it_opens_and_when_it_is_over(app, sending, place, clock, store):
    app.bad("ERROR: disk full", at=NOON)
    sending.go()
    (message,) = place.got
    assert (message["event"], message["events"], message["schema"]) == ("opened", ["opened"], 1)
    assert message["incident"]["title"] == "10:00 ERROR: disk full"
    clock.later(minutes=16)
    app.incidents.tidy(store)
    sending.go()
    assert [it["event"] for it in place.got] == ["opened", "closed"]
    assert place.got[1]["incident"]["state"] == "closed"
    assert states(store, clock) == {"sent": 2}


def test_many_sessions_of_one_fault_that_shows_in_three_ways_are_two_messages(
    sending, place, clock, store
):
    app = Writing(store, clock)
    kinds = ("ERROR: disk full", "PANIC: could not write", "LOG: retrying")
    for _ in range(10):
        app.bad(*kinds * 40, at=clock.now)
        sending.go(seconds=10)
    clock.later(minutes=30)
    app.incidents.tidy(store)
    sending.go()
    assert [it["event"] for it in place.got] == ["opened", "closed"]
    assert place.got[1]["incident"]["sessions"] == 1_200


def test_nothing_is_told_of_what_was_before_the_place_was_known(app, store, clock, place):
    app.bad("ERROR: disk full", at=NOON)
    sending = Sending(store, clock, place)
    sending.go(seconds=5)
    assert place.requests == []


def test_what_nobody_sent_meanwhile_is_sent_by_the_next_process(app, store, clock, place):
    Sending(store, clock, place)
    app.bad("ERROR: disk full", at=NOON)
    Sending(store, clock, place, owner="you").go()
    assert [it["event"] for it in place.got] == ["opened"]


def test_a_place_that_is_down_for_five_minutes_loses_nothing(app, sending, place, clock, store):
    place.status = 503
    for kind in APART:
        app.bad(kind, at=clock.now)
        clock.later(seconds=1)
    sending.go(minutes=5)
    tried = len(place.requests)
    assert place.got == []
    assert tried < 20
    assert sending.words == ["ops takes no messages: HTTP 503 ok; what waits is kept"]
    (sink,) = alerts(store, now=clock.now)["sinks"]
    assert (sink["waiting"], sink["error"]) == (5, "HTTP 503 ok")
    place.status = 200
    sending.go(minutes=5)
    assert sorted(it["incident"]["kind"] for it in place.got) == sorted(APART)
    assert sending.words[1:] == ["ops takes messages again"]
    assert states(store, clock) == {"sent": 5}


@pytest.mark.parametrize("status", [0, 404, 429, 500, 302])
def test_what_may_pass_is_tried_again(app, sending, place, status):
    place.status = status
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=3)
    assert place.got == []
    place.status = 200
    sending.go(seconds=10)
    assert [it["event"] for it in place.got] == ["opened"]


@pytest.mark.real
def test_waits_double_up_to_five_minutes_and_differ(app, sending, place, clock):
    place.status = 500
    app.bad("ERROR: disk full", at=NOON)
    moments = []
    while len(moments) < 12:
        before = len(place.requests)
        sending.worker.step()
        if len(place.requests) > before:
            moments.append(clock.now)
        clock.later(seconds=1)
    waits = [(b - a).total_seconds() for a, b in pairwise(moments)]
    assert waits[0] <= 2
    assert all(150 <= wait <= 301 for wait in waits[-2:])
    assert len(set(waits[-2:])) == 2


def test_a_place_may_ask_for_a_longer_wait(app, sending, place, clock):
    place.status = 429
    place.headers = {"Retry-After": "120"}
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=115)
    assert len(place.requests) == 1
    sending.go(seconds=10)
    assert len(place.requests) == 2


def test_what_waits_of_one_incident_is_one_message(app, sending, place, clock, store):
    place.status = 503
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=2)
    for _ in range(3):
        clock.later(hours=5)
        app.write()
        app.bad("ERROR: disk full", at=NOON)
    clock.later(hours=1)
    app.incidents.tidy(store)
    place.status = 200
    sending.go(minutes=6)
    (message,) = place.got
    assert message["events"] == ["opened", "continues", "closed"]
    assert message["incident"]["sessions"] == 4
    assert states(store, clock) == {"sent": 1, "folded": 4}


class InTurn(Random):
    """Short waits for messages, long ones for places."""

    def __init__(self) -> None:
        super().__init__(0)
        self.turns = cycle([0.0, 0.999])

    def random(self) -> float:
        return next(self.turns)


def test_a_message_that_fails_as_often_as_the_place_is_asked_lets_others_pass(
    app, store, clock, place
):
    sending = Sending(store, clock, place, chance=InTurn())
    place.refuses = {"FATAL: a": 500}
    for kind in APART:
        app.bad(kind, at=clock.now)
        clock.later(seconds=1)
    sending.go(seconds=20)
    assert len(place.got) == 4


def test_a_message_that_always_fails_lets_others_pass(app, sending, place, clock, store):
    place.refuses = {"FATAL: a": 500}
    for kind in APART:
        app.bad(kind, at=clock.now)
        clock.later(seconds=1)
    sending.go(seconds=20)
    assert len(place.got) == 4
    sending.go(minutes=30)
    assert len(place.requests) < 20


def test_a_message_that_is_refused_is_a_dead_letter_that_can_be_retried(
    app, sending, place, clock, store
):
    place.status = 400
    place.answer = b"invalid \x1b[31m payload"
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=60)
    assert len(place.requests) == 1
    (letter,) = alerts(store, now=clock.now)["dead_letters"]
    assert (letter["sink"], letter["event"], letter["title"]) == (
        "ops",
        "opened",
        "10:00 ERROR: disk full",
    )
    assert letter["error"].isprintable()
    assert letter["error"].startswith("HTTP 400 invalid")
    place.status = 200
    assert revive(store, message=letter["message"], sink="another", now=clock.now) == 0
    assert revive(store, message=letter["message"], sink="ops", now=clock.now) == 1
    assert revive(store, message=None, sink=None, now=clock.now) == 0
    sending.go()
    assert [it["event"] for it in place.got] == ["opened"]
    assert states(store, clock) == {"sent": 1}


def test_a_message_is_given_up_after_three_days(app, sending, place, clock, store):
    place.status = 503
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=10)
    clock.later(hours=71)
    sending.go(seconds=10)
    assert states(store, clock) == {"waiting": 1}
    clock.later(hours=1)
    sending.go(seconds=10)
    assert states(store, clock) == {"dead": 1}
    assert [it["tries"] for it in letters(store, state="dead", limit=5)] > [3]


def test_two_processes_send_each_message_once(app, store, clock, place):
    mine, yours = Sending(store, clock, place), Sending(store, clock, place, owner="you")
    for kind in APART:
        app.bad(kind, at=clock.now)
        for sending in (mine, yours, mine, yours):
            sending.worker.step()
        clock.later(seconds=1)
    assert [it["incident"]["kind"] for it in place.got] == list(APART)


def test_two_processes_at_the_same_time_send_each_message_once(app, store, clock, place):
    """While one is in the middle of a request, the other one waits."""
    mine, yours = Sending(store, clock, place), Sending(store, clock, place, owner="you")
    place.answering.clear()
    app.bad("ERROR: disk full", at=NOON)
    thread = threading.Thread(target=mine.worker.step)
    thread.start()
    while not place.requests:
        pass
    yours.go(seconds=20)
    place.answering.set()
    thread.join()
    yours.go(seconds=60)
    assert len(place.requests) == 1


def test_a_process_that_died_is_replaced_and_its_message_has_the_same_key(app, store, clock, place):
    mine = Sending(store, clock, place)
    app.bad("ERROR: disk full", at=NOON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logllm.serve.alerts.sink_worker.post", _dies)
        with pytest.raises(SystemExit):
            mine.worker.step()
    yours = Sending(store, clock, place, owner="you")
    yours.go(seconds=40)
    assert place.got == []
    yours.go(seconds=10)
    assert [it["event"] for it in place.got] == ["opened"]
    assert place.requests[0][1]["Idempotency-Key"] == place.got[0]["key"]


def _dies(*args, **more):
    raise SystemExit


def test_a_process_that_stops_leaves_the_place_to_others_at_once(app, store, clock, place):
    mine, yours = Sending(store, clock, place), Sending(store, clock, place, owner="you")
    app.bad("FATAL: a", at=NOON)
    mine.go()
    app.bad("ERROR: b", at=clock.later(seconds=1))
    yours.worker.step()
    assert len(place.got) == 1
    mine.worker.release()
    yours.worker.step()
    assert len(place.got) == 2


@pytest.mark.real
def test_muted_nothing_is_sent_also_of_what_waits(app, sending, place, clock, store):
    place.status = 503
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=2)
    until = clock.now + timedelta(hours=20)
    mute(store, Muting("app", "ERROR: disk full", until, by="ann", why="known"), now=clock.now)
    place.status = 200
    for _ in range(10):
        app.bad("ERROR: disk full", at=clock.now)
        sending.go(minutes=2)
    clock.later(hours=1)
    app.incidents.tidy(store)
    sending.go(minutes=5)
    assert place.got == []
    assert states(store, clock) == {"withdrawn": 1}


def test_what_turned_out_to_be_nothing_before_it_was_told_is_not_told(
    app, sending, place, store, clock
):
    from tests.serve.incident_contract import bad
    from tests.serve.store_contract import verdict

    app.write(bad("a", 1, state="open"))
    app.write(verdict("a", 1))
    sending.go(seconds=5)
    assert place.requests == []
    assert states(store, clock) == {"withdrawn": 2}


def test_more_than_an_hour_allows_comes_in_one_summary(app, store, clock, place):
    sending = Sending(store, clock, place, budget=3)
    for number in range(10):
        app.bad(f"kind{number}", at=clock.now)
        sending.go(seconds=10)
    assert [it["event"] for it in place.got] == ["opened"] * 3
    assert states(store, clock) == {"sent": 3, "held": 7}
    app.bad("kind10", at=clock.now)
    sending.go(minutes=61)
    summary = place.got[3]
    assert summary["event"] == "summary"
    assert [it["incident"]["kind"] for it in summary["held_back"]] == [
        f"kind{n}" for n in range(3, 11)
    ]
    assert len(place.got) == 4
    assert states(store, clock) == {"sent": 4, "folded": 7}


def test_a_summary_that_fails_is_sent_later(app, store, clock, place):
    sending = Sending(store, clock, place, budget=1)
    for number in range(4):
        app.bad(f"kind{number}", at=clock.now)
        sending.go(seconds=1)
    place.status = 503
    sending.go(minutes=61)
    place.status = 200
    sending.go(minutes=6)
    assert [it["event"] for it in place.got] == ["opened", "summary"]
    assert place.requests[-1][1]["Idempotency-Key"] == place.requests[-2][1]["Idempotency-Key"]


def test_a_new_incident_is_told_when_more_of_it_had_time_to_come(app, store, clock, place):
    sending = Sending(store, clock, place, wait=10)
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=5)
    app.bad(*["ERROR: disk full"] * 30, at=NOON)
    sending.go(seconds=4)
    assert place.requests == []
    sending.go(seconds=5)
    (message,) = place.got
    assert message["incident"]["sessions"] == 31


def test_a_process_that_ends_waits_for_nothing_more_to_come(app, store, clock, place):
    sending = Sending(store, clock, place, wait=3_600)
    app.bad("ERROR: disk full", at=NOON)
    sending.worker.finish()
    assert [it["event"] for it in place.got] == ["opened"]


def test_only_what_is_wanted_is_told(app, store, clock, place):
    sending = Sending(store, clock, place, events=["closed"], streams=["shop"])
    shop = Writing(store, clock, stream="shop")
    app.bad("ERROR: disk full", at=NOON)
    shop.bad("ERROR: disk full", at=NOON)
    clock.later(hours=1)
    app.incidents.tidy(store)
    sending.go(seconds=5)
    assert [(it["event"], it["incident"]["stream"]) for it in place.got] == [("closed", "shop")]


def test_an_incident_that_was_deleted_for_its_age_is_told_as_it_was(
    app, sending, place, clock, store
):
    place.status = 503
    app.bad("ERROR: disk full", at=NOON)
    sending.go(seconds=2)
    clock.later(hours=1)
    app.incidents.tidy(store)
    store.retain(days=1, now=clock.later(days=2))
    place.status = 200
    sending.go(minutes=6)
    assert place.got[0]["incident"]["title"] == "10:00 ERROR: disk full"


def test_alerts_are_told_again_while_they_hold(app, store, clock, place):
    sending = Sending(store, clock, place, kind="alertmanager", resend=60)
    app.bad("ERROR: disk full", at=NOON)
    sending.go(minutes=5)
    times = [(alert["startsAt"], alert["endsAt"]) for (alert,) in place.got]
    assert 5 <= len(times) <= 7
    assert {start for start, _ in times} == {"2026-11-27T12:00:00.000000Z"}
    assert times[0][1] == "2026-11-27T12:03:00.000000Z"
    assert times == sorted(times)
    clock.later(minutes=16)
    app.incidents.tidy(store)
    before = len(place.got)
    sending.go(minutes=5)
    (alert,) = place.got[before]
    assert alert["endsAt"] == "2026-11-27T12:21:00.000000Z"
    assert len(place.got) == before + 1


@pytest.mark.real
def test_threads_tell_each_place_and_stop(app, store, clock, place):
    with receiving() as other:
        sections = [SinkSection(url=place.url, wait=0), SinkSection(url=other.url, wait=0)]
        delivery = Delivery(
            store, sinks_of(sections, environment={}, page=None), page=None, told=print
        )
        delivery.start()
        app.bad("ERROR: disk full", at=NOON)
        while not (place.got and other.got):
            threading.Event().wait(0.01)
        assert all(it["alive"] for it in delivery.status().values())
        delivery.stop(5)
        assert not any(it["alive"] for it in delivery.status().values())
    assert len(place.got) == 1


@pytest.mark.real
def test_a_place_that_hangs_holds_no_stop_up(app, store, place):
    (sink,) = sinks_of([SinkSection(url=place.url, wait=0)], environment={}, page=None)
    delivery = Delivery(store, [sink], page=None, told=print)
    place.answering.clear()
    delivery.start()
    app.bad("ERROR: disk full", at=NOON)
    while not place.requests:
        threading.Event().wait(0.01)
    begun = time.monotonic()
    delivery.stop(0.2)
    assert time.monotonic() - begun < 2
    place.answering.set()
    delivery.stop(5)
    assert len(place.got) == 1
