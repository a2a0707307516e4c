"""Stack traces: what is read of them, in the languages that write them."""

import io
import json
from datetime import date
from itertools import takewhile

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.formats.description import load_format
from logllm.logs.inside.traces import called
from logllm.logs.masks.short_traces import with_short_traces
from logllm.logs.reader import Reader

PYTHON = """request failed
Traceback (most recent call last):
File "/app/.venv/lib/python3.12/site-packages/flask/app.py", line 1511, in wsgi_app
response = self.full_dispatch_request()
^^^^^^^^^^^^^^^^^^^^^^^^^^^^
File "/app/.venv/lib/python3.12/site-packages/flask/app.py", line 919, in full_dispatch_request
rv = self.handle_user_exception(e)
^^^^^^^^
File "/app/shop/views.py", line 12, in order
return load(order)
~~~~^^^^^^
File "/app/.venv/lib/python3.12/site-packages/lib/core.py", line 9, in run
raise self.mapping[code]
"""
ENDS = {
    "missing": (
        "werkzeug.exceptions.NotFound: 404 Not Found: The requested URL was not found on the"
        " server."
    ),
    "exhausted": (
        "sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached, connection"
        " timed out"
    ),
}
TRACES = {
    "python": (
        PYTHON + ENDS["exhausted"],
        "request failed\nTraceback (most recent call last):\n"
        'File "/app/shop/views.py", line 12, in order\nreturn load(order)\n' + ENDS["exhausted"],
    ),
    "python without sources": (
        (
            'failed\nFile "<frozen importlib._bootstrap>", line 1, in _load\nModuleNotFoundError:'
            " No module named 'shop'"
        ),
        (
            'failed\nFile "<frozen importlib._bootstrap>", line 1, in _load\nModuleNotFoundError:'
            " No module named 'shop'"
        ),
    ),
    "java": (
        (
            "order 0 failed\norg.x.DataException: no connection\nat"
            " org.springframework.jdbc.Y.z(Y.java:3)\nat c.shop.Orders.store(Orders.java:41)\nat"
            " c.shop.Api.put(Api.java:7)\n... 24 common frames omitted\nCaused by:"
            " java.sql.SQLException: pool is empty\nat com.zaxxer.hikari.Pool.get(Pool.java:6)\nat"
            " com.zaxxer.hikari.Pool.take(Pool.java:9)"
        ),
        (
            "order 0 failed\norg.x.DataException: no connection\nat"
            " c.shop.Orders.store(Orders.java:41)\nCaused by: java.sql.SQLException: pool is"
            " empty\nat com.zaxxer.hikari.Pool.get(Pool.java:6)"
        ),
    ),
    "node": (
        (
            "Error: connect ECONNREFUSED 10.0.0.1:5432\nat TCPConnectWrap.afterConnect [as"
            " oncomplete] (node:net:1555:16)\nat async Orders.load (/app/src/orders.js:12:5)\nat"
            " async /app/src/server.js:40:3"
        ),
        "Error: connect ECONNREFUSED 10.0.0.1:5432\nat async Orders.load (/app/src/orders.js:12:5)",
    ),
    "go": (
        (
            "panic: runtime error: index out of range\ngoroutine 1"
            " [running]:\nruntime.gopanic({0x4a, 0x5b})\n/usr/local/go/src/runtime/panic.go:770"
            " +0x132\nmain.handler(0xc000012345)\n/app/main.go:12"
            " +0x1d\nmain.main()\n/app/main.go:5 +0x1"
        ),
        "panic: runtime error: index out of range\nmain.handler(0xc000012345)",
    ),
    "ruby": (
        (
            "NoMethodError (undefined method `total' for"
            " nil):\n/usr/lib/ruby/gems/3.2.0/gems/rack-2/rack.rb:1:in"
            " `call'\napp/models/order.rb:12:in `total'\nfrom"
            " app/controllers/orders_controller.rb:5:in `show'"
        ),
        "NoMethodError (undefined method `total' for nil):\napp/models/order.rb:12:in `total'",
    ),
    "php": (
        (
            "Uncaught PDOException: refused in /app/Db.php:7\nStack trace:\n#0 /app/Db.php(7):"
            " PDO->__construct()\n#1 {main}\nthrown in /app/Db.php on line 7"
        ),
        (
            "Uncaught PDOException: refused in /app/Db.php:7\nStack trace:\n#0 /app/Db.php(7):"
            " PDO->__construct()"
        ),
    ),
    ".net": (
        (
            "System.Exception: no rows\n---> Npgsql.NpgsqlException: timeout\nat"
            " Npgsql.Connector.Connect(Timeout timeout) in /src/x.cs:line 5\n--- End of inner"
            " exception stack trace ---\nat Shop.Orders.Load(Int32 id) in /src/Orders.cs:line 42"
        ),
        (
            "System.Exception: no rows\n---> Npgsql.NpgsqlException: timeout\nat"
            " Npgsql.Connector.Connect(Timeout timeout) in /src/x.cs:line 5"
        ),
    ),
    "a statement": (
        "STATEMENT: select *\nfrom orders\nwhere at = 1",
        "STATEMENT: select *\nfrom orders\nwhere at = 1",
    ),
    "one line": ('at a.b(C.java:1) File "x", line 1', 'at a.b(C.java:1) File "x", line 1'),
}


