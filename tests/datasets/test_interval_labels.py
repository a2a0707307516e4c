"""Labels by time: a fault's beginning and end, and the sessions that it reaches."""

import pytest

from logllm.config.prepare import PrepareSection, SplitSection
from logllm.config.sessions import SessionSection
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import PARTS, Prepared
from logllm.errors import DataError
from logllm.formats.description import load_format


@pytest.fixture
def log(tmp_path):
    """Jobs of a minute each from 09:00 to 09:40 UTC, three lines a job."""
    path = tmp_path / "app.log"
    line = "2024-07-03 09:{minute:02d}:{second:02d} job {minute} {word}\n"
    steps = ((0, "begins"), (20, "works"), (40, "ends"))
    path.write_text(
        "".join(
            line.format(minute=minute, second=second, word=word)
            for minute in range(40)
            for second, word in steps
        )
    )
    return path


def prepared(log, tmp_path, text, *, name="timed"):
    labels = tmp_path / "faults.csv"
    labels.write_text(text)
    by_job = SessionSection(by="key", key_pattern=r"job (\d+)")
    settings = PrepareSection(
        format=load_format(name), sessions=by_job, split=SplitSection(by="random")
    )
    manifest = prepare([log], tmp_path / "out", settings=settings, labels=labels)
    data = Prepared.load(tmp_path / "out")
    return manifest, sorted(
        int(name) for part in PARTS for name in data.part(part).filter("anomalous")["session"]
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("text", "anomalous"),
    [
        ("from,to,label\n2024-07-03 09:05:00Z,2024-07-03 09:06:30Z,disk full\n", [5, 6]),
        ("from,to,label\n2024-07-03T11:05+02:00,2024-07-03T11:05:40+02:00,net\n", [5]),
        ("from,to,label\n2024-07-03 11:05:10 CEST,2024-07-03 11:05:15 CEST,net\n", [5]),
        ("from,to,label\n1719997500,1719997510,net\n", [5]),
        ("start,end\n2024-07-03 09:05:40Z,2024-07-03 09:06:00Z\n", [5, 6]),
        (
            (
                "from,to,label\n2024-07-03 09:05Z,2024-07-03 09:06:30Z,disk\n2024-07-03"
                " 09:00Z,2024-07-03 09:39Z,normal\n"
            ),
            [5, 6],
        ),
    ],
    ids=["utc", "a zone", "a zone's name", "epoch", "start and end, no label", "a normal interval"],
)
def test_sessions_that_overlap_an_interval_are_anomalous(log, tmp_path, text, anomalous):
    manifest, found = prepared(log, tmp_path, text)
    assert found == anomalous
    assert manifest["unlabelled"] == 0
    assert not any("zone" in warning for warning in manifest["warnings"])


def test_times_without_a_zone_are_utc_and_that_is_said(log, tmp_path):
    manifest, found = prepared(
        log,
        tmp_path,
        "from,to,label\n2024-07-03 09:05,2024-07-03 09:05,net\n2024-07-03 09:07,2024-07-03"
        " 09:08,cpu\n",
    )
    assert found == [5, 7, 8]
    assert any(
        "has times without a zone, which are read as UTC" in warning
        for warning in manifest["warnings"]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "from,to,label\n2024-07-03 11:05,2024-07-03 11:06,net\n",
            "1 interval of 1 holds no session .* from 2024-07-03 09:00:00 to .* add the zone",
        ),
        (
            (
                "from,to,label\n2024-07-03 09:05,2024-07-03 09:06,net\n2024-07-03"
                " 09:05:41,2024-07-03 09:05:50,cpu\n"
            ),
            "1 interval of 2 holds no session",
        ),
        ("from,to,label\nyesterday,2024-07-03 09:06,net\n", "from 'yesterday' is no time"),
        ("from,to,label\n2024-07-03 09:06,,net\n", "to '' is no time"),
        ("from,to,label\n2024-07-03 09:06,2024-07-03 09:05,net\n", "ends before it begins"),
        ("from,to,label\n", "holds no interval"),
        (
            "from,to,label\n2024-07-03 09:05,2024-07-03 09:06,unlabeled\n",
            "would be read as anomalous",
        ),
    ],
    ids=[
        "beside the log",
        "between sessions",
        "no time",
        "no end",
        "backward",
        "none",
        "a word for normal",
    ],
)
def test_intervals_that_are_wrong(log, tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        prepared(log, tmp_path, text)


def test_a_log_without_times_has_no_intervals(log, tmp_path):
    with pytest.raises(DataError, match="are by time, and the log has no times"):
        prepared(
            log, tmp_path, "from,to,label\n2024-07-03 09:05,2024-07-03 09:06,net\n", name="plain"
        )
