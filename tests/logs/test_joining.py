"""Several lines that are one record, and the structured kinds: blocks of lines in, records out,
whatever the size of the batches."""

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
from logllm.datasets.line_labels import LineLabels
from logllm.errors import DataError, RecipeError
from logllm.formats.description import load_format
from logllm.logs.fields import check_format
from logllm.logs.joining import bounded
from logllm.logs.lines import LONGEST_LINE
from logllm.logs.reader import Reader

OFF = MaskSection(rules="off")
JAVA = FormatSection(
    name="java", pattern="(?<level>[A-Z]+): (?<message>.*)", continuation=r"^\s+at |^Caused by|^$"
)
TABLE = FormatSection(name="table", kind="csv", time="at", message="text")
PAIRS = FormatSection(
    name="pairs",
    kind="logfmt",
    time="at",
    time_format=("epoch",),
    message="msg",
    label="level",
    normal=("info",),
)
JOURNAL = FormatSection(
    name="journal", kind="export", message="MESSAGE", time="AT", time_format=("epoch",)
)
SERVER = FormatSection(
    name="server",
    kind="csv",
    columns=("at", "pid", "severity", "text", "detail", "query"),
    message="text",
    time="at",
    severity="severity",
    parts=(("DETAIL", "detail"), ("STATEMENT", "query")),
    sessions=SessionSection(by="key", key_field="pid"),
)


def reader(form, raw, **more):
    section = PrepareSection(format=form, mask=OFF, sessions=form.sessions)
    return Reader(section, today=date(2024, 3, 1), stdin=io.BytesIO(raw), **more)


def read(form, raw, *sources, **more):
    """The reading, and rows of line and message."""
    reading = reader(form, raw.encode() if isinstance(raw, str) else raw, **more)
    records = pl.concat(list(reading.read(sources or ["-"])))
    return reading, list(zip(records["line"], records["message"], strict=True))


def test_a_stack_trace_joins_its_record():
    reading, rows = read(
        JAVA, "  at nothing\nE: broke\n\tat a.b(1)\nnoise\n\n  at c.d\nCaused by: x\nI: fine\n"
    )
    assert rows == [(2, "broke\nat a.b(1)\nat c.d\nCaused by: x"), (8, "fine")]
    assert [
        reading.tally.counts[name] for name in ("lines", "rejected", "continued", "cut_lines")
    ] == [8, 2, 4, 0]
    assert [reject["line"] for reject in reading.tally.first_rejects] == [1, 4]


def test_without_a_continuation_such_lines_are_rejects():
    reading, rows = read(
        JAVA.model_copy(update={"continuation": None}), "E: broke\n\tat a.b(1)\nI: fine\n"
    )
    assert rows == [(1, "broke"), (3, "fine")]
    assert (reading.tally.counts["rejected"], reading.tally.counts["continued"]) == (1, 0)


def test_no_record_reaches_over_the_end_of_a_file(tmp_path):
    (tmp_path / "a").write_text("E: one\n at x\n")
    (tmp_path / "b").write_text(" at y\nE: two\n at z\n")
    reading, rows = read(JAVA, "", tmp_path / "a", tmp_path / "b")
    assert rows == [(1, "one\nat x"), (2, "two\nat z")]
    assert [(reject["file"], reject["line"]) for reject in reading.tally.first_rejects] == [
        ("b", 1)
    ]


def test_mostly_continuations_are_no_wrong_format_but_mostly_rejects_are():
    assert len(read(JAVA, "E: x\n" + " at y\n" * 50 + "noise\n")[1]) == 1
    with pytest.raises(DataError, match="3 of 4 lines are not in the format java"):
        read(JAVA, "E: x\n" + " at y\n" * 50 + "noise\n" * 3)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_what_grows_too_long_is_cut_and_counted(batch):
    further, longest = "at " + "y" * 30_000, "1" * (LONGEST_LINE - 3)
    reading, rows = read(
        JAVA, "E: x\n" + f" {further}\n" * 50 + f"I: fine\nE: {longest}\n", batch_lines=batch
    )
    grown = "\n".join(["x", *[further] * 50])
    assert rows == [(1, grown[:LONGEST_LINE]), (52, "fine"), (53, longest)]
    assert (reading.tally.counts["cut_lines"], reading.tally.counts["continued"]) == (1, 50)


