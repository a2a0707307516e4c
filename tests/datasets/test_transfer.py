"""A stream from a server that breaks off, lies, refuses or changes its mind."""

import hashlib
import socket
import urllib.request
from urllib.error import URLError

import numpy as np
import pytest

from logllm.datasets.published.transfer import Patience, Transfer
from logllm.errors import DataError

CONTENT = np.random.default_rng(0).bytes(50_000)


@pytest.fixture
def waits() -> list[float]:
    """What was slept, were it slept."""
    return []


@pytest.fixture
def transfer(site, waits):
    site.content = CONTENT

    def make(**known) -> Transfer:
        return Transfer(
            f"{site.url}/log.gz",
            patience=Patience(tries=3, timeout=0.3, sleep=waits.append),
            **known,
        )

    return make


@pytest.mark.parametrize(
    "rest",
    [{}, {"tag": '"a"'}, {"tag": 'W/"a"'}, {"ranges": False}, {"ranges": 416}, {"ranges": 501}],
)
def test_a_stream_broken_three_times_ends_whole(site, transfer, waits, rest) -> None:
    # The first range is answered with an error: it is asked for all then.
    refused = [rest] if rest.get("ranges") else []
    site.plan = [
        rest | {"until": 20_000},
        *refused,
        rest | {"until": 30_000},
        rest | {"until": 40_000},
        rest,
    ]
    stream = transfer()
    assert stream.read() == CONTENT
    assert (stream.at, stream.size, stream.ended) == (50_000, 50_000, True)
    assert stream.md5 == hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    assert waits == [1.0, 1.0, 1.0]
    later = [None, None, None] if refused else ["bytes=30000-", "bytes=40000-"]
    assert site.asked == [None, "bytes=20000-", *later]


def test_small_reads_give_the_same_bytes(site, transfer) -> None:
    site.plan = [{"until": 1}, {"until": 1000}, {"until": 8001}, {"until": 15_003}, {}]
    told = []
    stream = transfer(progress=lambda *said: told.append(said))
    assert b"".join(iter(lambda: stream.read(1024), b"")) == CONTENT
    assert site.asked == [None, "bytes=1-", "bytes=1000-", "bytes=8001-", "bytes=15003-"]
    assert told == [(50_000, 50_000)]
    assert stream.read(10) == b""
    assert len(site.asked) == 5


@pytest.mark.parametrize("gives", [None, 20_500])
def test_a_length_that_is_not_announced(site, transfer, gives) -> None:
    site.plan = [{"chunked": True} if gives is None else {"chunked": True, "until": gives}, {}]
    stream = transfer()
    assert stream.read() == CONTENT
    assert len(site.asked) == (1 if gives is None else 2)


@pytest.mark.real
@pytest.mark.parametrize(
    ("plan", "known", "said"),
    [
        # too high a length, as an honest server and one that keeps lying give it away
        ([{"announces": 60_000}, {}], None, "announces 50,000 bytes, expected are 60,000"),
        (
            [{"announces": 60_000}, {"ranges": False, "announces": 60_000}],
            None,
            "50,000 of 60,000 bytes announced have come, and 3 tries",
        ),
        ([{"announces": 40_000}], 50_000, "announces 40,000 bytes, expected are 50,000"),
        ([{"announces": 60_000}], 50_000, "announces 60,000 bytes, expected are 50,000"),
        (
            [{"until": 9, "tag": '"a"'}, {"tag": '"b"'}],
            None,
            "announces another version, expected are 50,000",
        ),
        (
            [{"until": 9}, {"ranges": False, "announces": 49_999}],
            None,
            "announces 49,999 bytes, expected are 50,000",
        ),
        (
            [{"status": 404}],
            None,
            "answers 404 Not Found; fetch it by other means and set LOGLLM_DATASETS to its folder",
        ),
        ([{"status": 403}], None, "answers 403 Forbidden"),
        (
            [{"status": 500}],
            None,
            (
                "0 of an unknown number of bytes announced have come, and 3 tries in a row gave no"
                " more .*500"
            ),
        ),
        ([{"hangs": 1}], None, "0 of 50,000 bytes .* 3 tries .*timed out"),
        (
            [{"until": 0}],
            None,
            (
                "0 of 50,000 bytes announced have come, and 3 tries in a row gave no more .the"
                " connection ended"
            ),
        ),
        ([{"until": 7}, {"until": 0}], None, "7 of 50,000 bytes announced have come, and 3 tries"),
    ],
)
def test_what_cannot_be_mended_is_said(site, transfer, waits, plan, known, said) -> None:
    site.plan = plan
    with pytest.raises(DataError, match=said):
        transfer(size=known).read()
    assert len(site.asked) <= 5
    assert len(waits) <= 3


def test_a_lasting_refusal_is_not_asked_again(site, transfer, waits) -> None:
    site.plan = [{"status": 404}]
    with pytest.raises(DataError):
        transfer().open()
    assert (len(site.asked), waits) == (1, [])


def test_a_passing_refusal_is(site, transfer, waits) -> None:
    site.plan = [{"status": 503}, {"status": 429}, {}]
    assert transfer().read() == CONTENT
    assert waits == [1.0, 2.0]


def test_bytes_are_never_of_two_files(site, transfer) -> None:
    """A server without ranges and versions sends another file of the same length after the
    break."""
    site.plan = [{"until": 20_000, "ranges": False}, {"ranges": False}]
    stream = transfer()
    given = b""
    while len(given) < 20_000:  # a read gives what is there yet
        given += stream.read(20_000 - len(given))
    assert given == CONTENT[:20_000]
    site.content = CONTENT[::-1]
    with pytest.raises(
        DataError, match="changed while it was fetched: its first 20,000 bytes are others now"
    ):
        stream.read()
    assert stream.changed


def test_a_part_that_was_not_asked_for(site, transfer) -> None:
    site.plan = [{"until": 20_000}, {"claims": 0}]
    with pytest.raises(
        DataError, match="asked for the bytes from 20,000 on the server sent others"
    ):
        transfer().read()


def test_no_network_is_said_at_once(waits) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        stream = Transfer(
            f"http://127.0.0.1:{taken.getsockname()[1]}/x", patience=Patience(sleep=waits.append)
        )
        with pytest.raises(DataError, match="cannot be fetched .*refused.*is there a network"):
            stream.open()
    assert waits == []


def test_a_network_that_is_away_for_a_while(site, transfer, waits, monkeypatch) -> None:
    site.plan = [{"until": 20_000}, {}]
    really = urllib.request.urlopen
    away = [
        None,
        URLError(socket.gaierror(-3, "Temporary failure in name resolution")),
        URLError(ConnectionRefusedError()),
    ]

    def sometimes(request, **how):
        fault = away.pop(0) if away else None
        if fault:
            raise fault
        return really(request, **how)

    monkeypatch.setattr(urllib.request, "urlopen", sometimes)
    assert transfer().read() == CONTENT
    assert (site.asked, away, waits) == ([None, "bytes=20000-"], [], [1.0, 1.0, 2.0])


def test_a_file_of_this_machine(tmp_path) -> None:
    (tmp_path / "a b.gz").write_bytes(CONTENT)
    assert (
        Transfer((tmp_path / "a b.gz").as_uri(), size=50_000, patience=Patience()).read() == CONTENT
    )
    with pytest.raises(DataError, match="cannot be fetched"):
        Transfer((tmp_path / "b").as_uri(), patience=Patience()).read()