@pytest.mark.parametrize(("trace", "short"), TRACES.values(), ids=TRACES)
def test_a_trace_keeps_its_exceptions_and_the_innermost_calls(trace, short):
    assert with_short_traces(pl.Series([trace, "up", trace])).to_list() == [short, "up", short]


def read(lines, described, **mask):
    section = PrepareSection(format=described, mask=MaskSection(keep="codes", **mask))
    reader = Reader(section, today=date(2024, 3, 1), stdin=io.BytesIO("\n".join(lines).encode()))
    return pl.concat(list(reader.read(["-"])))["message"].to_list(), reader.tally.counts


@pytest.mark.parametrize("kind", ["lines", "json"])
def test_two_faults_under_the_same_calls_are_told_apart_by_what_is_read(kind):
    """The encoder reads 100 tokens; what tells the faults apart is within 150 characters of the
    beginning."""
    if kind == "lines":
        texts = [
            f"2024-02-29 23:50:00,000 - shop - ERROR - {PYTHON}{end}".split("\n")
            for end in ENDS.values()
        ]
        lines, described = [line for text in texts for line in text], load_format("python")
    else:
        lines, described = (
            [json.dumps({"message": PYTHON + end}) for end in ENDS.values()],
            FormatSection(name="own", kind="json"),
        )
    (whole, other), counts = read(lines, described)
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(whole, other, strict=False))))
    assert "shortened_traces" not in counts
    (short, another), counts = read(lines, described, traces="short")
    assert counts["shortened_traces"] == 2
    begun = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(short, another, strict=False))))
    assert begun < 150 < 300 < same
    assert (short.rpartition("\n")[2][:30], another.rpartition("\n")[2][:30]) == (
        ENDS["missing"][:30],
        ENDS["exhausted"][:30],
    )


def test_settings_of_before_leave_traces_whole():
    assert MaskSection.read({"rules": "paper"}, source="run").traces == "whole"


CHAINED = """ERROR order 7 failed: Traceback (most recent call last):
  File "shop.py", line 7, in save
    write(rows)
    ~~~~~^^^^^^
OSError: [Errno 122] Disk quota exceeded

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "shop.py", line 9, in order
    raise Lost from error
shop.errors.Lost: order 7
  of ann
"""
TRACE = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        pytest.param("ERROR down", "ERROR down", id="one line"),
        pytest.param("ERROR lost\n" + TRACE + "KeyError: 7", "ERROR lost", id="says it itself"),
        pytest.param(CHAINED, "shop.errors.Lost: order 7", id="chain of exceptions"),
        pytest.param(
            TRACE + "  File\n    raise\nKeyboardInterrupt", "KeyboardInterrupt", id="bare"
        ),
        pytest.param(
            TRACE + 'File "a.py", line 1, in f\nraise\nValueError: no',
            "ValueError: no",
            id="stripped",
        ),
        pytest.param(TRACE + "  File", TRACE.strip(), id="cut off before its exception"),
        pytest.param(
            "thread 'main' panicked at src/main.rs:2:5:\nindex 9\nnote", "index 9", id="Rust"
        ),
    ],
)
def test_what_a_record_is_called(text, title) -> None:
    assert called(pl.Series([text]), pl.Series([""])).to_list() == [title]


def test_the_message_tells_the_exception_of_a_line_that_was_read_alone() -> None:
    texts = pl.Series(["12:00 " + TRACE.strip(), "12:01 up"])
    messages = pl.Series([TRACE + "KeyError: <*>", "up"])
    assert called(texts, messages).to_list() == ["KeyError: <*>", "12:01 up"]
