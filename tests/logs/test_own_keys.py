"""A record's own key makes no message another one, whatever letters it holds."""

import io
import json
import random
from datetime import date
from string import ascii_letters, ascii_lowercase, digits, hexdigits

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.config.sessions import SessionSection
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.formats.description import load_format
from logllm.logs.reader import Reader

PLAIN, JSON = load_format("plain"), load_format("json")
HEX = hexdigits[:16]
MESSAGES = (
    "request {}: GET took 12ms",
    'request "{}" done',
    "[worker] rid=({})",
    "req-{}. End",
    "rid={} is a part of {}-worker",
)
BEFORE = r"(?:request|rid|req)[-=(\" ]+"


def reader(described: FormatSection = PLAIN, mask: MaskSection | None = None, **key) -> Reader:
    sessions = SessionSection(by="key", **key)
    settings = PrepareSection(format=described, mask=mask or MaskSection(), sessions=sessions)
    return Reader(settings, today=date(2024, 3, 1))


def masked(lines, described=PLAIN, mask=None, **key) -> list[str]:
    """The messages of a log."""
    whole = reader(described, mask, **key).settings
    text = "\n".join(lines).encode()
    frames = Reader(whole, today=date(2024, 3, 1), stdin=io.BytesIO(text)).read(["-"])
    return pl.concat(list(frames))["message"].to_list()


def drawn(alphabet: str, length: int, *, letters: str) -> list[str]:
    """Ids: most as chance has it, some of letters alone."""
    draws = random.Random(0)
    ids = ["".join(draws.choices(alphabet, k=length)) for _ in range(40)]
    return ids + ["".join(draws.choices(letters, k=length)) for _ in range(20)]


IDS = {
    "hex": (drawn(HEX, 6, letters="abcdef"), "[0-9a-f]{6}"),
    "hex-any": (drawn(HEX, 6, letters="abcdef"), r"\w+"),
    "hex-8": (drawn(HEX, 8, letters="abcdef"), "[0-9a-f]{8}"),
    "hex-capital": (drawn(HEX.upper(), 5, letters="ABCDEF"), "[0-9A-F]+"),
    "base36": (drawn(digits + ascii_lowercase, 6, letters=ascii_lowercase), r"\w+"),
    "base62": (drawn(digits + ascii_letters, 11, letters=ascii_letters), r"\w{11}"),
    "base64": (["ab+cd/ef==", "a1bcde+f==", "/bcdefgh==", "abcdefg1=="], r"[\w+/=]+"),
    "words": (["brave-otter", "seven-calm-otter", "otter-4", "mon-sun-1", "dead-beef"], r"[\w-]+"),
    "words-hex": (["deadbeef-otter", "brave-otter", "true-otter", "falsey"], r"[\w-]+"),
    "ulid": (["01HV5Z7Q4E9GRX0Y8T2M3N4P5Q", "ABCDEFGHJKMNPQRSTVWXYZABCD"], "[0-9A-Z]{26}"),
    "uuid": (
        ["deadbeef-cafe-babe-face-feedfacecafe", "0f8fad5b-d9cb-469f-a165-70867728950e"],
        "[0-9a-f-]{36}",
    ),
}


@pytest.mark.parametrize("kind", IDS, ids=IDS)
def test_an_id_of_letters_is_masked_as_one_with_digits_is(kind) -> None:
    ids, pattern = IDS[kind]
    lines = [message.format(key, key) for message in MESSAGES for key in ids]
    kinds = set(masked(lines, key_pattern=f"{BEFORE}({pattern})"))
    assert len(kinds) == len(MESSAGES), kinds
    assert not any(key in message for message in kinds for key in ids)


