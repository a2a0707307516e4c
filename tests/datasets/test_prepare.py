"""A raw log to prepared data, and what is said of one that cannot become it."""

import gzip
import json
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pytest

from logllm.config.prepare import PrepareSection, SplitSection
from logllm.config.sessions import SessionSection
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import PARTS, Prepared, fingerprint
from logllm.datasets.settings import choose
from logllm.errors import DataError
from logllm.formats.description import load_format
from logllm.sessions.sessionizer import SESSIONS

PREPARED = pl.Schema(SESSIONS)


def section(name="hdfs", *, split=None, sessions=None, **described):
    form = load_format(name).model_copy(update=described)
    return PrepareSection(
        format=form, sessions=sessions or form.sessions, split=split or SplitSection(by=form.split)
    )


def json_section(size=10, split=None, **more):
    return section(
        "json",
        label="label",
        normal=("normal",),
        sessions=SessionSection(by="count", size=size, **more),
        split=split or SplitSection(by="time"),
    )


def hdfs_line(block, text="Receiving block {} src: /10.0.0.1:5"):
    return f"081109 2035{block % 60:02d} 143 INFO dfs.DataNode: {text.format(f'blk_{block}')}\n"


@pytest.fixture
def hdfs(tmp_path):
    """A log of 40 blocks, each with two lines, every fourth anomalous; and its labels."""
    blocks = range(1, 41)
    lines = [hdfs_line(block) for block in blocks] + [
        hdfs_line(block, "PacketResponder 1 for {} terminating") for block in blocks
    ]
    raw, labels = tmp_path / "raw.log", tmp_path / "labels.csv"
    raw.write_text("".join(lines))
    labels.write_text(
        "BlockId,Label\n"
        + "".join(f"blk_{block},{'Normal' if block % 4 else 'Anomaly'}\n" for block in blocks)
    )
    return raw, labels


def json_log(path, labels, **more):
    rows = [
        {
            "time": 1_700_000_000 + place,
            "message": f"event {'abc'[place % 3]}",
            "label": label,
            **more,
        }
        for place, label in enumerate(labels)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_hdfs_from_end_to_end(hdfs, tmp_path):
    raw, labels = hdfs
    told = []
    manifest = prepare(
        [raw],
        tmp_path / "out",
        settings=section(),
        labels=labels,
        progress=lambda *done: told.append(done),
    )
    assert told == [(raw.stat().st_size, raw.stat().st_size)]
    whole = ("lines", "rejected", "sessions", "anomalous", "distinct_messages", "distinct_sessions")
    assert [manifest[name] for name in whole] == [80, 0, 40, 10, 2, 1]
    assert manifest["parts"] == {
        "train": {"sessions": 28, "anomalous": 7, "distinct_sessions": 1},
        "validation": {"sessions": 4, "anomalous": 1, "distinct_sessions": 1},
        "test": {"sessions": 8, "anomalous": 2, "distinct_sessions": 1},
    }
    assert manifest["raw"] == [{"name": "raw.log", "bytes": raw.stat().st_size}]
    assert manifest["warnings"] == []
    assert str(tmp_path) not in json.dumps(manifest)

    prepared = Prepared.load(tmp_path / "out")
    assert prepared.manifest == manifest
    assert prepared.settings == section()
    assert prepared.messages.to_list() == [
        "Receiving block <*> src: <*>",
        "PacketResponder <*> for <*> terminating",
    ]
    parts = [prepared.part(name) for name in PARTS]
    assert all(part.schema == PREPARED for part in parts)
    assert sorted(pl.concat(parts)["session"]) == sorted(f"blk_{block}" for block in range(1, 41))
    first = parts[0].row(0, named=True)
    block = int(first["session"].removeprefix("blk_"))
    assert (first["lines"], first["messages"], first["anomalous"]) == (
        [block, block + 40],
        [0, 1],
        block % 4 == 0,
    )


def test_the_same_input_gives_the_same_fingerprint(hdfs, tmp_path):
    raw, labels = hdfs
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(raw.read_bytes()))
    prints = [
        prepare([source], tmp_path / str(place), settings=settings, labels=labels)["fingerprint"]
        for place, (source, settings) in enumerate(
            [
                (raw, section()),
                (packed, section()),
                (raw, section(split=SplitSection(by="random", seed=1))),
            ]
        )
    ]
    assert prints[0] == prints[1] != prints[2]


