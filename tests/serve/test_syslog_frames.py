"""Messages in a stream of bytes, wherever it was cut."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.logs.lines import LONGEST_LINE
from logllm.serve.sources.wire.counts import Counts
from logllm.serve.sources.wire.syslog_frames import Framer
from logllm.serve.sources.wire.texts import texts_of


def framed(*chunks: bytes) -> list[bytes]:
    framer = Framer()
    frames = [frame for chunk in chunks for frame in framer.feed(chunk)]
    return [frame for frame in [*frames, *framer.end()] if frame]


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        (b"<34>a\n<35>b\n", [b"<34>a", b"<35>b"]),
        (b"<34>a\0<35>b\0", [b"<34>a", b"<35>b"]),
        (b"<34>a\n\n\0<35>b", [b"<34>a", b"<35>b"]),
        (b"5 <34>a6 <35>\nb", [b"<34>a", b"<35>\nb"]),
        (b"5 <34>a\n6 <35>bc\n", [b"<34>a", b"<35>bc"]),
        (
            b"<34>a\n5 <35>b<36>c\n7 <37>d\0e<38>f\0",
            [b"<34>a", b"<35>b", b"<36>c", b"<37>d\0e", b"<38>f"],
        ),
        (b"10 green bottles\n", [b"10 green bottles"]),
        (b"05 <34>a\n", [b"05 <34>a"]),
        (b"5 <34a>\n7  <34>\n8\t<34>x\n", [b"5 <34a>", b"7  <34>", b"8\t<34>x"]),
        (b"5 <1234>\n", [b"5 <1234>"]),
        (b"1234567890 <34>a\n", [b"1234567890 <34>a"]),
        (b"2024-02-29 lines without a priority\n", [b"2024-02-29 lines without a priority"]),
        (b"100 <34>never ends", [b"<34>never ends"]),
        (b"12", [b"12"]),
        (b"12 <3", [b"12 <3"]),
        (b"\x16\x03\x01\x02\x00\x01\n\xff\xfe", [b"\x16\x03\x01\x02", b"\x01", b"\xff\xfe"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [b"GET / HTTP/1.1\r", b"Host: a\r", b"\r"]),
        (b"", []),
    ],
    ids=range(18),
)
def test_a_stream_is_cut_into_messages_wherever_it_was_cut(stream, frames):
    assert framed(stream) == frames
    assert framed(*[stream[at : at + 1] for at in range(len(stream))]) == frames
    for at in range(len(stream)):
        assert framed(stream[:at], stream[at:]) == frames


messages = st.one_of(
    st.binary(max_size=12).map(lambda text: text + b"\n"),
    st.binary(max_size=12).map(lambda text: b"<34>" + text + b"\n"),
    st.binary(max_size=12).map(lambda text: b"%d <34>" % (len(text) + 4) + text),
    st.sampled_from([b"7 ", b"9", b"<1>", b" ", b"\0", b"123 <", b"2 <1>x"]),
)


@given(parts=st.lists(messages, max_size=12), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_any_chunks_give_the_same_messages(parts, cuts):
    stream = b"".join(parts)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert framed(*chunks) == framed(stream)


@given(bodies=st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.booleans()), max_size=12))
def test_messages_that_were_sent_are_those_that_come(bodies):
    """Counted ones hold anything; others anything but their end."""
    sent = [
        (b"<34>" + (body if counted else re.sub(rb"[\n\0]", b"", body)), counted)
        for body, counted in bodies
    ]
    stream = b"".join(
        b"%d %s" % (len(message), message) if counted else message + b"\n"
        for message, counted in sent
    )
    assert framed(stream) == [message for message, _ in sent]


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "endless"])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "to its end"])
def test_a_message_that_is_too_long_is_cut_and_the_next_one_is_whole(counted, ended):
    message = b"<34>" + b"x" * (LONGEST_LINE + 500_000)
    stream = (b"%d " % len(message) if counted else b"") + message + (b"" if counted else b"\n")
    framer = Framer()
    frames, most = [], 0
    stream = stream + b"<35>next\n" if ended else stream[:-1]
    for at in range(0, len(stream), 65_536):
        frames += framer.feed(stream[at : at + 65_536])
        most = max(most, framer.held)
    frames += framer.end()
    assert [len(frame) for frame in frames] == [LONGEST_LINE, 8][: 1 + ended]
    assert framer.cut == 1
    assert most <= LONGEST_LINE + 65_536


def test_a_message_of_a_million_bytes_is_whole():
    message = b"<34>" + b"x" * 999_996
    assert framed(message + b"\n", b"%d " % len(message) + message) == [message, message]


def test_line_breaks_inside_and_bytes_that_are_no_text_are_kept_to_see():
    counts = Counts()
    assert texts_of(
        [b"<1>a\nb\r\nc\r\n", b"\xffx\0y", "ü".encode(), b"\x1b[31mred\x1b[0m"], counts
    ) == [
        "<1>a#012b#012c",
        "\ufffdx\ufffdy",
        "ü",
        "red",
    ]
    assert counts.all == {"replaced": 2, "coloured_lines": 1}


def test_what_grows_too_long_is_cut():
    counts = Counts()
    [text] = texts_of([b"\n" * (LONGEST_LINE // 2) + b"x"], counts)
    assert (len(text), counts.all["cut_lines"]) == (LONGEST_LINE, 1)