CELLS = (
    '2,"a',
    'b","c"',
    "3,ok,d",
    'x""y"',
    'c"',
    '"',
    '"a","b"',
    '4,disk 5" is full',
    '"5",""',
    '6,"""b',
    '"x","y',
)
ANY = st.lists(
    st.sampled_from(
        [
            "E: one",
            "I: two",
            " at x",
            "Caused by: ",
            "noise",
            "",
            "MESSAGE=m 1",
            "AT=5",
            "K",
            " at LONG",
            "K=LONG",
            "8,LONG",
            '8,"LONG',
            *CELLS,
        ]
    ),
    min_size=1,
    max_size=20,
)
LONG = "x" * (LONGEST_LINE // 2)
"""Two of them in one record are too long."""


@pytest.mark.real
@settings(max_examples=8)
@pytest.mark.parametrize(
    "form",
    [JAVA, TABLE.model_copy(update={"columns": ("at", "text")}), TABLE, JOURNAL, SERVER],
    ids=lambda form: form.name,
)
@given(lines=ANY, batch=st.integers(1, 9))
def test_no_size_of_batch_changes_the_records(form, lines, batch):
    good = {
        "java": "E: x",
        "table": "at,text\n" + "\n".join(["1,x"] * 20),
        "journal": "MESSAGE=x\n",
        "server": "1,2,LOG,x,,",
    }[form.name]
    raw = (
        "\n".join([*[good] * (1 if form.name == "table" else 20), *lines, ""])
        .replace("LONG", LONG)
        .encode()
    )
    whole, pieces = reader(form, raw), reader(form, raw, batch_lines=batch)
    frames = [pl.concat(list(reading.read(["-"]))) for reading in (whole, pieces)]
    assert_frame_equal(*frames)
    assert (whole.tally.counts, whole.tally.first_rejects) == (
        pieces.tally.counts,
        pieces.tally.first_rejects,
    )
    assert whole.tally.counts["lines"] == raw.count(b"\n")
    if form.name == "table":  # the others make more than one record of a line, or count empty lines
        header = not form.columns
        assert (
            whole.tally.counts["lines"]
            == frames[0].height
            + whole.tally.counts["rejected"]
            + whole.tally.counts["continued"]
            + header
        )


@pytest.mark.sampled(5)
@pytest.mark.parametrize("batch", [1, 3, 1000])
@pytest.mark.parametrize(
    ("stray", "lost"),
    [
        ('0,"stray', 1),  # nobody closes it, or a cell that begins does
        ('0,disk 5" is full', 0),
        ('0,"a"b', 1),
        ('0,"ok ""5"""', 0),
        ('"0","two', 1),
    ],
)
@pytest.mark.parametrize("good", ["1,x", '"1","x"', '1,"two\n""lines"""'])
def test_a_stray_quote_costs_the_row_it_stands_in(batch, stray, lost, good):
    reading, rows = read(
        TABLE, "at,text\n" + f"{good}\n" * 10 + f"{stray}\n" + f"{good}\n" * 10, batch_lines=batch
    )
    lines = good.count("\n") + 1
    numbers = [2 + place * lines for place in range(10)] + [
        12 + 10 * lines - 10 + place * lines + 1 for place in range(10)
    ]
    assert [line for line, _ in rows if line != 2 + 10 * lines] == numbers
    counts = [
        reading.tally.counts[name] for name in ("lines", "rejected", "continued", "cut_lines")
    ]
    assert counts == [20 * lines + 2, lost, 20 * (lines - 1), 0]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_row_that_grows_too_long_is_none(batch):
    # Four such lines, and a quote before and after them, are as long as a line may be.
    cell = "a" * (LONGEST_LINE // 4 - 4)
    raw = 'at,text\n1,"' + f"2,{cell}\n" * 4 + '"\n1,"' + f"2,{cell}\n" * 5 + '"\n' + "3,b\n" * 20
    reading, rows = read(TABLE, raw, batch_lines=batch)
    whole = "\n".join([f"2,{cell}"] * 4)
    assert rows == [
        (2, whole),
        *((line, cell) for line in range(8, 12)),
        *((line, "b") for line in range(13, 33)),
    ]
    assert [reading.tally.counts[name] for name in ("lines", "rejected", "continued")] == [32, 2, 4]


CUT = {
    "cri": """
2024-02-29T00:17:09.1Z stdout P {"level":"warn","msg":"half~~
2024-02-29T00:17:09.2Z stderr P panic:~
no line at all
2024-02-29T00:17:09.3Z stdout P  a
2024-02-29T00:17:09.4Z stdout F  message"}
2024-02-29T00:17:09.5Z stdout F whole
2024-02-29T00:17:09.6Z stderr F no
2024-02-29T00:17:09.7Z stderr P never ended
""",
    "docker": r"""
{"log":"{\"level\":\"warn\",\"msg\":\"half  ","stream":"stdout","time":"2024-02-29T00:17:09.1Z"}
{"log":"panic: ","stream":"stderr","time":"2024-02-29T00:17:09.2Z"}
no line at all
{"log":" a","stream":"stdout","time":"2024-02-29T00:17:09.3Z"}
{"log":" message\"}\n","stream":"stdout","time":"2024-02-29T00:17:09.4Z"}
{"log":"whole\n","stream":"stdout","time":"2024-02-29T00:17:09.5Z"}
{"log":"no\n","stream":"stderr","time":"2024-02-29T00:17:09.6Z"}
{"log":"never ended\\n","stream":"stderr","time":"2024-02-29T00:17:09.7Z"}
""",
}


@pytest.mark.parametrize("name", sorted(CUT))
@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_what_a_container_runtime_cut_is_whole_again(name, batch):
    reading, rows = read(load_format(name), CUT[name].strip().replace("~", " "), batch_lines=batch)
    ended = "never ended" if name == "cri" else r"never ended\n"
    assert rows == [
        (1, '{"level":"warn","msg":"half   a message"}'),
        (2, "panic: no"),
        (6, "whole"),
        (8, ended),
    ]
    assert [
        reading.tally.counts[count] for count in ("lines", "rejected", "continued", "cut_lines")
    ] == [8, 1, 3, 0]


@pytest.mark.parametrize("batch", [50, 333, 5000])
def test_what_never_ends_holds_nothing_back_for_long(batch):
    """A line has 1,024 pieces at most, and 1,000 lines at most lie between two of them."""
    # The last is a piece too many.
    rows = [
        "stdout P a",
        "stderr F 1",
        *["stdout P b"] * 1_023,
        "stdout P d",
    ]
    # Too far to be of the same line.
    rows += [f"stderr F {number}" for number in range(2, 1_002)] + ["stdout F e"]
    raw = "".join(f"2024-02-29T00:17:09.1Z {row}\n" for row in rows)
    _, found = read(load_format("cri"), raw, batch_lines=batch)
    others = [(number + 1_025, str(number)) for number in range(2, 1_002)]
    assert found == [(1, "a" + "b" * 1_023), (2, "1"), (1_026, "d"), *others, (2_027, "e")]


def test_a_line_label_belongs_to_the_line_that_begins_there(tmp_path):
    lines = [
        "stdout F before",
        "stdout P alpha",
        "stderr F beta",
        "stdout F  ends",
        "stdout F after",
    ]
    (tmp_path / "pod.log").write_text("".join(f"2024-02-29T00:17:09.1Z {line}\n" for line in lines))
    labels = pl.DataFrame({"line": [2], "anomalous": [True]}, schema_overrides={"line": pl.UInt64})
    for batch in (1, 100):
        reading = reader(load_format("cri"), b"", batch_lines=batch)
        records = pl.concat(
            list(LineLabels(labels).given(reading.read([tmp_path / "pod.log"]), reading))
        )
        found = zip(records["message"], records["anomalous"], strict=True)
        assert list(found) == [
            ("before", False),
            ("alpha ends", True),
            ("beta", False),
            ("after", False),
        ]


def test_pieces_that_make_too_long_a_line_are_left_out_and_counted():
    piece = '{"log":"%s","stream":"stdout","time":"2024-02-29T00:17:09Z"}\n'
    # The third is one letter too many.
    first, second, third = (
        "a" * (LONGEST_LINE - 200),
        "i" * 199,
        "jk",
    )
    raw = piece % first + piece % second + piece % third + piece % r"n\n" + piece % r"o\n"
    reading, rows = read(load_format("docker"), raw, batch_lines=2)
    assert rows == [(1, first + second), (5, "o")]
    assert [reading.tally.counts[count] for count in ("lines", "continued", "cut_lines")] == [
        5,
        3,
        1,
    ]


def test_csv_with_a_header_in_each_file(tmp_path):
    (tmp_path / "a").write_text(
        '\ufeffat,"the ""id""",text\n2024-01-02T03:04:05Z,7,"two\n  lines, ""quoted"""\n,,x\nodd\n'
    )
    (tmp_path / "b").write_text("text;at\n")
    (tmp_path / "c").write_text("text,at\nthird,2024-01-02T03:04:06Z\n")
    form = TABLE.model_copy(update={"sessions": SessionSection(by="key", key_field="at")})
    reading, rows = read(form, "", tmp_path / "a", tmp_path / "c")
    assert rows == [(2, 'two\nlines, "quoted"'), (4, "x"), (2, "third")]
    assert [reading.tally.counts[name] for name in ("lines", "rejected", "continued")] == [7, 1, 1]
    with pytest.raises(
        RecipeError, match=r"format table: there is no column 'text' \(there are text;at\)"
    ):
        read(TABLE, "", tmp_path / "b")


def test_severity_and_parts_are_data():
    raw = (
        '2024-01-02 03:04:05 UTC,7,ERROR,"no ""t""","it\nis not","select\n\t1",more\n2024-01-02 '
        "03:04:06 UTC,8,LOG,fine,,\n"
    )
    section = PrepareSection(format=SERVER, mask=OFF, sessions=SERVER.sessions)
    reading = Reader(section, today=date(2024, 3, 1), stdin=io.BytesIO(raw.encode()))
    records = pl.concat(list(reading.read(["-"])))
    assert records["message"].to_list() == [
        'ERROR:  no "t"',
        "DETAIL:  it\nis not",
        "STATEMENT:  select\n1",
        "LOG:  fine",
    ]
    assert records["line"].to_list() == [1, 1, 1, 4]
    assert records["keys"].to_list() == [["7"], ["7"], ["7"], ["8"]]
    assert records["record"].to_list() == [1, 2, 3, 4]


def test_logfmt():
    raw = (
        'at=5 level=info msg="a \\"b\\"\\n level=bad" x\nlevel=warn msg=plain at=6.5\nat=7 '
        'nomsg="msg=1"\nmsg= at=7\n'
    )
    reading, rows = read(PAIRS, raw)
    assert rows == [(1, 'a "b"\nlevel=bad'), (2, "plain")]
    assert reading.tally.counts["rejected"] == 2


def test_a_whole_line_can_be_the_message():
    assert read(PAIRS.model_copy(update={"message": "$", "label": None}), "at=5 x=1\n")[1] == [
        (1, "at=5 x=1")
    ]


def test_journald_export():
    raw = (
        b"__CURSOR=a\nAT=5\nMESSAGE=one=1\n\n\n"
        b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nAT=5\n\n"
        b"MESSAGE=two\nAT=6"
    )
    reading, rows = read(JOURNAL, raw)
    assert rows == [(1, "one=1"), (11, "two")]
    # A binary field.
    assert (reading.tally.counts["rejected"], reading.tally.first_rejects[0]["line"]) == (
        1,
        6,
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"pattern": "(?<message>.*)", "continuation": "("},
            "format x: continuation: .* no regular expression",
        ),
        (
            {"kind": "plain", "partial": {"goes_on": "(", "pattern": "(?<before>)(?<part>.*)"}},
            "format x: partial.goes_on: .* no regular expr",
        ),
        (
            {"kind": "plain", "partial": {"goes_on": "x", "pattern": "(?<before>.*)"}},
            "format x: partial.pattern has no group 'part'",
        ),
        ({"kind": "json", "columns": ["a"]}, "'json' takes no columns"),
        ({"kind": "plain", "severity": "a"}, "is plain"),
        ({"pattern": "(?<message>.*)", "severity": "grade"}, "no group 'grade'"),
    ],
)
def test_descriptions_that_are_wrong(settings, said):
    with pytest.raises(RecipeError, match=said):
        check_format(FormatSection.read({"name": "x", **settings}, source="x"))


def test_what_is_as_long_as_a_line_may_be_is_not_cut():
    counts, longest = {"cut_lines": 0}, "x" * LONGEST_LINE
    assert bounded(pl.Series([longest, longest + "y"]), counts).to_list() == [longest, longest]
    assert counts == {"cut_lines": 1}
