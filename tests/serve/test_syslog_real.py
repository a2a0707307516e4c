"""Syslog as programs send it: logger in all its forms, and rsyslog."""

import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from logllm.serve.sources.syslog import SyslogSource
from tests.serve.spooling import Stored, taken, texts

pytestmark = pytest.mark.real
LOCAL = "127.0.0.1"


@pytest.fixture
def source(tmp_path):
    source = SyslogSource("syslog://127.0.0.1:0", tmp_path / "spool")
    source.begin(Stored().claim)
    yield source
    source.close()


@pytest.mark.skipif(shutil.which("logger") is None, reason="no logger (util-linux) here")
@pytest.mark.parametrize("form", ["--rfc3164", "--rfc5424", "--rfc5424=notime,nohost"])
@pytest.mark.parametrize("way", [["-d"], ["-T"], ["-T", "--octet-count"]], ids=" ".join)
def test_every_form_of_logger(source, form, way, tmp_path):
    sent = tmp_path / "lines"
    lines = [f"{place} of ten, ü and 12 <3> x" for place in range(10)]
    sent.write_text("".join(f"{line}\n" for line in lines))
    command = [
        "logger",
        *way,
        form,
        "-n",
        LOCAL,
        "-P",
        str(source.port),
        "-t",
        "app",
        "-p",
        "user.info",
        "-f",
        sent,
    ]
    subprocess.run(command, check=True, timeout=20)
    got = texts(source, 10)
    for text, line in zip(got, lines, strict=True):
        assert text.startswith("<14>")
        assert text.endswith(line)
    assert not {"without_priority", "replaced", "cut_lines"} & source.counts.keys()


@pytest.mark.skipif(shutil.which("logger") is None, reason="no logger (util-linux) here")
@pytest.mark.parametrize("way", [["-T"], ["-T", "--octet-count"]], ids=" ".join)
def test_logger_sends_a_line_of_a_million_bytes(source, way, tmp_path):
    (tmp_path / "line").write_text("x" * 999_900 + "\n")
    command = [
        "logger",
        *way,
        "-n",
        LOCAL,
        "-P",
        str(source.port),
        "--size",
        "1000000",
        "-t",
        "app",
        "-f",
        tmp_path / "line",
    ]
    subprocess.run(command, check=True, timeout=20)
    assert "".join(texts(source, 1)).endswith("x" * 999_900)


RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imfile")
input(type="imfile" file="{folder}/app.log" tag="app:"
      startmsg.regex="^[0-9]" escapeLF.replacement="#012")
action(type="omfwd" target="127.0.0.1" port="{port}" {way}
       action.resumeRetryCount="-1" queue.type="linkedList")
"""
WAYS = {
    "5424 counted over TCP": (
        'protocol="tcp" tcp_framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"'
    ),
    "3164 in lines over TCP": 'protocol="tcp" template="RSYSLOG_TraditionalForwardFormat"',
    "full times in lines over TCP": 'protocol="tcp" template="RSYSLOG_ForwardFormat"',
    "5424 over UDP": 'protocol="udp" template="RSYSLOG_SyslogProtocol23Format"',
}


@contextmanager
def rsyslog(folder, *, port, way):
    """rsyslog with a configuration of its own that reads app.log and sends its records on."""
    (folder / "rsyslog.conf").write_text(RSYSLOG.format(folder=folder, port=port, way=way))
    command = ["rsyslogd", "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="no rsyslogd here")
@pytest.mark.parametrize("way", WAYS)
def test_what_rsyslog_sends_on(source, way, tmp_path):
    records = [
        f"{place} ü text" + ("\n  second\tline" if place % 10 == 3 else "") for place in range(500)
    ]
    (tmp_path / "app.log").write_text("".join(f"{record}\n" for record in records))
    with rsyslog(tmp_path, port=source.port, way=WAYS[way]):
        frame = taken(source, lines=499)  # the last record waits for the next one
    escaped = [record.replace("\n", "#012") for record in records]
    got = frame["text"].to_list()
    for text, record in zip(got, escaped, strict=False):
        assert text.startswith("<133>"), text
        assert text.endswith(record), (text, record)


@pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="no rsyslogd here")
def test_rsyslog_waits_while_the_source_is_away(tmp_path):
    """Over TCP rsyslog may lose what it had sent into the connection that broke: RFC 6587
    acknowledges nothing."""
    stored = Stored()
    source = SyslogSource("syslog://127.0.0.1:0", tmp_path / "spool")
    source.begin(stored.claim)
    port = source.port
    log = (tmp_path / "app.log").open("w")
    with log, rsyslog(tmp_path, port=port, way=WAYS["5424 counted over TCP"]):
        log.write("".join(f"{place} before\n" for place in range(101)))
        log.flush()
        before = taken(source, lines=100)
        stored.keep(source, {"syslog:0": before.height + 1})
        source.close()
        time.sleep(1)
        source = SyslogSource(f"syslog://127.0.0.1:{port}", tmp_path / "spool", name="0")
        source.begin(stored.claim)
        log.write("".join(f"{place} after\n" for place in range(101)))
        log.flush()
        after = taken(source, lines=100)
    assert after["line"][0] == 101
    assert after["text"][-1].endswith("99 after") or after.height > 100
    source.close()
