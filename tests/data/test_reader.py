"""Raw logs to compact records, as `prepare` and `detect` read them."""

import io
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
from logllm.data.formats import load_format
from logllm.data.grouping import RECORDS
from logllm.data.reader import Reader
from logllm.errors import DataError, RecipeError

TODAY = date(2024, 3, 1)
GRADED = FormatSection(name="graded", pattern="(?<grade>[a-z]+): *(?<message>.*)", label="grade", normal=("ok",))


def reader(form=GRADED, **more):
    section = PrepareSection(format=form, mask=more.pop("mask", MaskSection()), sessions=more.pop("sessions", SessionSection()))
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
        (1, 0, 1, 0, False),
        (2, 0, 3, 1, True),
        (3, 1, 1, 0, False),
    ]
    assert reading.messages.messages.to_list() == ["up <*>", "down"]
    assert reading.files == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert [reading.counts[name] for name in ("lines", "rejected", "rejected_alerts")] == [5, 2, 1]
    assert [(reject["file"], reject["line"]) for reject in reading.first_rejects] == [("a", 2), ("b", 2)]
    more = records(reading, tmp_path / "a")
    assert more.select("record", "file").rows() == [(4, 2), (5, 2)]


@settings(max_examples=30, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["ok: one", "bad: two 2", "odd", "ok: 3 three", ""]), min_size=1, max_size=30), batch=st.integers(1, 9)
)
def test_no_size_of_batch_changes_the_records(lines, batch):
    raw = ("\n".join(["ok: first"] * 30 + lines) + "\n").encode()
    whole, pieces = reader(stdin=io.BytesIO(raw)), reader(stdin=io.BytesIO(raw), batch_lines=batch)
    assert_frame_equal(records(whole, "-"), records(pieces, "-"))
    assert (whole.counts, whole.first_rejects) == (pieces.counts, pieces.first_rejects)
    assert whole.messages.messages.equals(pieces.messages.messages)


def test_masking_distinct_messages_gives_what_masking_all_does():
    repeated = [f"ok: step {place % 7} of x{place % 3}" for place in range(2_000)]
    different = [f"ok: step {place} of x{place % 3}" for place in range(2_000)]
    for lines in (repeated, different):
        reading = reader(stdin=io.BytesIO("\n".join(lines).encode()))
        assert records(reading, "-")["message"].to_list() == [0] * 2_000
        assert reading.messages.messages.to_list() == ["step <*> of <*>"]


def test_masks_are_those_of_the_settings():
    reading = reader(mask=MaskSection(rules="off"), stdin=io.BytesIO(b"ok: up 1\n"))
    records(reading, "-")
    assert reading.messages.messages.to_list() == ["up 1"]
    with pytest.raises(RecipeError, match="no regular expression"):
        reader(mask=MaskSection(own=({"name": "x", "pattern": "("},)))


def test_times_that_cannot_be_read_are_counted():
    form = load_format("json")
    raw = b'{"message": "a", "time": 5}\n{"message": "b", "time": "noon"}\n{"message": "c"}\n'
    reading = reader(form, stdin=io.BytesIO(raw))
    assert records(reading, "-")["time"].null_count() == reading.counts["timeless"] == 2


def test_half_the_lines_may_be_rejects_but_not_more():
    assert records(reader(stdin=io.BytesIO(b"ok: a\nx\n")), "-").height == 1
    with pytest.raises(DataError, match="2 of 3 lines are not in the format graded, such as line 2 of -: x; "):
        records(reader(stdin=io.BytesIO(b"ok: a\nx\ny\n")), "-")