def test_windows_are_cut_by_records_then_windowed(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal"] * 40 + ["alert"] + ["normal"] * 10 + ["alert"])
    manifest = prepare([raw], tmp_path / "out", settings=json_section(size=4))
    prepared = Prepared.load(tmp_path / "out")
    # 41 records, then 11.
    assert [part["sessions"] for part in manifest["parts"].values()] == [
        9,
        2,
        3,
    ]
    assert prepared.part("validation")["session"].to_list() == ["4@37", "4@41"]
    assert prepared.part("validation")["item_anomalous"].to_list() == [[False] * 4, [True]]
    assert prepared.part("test")["session"].to_list() == ["4@42", "4@46", "4@50"]
    assert prepared.part("test")["lines"].to_list()[-1] == [50, 51, 52]


def test_sessions_that_the_ends_of_the_log_cut_are_marked_and_counted_and_change_no_fingerprint(
    tmp_path,
):
    words = ("open", "work", "work", "close")
    rows = [
        (10 * job + second, job, word) for job in range(60) for second, word in enumerate(words)
    ]
    lines = [
        json.dumps({"time": 1_700_000_000 + time, "job": f"job-{job}", "message": word})
        for time, job, word in rows[2:-2]
    ]
    (tmp_path / "app.jsonl").write_text("\n".join(lines) + "\n")
    keyed = section(
        "json",
        sessions=SessionSection(by="key", key_field="job"),
        time="time",
        time_format=("epoch",),
    )
    manifest = prepare([tmp_path / "app.jsonl"], tmp_path / "out", settings=keyed)
    assert manifest["cut_sessions"] == 2
    assert any(
        warning.startswith("2 sessions may have begun before the log or go on after it")
        for warning in manifest["warnings"]
    )
    parts = {name: Prepared.load(tmp_path / "out").part(name) for name in PARTS}
    sessions = pl.concat(parts.values())
    assert dict(sessions.drop_nulls("cut").select("session", "cut").rows()) == {
        "job-0": "start",
        "job-59": "end",
    }
    parts["messages"] = Prepared.load(tmp_path / "out").messages.to_frame("message")
    assert (
        fingerprint({name: frame.drop("cut", strict=False) for name, frame in parts.items()})
        == manifest["fingerprint"]
    )


def test_all_can_be_for_training(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal", "alert"] * 10)
    for by in ("time", "random"):
        manifest = prepare(
            [raw],
            tmp_path / by,
            settings=json_section(size=2, split=SplitSection(by=by, test=0, validation=0)),
        )
        assert [part["sessions"] for part in manifest["parts"].values()] == [10, 0, 0]
        assert manifest["warnings"] == ["the train part holds only anomalous sessions"]
        assert Prepared.load(tmp_path / by).part("test").schema == PREPARED


def test_overlapping_windows_share_no_line_between_parts(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal", "alert"] * 50)
    manifest = prepare([raw], tmp_path / "out", settings=json_section(size=10, step=5))
    prepared = Prepared.load(tmp_path / "out")
    seen = [set(prepared.part(name)["lines"].explode()) for name in PARTS]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]
    assert manifest["overlapping"] == 1
    random_split = json_section(size=10, step=5, split=SplitSection(by="random"))
    assert any(
        "overlap" in warning
        for warning in prepare([raw], tmp_path / "random", settings=random_split)["warnings"]
    )


def test_key_sessions_by_time_go_by_their_start(hdfs, tmp_path):
    raw, labels = hdfs
    prepare([raw], tmp_path / "out", settings=section(split=SplitSection(by="time")), labels=labels)
    numbers = [
        [int(name[4:]) for name in Prepared.load(tmp_path / "out").part(part)["session"]]
        for part in PARTS
    ]
    assert numbers == [list(range(1, 29)), list(range(29, 33)), list(range(33, 41))]


def test_windows_of_time(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal", "alert"] * 50)
    settings = json_section().model_copy(update={"sessions": SessionSection(by="time", size=10)})
    manifest = prepare([raw], tmp_path / "out", settings=settings)
    assert [part["sessions"] for part in manifest["parts"].values()] == [7, 1, 2]
    assert Prepared.load(tmp_path / "out").part("test")["session"].to_list() == ["10@81", "10@91"]


def test_labels_and_sessions_that_do_not_meet_are_counted(hdfs, tmp_path):
    raw, labels = hdfs
    kept = (
        labels.read_text().replace("blk_1,Normal\n", "").replace("blk_2,Normal\n", "")
        + "blk_99,Normal\nblk_98,Anomaly\nblk_97,\n"
    )
    labels.write_text(kept)
    manifest = prepare([raw], tmp_path / "out", settings=section(), labels=labels)
    assert (
        manifest["unlabelled"],
        manifest["labels_unused"],
        manifest["sessions"],
        manifest["anomalous"],
    ) == (2, 2, 40, 10)
    assert sum(part["sessions"] for part in manifest["parts"].values()) == 38
    assert "2 sessions have no label and are in no part" in manifest["warnings"]
    assert "2 labels are of sessions that the log does not hold" in manifest["warnings"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Block,Label\nblk_1,Normal\n",
            (
                r"has no column 'BlockId': its columns are Block, Label;"
                r" expected are BlockId \(or line, or from and to\) and Label"
            ),
        ),
        ("BlockId;Label\nblk_1;Normal\n", "its columns are BlockId;Label"),
        (
            "BlockId,Label\nblk_1,Normal\nblk_2,Odd\n",
            "holds labels other than Normal, Anomaly: Odd",
        ),
        ("BlockId,Label\nblk_1,Normal\nblk_1,Anomaly\n", "gives session blk_1 both kinds"),
        ("BlockId,Label\n", "holds no labels"),
        ("", "not a CSV file with a header"),
        ("BlockId,Label\nblk_1,Normal,x,y\n", "not a CSV file with a header"),
        (
            "BlockId,Label\nx7,Normal\n",
            r"none for any of the 40 sessions: it names sessions like x7, the log's are like blk_1",
        ),
    ],
)
def test_label_files_that_are_wrong(text, message, hdfs, tmp_path):
    raw, labels = hdfs
    labels.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        prepare([raw], tmp_path / "out", settings=section(), labels=labels)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def with_words(tmp_path, words, **said):
    """Settings as a user asks for them, a log of as many sessions as there are words, and a file
    with these as their labels."""
    overrides = {
        "format": said,
        "sessions": {"by": "key", "key_field": "job"},
        "split": {},
        "mask": {},
    }
    raw, labels = tmp_path / "jobs.jsonl", tmp_path / "words.csv"
    raw.write_text(
        "".join(
            json.dumps({"message": "x", "job": f"j{job}", "word": word}) + "\n"
            for job, word in enumerate(words)
        )
    )
    labels.write_text(
        "session,label\n" + "".join(f"j{job},{word}\n" for job, word in enumerate(words))
    )
    return raw, labels, choose("json", overrides=overrides)


@pytest.mark.parametrize("of_lines", [False, True])
@pytest.mark.parametrize(
    ("words", "normal", "anomalous"),
    [
        (
            ["normal", "Normal", "NORMAL", "0", "0.0", "false", "False", "FALSE", "-", "1", "x"],
            None,
            2,
        ),
        (["ok", "bad", "0", "fine"], ["ok", "fine"], 2),
        (["1", "0"] * 4, ["1"], 4),
    ],
)
def test_what_labels_mean_is_the_same_for_lines_and_files(
    tmp_path, of_lines, words, normal, anomalous
):
    said = {"normal": normal} | ({"label": "word"} if of_lines else {})
    raw, labels, settings = with_words(tmp_path, words * 3, **said)
    manifest = prepare(
        [raw], tmp_path / "out", settings=settings, labels=None if of_lines else labels
    )
    assert (manifest["sessions"], manifest["anomalous"]) == (3 * len(words), 3 * anomalous)


def test_a_format_s_own_word_for_normal_stays():
    overrides = {"format": {"label": "word"}, "sessions": {}, "split": {}, "mask": {}}
    own = load_format("json").model_copy(update={"normal": ("0",)})
    assert choose(own, overrides=overrides).format.normal == ("0",)
    assert choose("bgl", overrides={**overrides, "format": {}}).format.normal == ("-",)


@pytest.mark.parametrize("of_lines", [False, True], ids=["file", "lines"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["ok", "bad", "odd", "worse", "ok"],
            (
                r"'ok' \(2 times\), 'bad' .* and 1 more would be read as anomalous,"
                r" and none means normal"
            ),
        ),
        (["unlabeled"] * 6, r"'unlabeled' \(6 times\) would be read as anomalous"),
        (
            ["normal", "Benign", "attack"] * 2,
            (
                r"'Benign' \(2 times\) would be read as anomalous: normal are normal,"
                r" .* --normal LABEL"
            ),
        ),
        (
            ["0", "0", *(f"at {n}" for n in range(30))],
            r".* nearly each label is another one: name the column that holds labels",
        ),
    ],
    ids=["strange", "unlabelled", "benign", "texts"],
)
def test_labels_that_would_be_false_alarms_are_an_error(tmp_path, of_lines, words, said):
    raw, labels, settings = with_words(tmp_path, words, **({"label": "word"} if of_lines else {}))
    where = "field word of the lines" if of_lines else "words.csv"
    with pytest.raises(DataError, match=f"{where}: {said}"):
        prepare([raw], tmp_path / "out", settings=settings, labels=None if of_lines else labels)


