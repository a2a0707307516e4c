"""A watch says what it passed over of logs that are new to the store."""

from contextlib import closing

import pytest

from logllm.config.recipe import Recipe
from logllm.config.watch import WatchSection
from logllm.serve.sources.beginning import beginning, going_on
from logllm.serve.sources.files import FilesSource
from logllm.serve.store.verdict_store import Store
from logllm.serve.surroundings import Watched
from logllm.serve.watch import Watch
from tests.serve.scripted import Errors, settings

REMEDY = "; a new store with --from start judges them too"


class Uncached(Errors):
    """Keeps no scores on this machine."""

    recipe = Recipe.of_method("grep", overrides=["detect.cache_sessions=0"])


@pytest.mark.parametrize(
    ("passed_over", "words"),
    [
        ({"a.log": 1}, "a.log: begins at its end, 1 line passed over"),
        (
            {"a.log": 2000, "empty.log": 0, "b.log": 3},
            "a.log and 1 more: each begins at its end, 2,003 lines passed over",
        ),
        ({"journald:": None}, "journald:: begins at its end, earlier lines passed over"),
    ],
    ids=["one", "several", "not counted"],
)
def test_words(passed_over, words) -> None:
    assert beginning(passed_over) == words + REMEDY


@pytest.mark.parametrize("passed_over", [{}, {"a.log": 0}], ids=["no log", "an empty log"])
def test_nothing_is_said_where_nothing_was_passed_over(passed_over) -> None:
    assert beginning(passed_over) is None


def test_words_of_going_on() -> None:
    again = "lines of sessions that were open are read again"
    assert going_on({"a.log": 3, "b.log": 9}) == (
        f"a.log and 1 more: go on where the store was left; {again}"
    )


def watched_for_five_rounds(log, store_at, *, begin) -> list[str]:
    """What a watch of a log tells."""
    told: list[str] = []
    source = FilesSource([str(log)], begin=begin, poll=0.0)
    watched = Watched("app", source, settings(), apart=False)
    with closing(Store.open(store_at)) as store:
        how = WatchSection(begin=begin, idle=3600)
        watch = Watch([watched], run=Uncached(), how=how, store=store, told=told.append)
        rounds: list[None] = []

        def status(running: Watch) -> None:
            rounds.append(None)
            running.stopping = len(rounds) >= 5

        watch.run(status=status)
    return told


def test_a_second_watch_says_where_it_goes_on(tmp_path) -> None:
    log = tmp_path / "app.log"
    log.write_text("2026-11-03 12:00:00 a begins\n2026-11-03 12:00:01 b begins\n")
    first, second = (
        watched_for_five_rounds(log, tmp_path / "app.db", begin="start") for _ in range(2)
    )
    again = "lines of sessions that were open are read again"
    assert first == []
    assert second == [f"{log}: goes on at line 1, where the store was left; {again}"]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("begin", "expected"),
    [("end", ["{log}: begins at its end, 2 lines passed over" + REMEDY]), ("start", [])],
    ids=["from the end", "from the start"],
)
def test_a_watch_says_it_once(tmp_path, begin, expected) -> None:
    log = tmp_path / "app.log"
    log.write_text("2026-11-03 12:00:00 a ERROR of old\n2026-11-03 12:00:01 b begins\n")
    told = watched_for_five_rounds(log, tmp_path / "app.db", begin=begin)
    assert told == [words.format(log=log) for words in expected]
