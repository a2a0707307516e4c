"""Labels of single lines from a CSV file."""

import json
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.config.format import FormatSection, LabelFileSection
from logllm.config.prepare import PrepareSection, SplitSection
from logllm.config.sessions import SessionSection
from logllm.datasets.labels import by_line, read_labels
from logllm.datasets.line_labels import LineLabels
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.logs.records import RECORDS

SETTINGS = PrepareSection(
    format=FormatSection(name="job", pattern=r"(?<job>\w+) (?<message>.+)"),
    sessions=SessionSection(by="key", key_field="job", max_messages=3, long="cut"),
    split=SplitSection(test=0.25, validation=0.25),
)


def labelled(path, rows, header="line,label"):
    path.write_text("".join(f"{row}\n" for row in (header, *rows)))
    return path


@pytest.fixture
def raw(tmp_path):
    """Forty lines of ten jobs, each with four lines in a row; line 6 is none of them."""
    lines = [f"job{place // 4} step {'abcd'[place % 4]}" for place in range(40)]
    lines.insert(5, "broken")
    path = tmp_path / "raw.log"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_line_s_label_is_its_session_s(raw, tmp_path) -> None:
    labels = labelled(tmp_path / "labels.csv", ["2,lock", "8,normal", "41,disk full", "20,lock"])
    manifest = prepare([raw], tmp_path / "out", settings=SETTINGS, labels=labels)
    assert (manifest["sessions"], manifest["anomalous"], manifest["unlabelled"]) == (10, 3, 0)
    prepared = Prepared.load(tmp_path / "out")
    found = {
        row["session"]: row
        for row in pl.concat(
            [prepared.part(name) for name in ("train", "validation", "test")]
        ).to_dicts()
    }
    assert found["job0"]["item_anomalous"] == [False, True, False]
    assert (found["job1"]["anomalous"], found["job4"]["item_anomalous"]) == (
        False,
        [False, False, True],
    )
    assert found["job9"]["anomalous"]  # by the line that was cut off
    assert found["job9"]["item_anomalous"] == [False] * 3
    assert manifest["labels"]["name"] == "labels.csv"


def test_labels_that_hit_no_line_are_an_error(raw, tmp_path) -> None:
    labels = labelled(tmp_path / "labels.csv", ["1042,lock", "2000,normal"])
    with pytest.raises(
        DataError, match=r"has none for any line of the log: it names lines like 1,042"
    ):
        prepare([raw], tmp_path / "out", settings=SETTINGS, labels=labels)


def test_labels_without_a_record_are_counted_and_told(raw, tmp_path) -> None:
    labels = labelled(tmp_path / "labels.csv", ["2,lock", "6,lock", "42,lock", "1000,normal"])
    manifest = prepare([raw], tmp_path / "out", settings=SETTINGS, labels=labels)
    assert [
        manifest[name]
        for name in ("labels_beyond", "labels_joined", "rejected_alerts", "anomalous")
    ] == [2, 0, 1, 1]
    assert "2 labels are of lines that the log does not have" in manifest["warnings"]
    assert "1 line with an alert label did not parse and is in no session" in manifest["warnings"]


def test_they_stand_in_place_of_a_format_s_own(tmp_path) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_text(
        "".join(
            json.dumps({"message": f"event {place}", "label": "bad"}) + "\n" for place in range(20)
        )
    )
    described = FormatSection(
        name="own", kind="json", label="label", label_file=LabelFileSection(line="n", label="says")
    )
    settings = PrepareSection(format=described, sessions=SessionSection(by="count", size=1))
    manifest = prepare(
        [raw],
        tmp_path / "out",
        settings=settings,
        labels=labelled(tmp_path / "x.csv", ["3,bad"], header="n,says"),
    )
    assert manifest["anomalous"] == 1