def test_faulty_sessions_alone_have_a_way_out(tmp_path):
    raw, labels, settings = with_words(tmp_path, ["faulty"] * 4)
    ways = r"list normal ones too, or label lines \(line,label\) or times \(from,to,label\)"
    with pytest.raises(DataError, match=ways):
        prepare([raw], tmp_path / "out", settings=settings, labels=labels)


def test_all_anomalous_is_what_is_named_so(tmp_path):
    raw, labels, settings = with_words(tmp_path, ["ok", "bad", "odd", "worse", "ok"])
    label_file = settings.format.label_file.model_copy(
        update={"anomalous": ("ok", "bad", "odd", "worse")}
    )
    settings = settings.model_copy(
        update={"format": settings.format.model_copy(update={"label_file": label_file})}
    )
    assert prepare([raw], tmp_path / "out", settings=settings, labels=labels)["anomalous"] == 5


def test_label_files_that_cannot_be_read(hdfs, tmp_path):
    raw, labels = hdfs
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=r"labels .* cannot be read"):
            prepare([raw], tmp_path / "out", settings=section(), labels=path)
    packed = tmp_path / "labels.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + labels.read_bytes().replace(b"\n", b"\r\n")))
    assert prepare([raw], tmp_path / "out", settings=section(), labels=packed)["unlabelled"] == 0


