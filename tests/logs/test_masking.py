"""The masking rules, one by one and against what the paper's scripts make of real lines."""

import gzip

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.errors import RecipeError
from logllm.logs.masking import mask, rules
from logllm.logs.masks.mask_table import PAPER_RULES

PAPER = MaskSection()


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("nothing to see", "nothing to see"),
        ("", ""),
        ("wait... or ..... or ..", "wait..  or ..  or .."),
        ("True false untrue FALSE", "<*> <*> un<*> FALSE"),
        ("one Two seventeen oneself hundred", "<*> Two <*> oneself <*>"),
        ("Mon Monday mon Money", "<*> <*> mon Money"),
        ("Dec 10 06:55:46 x", "<*><*> x"),
        ("on Jan 1", "on Jan <*>"),
        ("March  3 in", "<*>in"),
        ("from 10.0.0.1:80, 1.2.3.4", "from <*>, <*>"),
        ("mac 00:1a:2B:3c:4d:5e!", "mac <*>!"),
        ("12: 00:11:22:33:44:55:66:77:88:99:aa:bb", "<*> <*>"),
        ("open /var/log/a.log now", "open <*> now"),
        ("see http://host/x?y=1, C:\\dir\\f [a/b]", "see <*> <*> [<*>]"),
        ("deadbeef DEADBEEF01 deadbee", "<*> <*> deadbee"),
        ("root@node-a user@host a@", "<*> <*> a@"),
        ("blk_-123 x1y:z.w_v 5ms -3", "<*> <*> <*> <*>"),
        ("size=42;", "size=<*>;"),
        ("\N{CYRILLIC SMALL LETTER A}1", "\N{CYRILLIC SMALL LETTER A}<*>"),
    ],
)
def test_the_paper_s_rules(message, masked):
    assert mask(pl.Series([message]), PAPER).item() == masked


def test_the_rules_are_thirteen_in_order():
    assert [rule.name for rule in rules(PAPER)] == [rule.name for rule in PAPER_RULES]
    assert len(PAPER_RULES) == 13


def test_rules_of_one_s_own_come_first_and_masking_can_be_off():
    own = ({"name": "user", "pattern": r"user=\S+"},)
    messages = pl.Series(["login user=a@b 7..."])
    assert mask(messages, MaskSection(own=own)).item() == "login <*> <*> "
    assert mask(messages, MaskSection(rules="off", own=own)).item() == "login <*> 7..."
    assert mask(messages, MaskSection(rules="off")).item() == "login user=a@b 7..."


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"mask rule x: '\(' is no regular expression: unclosed group$"),
        (
            "(?:a{1000}){1000}",
            "mask rule x: .* is no regular expression: Compiled regex exceeds size limit",
        ),
        ("a*", "matches an empty text"),
    ],
)
def test_bad_rules(pattern, message):
    with pytest.raises(RecipeError, match=message):
        rules(MaskSection(own=({"name": "x", "pattern": pattern},)))


@pytest.mark.parametrize("paper", ["paper", "off"])
def test_rules_that_cannot_be_used_together_are_named(paper):
    patterns = {
        "user": r"user=(?<value>\S+)",
        "host": r"host=(?<name>\S+)",
        "size": r"size=(?P<value>\d+)",
    }
    own = [{"name": name, "pattern": pattern} for name, pattern in patterns.items()]
    with pytest.raises(
        RecipeError,
        match=(
            "mask rules user and size cannot be used together: duplicate capture group name; .*"
            " different names"
        ),
    ):
        mask(pl.Series(["a"]), MaskSection(rules=paper, own=own))
    assert (
        mask(pl.Series(["user=a host=b"]), MaskSection(rules=paper, own=own[:2])).item()
        == "<*> <*>"
    )


def test_rules_that_are_too_much_together_are_named():
    own = [{"name": name, "pattern": f"{name}(?:[a-z]{{500}}){{60}}"} for name in "abcdef"]
    for rule in own:
        rules(MaskSection(own=[rule]))
    with pytest.raises(
        RecipeError,
        match="cannot be used together: Compiled regex exceeds size limit.*keep it short",
    ):
        rules(MaskSection(own=own))


def test_every_line_of_the_oracle(shared):
    lines = 0
    for masked in sorted((shared / "loghub_2k_masked").glob("*.gz")):
        raw = gzip.decompress(
            (shared / "loghub_2k" / masked.name.replace(".masked", ".log")).read_bytes()
        ).decode("latin-1")
        raw = [line.removesuffix("\r") for line in raw.removesuffix("\n").split("\n")]
        expected = gzip.decompress(masked.read_bytes()).decode().removesuffix("\n").split("\n")
        assert mask(pl.Series(raw), PAPER).to_list() == expected, masked.name
        lines += len(raw)
    assert lines == 32_000