@pytest.mark.parametrize(
    ("lines", "key", "expected"),
    [
        (
            ["kernel: kernel panic", "sshd: sshd[2] failed"],
            {"key_pattern": r"^(\w+):"},
            ["kernel: kernel panic", "sshd: sshd[<*>] failed"],
        ),
        (
            ["service=billing down", "user alice gone", "component facade-x"],
            {"key_pattern": r"(?:service|user|component)[= ]([\w-]+)"},
            ["service=billing down", "user alice gone", "component facade-x"],
        ),
        # Nothing names the place, but what can be nothing else than an id is one.
        (["<dffbcc> up", "<abcd> up"], {"key_pattern": r"<(\w+)>"}, ["<<*>> up", "<abcd> up"]),
        # Whole tokens alone, at any place of the message, and all keys of a line.
        (
            ["rid=bead rid=feed beads feed_1 no-bead", "rid=abc abcd dabc ABC abc"],
            {"key_pattern": "rid=([0-9a-f]+)"},
            ["rid=<*> rid=<*> beads <*> <*>", "rid=<*> abcd dabc ABC <*>"],
        ),
        (
            ["rid=brave-otter rid=otter otter", "ponder rid=der: der"],
            {"key_pattern": r"rid=([\w-]+)"},
            ["rid=<*> rid=<*> <*>", "ponder rid=<*> <*>"],
        ),
        # A key may follow its stem without a gap.
        (["conndffbcc up", "conn1ffbcc up"], {"key_pattern": "conn([0-9a-f]{6})"}, ["<*> up"] * 2),
        (["blk_abcd up", "blk_12 up"], {"key_pattern": "blk_[0-9a-f]+"}, ["<*> up"] * 2),
        # Another session's id says something, and so stays.
        (["rid=dffbcc after abefcd"], {"key_pattern": "rid=(.{6})"}, ["rid=<*> after abefcd"]),
    ],
    ids=["components", "names", "hex", "tokens", "longest", "stem", "whole", "other"],
)
def test_words_stay_and_whole_ids_go(lines, key, expected) -> None:
    assert masked(lines, **key) == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("request_id", "kqzvbn", "start of <*>"),
        ("X-Request-ID", "brave-otter", "start of <*>"),
        ("traceId", "feed", "start of <*>"),
        ("ctx", "dffbcc", "start of <*>"),
        ("component", "kernel", "start of kernel"),
        ("user_id", "alice", "start of alice"),
        ("service", "billing-api", "start of billing-api"),
    ],
)
def test_a_field_s_name_says_whether_it_holds_ids(field, value, expected) -> None:
    lines = [json.dumps({"message": f"start of {value}", field: value})]
    assert masked(lines, JSON, key_field=field) == [expected]
    several = [json.dumps({"message": f"start of {value}", field: ["x1", value]})]
    assert masked(several, JSON, key_field=field) == [expected]


def test_a_group_of_the_format_says_so_too() -> None:
    described = FormatSection(name="own", pattern="(?<job>[0-9a-f]{6}) (?<word>.) (?<message>.*)")
    assert masked(["dffbcc a up, dffbcc"], described, key_field="job") == ["up, <*>"]
    assert masked(["dffbcc a up, a"], described, key_field="word") == ["up, a"]


def test_a_record_of_several_lines_holds_its_key_in_all_of_them() -> None:
    traced = load_format("python")
    line = "2024-01-01 10:00:00,000 ERROR app: request {0} failed\nTraceback:\nKeyError: '{0}'"
    key = {"key_pattern": "request ([0-9a-f]{6})"}
    (letters,) = masked([line.format("dffbcc")], traced, **key)
    (digit,) = masked([line.format("dffbc1")], traced, **key)
    assert letters == digit
    assert "KeyError: '<*>'" in letters


def test_own_rules_and_codes_meet_an_id_of_the_usual_form() -> None:
    rule = {"name": "request", "pattern": "request [0-9a-f]{6}"}
    key = {"key_pattern": "request ([0-9a-f]+)"}
    assert masked(["request dffbcc: up"], mask=MaskSection(own=(rule,)), **key) == ["<*>: up"]
    coded = MaskSection(keep="codes")
    line = "request abc: code abc, exit code 137"
    assert masked([line], mask=coded, **key) == ["request <*> code <*>, exit code 137"]
    assert masked([line], mask=MaskSection(rules="off"), **key) == [line]


@pytest.mark.parametrize("at_once", [1, 3])
def test_lines_that_come_one_by_one_have_the_messages_of_the_log(at_once) -> None:
    ids = ["dffbcc", "1f2bcc", "decade"]
    lines = [message.format(key, key) for key in ids for message in MESSAGES]
    key = {"key_pattern": BEFORE + "([0-9a-f]{6})"}
    pushed = reader(**key).pushed("live")
    frame = pl.DataFrame({"line": range(1, len(lines) + 1), "text": lines})
    frame = frame.cast({"line": pl.UInt64})
    pieces = [pushed.push(piece) for piece in frame.iter_slices(at_once)]
    if (rest := pushed.rest()) is not None:
        pieces.append(rest)
    assert pl.concat(pieces)["message"].to_list() == masked(lines, **key)


def test_ids_of_letters_are_no_news_beside_a_good_log(tmp_path) -> None:
    draws = random.Random(0)
    ids = ["".join(draws.choices(HEX, k=6)) for _ in range(400)] + ["dffbcc", "faceda", "decade"]
    steps = ("GET /cart", "cache miss", "charged 12 EUR", "done")
    logs = {"good": ids[:200], "new": ids[200:]}
    for name, part in logs.items():
        text = "".join(f"request {key}: {step}\n" for key in part for step in steps)
        (tmp_path / name).write_text(text)
    by_request = {"by": "key", "key_pattern": "request ([0-9a-f]{6})"}
    overrides = {"format": {}, "sessions": by_request, "split": {}, "mask": {}}
    settings = choose("plain", recipe=None, overrides=overrides)
    judge = Detector.against([tmp_path / "good"], settings=settings)
    verdicts = list(judge.read([tmp_path / "new"]))
    assert len(verdicts) == len(ids[200:])
    assert [verdict.session for verdict in verdicts if verdict.anomalous] == []
