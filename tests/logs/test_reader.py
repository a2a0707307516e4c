"""Raw logs to records, as `prepare` and `detect` read them."""

import io
import json
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.config.sessions import SessionSection
from logllm.errors import DataError, RecipeError
from logllm.formats.description import load_format
from logllm.logs.reader import Reader
from logllm.logs.records import RECORDS
from logllm.logs.tally import WrongFormat

TODAY = date(2024, 3, 1)
GRADED = FormatSection(
    name="graded", pattern="(?<grade>[a-z]+): *(?<message>.*)", label="grade", normal=("ok",)
)


def reader(form=GRADED, **more):
    section = PrepareSection(
        format=form,
        mask=more.pop("mask", MaskSection()),
        sessions=more.pop("sessions", SessionSection()),
    )
    return Reader(section, today=TODAY, **more)


def records(reading, *sources):
    return pl.concat(list(reading.read(sources)))


def test_records_count_on_over_files_and_skip_rejects(tmp_path):
    (tmp_path / "a").write_text("ok: up 1\nodd\nbad: down\n")
    (tmp_path / "b").write_text("ok: up 2\nbad:\n")
    reading = reader()
    frame = records(reading, tmp_path / "a", tmp_path / "b")
    assert frame.schema == pl.Schema(RECORDS)
    assert frame.select("record", "file", "line", "message", "anomalous").rows() == [
        (1, 0, 1, "up <*>", False),
        (2, 0, 3, "down", True),
        (3, 1, 1, "up <*>", False),
    ]
    assert reading.files == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert [reading.tally.counts[name] for name in ("lines", "rejected", "rejected_alerts")] == [
        5,
        2,
        1,
    ]
    assert [(reject["file"], reject["line"]) for reject in reading.tally.first_rejects] == [
        ("a", 2),
        ("b", 2),
    ]
    more = records(reading, tmp_path / "a")
    assert more.select("record", "file").rows() == [(4, 2), (5, 2)]


@pytest.mark.real
@settings(max_examples=15, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(["ok: one", "bad: two 2", "odd", "ok: 3 three", ""]),
        min_size=1,
        max_size=30,
    ),
    batch=st.integers(1, 9),
)
def test_no_size_of_batch_changes_the_records(lines, batch):
    raw = ("\n".join(["ok: first"] * 30 + lines) + "\n").encode()
    whole, pieces = reader(stdin=io.BytesIO(raw)), reader(stdin=io.BytesIO(raw), batch_lines=batch)
    assert_frame_equal(records(whole, "-"), records(pieces, "-"))
    assert (whole.tally.counts, whole.tally.first_rejects) == (
        pieces.tally.counts,
        pieces.tally.first_rejects,
    )


def test_masking_distinct_messages_gives_what_masking_all_does():
    repeated = [f"ok: step {place % 7} of x{place % 3}" for place in range(2_000)]
    different = [f"ok: step {place} of x{place % 3}" for place in range(2_000)]
    for lines in (repeated, different):
        reading = reader(stdin=io.BytesIO("\n".join(lines).encode()))
        assert records(reading, "-")["message"].to_list() == ["step <*> of <*>"] * 2_000


def test_masks_are_those_of_the_settings():
    reading = reader(mask=MaskSection(rules="off"), stdin=io.BytesIO(b"ok: up 1\n"))
    assert records(reading, "-")["message"].to_list() == ["up 1"]
    with pytest.raises(RecipeError, match="no regular expression"):
        reader(mask=MaskSection(own=({"name": "x", "pattern": "("},)))


def test_times_that_cannot_be_read_are_counted():
    form = load_format("json")
    raw = b'{"message": "a", "time": 5}\n{"message": "b", "time": "noon"}\n{"message": "c"}\n'
    reading = reader(form, stdin=io.BytesIO(raw))
    assert records(reading, "-")["time"].null_count() == reading.tally.counts["timeless"] == 2


def test_half_the_lines_may_be_rejects_but_not_more():
    assert records(reader(stdin=io.BytesIO(b"ok: a\nx\n")), "-").height == 1
    wrong = reader(stdin=io.BytesIO(b"ok: a\nx\ny\n"))
    with pytest.raises(
        WrongFormat, match="2 of 3 lines are not in the format graded, such as line 2 of -: x$"
    ):
        records(wrong, "-")


