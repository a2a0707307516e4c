"""Which sessions the ends of a log cut, and what may be said of those."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from logllm.config.sessions import SessionSection
from logllm.errors import ModelError
from logllm.sessions.cut import Span
from logllm.sessions.ends import ENDS, Ends, marked
from logllm.sessions.message_sets import MessageKeys, keys_of_messages
from logllm.sessions.message_table import NUMBERED
from logllm.sessions.sessionizer import Sessionizer

START = datetime(2024, 1, 1, tzinfo=UTC)
MESSAGES = pl.Series(["open", "work", "close", "lost"])
KEEPS = {"open": 0, "work": 1, "close": 2, "lost": 3}
JOB = SessionSection(by="key", key_field="job")


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else START + timedelta(seconds=seconds)


def records(rows: list[tuple[float | None, str, str]]) -> pl.DataFrame:
    """Records of (seconds, key, message); every session with a `lost` one is anomalous."""
    failed = {key for _, key, message in rows if message == "lost"}
    return pl.DataFrame(
        {
            "record": range(1, len(rows) + 1),
            "file": [0] * len(rows),
            "line": range(1, len(rows) + 1),
            "time": [at(seconds) for seconds, _, _ in rows],
            "keys": [[key] for _, key, _ in rows],
            "message": [KEEPS[message] for *_, message in rows],
            "anomalous": [key in failed for _, key, _ in rows],
        },
        schema=NUMBERED,
    )


def made(sessions: int, *, timed: bool = True) -> list[tuple[float | None, str, str]]:
    """Sessions that open, work twice and close in three seconds, one every ten; every fifth is
    lost."""
    rows = []
    for number in range(sessions):
        words = ["open", "work", "work", "lost" if number % 5 == 0 else "close"]
        rows += [
            (10.0 * number + second if timed else None, f"job-{number}", word)
            for second, word in enumerate(words)
        ]
    return rows


def grouped(rows: list[tuple[float | None, str, str]]) -> tuple[pl.DataFrame, Span]:
    sessionizer = Sessionizer(JOB)
    frame = pl.concat([sessionizer.push(records(rows)), sessionizer.flush()])
    return frame, sessionizer.span


def learnt(*, timed: bool = True) -> Ends:
    return Ends.learn(grouped(made(200, timed=timed))[0], MESSAGES, settings=JOB)


def cut(
    ends: Ends, rows: list[tuple[float | None, str, str]], *, over: bool = True
) -> dict[str, str | None]:
    frame, span = grouped(rows)
    marks = ends.cut(frame, MessageKeys(MESSAGES), span=span, over=over)
    return dict(zip(frame["session"], marks, strict=True))


@pytest.mark.parametrize(
    ("quiet", "end"), [(5, "end"), (20, "end"), (600, None)], ids=["short", "tenfold", "far longer"]
)
def test_a_session_that_stopped_long_before_the_end_is_whole(quiet, end) -> None:
    """Each goes on within a second: after ten minutes it will not."""
    rows = [(1000.0 + second, "hangs", word) for second, word in enumerate(["open", "work"])]
    later = [(1001.0 + quiet + second, "last", word) for second, word in enumerate(["open"])]
    before = made(100)
    assert cut(learnt(), [*before, *rows, *later])["hangs"] == end


def test_a_session_that_lacks_its_middle_is_whole() -> None:
    rows = made(60)
    without_middle = [row for row in rows if row[1] != "job-31" or row[2] != "work"]
    assert cut(learnt(), without_middle)["job-31"] is None


@pytest.mark.parametrize("timed", [True, False], ids=["seconds", "records"])
def test_what_a_tail_cuts_is_known_by_how_sessions_begin_and_end(timed) -> None:
    rows = made(6, timed=timed)[1:-1]
    whole = {f"job-{number}": None for number in range(1, 5)}
    assert cut(learnt(timed=timed), rows) == {"job-0": "start", **whole, "job-5": "end"}


def test_a_session_that_both_ends_cut() -> None:
    assert cut(learnt(), made(1)[1:3]) == {"job-0": "both"}


def test_a_session_that_opens_with_the_input_is_whole() -> None:
    assert cut(learnt(), made(3))["job-0"] is None


def test_a_session_that_stopped_long_before_the_end_is_not_cut() -> None:
    """After `work` sessions go on within a second: this one does not, though it never closed."""
    rows = [
        *made(1)[:2],
        (500.0, "job-9", "open"),
        (501.0, "job-9", "work"),
        (502.0, "job-9", "close"),
    ]
    stopped = [
        (9_000.0 + second, f"stopped-{second}", word)
        for second in range(9)
        for word in ("open", "work")
    ]
    ends = Ends.learn(grouped([*made(200), *stopped])[0], MESSAGES, settings=JOB)
    assert cut(ends, rows) == {"job-0": None, "job-9": None}


def named(name: str) -> pl.Series:
    """The messages as a server writes them that has names of its own."""
    return pl.Series([f"{word} the job of user={name} on host={name}-1" for word in MESSAGES])


def marks_of(ends: Ends, messages: pl.Series) -> list[str | None]:
    """How six whole sessions are marked, the first of which opens with the input and the last
    closes with it."""
    frame, span = grouped([row for row in made(7) if row[1] != "job-0"])
    return ends.cut(frame, MessageKeys(messages), span=span, over=True).to_list()


def test_messages_that_differ_in_names_are_known_by_their_first_words(tmp_path) -> None:
    """Of the last session it is known that it has closed, whatever the user is called."""
    Ends.learn(grouped(made(200))[0], named("alice"), settings=JOB).save(tmp_path)
    ends = Ends.load(tmp_path)
    assert marks_of(ends, named("alice")) == [None] * 6
    assert marks_of(ends, named("bob")) == [None] * 6
    frame, span = grouped(made(6)[1:-1])
    assert ends.cut(frame, MessageKeys(named("bob")), span=span, over=True).to_list() == [
        "start",
        None,
        None,
        None,
        None,
        "end",
    ]


def test_a_first_word_alone_says_nothing_of_a_new_message() -> None:
    """Such as a severity, which half of a log begins with."""
    ends = Ends.learn(grouped(made(200))[0], named("alice"), settings=JOB)
    others = pl.Series([f"{word} something else" for word in MESSAGES])
    assert marks_of(ends, others) == ["start", None, None, None, None, "end"]


def test_a_run_that_has_not_learnt_first_words_knows_whole_messages_alone(tmp_path) -> None:
    Ends.learn(grouped(made(200))[0], named("alice"), settings=JOB).save(tmp_path)
    arrays = load_file(tmp_path / ENDS)
    del arrays["lines.beginnings"]
    save_file(arrays, tmp_path / ENDS)
    older = Ends.load(tmp_path)
    assert marks_of(older, named("alice")) == [None] * 6
    assert marks_of(older, named("bob")) == ["start", None, None, None, None, "end"]


def test_nothing_is_cut_at_an_end_that_has_not_come() -> None:
    assert cut(learnt(), made(3)[:-1], over=False)["job-2"] is None


def test_sessions_touch_the_ends_where_nothing_was_learnt() -> None:
    frame, _ = grouped(made(3))
    assert dict(frame.select("session", "cut").iter_rows()) == {
        "job-0": "start",
        "job-1": None,
        "job-2": "end",
    }


@pytest.mark.parametrize(
    ("section", "seconds", "expected"),
    [
        (SessionSection(by="count", size=2), [0, 1, 2], [None, "end"]),
        (SessionSection(by="count", size=2), [0, 1, 2, 3], [None, None]),
        (SessionSection(by="count", size=4, step=2), [0, 1, 2, 3, 4], [None, "end"]),
        (SessionSection(by="time", size=10), [3, 12, 25], ["start", None, "end"]),
        (SessionSection(by="time", size=10), [0, 12, 25], [None, None, "end"]),
        (SessionSection(by="time", size=10), [3], ["both"]),
    ],
    ids=["short", "full", "overlapping", "by-time", "begins-whole", "one"],
)
def test_only_the_first_and_the_last_window_are_cut(section, seconds, expected) -> None:
    windows = Sessionizer(section)
    frame = pl.concat(
        [windows.push(records([(second, "any", "work") for second in seconds])), windows.flush()]
    )
    assert frame["cut"].to_list() == expected


def test_later_pieces_of_a_long_session_do_not_begin_before_the_input() -> None:
    rows = [(float(second), "long", "work") for second in range(5)]
    pieces = Sessionizer(JOB.model_copy(update={"max_messages": 2}))
    frame = pl.concat([pieces.push(records(rows)), pieces.flush()])
    marks = learnt().cut(frame, MessageKeys(MESSAGES), span=pieces.span, over=True)
    assert dict(zip(frame["session"], marks, strict=True)) == {
        "long": "start",
        "long#2": None,
        "long#3": "end",
    }


def test_messages_that_only_anomalous_sessions_hold_tell() -> None:
    assert learnt().telling(keys_of_messages(MESSAGES)).tolist() == [False, False, False, True]
    assert learnt().new(keys_of_messages(pl.Series(["open", "never seen"]))).tolist() == [
        False,
        True,
    ]


def test_what_was_seen_is_enough_where_all_that_could_be_the_whole_were_anomalous() -> None:
    rows = made(6)[1:-1]
    frame, span = grouped(rows)
    marked = frame.with_columns(learnt().cut(frame, MessageKeys(MESSAGES), span=span, over=True))
    enough = dict(
        zip(
            frame["session"],
            learnt().enough(marked, keys_of_messages(MESSAGES), span=span),
            strict=True,
        )
    )
    assert enough["job-0"]  # work, work, lost
    assert not enough["job-5"]  # open, work, work: every fifth is lost


def test_what_was_learnt_is_the_same_when_it_was_saved(tmp_path) -> None:
    before = learnt()
    before.line_score = 0.25
    before.save(tmp_path)
    after = Ends.load(tmp_path)
    assert after is not None
    assert (after.timed, after.labelled, after.line_score) == (True, True, 0.25)
    assert cut(after, made(6)[1:-1]) == cut(before, made(6)[1:-1])
    assert np.array_equal(after.stops.counts, before.stops.counts)
    assert b"open" not in (tmp_path / ENDS).read_bytes()


def test_a_run_without_the_file_has_learnt_nothing_and_a_broken_one_says_so(tmp_path) -> None:
    assert Ends.load(tmp_path) is None
    (tmp_path / ENDS).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="train the run again"):
        Ends.load(tmp_path)


def test_a_whole_log_says_itself_which_of_its_sessions_its_ends_cut():
    rows = made(60)[2:-2]  # the first has lost its beginning, the last its end
    frame, span = grouped(rows)
    cut = marked(frame, MESSAGES, settings=JOB, span=span)
    assert cut.filter(pl.col("cut").is_not_null()).select("session", "cut").rows() == [
        ("job-0", "start"),
        ("job-59", "end"),
    ]
    whole, span = grouped(made(60))
    assert marked(whole, MESSAGES, settings=JOB, span=span)["cut"].null_count() == 60
    windows = SessionSection(by="count", size=4)
    assert marked(whole, MESSAGES, settings=windows, span=span).equals(whole)


def test_what_normal_sessions_go_on_with_is_learnt_and_kept(tmp_path) -> None:
    """The lost ones are not normal: nobody expects that."""
    learnt().save(tmp_path)
    following = Ends.load(tmp_path).following
    keys = keys_of_messages(MESSAGES)
    _, work, close, _ = keys
    assert following.expected(keys[[0]]) == [int(work)]
    assert sorted(following.expected(keys[[0, 1]])) == sorted([int(work), int(close)])
    assert following.expected(keys[[0, 1, 1]], came=work) == [int(close)]
    assert following.expected(keys[[0, 1, 1, 2]]) == []  # they end
    assert following.expected(keys[[3, 1]]) != []  # as after that message otherwise
    assert following.expected(keys[[3]]) == []
