"""`prepare` without --raw: the public data sets, of which Liberty has no sample but the lines
written here."""

import gzip
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Prepared
from logllm.datasets.published.public import CATALOG, paper_settings
from logllm.training.sampler import oversampled

KINDS = (
    "R_HDA_NR",
    "R_HDA_STAT",
    "N_PBS_BFD1",
    "R_EXT_CCISS",
    "R_ECC1",
    "-",
    "N_NFS",
    "R_GM_LANAI",
)


def alert_log(lines: int) -> list[str]:
    """Liberty's format: runs of 300 alerts of a kind, every eighth run without."""
    return [
        f"{KINDS[number // 300 % 8]} {1_102_000_000 + number} 2004.12.02 ladmin{number % 3} Dec 2"
        f" 15:06:40 ladmin2/ladmin2 pbs_mom: Bad file descriptor ({number % 7}) in tm_request, job"
        f" {number} not running"
        for number in range(lines)
    ]


@pytest.fixture
def small_liberty(tmp_path, cached, monkeypatch):
    """A log in Liberty's format in a folder of archives, and the catalogue's Liberty with a slice
    of 5,000 lines of it."""
    lines = alert_log(9_000)
    lines[4_100] = "- 1102004100 2004.12.02 ladmin1 Dec 2"  # no record, in the middle of the slice
    (tmp_path / "liberty2.gz").write_bytes(
        gzip.compress("\n".join(lines).encode("latin-1") + b"\n")
    )
    monkeypatch.setenv("LOGLLM_DATASETS", str(tmp_path))
    paper = {
        "lines": 5_000,
        "sessions": 50,
        "anomalous": 43,
        "train.sessions": 40,
        "test.sessions": 10,
    }
    monkeypatch.setitem(
        CATALOG, "liberty", replace(CATALOG["liberty"], start=4_000, stop=9_000, paper=paper)
    )
    return lines


def test_liberty_by_its_name_alone(logllm, small_liberty, tmp_path) -> None:
    done = logllm("prepare", "liberty", "--out", tmp_path / "data", "--json")
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert (
        manifest["lines"],
        manifest["rejected"],
        manifest["rejected_alerts"],
        manifest["sessions"],
    ) == (5_000, 1, 0, 50)
    assert {name: part["sessions"] for name, part in manifest["parts"].items()} == {
        "train": 40,
        "validation": 0,
        "test": 10,
    }
    assert manifest["source"]["start"] == 4_000
    assert "to fetch: file:" in done.err
    assert "only its lines 4,000 to 9,000 are kept" in done.err
    assert "terms: published by the USENIX Computer Failure Data Repository" in done.err
    assert "cite: Oliner, Stearley: What Supercomputers Say" in done.err

    prepared = Prepared.load(tmp_path / "data")
    train = prepared.part("train")
    assert train["session"][0] == "100@1"
    assert train["lines"][0].to_list() == list(range(1, 101))
    assert (
        prepared.messages[train["messages"][0][0]]
        == "pbs_mom: Bad file descriptor (<*>) in tm_request, job <*> not running"
    )
    assert (
        train["item_anomalous"].list.any().to_list()
        == train["anomalous"].to_list()
        == [place not in (0, 23, 24) for place in range(40)]
    )
    assert train["start"][0].timestamp() == 1_102_004_000


def test_the_normal_are_fewer_and_are_repeated(logllm, small_liberty, tmp_path) -> None:
    assert logllm("prepare", "liberty", "--out", tmp_path / "data").code == 0
    labels = Prepared.load(tmp_path / "data").part("train")["anomalous"].to_numpy()
    normal = np.flatnonzero(~labels)
    assert 0 < len(normal) < 0.2 * len(labels)
    times = np.bincount(
        oversampled(labels, share=0.3, rng=np.random.default_rng(0)), minlength=len(labels)
    )
    assert set(times[labels]) == {1}
    assert times[normal].min() > 1
    assert times[normal].sum() == int(0.3 * labels.sum() / 0.7)


def test_counts_are_compared_with_the_papers(logllm, small_liberty, tmp_path) -> None:
    done = logllm("prepare", "liberty", "--out", tmp_path / "data", "--json")
    manifest = json.loads(done.out)
    assert manifest["paper"]["sessions"] == {"paper": 50, "here": 50}
    assert manifest["paper"]["anomalous"] == {"paper": 43, "here": 44}
    assert "anomalous: 44 here, 43 in the paper" in manifest["warnings"]
    assert (
        "the same counts as in the paper: lines, sessions, train sessions, test sessions"
        in done.err
    )
    assert "note: anomalous: 44 here, 43 in the paper" in done.err