def test_empty_lines_say_nothing_of_the_format():
    reading = reader(stdin=io.BytesIO(b"ok: a\n\n \n\nok: b\nx\n"))
    assert records(reading, "-").height == 2
    assert (reading.tally.counts["rejected"], reading.tally.counts["empty"]) == (4, 3)
    assert [reject["text"] for reject in reading.tally.first_rejects] == ["x"]
    with pytest.raises(DataError, match="- holds empty lines only"):
        records(reader(stdin=io.BytesIO(b"\n\n")), "-")


def test_a_row_that_never_ends_is_its_first_line_and_a_reject():
    reading = reader(
        FormatSection(name="table", kind="csv"),
        stdin=io.BytesIO(b"at,message\n" + b"1,up\n" * 5 + b'2,"down\n3,up\n4,up\n'),
    )
    assert records(reading, "-").height == 7
    assert (
        reading.tally.counts["lines"],
        reading.tally.counts["rejected"],
        reading.tally.counts["continued"],
    ) == (9, 1, 0)


def test_a_file_of_another_format_is_counted(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("ok: a\n" * 5)
    other.write_text('{"a": 1}\n' * 3)
    reading = reader()
    assert records(reading, one, other).height == 5
    assert (reading.tally.counts["files_without_records"], reading.tally.counts["rejected"]) == (
        1,
        3,
    )


def test_a_key_that_begins_like_a_list_is_a_key():
    keys = ["[main", "[main]", ["a", 7, "a", None], "x"]
    lines = "\n".join(json.dumps({"message": "up", "id": key}) for key in keys)
    reading = reader(
        FormatSection(name="json", kind="json"),
        stdin=io.BytesIO(lines.encode()),
        sessions=SessionSection(by="key", key_field="id"),
    )
    assert records(reading, "-")["keys"].to_list() == [["[main"], ["[main]"], ["a", "7"], ["x"]]


def test_a_reject_is_redacted_before_it_is_cut(tmp_path):
    """Half a key looks like no key: cut first, what was left of it would be written."""
    key = "wJalrXUtnFEMI" + "K7MDENGbPxRfiCY9q2b9Zt0a"
    line = "no grade here " + "x " * 46 + key
    (tmp_path / "a").write_text(f"ok: up 1\nok: up 2\n{line}\n")
    reading = reader(redact=True)
    records(reading, tmp_path / "a")
    (reject,) = reading.tally.first_rejects
    assert key[:10] not in reject["text"]
    assert "<token>" in reject["text"]


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        (r"order \d+", [["order 7", "order 8"], ["order 7"], []]),
        (r"order (\d+)", [["7", "8"], ["7"], []]),
        (r"(?:of )?order (?P<number>\d)\b", [["7", "8"], ["7"], []]),
        (r"(\d*) ?paid", [["8"], [], []]),
    ],
    ids=["the match", "a group", "a named group", "an empty group"],
)
def test_the_group_of_a_key_pattern_is_the_key(pattern, keys):
    lines = io.BytesIO(b"ok: order 7 of order 8 paid, of order 7\nok: order 7 is paid\nok: up\n")
    by_key = SessionSection(by="key", key_pattern=pattern)
    assert records(reader(stdin=lines, sessions=by_key), "-")["keys"].to_list() == keys


def test_a_key_pattern_of_several_groups_is_refused():
    with pytest.raises(RecipeError, match=r"has 2 groups.*write the others as \(\?:\.\.\.\)"):
        reader(sessions=SessionSection(by="key", key_pattern=r"(order|cart) (\d+)"))


def test_what_stands_for_nothing_is_no_key():
    lines = io.BytesIO(
        b"".join(b'{"message": "up", "id": "%s"}\n' % word for word in (b"-", b"N/A", b" ", b"7"))
    )
    reading = reader(
        FormatSection(name="json", kind="json"),
        stdin=lines,
        sessions=SessionSection(by="key", key_field="id"),
    )
    assert records(reading, "-")["keys"].to_list() == [[], [], [], ["7"]]
