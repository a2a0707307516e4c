"""What every store does, whichever database holds it."""

import json
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from sqlalchemy import select

from logllm.errors import DataError, ServeError
from logllm.serve.store.frames import READ, VERDICTS, stored_names
from logllm.serve.store.schema import numbers, verdicts
from logllm.serve.store.troubles import OwnershipLost
from logllm.serve.store.verdict_store import Claimed, Kept, Store, Written

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@cache
def empty_store() -> bytes:
    """The file of a store that holds nothing: to write it is faster than to make its tables."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "verdicts.db"
        Store.open(path).close()
        return path.read_bytes()


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def later(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


def verdict(session: str, *lines: int, state: str = "closed", partition: str = "p", **more) -> dict:
    """A row of verdicts."""
    files = more.get("files")
    here = (
        [line for line, file in zip(lines, files, strict=True) if file == partition]
        if files
        else lines
    )
    row = {
        "partition": partition,
        "session": session,
        "piece": 1,
        "first_position": here[0],
        "last_position": here[-1],
        "state": state,
        "score": 0.25,
        "anomalous": False,
        "lines": list(lines),
        "start": NOON,
        "end": NOON,
        "model": "runs/app",
    }
    return dict.fromkeys(VERDICTS) | row | more


def frame(*rows: dict) -> pl.DataFrame:
    """Verdicts as the watch gives them."""
    return pl.DataFrame(list(rows), schema=VERDICTS)


def kept(claimed: Claimed, low: int = 0, **more) -> dict[str, Kept]:
    """The place of the partition `p`."""
    return {"p": Kept(claimed.epoch, low, more.get("place", {}), more.get("counters", {}))}


class StoreContract:
    """Tests of a store; `where` and `store` are fixtures of who inherits."""

    def write(self, store: Store, *rows: dict, low: int = 0) -> Written:
        """Write as the owner of the partition `p`, taken over for it."""
        mine = store.claim("app", "p", owner="me")
        return store.write("app", verdicts=frame(*rows), kept=kept(mine, low))

    def test_a_new_partition_begins_at_its_first_line(self, store):
        assert store.claim("app", "p", owner="me") == Claimed(1, 0, {}, {})

    def test_what_was_written_is_there_for_the_next_owner(self, store, where):
        mine = store.claim("app", "p", owner="me")
        store.write(
            "app",
            verdicts=frame(),
            kept=kept(mine, 7, place={"offset": 90, "ä": [1]}, counters={"records": 8}),
        )
        other = Store.open(where)
        assert other.claim("app", "p", owner="you") == Claimed(
            2, 7, {"offset": 90, "ä": [1]}, {"records": 8}
        )
        assert other.claim("app", "q", owner="you") == Claimed(1, 0, {}, {})
        assert other.claim("shop", "p", owner="you") == Claimed(1, 0, {}, {})
        other.close()

    def test_a_verdict_is_read_as_it_was_written(self, store, clock):
        evidence = [{"line": 3, "score": 0.9, "text": 'a "b" \n ü'}]
        row = verdict(
            "blk_1",
            1,
            3,
            2**62,
            anomalous=True,
            score=0.1 + 0.2,
            cut="start",
            evidence=json.dumps(evidence),
        )
        row |= {
            "more": '{"p":0.01}',
            "texts": '["x"]',
            "kind": "disk <*> failed",
            "messages": '["disk <*> failed"]',
            "end": NOON + timedelta(microseconds=1),
            "piece": 2,
        }
        assert self.write(store, row) == Written(1, 0, 0)
        read = store.verdicts("app")
        assert dict(read.schema) == READ
        ours = {"stream": "app", "updated": clock.now, "incident": None, "change": 1}
        assert read.row(0, named=True) == row | ours

    def test_what_is_done_besides_sees_only_what_this_transaction_wrote(self, store):
        seen = []

        def also(connection, stream, change):
            own = select(verdicts.c.session).where(verdicts.c.change == change)
            seen.append((stream, change, sorted(connection.scalars(own))))

        places = kept(store.claim("app", "p", owner="me"))
        first = frame(verdict("a", 1), verdict("b", 2, state="open"))
        store.write("app", verdicts=first, kept=places, also=[also])
        again = frame(verdict("a", 1), verdict("b", 2), verdict("c", 3))
        store.write("app", verdicts=again, kept=places, also=[also])
        store.write("app", verdicts=frame(), kept=places, also=[also])
        assert seen == [("app", 1, ["a", "b"]), ("app", 2, ["b", "c"])]

    def test_what_is_done_besides_and_fails_takes_the_verdicts_back(self, store):
        def fails(connection, stream, change):
            connection.execute(numbers.insert().values(name=stream, value=change))
            raise ServeError("no")

        places = kept(store.claim("app", "p", owner="me"), 7)
        with pytest.raises(ServeError):
            store.write("app", verdicts=frame(verdict("a", 1)), kept=places, also=[fails])
        assert store.verdicts("app").height == 0
        assert store.claim("app", "p", owner="me").low == 0
        with store.transaction(reading=True) as connection:
            assert connection.execute(select(numbers)).all() == [("change", 0)]

    def test_changes_are_numbered_in_their_order_whoever_writes(self, store, where):
        one, two = store, Store.open(where)
        for number in range(4):
            writer = (one, two)[number % 2]
            stream = f"of {number % 2}"
            places = kept(writer.claim(stream, "p", owner="me"))
            writer.write(stream, verdicts=frame(verdict(f"s{number}", 1)), kept=places)
        two.close()
        assert store.verdicts().sort("change")["session"].to_list() == ["s0", "s1", "s2", "s3"]
        assert sorted(store.verdicts()["change"]) == [1, 2, 3, 4]

    def test_times_may_lack_and_lie_before_1970(self, store):
        early = datetime(999, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
        self.write(
            store, verdict("a", 1, start=None, end=None), verdict("b", 2, start=early, end=early)
        )
        assert store.verdicts("app")["start"].to_list() == [early, None]

    def test_an_open_row_is_revised_until_it_closes(self, store):
        assert self.write(store, verdict("a", 1, state="open")) == Written(1, 0, 0)
        assert self.write(store, verdict("a", 1, 2, state="open", score=0.5)) == Written(0, 1, 0)
        assert self.write(store, verdict("a", 1, 2, 3, score=0.75)) == Written(0, 1, 0)
        assert store.verdicts("app").select("state", "score", "lines").rows() == [
            ("closed", 0.75, [1, 2, 3])
        ]

    @pytest.mark.parametrize("state", ["closed", "early"])
    @pytest.mark.parametrize("again", ["open", "closed", "early"])
    def test_a_row_that_is_over_stays(self, store, state, again):
        self.write(store, verdict("a", 1, 2, state=state))
        assert self.write(store, verdict("a", 1, state=again, score=1.0)) == Written(0, 0, 1)
        assert store.verdicts("app").select("state", "score", "lines").rows() == [
            (state, 0.25, [1, 2])
        ]

    def test_one_write_may_hold_a_session_several_times(self, store):
        rows = [
            verdict("a", 1, state="open"),
            verdict("a", 1, 2),
            verdict("a", 1, 2, 3, state="open"),
            verdict("a", 1, state="early"),
        ]
        rows += [verdict("b", 4, state="open"), verdict("b", 4, 5, state="open")]
        assert self.write(store, *rows) == Written(2, 0, 4)
        assert set(
            store.verdicts("app").select("session", "state", pl.col("lines").list.len()).rows()
        ) == {
            ("a", "closed", 2),
            ("b", "open", 2),
        }

    def test_sessions_of_one_name_are_told_apart(self, store):
        rows = [verdict("a", 1), verdict("a", 9), verdict("a", 9, piece=2)]
        assert self.write(store, *rows).new == 3
        there = store.claim("app", "q", owner="me")
        both = {"q": Kept(there.epoch, 0, {}, {})}
        assert (
            store.write("app", verdicts=frame(verdict("a", 1, partition="q")), kept=both).new == 1
        )
        assert store.verdicts("app").height == 4

    def test_many_rows_in_one_write(self, store):
        rows = frame(*(verdict(f"s{number}", number) for number in range(1300)))
        mine = store.claim("app", "p", owner="me")
        assert store.write("app", verdicts=rows, kept=kept(mine)) == Written(1300, 0, 0)
        assert store.write("app", verdicts=rows, kept=kept(mine)) == Written(0, 0, 1300)
        assert store.accounted("app", "p", low=0).height == 1300

    def test_a_former_owner_writes_nothing(self, store, where):
        zombie = store.claim("app", "p", owner="zombie")
        also_mine = store.claim("app", "q", owner="zombie")
        other = Store.open(where)
        heir = other.claim("app", "p", owner="heir")
        both = kept(zombie, 5) | {"q": Kept(also_mine.epoch, 5, {}, {})}
        with pytest.raises(OwnershipLost) as lost:
            store.write("app", verdicts=frame(verdict("a", 1)), kept=both)
        assert lost.value.partitions == ("p",)
        assert store.verdicts("app").is_empty()
        assert other.claim("app", "q", owner="heir") == Claimed(2, 0, {}, {})
        assert other.write("app", verdicts=frame(verdict("a", 1)), kept=kept(heir, 2)).new == 1
        other.close()

    def test_a_partition_that_nobody_claimed_is_not_written(self, store):
        with pytest.raises(OwnershipLost):
            store.write("app", verdicts=frame(), kept={"p": Kept(1, 0, {}, {})})

    def test_the_owner_of_every_partition_is_compared(self, store):
        mine = store.claim("app", "p", owner="me")
        with pytest.raises(ValueError, match="'q'"):
            store.write("app", verdicts=frame(verdict("a", 1, partition="q")), kept=kept(mine))
        with pytest.raises(ValueError, match="'q'"):
            store.write(
                "app", verdicts=frame(verdict("a", 1, 1, files=["p", "q"])), kept=kept(mine)
            )

    def test_what_a_replay_passes_over(self, store):
        self.write(
            store,
            verdict("before", 1, 2),
            verdict("over", 2, 5, 7),
            verdict("early", 6, state="early"),
            verdict("open", 3, 8, state="open"),
            low=3,
        )
        last = store.accounted("app", "p", low=3)
        assert dict(last.schema) == {"session": pl.String, "last": pl.Int64}
        assert sorted(last.rows()) == [("early", 6), ("over", 7)]
        assert store.accounted("app", "q", low=0).is_empty()
        assert store.accounted("shop", "p", low=0).is_empty()

    def test_pieces_of_a_session_are_passed_over_together(self, store):
        self.write(
            store, verdict("a#2", 1, 2), verdict("a#2#2", 3, 4, piece=2), verdict("a#2", 8, 9)
        )
        assert store.accounted("app", "p", low=0).rows() == [("a#2", 9)]

    def test_sessions_over_several_partitions_are_passed_over_in_each(self, store):
        epochs = {name: store.claim("app", name, owner="me").epoch for name in ("p", "q", "r")}
        places = {name: Kept(epoch, 0, {}, {}) for name, epoch in epochs.items()}
        rows = [
            verdict("a", 9, 4, 10, 5, files=["p", "q", "p", "q"]),
            verdict("b", 20, 3, 6, partition="q", files=["q", "r", "q"], state="open"),
            verdict("c", 11),
        ]
        store.write("app", verdicts=frame(*rows), kept=places)
        assert sorted(store.accounted("app", "p", low=10).rows()) == [("a", 10), ("c", 11)]
        assert sorted(store.accounted("app", "q", low=0).rows()) == [("a", 5)]

        # It goes on in a further partition, and closes.
        longer = verdict("b", 20, 3, 6, 30, partition="q", files=["q", "r", "q", "p"])
        assert store.write("app", verdicts=frame(longer), kept=places) == Written(0, 1, 0)
        assert sorted(store.accounted("app", "p", low=11).rows()) == [("b", 30), ("c", 11)]
        assert sorted(store.accounted("app", "r", low=0).rows()) == [("b", 3)]
        assert store.verdicts("app", state="closed").filter(session="b")["files"].to_list() == [
            ["q", "r", "q", "p"]
        ]
        assert store.check() == []

    def test_what_is_ignored_says_nothing_of_further_lines(self, store, clock):
        epochs = {name: store.claim("app", name, owner="me").epoch for name in ("p", "q")}
        places = {name: Kept(epoch, 0, {}, {}) for name, epoch in epochs.items()}
        early = verdict("a", 1, 5, files=["p", "q"], state="early")
        assert store.write("app", verdicts=frame(early), kept=places).new == 1
        clock.later(seconds=1)
        longer = verdict("a", 1, 5, 9, 3, files=["p", "q", "q", "p"])
        assert store.write("app", verdicts=frame(longer), kept=places).ignored == 1
        assert store.accounted("app", "p", low=0).rows() == [("a", 1)]
        assert store.accounted("app", "q", low=0).rows() == [("a", 5)]

    def test_names_that_a_database_would_refuse(self, store):
        rows = [
            verdict("a\x00b", 1, evidence='"\x00"'),
            verdict("x" * 5000 + "1", 2),
            verdict("x" * 5000 + "2", 3),
        ]
        assert self.write(store, *rows).new == 3
        assert self.write(store, *rows).ignored == 3
        names = stored_names(pl.Series([row["session"] for row in rows]))
        assert sorted(store.accounted("app", "p", low=0).rows()) == sorted(
            zip(names, [1, 2, 3], strict=True)
        )

    def test_a_partition_whose_name_no_index_takes(self, store):
        with pytest.raises(DataError, match="too long"):
            store.claim("app", "p" * 2000, owner="me")

    def test_the_last_written_come_first(self, store, clock):
        self.write(store, verdict("a", 1), verdict("b", 2, anomalous=True))
        after = clock.later(minutes=1)
        self.write(
            store, verdict("c", 3, state="open"), verdict("d", 4, anomalous=True, state="early")
        )
        other = store.claim("shop", "p", owner="me")
        clock.later(minutes=1)
        store.write("shop", verdicts=frame(verdict("e", 1)), kept=kept(other))

        def names(*args, **filters):
            return "".join(store.verdicts(*args, **filters)["session"])

        assert names() == "edcba"
        assert names(limit=2) == "ed"
        assert names("app") == "dcba"
        assert names("app", limit=3) == "dcb"
        assert names(anomalous=True) == "db"
        assert names(anomalous=False) == "eca"
        assert names(state="early") == "d"
        assert names(since=after) == "edc"
        assert names("app", since=after, anomalous=True) == "d"
        assert names("none") == ""

    def test_what_nobody_revises_is_settled(self, store, clock):
        self.write(store, verdict("old", 1, state="open"), verdict("over", 2))
        between = clock.later(minutes=1)
        self.write(store, verdict("young", 3, state="open"))
        clock.later(minutes=1)
        assert store.settle("shop", before=clock.now) == 0
        assert store.settle("app", before=between) == 1
        assert dict(store.verdicts("app").select("session", "state").rows()) == {
            "old": "early",
            "over": "closed",
            "young": "open",
        }
        assert self.write(store, verdict("old", 1, 4, state="closed")) == Written(0, 0, 1)

    def test_settling_nothing_tells_of_no_change(self, store, clock):
        self.write(store, verdict("over", 1))
        young = clock.now
        self.write(store, verdict("young", 2, state="open"))
        assert store.settle("app", before=young) == 0
        self.write(store, verdict("next", 3))
        changes = store.verdicts("app").select("session", "change").sort("change")
        assert changes["session"].to_list() == ["over", "young", "next"]
        assert changes["change"].diff().drop_nulls().to_list() == [1, 1]

    def test_what_is_old_is_deleted_but_never_what_is_open(self, store, clock):
        epochs = {name: store.claim("app", name, owner="me").epoch for name in ("p", "q")}
        places = {name: Kept(epoch, 0, {}, {}) for name, epoch in epochs.items()}
        old = [verdict(f"s{number}", number + 100) for number in range(2100)]
        old += [verdict("open", 1, state="open"), verdict("over", 2, 3, files=["p", "q"])]
        store.write("app", verdicts=frame(*old), kept=places)
        clock.later(days=2)
        store.write("app", verdicts=frame(verdict("young", 9, 1, files=["p", "q"])), kept=places)
        assert store.retain(days=3, now=clock.now) == 0
        assert store.retain(days=1, now=clock.now, most=500) == 1000
        assert store.retain(days=1, now=clock.now) == 1101
        assert sorted(store.verdicts("app")["session"]) == ["open", "young"]
        assert store.accounted("app", "q", low=0).rows() == [("young", 1)]
        assert store.check() == []

    def test_a_reader_never_waits_for_a_writer(self, store, where):
        self.write(store, verdict("a", 1))
        stop, seen = threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                seen.append(store.verdicts("app").height)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(2, 12):
                self.write(store, *(verdict(f"s{number}-{part}", number) for part in range(5)))
        finally:
            stop.set()
            reader.join()
        # Each write is seen whole or not at all.
        assert seen
        assert {count % 5 for count in seen} == {1}
        assert seen == sorted(seen)

    def test_two_may_open_a_new_store_at_once(self, fresh):
        stores, troubles = [], []

        def open_it() -> None:
            try:
                stores.append(Store.open(fresh))
            except Exception as exc:  # noqa: BLE001 - the test shows it
                troubles.append(exc)

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert troubles == []
        assert sorted(store.claim("app", "p", owner="me").epoch for store in stores) == [1, 2, 3, 4]
        for store in stores:
            store.close()
