"""Public data sets fetched whole or in slices, from a server that breaks off, and used again."""

import errno
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from logllm.datasets.published.fetching import announced, fetch, here
from logllm.datasets.published.public import CATALOG
from logllm.datasets.published.slices import Slice
from logllm.datasets.published.transfer import Patience, Transfer, download
from logllm.errors import DataError
from logllm.storage import locked

LINES = [b"line %05d of the log\n" % number for number in range(20_000)]
LOG = b"".join(LINES)
LABELS = b"BlockId,Label\nblk_1,Normal\n"
QUICK = Patience(tries=3, timeout=5, sleep=lambda _: None)


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(
                name.replace("__", "/").replace("_log", ".log").replace("_csv", ".csv"), content
            )
    return stream.getvalue()


def tarred(content: bytes, name: str = "Thunderbird.log") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for member, bytes_of in (("./", None), ("./README.md", b"read me"), (f"./{name}", content)):
            info = tarfile.TarInfo(member)
            info.type, info.size = (
                (tarfile.DIRTYPE, 0) if bytes_of is None else (tarfile.REGTYPE, len(bytes_of))
            )
            archive.addfile(info, None if bytes_of is None else io.BytesIO(bytes_of))
    return stream.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def at(site, name: str, content: bytes, **changes):
    """A data set of the catalogue, but on the site and with this content."""
    site.content = content
    url = f"{site.url}/{Path(CATALOG[name].url).name}"
    published = {"bytes": len(content), "md5": md5(content)} if CATALOG[name].md5 else {}
    return replace(CATALOG[name], **{"url": url, **published, **changes})


def kept(source) -> bytes:
    with zstandard.open(source.log, "rb") as file:
        return file.read()