def test_other_settings_are_not_compared(logllm, small_liberty, tmp_path) -> None:
    done = logllm(
        "prepare",
        "liberty",
        "--out",
        tmp_path / "data",
        "--window",
        50,
        "--validation",
        0.1,
        "--json",
    )
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert (manifest["sessions"], manifest["settings"]["split"]["validation"]) == (100, 0.1)
    assert "paper" not in manifest
    assert manifest["source"]["name"] == "liberty"


def test_what_is_here_is_not_fetched_again(logllm, small_liberty, tmp_path, cached) -> None:
    assert logllm("prepare", "liberty", "--out", tmp_path / "data").code == 0
    (tmp_path / "liberty2.gz").unlink()
    again = logllm("prepare", "liberty", "--out", tmp_path / "again")
    assert again.code == 0
    assert "to fetch" not in again.err
    assert "liberty: 5,000 lines, fetched 20" in again.err
    refused = logllm("prepare", "liberty", "--out", tmp_path / "again")
    assert (refused.code, "replace it with --force" in refused.err) == (2, True)
    (cached / "liberty" / "liberty.log.zst").write_bytes(b"")
    changed = logllm("prepare", "liberty", "--out", tmp_path / "third")
    assert (changed.code, "delete the folder and run it again" in changed.err) == (2, True)


@pytest.mark.parametrize(("answer", "code"), [(None, 2), ("n\n", 1), ("y\n", 0), ("--yes", 0)])
def test_gigabytes_need_a_yes(
    logllm, small_liberty, site, tmp_path, monkeypatch, answer, code
) -> None:
    """The server announces two of them when it is asked how many there are; those that come are
    fewer."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return answer is not None

    site.content, site.plan = (
        (tmp_path / "liberty2.gz").read_bytes(),
        [{"announces": 2_000_000_000}, {}],
    )
    monkeypatch.setenv("LOGLLM_DATASETS", site.url)
    options = ["--yes"] if answer == "--yes" else []
    said = logllm(
        "prepare", "liberty", "--out", tmp_path / "data", *options, stdin=Terminal(answer or "")
    )
    assert said.code == code
    assert (tmp_path / "data").exists() == (code == 0)
    assert ("to fetch: say --yes" in said.err) == (answer is None)
    assert ("Fetch it? [y/N]" in said.err) == (answer in ("y\n", "n\n"))


def test_hdfs_labels_come_with_it(site, cached, tmp_path, logllm, monkeypatch) -> None:
    blocks = range(1, 41)
    log = "".join(
        f"081109 2035{block:02} 143 INFO dfs.DataNode: Receiving block blk_{block} src:"
        " /10.0.0.1:5\r\n"
        for block in blocks
    )
    labels = "BlockId,Label\n" + "".join(
        f"blk_{block},{'Normal' if block % 4 else 'Anomaly'}\n" for block in blocks
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("HDFS.log", log)
        archive.writestr("preprocessed/anomaly_label.csv", labels)
    site.content = stream.getvalue()
    monkeypatch.setenv("LOGLLM_DATASETS", site.url)
    monkeypatch.setitem(
        CATALOG, "hdfs", replace(CATALOG["hdfs"], bytes=len(site.content), md5=None)
    )
    done = logllm("prepare", "hdfs", "--out", tmp_path / "data", "--json")
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert manifest["parts"]["test"] == {"sessions": 8, "anomalous": 2, "distinct_sessions": 1}
    assert manifest["paper"]["sessions"] == {"paper": 575_061, "here": 40}
    assert (
        len([warning for warning in manifest["warnings"] if warning.endswith("in the paper")]) == 7
    )


def test_a_wrong_checksum_stops_before_anything_is_prepared(
    site, cached, tmp_path, logllm, monkeypatch
) -> None:
    site.content = b"<html>not found</html>"
    monkeypatch.setenv("LOGLLM_DATASETS", site.url)
    said = logllm("prepare", "bgl", "--out", tmp_path / "data")
    assert said.code == 2
    assert "announces 22 bytes, expected are 57,489,019" in said.err
    assert not (tmp_path / "data").exists()


def test_prepare_compares_only_when_told(tmp_path) -> None:
    (tmp_path / "raw").write_text("\n".join(alert_log(2_000)))
    manifest = prepare(
        [tmp_path / "raw"], tmp_path / "out", settings=paper_settings(CATALOG["liberty"])
    )
    assert not {"paper", "source"} & manifest.keys()
