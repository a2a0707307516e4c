"""The live stream: every change once or more, in order and without a gap, however slow the
client."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from logllm.serve.web.changes import changes_after
from logllm.serve.web.feed import Feed
from logllm.serve.web.request_models import Cursor
from tests.serve.shown_store import Shown, anomalous
from tests.serve.store_contract import verdict

SOON = 20
"""Seconds in which anything comes, on a busy machine, too."""


@pytest.fixture
def shown(tmp_path):
    shown = Shown(tmp_path / "app.db")
    yield shown
    shown.close()


async def until(events: AsyncIterator, last: str) -> tuple[list[str], list]:
    """The sessions that come up to and with one, in order, and all events."""
    names, told = [], []
    async with asyncio.timeout(SOON):
        async for event in events:
            if event is None:
                continue
            told.append(event)
            if event.name == "verdict":
                names += [row["session"] for row in json.loads(event.data)["verdicts"]]
            if last in (event.name, *names[-200:]):
                return names, told
    raise AssertionError(f"the stream ended before {last}: {names[-5:]}")


def test_from_now_on_only_what_is_new_comes(shown):
    async def follow() -> None:
        shown.write(verdict("old", 1))
        events = shown.feed.follow(None)
        _, (hello,) = await until(events, "hello")
        assert json.loads(hello.data)["change"] == hello.id == 1
        shown.write(anomalous("new", 2))
        names, told = await until(events, "new")
        assert names == ["new"]
        assert told[-1].id == 2
        await events.aclose()

    asyncio.run(follow())


def test_who_comes_back_gets_what_was_missed_and_then_what_is_new(shown):
    async def follow() -> None:
        for number in range(1, 30):
            shown.write(verdict(f"s{number}", number))
        events = shown.feed.follow(12)
        names, told = await until(events, "s29")
        shown.write(verdict("s30", 30))
        names += (await until(events, "s30"))[0]
        assert names == [f"s{number}" for number in range(13, 31)]
        assert [event.id for event in told] == sorted(event.id for event in told)
        await events.aclose()

    asyncio.run(follow())


def test_a_change_larger_than_an_event_is_whole_before_its_number_is_told(shown):
    shown.write(verdict("first", 1))
    shown.write(*[verdict(f"s{number:04}", number) for number in range(2, 1_202)])
    place, names, ids = Cursor(0), [], []
    while place != Cursor(2):
        events, place = changes_after(shown.store, place)
        for event in events:
            rows = json.loads(event.data)["verdicts"]
            assert len(rows) <= 100
            names += [row["session"] for row in rows]
            ids.append(event.id)
    assert names == ["first", *(f"s{number:04}" for number in range(2, 1_202))]
    assert ids == sorted(ids)
    assert ids[-2:] == [1, 2]  # who has the last but one comes back to the beginning of the change


@pytest.mark.real
def test_many_writers_and_followers_who_come_and_go_miss_nothing(shown):
    async def follow() -> None:
        total = 120

        async def write() -> None:
            for number in range(total):
                await asyncio.to_thread(
                    shown.write,
                    *[verdict(f"s{number}.{part}", 9 * number + part + 1) for part in range(3)],
                )

        async def client(pause: int) -> set[str]:
            names: set[str] = set()
            last = 0
            while f"s{total - 1}.2" not in names:
                count = 0
                events = shown.feed.follow(last)
                async for event in events:
                    if event is None:
                        continue
                    last = event.id
                    if event.name == "verdict":
                        names |= {row["session"] for row in json.loads(event.data)["verdicts"]}
                    count += 1
                    if count > pause or f"s{total - 1}.2" in names:
                        break
                await events.aclose()
            return names

        async with asyncio.timeout(6 * SOON), asyncio.TaskGroup() as group:
            clients = [group.create_task(client(pause)) for pause in (1, 3, 10, 1_000)]
            group.create_task(write())
        expected = {f"s{number}.{part}" for number in range(total) for part in range(3)}
        assert [task.result() == expected for task in clients] == [True] * 4
        assert shown.feed.followers == 0

    asyncio.run(follow())


@pytest.mark.real
def test_who_is_slower_than_all_others_holds_nobody_up_and_misses_nothing(shown):
    async def follow() -> None:
        slow, quick = shown.feed.follow(0), shown.feed.follow(0)
        shown.write(verdict("s0", 1))
        await until(slow, "s0")
        await until(quick, "s0")
        names = []
        for number in range(1, 120):  # each becomes an event: more than may wait for one client
            shown.write(verdict(f"s{number}", number + 1))
            names += (await until(quick, f"s{number}"))[0]
        assert names == [f"s{number}" for number in range(1, 120)]
        late, _ = await until(slow, "s119")
        assert set(late) == set(names)
        shown.write(verdict("after", 999))
        assert (await until(slow, "after"))[0] == ["after"]
        await slow.aclose()
        await quick.aclose()

    asyncio.run(follow())


def test_a_client_of_another_store_is_told_to_read_again(shown):
    async def follow() -> None:
        shown.write(verdict("a", 1))
        events = shown.feed.follow(99)
        _, told = await until(events, "reset")
        assert told[-1].id == 1
        shown.write(verdict("b", 2))
        assert (await until(events, "b"))[0] == ["b"]
        await events.aclose()

    asyncio.run(follow())


@pytest.mark.real
def test_a_store_that_was_away_is_read_again(shown):
    class Away:
        """A store that does not answer twice."""

        def __init__(self) -> None:
            self.times = 0

        def transaction(self, **more):
            self.times += 1
            if self.times in (2, 4):
                raise OSError("the disk is gone")
            return shown.store.transaction(**more)

    async def follow() -> None:
        events = Feed(Away(), every=0.01).follow(0)
        shown.write(verdict("a", 1))
        assert (await until(events, "a"))[0] == ["a"]
        await events.aclose()

    asyncio.run(follow())


def test_streams_end_when_the_service_does(shown):
    async def follow() -> None:
        events = shown.feed.follow(None)
        await until(events, "hello")
        shown.feed.close()
        async with asyncio.timeout(SOON):
            assert [event async for event in events] == []

    asyncio.run(follow())


def test_no_more_follow_than_may(tmp_path):
    shown = Shown(tmp_path / "app.db", streams=1)

    async def follow() -> None:
        events = shown.feed.follow(None)
        await until(events, "hello")
        answer = await asyncio.to_thread(shown.ask, "/v1/stream")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        await events.aclose()

    asyncio.run(follow())
    shown.close()