HDFS = zipped(HDFS_log=LOG, preprocessed__anomaly_label_csv=LABELS, README_md=b"read me")
BREAKS = [{"until": len(HDFS) // 4}, {"until": len(HDFS) // 2}, {"until": len(HDFS) - 1}, {}]


@pytest.mark.parametrize("rest", [{}, {"ranges": False}])
def test_a_download_broken_three_times_ends_whole(site, cached, rest) -> None:
    site.plan = [each | rest for each in BREAKS]
    dataset = at(site, "hdfs", HDFS)
    told = []
    source = fetch(dataset, patience=QUICK, progress=lambda *said: told.append(said))
    assert kept(source) == LOG
    assert source.labels is not None
    assert source.labels.read_bytes() == LABELS
    assert source.about["md5"] == source.about["published_md5"] == md5(HDFS)
    assert (source.about["bytes"], source.about["lines"], source.about["url"]) == (
        len(HDFS),
        20_000,
        dataset.url,
    )
    assert told[-1] == (len(HDFS), len(HDFS))
    assert sorted(path.name for path in cached.iterdir()) == [".hdfs.lock", "hdfs"]
    assert len(site.asked) == 4


def test_what_is_here_is_used_and_verified(site, cached) -> None:
    dataset = at(site, "hdfs", HDFS)
    assert here(dataset) is None
    assert announced(dataset) == len(HDFS)
    first = fetch(dataset, patience=QUICK)
    site.plan = [{"status": 500}]
    assert here(dataset) == fetch(dataset, patience=QUICK) == first
    assert json.loads((cached / "hdfs" / "source.json").read_bytes()) == first.about
    with pytest.raises(DataError, match=r"does not hold hdfs as it was fetched.*delete the folder"):
        here(replace(dataset, start=3))
    first.log.write_bytes(first.log.read_bytes()[:-1])
    with pytest.raises(
        DataError, match=r"does not hold hdfs as it was fetched .*delete the folder"
    ):
        fetch(dataset, patience=QUICK)


@pytest.mark.real
def test_a_killed_download_goes_on(site, cached) -> None:
    """A process is killed in mid-transfer; the next one asks for the rest alone."""
    dataset = at(site, "bgl", zipped(BGL_log=os.urandom(3 << 20)), log="BGL.log")
    half = len(site.content) // 2
    site.plan = [
        {"until": half, "announces": len(site.content), "tag": '"a"', "lingers": True},
        {"tag": '"a"'},
    ]
    part = cached / "BGL.zip.part"
    program = (
        "import sys; from pathlib import Path; "
        "from logllm.datasets.published.transfer import Patience, Transfer, download; "
        "download(Transfer(sys.argv[1], size=int(sys.argv[2]), patience=Patience()), "
        "Path(sys.argv[3]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, dataset.url, str(dataset.bytes), str(part)]
    )
    deadline = time.monotonic() + 20
    while (
        not part.is_file() or part.stat().st_size < half - (1 << 20)
    ) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    already = part.stat().st_size
    assert 0 < already <= half
    assert announced(dataset, patience=QUICK) == len(site.content) - already
    fetch(dataset, patience=QUICK)
    assert site.asked[-1] == f"bytes={already}-"
    assert not part.exists()


@pytest.fixture
def part(site, cached):
    """The first half of an archive, as an earlier process left it."""
    dataset = at(site, "hdfs", HDFS)
    cached.mkdir(parents=True)
    part = cached / "HDFS_v1.zip.part"
    part.write_bytes(HDFS[: len(HDFS) // 2])
    about = {"url": dataset.url, "size": len(HDFS), "version": '"a"'}
    part.with_name("HDFS_v1.zip.part.json").write_text(json.dumps(about))
    return part, dataset


def test_a_part_of_the_published_file_is_gone_on_with(site, part) -> None:
    site.plan = [{"tag": '"a"'}]
    assert kept(fetch(part[1], patience=QUICK)) == LOG
    assert site.asked == [f"bytes={len(HDFS) // 2}-"]


def test_a_part_that_is_all_of_it_needs_no_network(site, part) -> None:
    part[0].write_bytes(HDFS)
    site.plan = [{"status": 500}]
    assert kept(fetch(part[1], patience=QUICK)) == LOG
    assert site.asked == []


@pytest.mark.parametrize("about", ["", "[]", '{"url": "elsewhere"}'])
def test_a_part_of_something_else_is_begun_again(site, part, about) -> None:
    part[0].with_name("HDFS_v1.zip.part.json").write_text(about)
    assert kept(fetch(part[1], patience=QUICK)) == LOG
    assert site.asked == [None]


def test_a_corrupted_part_is_deleted_and_said(site, part) -> None:
    part[0].write_bytes(b"x" + HDFS[1 : len(HDFS) // 2])
    site.plan = [{"tag": '"a"'}]
    with pytest.raises(
        DataError,
        match=(
            rf"is damaged: its {len(HDFS):,} bytes have the MD5 \w+, published is {md5(HDFS)}"
            r".*run it again"
        ),
    ):
        fetch(part[1], patience=QUICK)
    assert not part[0].exists()
    assert kept(fetch(part[1], patience=QUICK)) == LOG


def test_a_part_of_an_older_version_is_deleted_and_said(site, part) -> None:
    site.plan = [{"tag": '"b"'}]
    with pytest.raises(DataError, match="announces another version"):
        fetch(part[1], patience=QUICK)
    assert not part[0].exists()


def test_an_unpublished_file_is_recorded_as_seen(site, tmp_path) -> None:
    site.content = HDFS
    transfer = Transfer(f"{site.url}/x.zip", patience=QUICK)
    download(transfer, tmp_path / "x.part")
    assert (transfer.size, transfer.md5) == (len(HDFS), md5(HDFS))
    assert (tmp_path / "x.part").read_bytes() == HDFS


BOUNDS = [(0, 1), (0, 20_000), (19_999, 20_000), (7_001, 7_002), (160, 17_000)]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("name", ["thunderbird", "liberty"])
def test_a_slice_is_exact(site, cached, name, bounds) -> None:
    """From 0, the end not included: the first line kept is the one an editor numbers `start` +
    1."""
    start, stop = bounds
    dataset = at(
        site,
        name,
        tarred(LOG) if name == "thunderbird" else gzip.compress(LOG),
        start=start,
        stop=stop,
    )
    source = fetch(dataset, patience=QUICK)
    assert kept(source).splitlines(keepends=True) == LINES[start:stop]
    assert kept(source).startswith(b"line %05d" % start)
    assert source.about["lines"] == stop - start
    assert source.about["sha256"] == hashlib.sha256(kept(source)).hexdigest()


@pytest.mark.parametrize("name", ["thunderbird", "liberty"])
def test_a_sliced_stream_broken_three_times_ends_whole(site, cached, name) -> None:
    content = tarred(LOG) if name == "thunderbird" else gzip.compress(LOG)
    site.plan = [{"until": len(content) * quarter // 4} for quarter in (1, 2, 3)] + [{}]
    source = fetch(at(site, name, content, start=5, stop=19_995), patience=QUICK)
    assert kept(source) == b"".join(LINES[5:19_995])
    assert len(site.asked) == 4


def test_after_the_slice_only_what_has_a_checksum_is_read_on(site, cached) -> None:
    noise = b"".join(os.urandom(49).replace(b"\n", b" ") + b"\n" for _ in range(60_000))
    liberty = fetch(at(site, "liberty", gzip.compress(noise, 1), start=10, stop=20), patience=QUICK)
    assert liberty.about["bytes_read"] < liberty.about["bytes"]
    assert liberty.about["md5"] is None
    thunderbird = fetch(at(site, "thunderbird", tarred(noise), start=10, stop=20), patience=QUICK)
    assert thunderbird.about["bytes_read"] == thunderbird.about["bytes"]
    assert thunderbird.about["md5"] == thunderbird.about["published_md5"]


@pytest.mark.parametrize(
    ("name", "content", "changes", "said"),
    [
        pytest.param(
            "thunderbird",
            tarred(LOG),
            {"start": 5, "stop": 9, "md5": "0" * 32},
            "is damaged: its .* have the MD5 .*, published is 000.*nothing",
            id="another checksum",
        ),
        pytest.param(
            "thunderbird",
            tarred(LOG),
            {"start": 5, "stop": 20_001},
            "the log ends after 20,000 lines, wanted are lines 5 to 20,001",
            id="an end beyond the log's",
        ),
        pytest.param(
            "liberty",
            gzip.compress(LOG),
            {"start": 30_000, "stop": 40_000},
            "ends after 20,000 lines, wanted are lines 30,000 to 40,000",
            id="a slice beyond the log's end",
        ),
        pytest.param(
            "thunderbird",
            tarred(LOG, "Other.log"),
            {},
            "holds no Thunderbird.log: it holds ., ./README.md, ./Other.log",
            id="another log",
        ),
        pytest.param(
            "hdfs",
            zipped(HDFS_log=LOG),
            {},
            "holds no anomaly_label.csv: it holds HDFS.log",
            id="no labels",
        ),
        pytest.param(
            "hdfs",
            HDFS[:-100],
            {},
            r"is damaged or cut off .*: [\d,]+ bytes of [\d,]+ announced have been read",
            id="zip cut off",
        ),
        pytest.param(
            "thunderbird",
            tarred(LOG)[:-9000],
            {"start": 5, "stop": 19_999},
            "is damaged or cut off .*announced have been read",
            id="tar cut off",
        ),
        pytest.param("thunderbird", gzip.compress(LOG), {}, "is damaged or cut off", id="no tar"),
        pytest.param(
            "liberty",
            gzip.compress(LOG)[:-9000],
            {"start": 5, "stop": 19_999},
            "is damaged or cut off",
            id="gzip cut off",
        ),
        pytest.param(
            "liberty", b"<html>moved</html>\n", {}, "the log ends after 1 line,", id="a page"
        ),
    ],
)
def test_an_archive_that_is_not_the_one_expected(
    site, cached, name, content, changes, said
) -> None:
    with pytest.raises(DataError, match=said):
        fetch(at(site, name, content, **changes), patience=QUICK)
    assert not (cached / name).exists()
    assert list(cached.glob(".*.tmp")) == []


def test_a_mirror_is_a_folder_or_an_address(site, cached, tmp_path, monkeypatch) -> None:
    dataset = at(site, "liberty", gzip.compress(LOG), start=5, stop=9)
    elsewhere = replace(dataset, url="http://nowhere.invalid/hpc4/liberty2.gz")
    monkeypatch.setenv("LOGLLM_DATASETS", site.url)
    assert kept(fetch(elsewhere, patience=QUICK)) == b"".join(LINES[5:9])
    (tmp_path / "liberty2.gz").write_bytes(site.content)
    monkeypatch.setenv("LOGLLM_DATASETS", str(tmp_path))
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "other"))
    source = fetch(elsewhere, patience=QUICK)
    assert kept(source) == b"".join(LINES[5:9])
    assert source.about["url"] == elsewhere.url
    (tmp_path / "liberty2.gz").unlink()
    monkeypatch.setenv("LOGLLM_CACHE", str(tmp_path / "third"))
    with pytest.raises(DataError, match="liberty2.gz cannot be fetched"):
        fetch(elsewhere, patience=QUICK)


def test_two_processes_do_not_fetch_the_same(site, cached) -> None:
    dataset = at(site, "liberty", gzip.compress(LOG), start=5, stop=9)
    with (
        locked(cached / ".liberty.lock"),
        pytest.raises(DataError, match="is being fetched into .* by another process"),
    ):
        fetch(dataset, patience=QUICK)
    left = cached / ".liberty.999.tmp"  # of a process that was killed
    left.mkdir()
    assert fetch(dataset, patience=QUICK).about["lines"] == 4
    assert not left.exists()


@pytest.mark.parametrize("name", ["hdfs", "liberty"])
def test_a_full_disk_leaves_nothing_but_the_part(site, cached, monkeypatch, name) -> None:
    class Full(io.BytesIO):
        def __init__(self, *_: object) -> None:
            super().__init__()

        def stream_writer(self, _: object) -> io.BytesIO:
            return self

        def write(self, block: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    dataset = at(site, name, HDFS if name == "hdfs" else gzip.compress(LOG), start=0, stop=9)
    with monkeypatch.context() as disk:
        disk.setattr(zstandard, "ZstdCompressor", Full)
        with pytest.raises(DataError, match="the disk that holds .* is full: free some space"):
            fetch(dataset, patience=QUICK)
    left = {path.name for path in cached.iterdir()} - {f".{name}.lock"}
    assert left == ({"HDFS_v1.zip.part", "HDFS_v1.zip.part.json"} if name == "hdfs" else set())
    assert fetch(dataset, patience=QUICK).about["lines"] == 9


def test_a_cache_that_cannot_be_written_to(site, cached, tmp_path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(at(site, "hdfs", HDFS), patience=QUICK)


@given(
    st.lists(st.binary(max_size=9).map(lambda text: text.replace(b"\r", b"\n")), max_size=9),
    st.integers(0, 9),
    st.none() | st.integers(1, 9),
)
def test_any_blocks_give_the_same_slice(blocks, start, length) -> None:
    stop = None if length is None else start + length
    lines = Slice(start, stop)
    found = b"".join(lines.of(block) for block in blocks if not lines.done)
    text = b"".join(blocks)
    ends = [place + 1 for place, byte in enumerate(text) if byte == ord("\n")]
    whole = [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True) if b > a]
    assert found == b"".join(whole[start:stop])
    assert lines.kept == len(whole[start:stop])
