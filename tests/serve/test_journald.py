"""The journal followed by a journalctl that dies, falls silent, and writes what is no entry."""

import json
import time

import pytest

from logllm.errors import ServeError
from logllm.serve.sources.contract import Resumed
from logllm.serve.sources.journald import JournaldSource
from tests.serve.fake_journalctl import FakeJournal


@pytest.fixture
def journal(tmp_path, monkeypatch) -> FakeJournal:
    return FakeJournal(tmp_path, monkeypatch)


@pytest.fixture
def opened():
    sources = []

    def begun(*arguments, begin="start", stored=None, **options) -> JournaldSource:
        source = JournaldSource(arguments, begin=begin, **options)
        sources.append(source)
        source.begin(lambda _: stored)
        return source

    yield begun
    for source in sources:
        source.close()


def taken(source: JournaldSource, count: int) -> dict[int, str]:
    """So many entries' messages by their numbers."""
    lines: dict[int, str] = {}
    end = time.monotonic() + 20
    while len(lines) < count and time.monotonic() < end:
        for arrival in source.take(0.05).arrivals:
            assert arrival.partition == source.name
            lines |= {
                number: json.loads(text)["MESSAGE"] for number, text in arrival.lines.iter_rows()
            }
    assert len(lines) == count
    return lines


def test_entries_come_as_they_are_written(journal, opened):
    journal.add("a", "b")
    source = opened("unit=nginx", "_PID=1")
    assert taken(source, 2) == {1: "a", 2: "b"}
    journal.add("c")
    assert taken(source, 1) == {3: "c"}
    assert "--unit=nginx _PID=1" in journal.calls[-1]


def test_it_begins_at_the_end(journal, opened):
    journal.add("a", "b")
    source = opened(begin="end")
    assert source.passed_over == {source.name: None}
    journal.add("c")
    assert taken(source, 1) == {1: "c"}


def test_of_a_journal_read_from_its_start_nothing_is_passed_over(journal, opened):
    journal.add("a")
    assert opened().passed_over == {}


def test_a_place_is_where_it_goes_on(journal, opened):
    journal.add(*map(str, range(1, 201)))
    source = opened()
    taken(source, 200)
    place = json.loads(json.dumps(source.place(source.name, 150)))
    again = taken(opened(stored=Resumed(150, place)), 200 - place["line"] + 1)
    assert place["line"] in range(86, 151)
    assert again == {number: str(number) for number in range(place["line"], 201)}
    source.stored({source.name: 190})
    assert source.place(source.name, 195)["line"] in range(127, 196)
    assert source.place(source.name, 201) == {"after": "200", "own": "", "line": 201, "last": 200}


def test_it_goes_on_when_journalctl_dies(journal, opened):
    journal.add("a", "b", "c")
    journal.once("die 2")
    source = opened()
    assert taken(source, 3) == {1: "a", 2: "b", 3: "c"}
    assert source.counts == {"restarts": 1}


def test_one_that_is_silent_is_started_again(journal, opened):
    journal.add("a")
    journal.once("silent")
    source = opened(silence=0.05)
    assert taken(source, 1) == {1: "a"}
    assert source.counts.keys() == {"silent_restarts"}  # once more where the machine is slow


def test_one_that_is_silent_as_the_journal_is_left_alone(journal, opened):
    journal.add("a")
    source = opened(silence=0.02)
    taken(source, 1)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        source.take(0.02)
    assert source.counts == {}


def test_what_is_no_entry_is_counted(journal, opened):
    journal.once('say {"MESSAGE": "no cursor"}')
    journal.add("a")
    source = opened()
    assert taken(source, 1) == {1: "a"}
    assert source.counts == {"bad_entries": 1}


def test_bytes_are_text(journal, opened):
    journal.add([*b"\x1b[31mred\x1b[0m \xff"], ["one", "two"], None)
    assert taken(opened(), 3) == {1: "red �", 2: ["one", "two"], 3: None}


def test_a_huge_entry_is_cut_and_still_an_entry(journal, opened):
    journal.add("x" * 3_000_000, "b")
    source = opened()
    first, second = taken(source, 2).values()
    assert set(first) == {"x"}
    assert len(first) == 1 << 14
    assert second == "b"
    assert source.counts == {"cut_lines": 1}


@pytest.mark.real
def test_an_endless_entry_is_passed_over(journal, opened):
    journal.add("x" * 17_000_000, "b")
    source = opened()
    assert taken(source, 1) == {1: "b"}
    assert source.counts == {"bad_entries": 1}


def test_a_cursor_that_was_deleted_is_said_and_numbers_stay_apart(journal, opened):
    journal.add("a", "b")
    source = opened()
    taken(source, 2)
    place = source.place(source.name, 2)
    journal.add("c", "d")
    journal.delete(3)
    again = opened(stored=Resumed(2, place))
    assert taken(again, 1) == {3: "d"}
    assert again.counts == {"lost_cursors": 1, "lost_lines": 2}


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("unti=nginx", "did you mean unit"),
        ("nginx", "NAME=VALUE"),
        ("output=cat", "chooses no entries"),
    ],
    ids=["misspelt", "bare", "not-a-choice"],
)
def test_a_wrong_choice_is_refused(argument, words):
    with pytest.raises(ServeError, match=words):
        JournaldSource([argument], begin="start")


def test_journalctl_refuses(journal):
    journal.refuse("Failed to parse priority")
    with pytest.raises(ServeError, match="Failed to parse priority"):
        JournaldSource(["priority=high"], begin="start").begin(lambda _: None)


def test_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServeError, match="no systemd"):
        JournaldSource([], begin="start").begin(lambda _: None)


def test_only_a_journal_that_the_store_knows(journal):
    with pytest.raises(ServeError, match="knows nothing"):
        JournaldSource([], begin="stored").begin(lambda _: None)


def test_another_sources_place_is_refused(journal):
    with pytest.raises(ServeError, match="name another store"):
        JournaldSource([], begin="start").begin(lambda _: Resumed(1, {"offset": 3}))