CODES = MaskSection(keep="codes")


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("GET /p/0 -> 522", "GET <*> -> 522"),
        ('"POST /v1/a HTTP/1.1" 499 156 694', '"POST <*> <*> 499 <*> <*>'),
        ("status=500 size=512", "status=500 size=<*>"),
        (
            '{"EdgeResponseStatus": 522, "RayID": "87d"}',
            '{"EdgeResponseStatus": 522, "RayID": "<*>"}',
        ),
        ("http.status_code=404 path=/x", "http.status_code=404 path=<*>"),
        (
            "Completed 500 Internal Server Error in 12ms",
            "Completed 500 Internal Server Error in <*>",
        ),
        ("GET /users/1 404 12.331 ms - 152", "GET <*> 404 <*> ms - <*>"),
        ("[GIN] | 500 |  12.3ms | 10.0.0.1 |", "[GIN] | 500 |  <*> | <*> |"),
        ("upstream returned 503 for /x", "upstream returned 503 for <*>"),
        ("container 12ab exited with code 137", "container <*> exited with code 137"),
        ("Exited (137) 5 minutes ago", "Exited (137) <*> minutes ago"),
        ("api/srv1 0/0/1/-1/8 503 212 - - sH-- 9/9/0/0/0", "<*> <*> 503 <*> - - sH-- <*>"),
        ("0/0/-1/-1/2 -1 0 - - LR-- 1/1/0/0/0", "<*> -1 <*> - - LR-- <*>"),
        (
            "43 10.0.0.7 TCP_MISS/503 4110 GET - HIER_NONE/-",
            "<*> <*> TCP_MISS/503 <*> GET - HIER_<*>",
        ),
        ("GET /api id=7 443 - 500 0 64 187", "GET <*> id=<*> <*> - 500 <*> <*> <*>"),
        (
            "Main process exited, code=exited, status=203/EXEC",
            "Main process exited, code=exited, status=203/EXEC",
        ),
        ("killed by signal 9 after 3s", "killed by signal 9 after <*>"),
        ("OSError: [Errno 28] No space on /dev/sda1", "OSError: [Errno 28] No space on <*>"),
        ("ORA-01555: snapshot too old, query 17", "ORA-01555: snapshot too old, query <*>"),
        ("SQLSTATE 40001 after 3 tries", "SQLSTATE 40001 after <*> tries"),
        ("ERROR 1062 (23000): Duplicate entry '7'", "ERROR 1062 (<*>): Duplicate entry '<*>'"),
        ("usb 1-1: descriptor read, error -110", "usb <*> descriptor read, error -110"),
        ("error code: 0x80070005 at 0x7fff1234", "error code: 0x80070005 at <*>"),
        ("connect 10.0.0.1:80 code=ECONNREFUSED", "connect <*> code=ECONNREFUSED"),
        ("success=no exit=-13 pid=7", "success=no exit=-13 pid=<*>"),
        ("check 7 ok=false cached=true", "check <*> ok=false cached=<*>"),
        ('{"level":50,"n":7}', '{"level":50,"n"<*>}'),
        ("took 500 ms", "took <*> ms"),
        ("order 500 stored, returned 200 rows", "order <*> stored, returned <*> rows"),
        ("resized 120 -> 130", "resized <*> -> <*>"),
        ("GET /a?status=500 done", "GET <*> done"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_codes_are_kept(message, masked):
    assert mask(pl.Series([message]), CODES).item() == masked


def test_codes_are_kept_only_where_that_is_asked_for():
    messages = pl.Series(["status=500 in 3ms", "exit code 137"])
    assert mask(messages, PAPER).to_list() == ["status=<*> in <*>", "exit code <*>"]
    assert mask(messages, MaskSection(rules="off", keep="codes")).to_list() == messages.to_list()


def test_what_is_kept_may_be_said():
    zones = MaskSection(own_keep=({"name": "zone", "pattern": r"zone(-)\d+"},))
    assert (
        mask(pl.Series(["zone-3 is 12 % full, status=500"]), zones).item()
        == "zone-3 is <*> % full, status=<*>"
    )
    for pattern in ("(", "x*"):
        with pytest.raises(RecipeError, match="keep rule zone"):
            mask(pl.Series(["x"]), MaskSection(own_keep=({"name": "zone", "pattern": pattern},)))