@pytest.mark.parametrize("by", ["time", "random"])
def test_without_labels_all_sessions_are_divided_and_that_is_said(hdfs, tmp_path, by):
    manifest = prepare([hdfs[0]], tmp_path / "out", settings=section(split=SplitSection(by=by)))
    assert [part["sessions"] for part in manifest["parts"].values()] == [28, 4, 8]
    assert (manifest["unlabelled"], manifest["anomalous"], manifest["overlapping"]) == (40, 0, 0)
    assert manifest["warnings"] == [
        (
            "no session has a label: a few methods need none, the others and all figures take "
            "--labels FILE.csv (session,label or line,label), or --label FIELD of lines"
        )
    ]
    prepared = Prepared.load(tmp_path / "out")
    assert prepared.part("train")["anomalous"].null_count() == 28
    with pytest.raises(
        DataError, match="was prepared without labels: prepare it again with --labels FILE.csv"
    ):
        prepared.labelled("train")


def test_one_class_is_said(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal"] * 100)
    manifest = prepare([raw], tmp_path / "out", settings=json_section())
    assert manifest["warnings"] == [f"the {name} part holds only normal sessions" for name in PARTS]


def test_too_few_sessions(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal"] * 10)
    with pytest.raises(DataError, match="too few sessions to split"):
        prepare([raw], tmp_path / "out", settings=json_section(split=SplitSection(by="random")))


def test_a_file_of_another_format(hdfs, tmp_path):
    with pytest.raises(
        DataError,
        match=(
            r"80 of 80 lines are not in the format bgl, such as line 1 of raw.log: 081109 .*;"
            r" it fits hdfs: say --format hdfs"
        ),
    ):
        prepare([hdfs[0]], tmp_path / "out", settings=section("bgl"))


def test_binary_garbage(tmp_path):
    raw = tmp_path / "raw"
    raw.write_bytes(random.Random(0).randbytes(300_000))
    for settings in (section(), section("plain"), section("json")):
        with pytest.raises(
            DataError,
            match="raw is binary, and a log is text: name another file, or write it as text",
        ) as caught:
            prepare([raw], tmp_path / "out", settings=settings)
        assert str(caught.value).isprintable()


def test_rejects_are_counted_and_the_first_three_shown(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal", "alert"] * 20)
    with raw.open("a") as file:
        file.write(
            '{"label": "alert"}\n{"label": "normal"}\n\x07broken\n' + "x" * 1000 + "\nlast\n"
        )
    manifest = prepare([raw], tmp_path / "out", settings=json_section(size=2))
    assert (manifest["lines"], manifest["rejected"], manifest["rejected_alerts"]) == (45, 5, 1)
    assert [
        (shown["file"], shown["line"], shown["text"]) for shown in manifest["first_rejects"]
    ] == [
        ("raw", 41, '{"label": "alert"}'),
        ("raw", 42, '{"label": "normal"}'),
        ("raw", 43, "\ufffdbroken"),
    ]
    assert any(
        "1 line with an alert label did not parse" in warning for warning in manifest["warnings"]
    )


def test_invalid_utf_8_nul_and_crlf_are_read_and_counted(tmp_path):
    raw = tmp_path / "raw"
    line = b'{"message": "caf\xe9 is open \x00 today", "label": "normal", "time": 1}\r\n'
    raw.write_bytes(line * 9 + line.replace(b"normal", b"alert"))
    manifest = prepare([raw], tmp_path / "out", settings=json_section(size=1))
    assert (manifest["rejected"], manifest["replaced_characters"], manifest["anomalous"]) == (
        0,
        20,
        1,
    )
    assert Prepared.load(tmp_path / "out").messages.to_list() == ["caf\ufffd is open \ufffd today"]


def test_an_empty_file(tmp_path):
    (tmp_path / "raw").touch()
    with pytest.raises(DataError, match="raw holds no lines"):
        prepare([tmp_path / "raw"], tmp_path / "out", settings=section())


def test_records_that_are_in_no_session(hdfs, tmp_path):
    raw, labels = hdfs
    keyless = section(sessions=SessionSection(by="key", key_pattern="task_[0-9]+"))
    with pytest.raises(DataError, match=r"none of the 80 records names a key \(task_\[0-9\]\+\)"):
        prepare([raw], tmp_path / "out", settings=keyless, labels=labels)
    timeless = section("plain", sessions=SessionSection(by="time", size=60))
    with pytest.raises(DataError, match="none of the 80 records has a time"):
        prepare([raw], tmp_path / "out", settings=timeless)


def test_a_log_that_is_not_in_the_order_of_time(tmp_path):
    raw = json_log(tmp_path / "raw", ["normal"] * 100)
    lines = raw.read_text().splitlines(keepends=True)
    raw.write_text("".join([lines[-1], *lines[:-1]]))
    settings = json_section().model_copy(update={"sessions": SessionSection(by="time", size=10)})
    with pytest.raises(DataError, match="come after their window has closed: sort the log by time"):
        prepare([raw], tmp_path / "out", settings=settings)


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_a_test_part_older_than_the_train_part_is_told(tmp_path, order):
    rows = [
        json.dumps({"time": 1_700_000_000 + place, "message": "x", "label": "normal"})
        for place in range(200)
    ]
    rows[50], rows[100] = rows[100], rows[50]  # not quite in order
    (tmp_path / "old").write_text("\n".join(rows[:150]))
    (tmp_path / "new").write_text("\n".join(rows[150:]))
    files = [tmp_path / name for name in order]
    manifest = prepare(
        files, tmp_path / "out", settings=json_section(size=1, split=SplitSection(test=0.6))
    )
    said = [
        warning
        for warning in manifest["warnings"]
        if warning.startswith("the test part begins before the train part ends: give files")
    ]
    assert len(said) == (order[0] == "new")
    apart = prepare(
        files[:1], tmp_path / "apart", settings=json_section(size=1), test_raw=files[1:]
    )
    drawn = prepare(
        files, tmp_path / "drawn", settings=json_section(size=1, split=SplitSection(by="random"))
    )
    assert not any(
        "begins before" in warning for warning in [*apart["warnings"], *drawn["warnings"]]
    )


def test_long_sessions_and_short_ones(tmp_path):
    raw = tmp_path / "raw"
    raw.write_text(
        hdfs_line(1) + hdfs_line(2) * 10_000 + "".join(hdfs_line(block) for block in range(3, 20))
    )
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "BlockId,Label\n"
        + "".join(f"blk_{block},{'Anomaly' if block < 4 else 'Normal'}\n" for block in range(1, 20))
    )
    manifest = prepare([raw], tmp_path / "cut", settings=section(), labels=labels)
    assert (manifest["sessions"], manifest["long_sessions"], manifest["cut_messages"]) == (
        19,
        1,
        10_000 - 128,
    )
    said = "9,872 messages have been cut from the ends of long sessions: --long split keeps them"
    assert said in manifest["warnings"]
    split = section(sessions=SessionSection(by="key", key_pattern="blk_[0-9]+", long="split"))
    manifest = prepare([raw], tmp_path / "split", settings=split, labels=labels)
    assert (manifest["sessions"], manifest["anomalous"], manifest["cut_messages"]) == (
        18 + 79,
        2 + 79,
        0,
    )
    assert said not in manifest["warnings"]


@contextmanager
def no_room() -> Iterator[None]:
    """A file of this process may have a hundred bytes, as on a disk that is nearly full.

    Within a test alone: what pytest itself prints may go to a file, too.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_without_room_leaves_nothing(hdfs, tmp_path):
    raw, labels = hdfs
    out = tmp_path / "data" / "out"
    message = r"train\.parquet cannot be written: File too large"
    with no_room(), pytest.raises(DataError, match=message):
        prepare([raw], out, settings=section(), labels=labels)
    assert list(out.parent.iterdir()) == []


def test_prepared_data_is_not_overwritten(hdfs, tmp_path):
    raw, labels = hdfs
    prepare([raw], tmp_path / "out", settings=section(), labels=labels)
    with pytest.raises(DataError, match="--force"):
        prepare([raw], tmp_path / "out", settings=section(), labels=labels)
    prepare([raw], tmp_path / "out", settings=section(), labels=labels, force=True)


def test_prepared_data_is_verified(hdfs, tmp_path):
    raw, labels = hdfs
    out = tmp_path / "out"

    def changed(path, content, message):
        before = path.read_bytes()
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            Prepared.load(out)
        path.write_bytes(before)

    prepare([raw], out, settings=section(), labels=labels)
    manifest = json.loads((out / "manifest.json").read_bytes())
    changed(out / "test.parquet", None, "has no test.parquet")
    changed(
        out / "test.parquet",
        (out / "train.parquet").read_bytes(),
        "has changed since it was prepared",
    )
    changed(out / "manifest.json", None, "is not prepared data .*logllm prepare")
    changed(out / "manifest.json", b"{", "is damaged: .*; prepare the log again")
    changed(
        out / "manifest.json",
        json.dumps(manifest | {"kind": "run"}).encode(),
        "manifest.json is of another kind",
    )
    changed(
        out / "manifest.json", json.dumps(manifest | {"version": 99}).encode(), "has version 99"
    )
    with pytest.raises(DataError, match="no part 'dev': the parts are train, validation, test"):
        Prepared.load(out).part("dev")


def test_the_hdfs_sample(shared, tmp_path):
    raw, labels = shared / "hdfs" / "HDFS_2pct.log.gz", shared / "hdfs" / "anomaly_label.csv"
    manifest = prepare([raw], tmp_path / "out", settings=section(), labels=labels)
    whole = ("lines", "rejected", "sessions", "anomalous", "distinct_messages", "distinct_sessions")
    assert [manifest[name] for name in whole] == [222_579, 0, 11_501, 350, 32, 1_532]
    assert [tuple(part.values())[:2] for part in manifest["parts"].values()] == [
        (8_280, 252),
        (920, 28),
        (2_301, 70),
    ]


def test_bgl_thinned(shared, tmp_path):
    manifest = prepare(
        [shared / "bgl" / "BGL_6135.jsonl.gz"], tmp_path / "out", settings=json_section()
    )
    assert [manifest[name] for name in ("lines", "rejected", "sessions")] == [6_135, 0, 614]
    assert [part["sessions"] for part in manifest["parts"].values()] == [441, 50, 123]
    assert Prepared.load(tmp_path / "out").part("train")["item_anomalous"].explode().sum() > 0


@pytest.mark.real
def test_a_file_or_a_folder_is_one_session(tmp_path):
    """As the logs of an application's containers, labelled by application."""
    for place in range(12):
        folder = tmp_path / "logs" / f"application_{place:02d}"
        folder.mkdir(parents=True)
        for container in (1, 2):
            json_log(folder / f"container_{place:02d}_{container}.log", ["normal"] * 3)
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "session,label\n"
        + "".join(
            f"application_{place:02d},{'normal' if place % 3 else 'disk'}\n" for place in range(12)
        )
    )
    by_folder = section(
        "json", sessions=SessionSection(by="folder"), split=SplitSection(by="random")
    )
    manifest = prepare(
        [tmp_path / "logs/*/*.log"], tmp_path / "out", settings=by_folder, labels=labels
    )
    assert (manifest["sessions"], manifest["anomalous"], manifest["labels_unused"]) == (12, 4, 0)
    train = Prepared.load(tmp_path / "out").part("train")
    assert set(train["messages"].list.len()) == {6}
    by_file = section("json", sessions=SessionSection(by="file"), split=SplitSection(by="random"))
    prepare([tmp_path / "logs/*/*.log"], tmp_path / "files", settings=by_file)
    names = Prepared.load(tmp_path / "files").part("train")["session"]
    assert (len(names), names.str.contains(r"^container_\d\d_\d\.log$").all()) == (17, True)


def test_windows_of_records_end_with_their_file(tmp_path):
    logs = [json_log(tmp_path / name, ["normal"] * 25) for name in ("a", "b", "c")]
    prepare(
        logs,
        tmp_path / "out",
        settings=json_section(split=SplitSection(by="random", test=0, validation=0)),
    )
    train = Prepared.load(tmp_path / "out").part("train")
    assert train["session"].to_list() == [
        "10@1",
        "10@11",
        "10@21",
        "10@26",
        "10@36",
        "10@46",
        "10@51",
        "10@61",
        "10@71",
    ]
    assert set(train["files"].list.n_unique()) == {1}