def test_a_file_that_names_sessions_is_of_sessions(tmp_path) -> None:
    both = labelled(tmp_path / "both.csv", ["s1,7,normal"], header="session,line,label")
    assert not by_line(read_labels(both, LabelFileSection()))
    none = labelled(tmp_path / "none.csv", [])
    assert read_labels(none, LabelFileSection()).height == 0  # all lines are normal


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["0,lock"], "names line '0': lines are whole numbers from 1"),
        (["2,lock", "x7,lock"], "names line 'x7'"),
        (["2,lock", "2,normal"], "gives line 2 both kinds of label"),
    ],
)
def test_wrong_line_labels(raw, tmp_path, rows, said) -> None:
    with pytest.raises(DataError, match=said):
        prepare(
            [raw],
            tmp_path / "out",
            settings=SETTINGS,
            labels=labelled(tmp_path / "labels.csv", rows),
        )


def test_line_numbers_are_of_one_file(raw, tmp_path) -> None:
    with pytest.raises(DataError, match="by line, of one file; 2 files were given"):
        prepare(
            [raw, raw],
            tmp_path / "out",
            settings=SETTINGS,
            labels=labelled(tmp_path / "labels.csv", ["2,lock"]),
        )


class Batches:
    """A reader of which only what labels need is there: lines are `r`ecords, `x` rejects, or
    `c`ontinue."""

    def __init__(self, kinds: str, ends: list[int]) -> None:
        self.tally = SimpleNamespace(counts={"lines": len(kinds)})
        self.rejects = pl.Series("line", [], dtype=pl.UInt64)
        self._kinds, self._ends = kinds, ends

    def __iter__(self):
        for start, end in zip([0, *self._ends], [*self._ends, len(self._kinds)], strict=True):
            numbers = {
                kind: [place + 1 for place in range(start, end) if self._kinds[place] == kind]
                for kind in "rx"
            }
            self.rejects = pl.Series("line", numbers["x"], dtype=pl.UInt64)
            rows = {
                "record": numbers["r"],
                "file": 0,
                "line": numbers["r"],
                "time": None,
                "keys": [[]] * len(numbers["r"]),
            }
            yield pl.DataFrame({**rows, "message": "up", "anomalous": None}, schema=RECORDS)


@given(st.text("rxc", min_size=1, max_size=30), st.data())
def test_any_batches_give_the_labels_that_looking_line_by_line_gives(kinds, data) -> None:
    kinds = "r" + kinds
    ends = sorted(data.draw(st.lists(st.integers(0, len(kinds)), max_size=4)))
    labels = data.draw(st.dictionaries(st.integers(1, len(kinds) + 3), st.booleans()))
    wanted = {place + 1: False for place, kind in enumerate(kinds) if kind == "r"}
    counts = {"labels_beyond": 0, "labels_joined": 0, "rejected_alerts": 0}
    for line, anomalous in labels.items():
        if line > len(kinds):
            counts["labels_beyond"] += 1
        elif kinds[line - 1] == "x":
            counts["rejected_alerts"] += anomalous
        else:
            record = kinds.rindex("r", 0, line) + 1
            wanted[record] |= anomalous
            counts["labels_joined"] += record != line
    rows = {"line": sorted(labels), "anomalous": [labels[line] for line in sorted(labels)]}
    table = pl.DataFrame(rows, schema={"line": pl.UInt64, "anomalous": pl.Boolean})
    marks, batches = LineLabels(table), Batches(kinds, ends)
    found = pl.concat(
        [frame.select("line", "anomalous") for frame in marks.given(batches, batches)]
    )
    assert dict(found.iter_rows()) == wanted
    assert marks.counts == counts


@pytest.mark.parametrize("normal", ["normal", "Normal", "0", "false", "-"])
def test_the_usual_words_for_normal_mean_it(tmp_path, normal) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"line,label\n1,{normal}\n2,1\n")
    assert read_labels(path, LabelFileSection())["anomalous"].to_list() == [False, True]


def test_spaces_around_names_and_labels_are_no_part_of_them(tmp_path):
    (tmp_path / "labels.csv").write_text("session,label\n a , normal\nb,anomalous \n")
    labels = read_labels(tmp_path / "labels.csv", LabelFileSection())
    assert labels.rows() == [("a", False), ("b", True)]
