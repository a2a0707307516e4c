"""The built-in formats: for each some lines as its program writes them, what is read from them, and which other formats fit them too."""

import gzip
import io
import logging
import re
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from logllm.config.sessions import SessionSection
from logllm.formats.description import known, load_format
from logllm.logs.fields import read_fields
from logllm.logs.lines import Lines
from logllm.logs.records import Parser

TODAY = date(2024, 3, 1)
ALERTS = ("bgl", "thunderbird", "liberty", "spirit")  # with the json kinds in test_formats.py and below
LINES = {
    "access": """
10.0.0.7 - - [29/Feb/2024:13:55:36 +0100] "GET /a?b=[1] HTTP/1.1" 200 2326
::1 - ann [29/Feb/2024:13:55:37 -0730] "POST /\\"x\\" HTTP/2.0" 503 - "https://example.org/" "Mozilla/5.0 (X11) \\"q\\""
www.example.org:443 10.0.0.8 - - [29/Feb/2024:13:55:38 +0000] "-" 408 0 "-" "-"
""",
    "android": """
02-29 16:13:38.811  1702  2395 D WindowManager: surface shown
02-29 16:13:38.815   170 12395 E AndroidRuntime: FATAL EXCEPTION: main
""",
    "apache-error": """
[Thu Feb 29 04:47:44 2024] [error] [client 10.0.0.9] File does not exist: /var/www/html/a
[Thu Feb 29 04:47:44.250000 2024] [core:error] [pid 35708:tid 4328636416] [client 10.0.0.9:80] AH00037: Symbolic link not allowed
[Sat Mar  2 04:47:44 2024] [notice] caught SIGTERM, shutting down
""",
    "cri": """
2024-02-29T00:17:09.669794202Z stdout F {"level":"info"}
2024-02-29T01:17:09.669794202+01:00 stderr P panic: no
""",
    "hadoop": """
2024-02-29 18:01:47,978 INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: Created MRAppMaster
2024-02-29 18:01:48,001 WARN org.apache.hadoop.hdfs.server.datanode.DataNode: Slow flush: took 900ms
2024-02-29 18:01:48,002 INFO [Socket Reader #1 for port 62] SecurityLogger.org.apache.hadoop.ipc.Server: Auth successful for job_1
""",
    "hdfs": """
240229 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block blk_-16 src: /10.0.0.1:54106
240229 203519 145 WARN dfs.FSNamesystem: BLOCK* ask 10.0.0.1 to replicate blk_1
""",
    "healthapp": """
20240229-22:15:29:606|Step_LSC|30002312|onStandStepChanged 3579
20240229-1:2:5:7|Step_SPUtils|30002312| getTodayTotalDetailSteps = 5
""",
    "hpc": """
134681 node-246 unix.hw state_change.unavailable 1709164800 1 Component alt0 is in the unavailable state
20 full partition status 1709164801 -1 running
""",
    "klog": """
I0229 10:48:46.123456    1234 controller.go:123] syncing pod default/web-1
E0229 10:48:46.223456       7 reflector.go:9] watch of *v1.Pod ended: too old
""",
    "log4j": """
2024-02-29 20:52:39 DEBUG HelloExample:200 - This is debug
2024-02-29 20:52:39,123 INFO  [http-8080-2] com.example.Shop: order 7 placed
2024-02-29T20:52:39.123Z [WARN ] com.example.Shop - low on stock
""",
    "logback": """
2024-02-29 16:06:09.031 [main] DEBUG com.example.MyApp1 - Did it again
2024-02-29 16:06:09,032 [pool-1-thread-2] ERROR c.e.Shop$Cart - no such order: 7
""",
    "logback-clock": """
16:06:09.031 [main] DEBUG com.example.MyApp1 - Did it again
16:06:09.032 [pool-1-thread-2] WARN  c.e.Shop - slow
""",
    "nginx-error": """
2024/02/29 10:48:46 [error] 1234#5678: *91 open() "/a" failed (2: No such file or directory), client: 10.0.0.1, request: "GET /a HTTP/1.1"
2024/02/29 10:48:47 [notice] 1#1: using the "epoll" event method
""",
    "openssh": """
Feb 29 06:55:46 gate sshd[24200]: Invalid user webmaster from 10.0.0.9
Mar  1 06:55:48 gate sshd-session[24203]: Failed password for root from 10.0.0.9 port 38926 ssh2
""",
    "openstack": """
nova-api.log.1.2024-02-29_13:53:08 2024-02-29 00:00:00.008 25746 INFO nova.wsgi [req-38101a0b-20 113d - - -] 10.0.0.1 "GET /v2 HTTP/1.1" status: 200
2024-02-29 00:00:00.010 2931 WARNING nova.compute.manager [-] While synchronizing instance power states, found 1
""",
    "postgresql": """
2024-02-29 10:48:46.123 UTC [1234] LOG:  database system is ready to accept connections
2024-02-29 11:48:46.123 CET [1240] shop@orders ERROR:  duplicate key value violates unique constraint "a"
2024-02-29 11:48:46 +01 [1240] shop@orders DETAIL:  Key (id)=(7) already exists.
2024-02-29 11:48:46.123 CET [1241] [unknown]@[unknown] ANWEISUNG:\x20\x20
""",
    "proxifier": """
[02.29 16:49:06] chrome.exe - proxy.example.org:5070 open through proxy proxy.example.org:5070 HTTPS
[02.29 16:49:08] chrome.exe *64 - www.example.org:443 close, 0 bytes sent, 0 bytes received, lifetime 00:01
""",
    "python": """
2024-02-29 10:48:46,123 - shop.cart - WARNING - low on stock
2024-02-29 10:48:46,124 - __main__ - INFO - done
2024-02-29 10:48:46 - INFO - over - and out
""",
    "python-basic": """
WARNING:root:low on stock
ERROR:shop.cart:no such order: 7
""",
    "rfc5424": """
<34>1 2024-02-29T22:14:15.003Z gate su - ID47 - 'su root' failed for ann
<165>1 2024-02-29T22:14:15.000003-07:00 10.0.0.1 app 8710 - [a@32473 iut="3" t="\\"x]\\""][b c="d"] An application event
1 - gate app 7 ID1 - \ufeffno time
""",
    "spark": """
24/02/29 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered signal handlers for [TERM, HUP, INT]
24/02/29 20:10:41 ERROR storage.BlockManager: Failed to report rdd_2_4
""",
    "spring-boot": """
2024-02-29 10:57:51.112  INFO 45469 --- [           main] org.apache.catalina.core.StandardEngine  : Starting Servlet Engine
2024-02-29T10:57:51.253+01:00  WARN 45469 --- [shop] [ost-startStop-1] [0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331] c.e.Shop : slow
""",
    "syslog": """
Feb 29 06:06:01 gate sshd(pam_unix)[19939]: authentication failure; uid=0
<34>Feb  9 22:14:15 gate su: 'su root' failed
Mar  1 09:01:05 mac com.apple.xpc.launchd[1] (com.apple.imfound[7]) <Notice>: Service exited
Mar  1 09:01:05 mac --- last message repeated 1 time ---
""",
    "syslog-iso": """
2024-02-29T04:05:06.789+01:00 gate app[7]: started
<6>2024-02-29T04:05:06+0000 gate kernel: usb 1-1: new device
""",
    "timed": """
2024-02-29 10:48:46 something happened
[2024-02-29T10:48:46.5Z] GET /a
2024-02-29 10:48:46,5: now
2024/02/29 10:48:46.000250 main.go:7: listening
[2024-02-29T10:48:46,123][WARN ][o.e.n.Node] [n1] full
29-Feb-2024 10:48:46.123 INFO [main] started
[29/Feb/2024:10:48:46] stopped
 9 Feb 2024 10:48:46.123 * Ready
Fri Feb  9 10:48:46 2024 : Info: listening
1709203726.125    120 10.0.0.1 TCP_MISS/200
""",
    "windows": """
2024-02-29 04:30:30, Info                  CBS    Loaded Servicing Stack v6.1 with Core: C:\\Windows\\cbscore.dll
2024-02-29 04:30:31, Error                 CSI    00000001@2024/2/29 failed
""",
    "zookeeper": """
2024-02-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181:FastLeaderElection@774] - Notification time out: 3200
2024-02-29 17:41:44,748 - WARN  [ProcessThread(sid:3 cport:-1)::PrepRequestProcessor@476] - Processed session termination
2024-02-29 17:41:44,749 [myid:2] - ERROR [main:QuorumPeerMain@89] - Unexpected exception
""",
}
FOUND = {
    "access": [
        ("2024-02-29T12:55:36+00:00", '"GET /a?b=[1] HTTP/1.1" 200 2326'),
        ("2024-02-29T21:25:37+00:00", '"POST /\\"x\\" HTTP/2.0" 503 -'),
        ("2024-02-29T13:55:38+00:00", '"-" 408 0'),
    ],
    "android": [("2024-02-29T16:13:38.811000+00:00", "surface shown"), ("2024-02-29T16:13:38.815000+00:00", "FATAL EXCEPTION: main")],
    "apache-error": [
        ("2024-02-29T04:47:44+00:00", "[client 10.0.0.9] File does not exist: /var/www/html/a"),
        ("2024-02-29T04:47:44.250000+00:00", "[client 10.0.0.9:80] AH00037: Symbolic link not allowed"),
        ("2024-03-02T04:47:44+00:00", "caught SIGTERM, shutting down"),
    ],
    "cri": [("2024-02-29T00:17:09.669794+00:00", '{"level":"info"}'), ("2024-02-29T00:17:09.669794+00:00", "panic: no")],
    "hadoop": [
        ("2024-02-29T18:01:47.978000+00:00", "Created MRAppMaster"),
        ("2024-02-29T18:01:48.001000+00:00", "Slow flush: took 900ms"),
        ("2024-02-29T18:01:48.002000+00:00", "Auth successful for job_1"),
    ],
    "hdfs": [
        ("2024-02-29T20:35:18+00:00", "Receiving block blk_-16 src: /10.0.0.1:54106"),
        ("2024-02-29T20:35:19+00:00", "BLOCK* ask 10.0.0.1 to replicate blk_1"),
    ],
    "healthapp": [
        ("2024-02-29T22:15:29.606000+00:00", "onStandStepChanged 3579"),
        ("2024-02-29T01:02:05.007000+00:00", "getTodayTotalDetailSteps = 5"),
    ],
    "hpc": [("2024-02-29T00:00:00+00:00", "Component alt0 is in the unavailable state"), ("2024-02-29T00:00:01+00:00", "running")],
    "klog": [
        ("2024-02-29T10:48:46.123456+00:00", "syncing pod default/web-1"),
        ("2024-02-29T10:48:46.223456+00:00", "watch of *v1.Pod ended: too old"),
    ],
    "log4j": [
        ("2024-02-29T20:52:39+00:00", "This is debug"),
        ("2024-02-29T20:52:39.123000+00:00", "order 7 placed"),
        ("2024-02-29T20:52:39.123000+00:00", "low on stock"),
    ],
    "logback": [("2024-02-29T16:06:09.031000+00:00", "Did it again"), ("2024-02-29T16:06:09.032000+00:00", "no such order: 7")],
    "logback-clock": [(None, "Did it again"), (None, "slow")],
    "nginx-error": [
        ("2024-02-29T10:48:46+00:00", 'open() "/a" failed (2: No such file or directory), client: 10.0.0.1, request: "GET /a HTTP/1.1"'),
        ("2024-02-29T10:48:47+00:00", 'using the "epoll" event method'),
    ],
    "openssh": [
        ("2024-02-29T06:55:46+00:00", "Invalid user webmaster from 10.0.0.9"),
        ("2024-03-01T06:55:48+00:00", "Failed password for root from 10.0.0.9 port 38926 ssh2"),
    ],
    "openstack": [
        ("2024-02-29T00:00:00.008000+00:00", '10.0.0.1 "GET /v2 HTTP/1.1" status: 200'),
        ("2024-02-29T00:00:00.010000+00:00", "While synchronizing instance power states, found 1"),
    ],
    "postgresql": [
        ("2024-02-29T10:48:46.123000+00:00", "LOG:  database system is ready to accept connections"),
        ("2024-02-29T10:48:46.123000+00:00", 'ERROR:  duplicate key value violates unique constraint "a"'),
        ("2024-02-29T10:48:46+00:00", "DETAIL:  Key (id)=(7) already exists."),
        ("2024-02-29T10:48:46.123000+00:00", "ANWEISUNG:"),
    ],
    "proxifier": [
        ("2024-02-29T16:49:06+00:00", "proxy.example.org:5070 open through proxy proxy.example.org:5070 HTTPS"),
        ("2024-02-29T16:49:08+00:00", "www.example.org:443 close, 0 bytes sent, 0 bytes received, lifetime 00:01"),
    ],
    "python": [
        ("2024-02-29T10:48:46.123000+00:00", "low on stock"),
        ("2024-02-29T10:48:46.124000+00:00", "done"),
        ("2024-02-29T10:48:46+00:00", "over - and out"),
    ],
    "python-basic": [(None, "low on stock"), (None, "no such order: 7")],
    "rfc5424": [
        ("2024-02-29T22:14:15.003000+00:00", "'su root' failed for ann"),
        ("2024-03-01T05:14:15.000003+00:00", "An application event"),
        (None, "no time"),
    ],
    "spark": [
        ("2024-02-29T20:10:40+00:00", "Registered signal handlers for [TERM, HUP, INT]"),
        ("2024-02-29T20:10:41+00:00", "Failed to report rdd_2_4"),
    ],
    "spring-boot": [("2024-02-29T10:57:51.112000+00:00", "Starting Servlet Engine"), ("2024-02-29T09:57:51.253000+00:00", "slow")],
    "syslog": [
        ("2024-02-29T06:06:01+00:00", "authentication failure; uid=0"),
        ("2024-02-09T22:14:15+00:00", "'su root' failed"),
        ("2024-03-01T09:01:05+00:00", "Service exited"),
        ("2024-03-01T09:01:05+00:00", "--- last message repeated 1 time ---"),
    ],
    "syslog-iso": [("2024-02-29T03:05:06.789000+00:00", "started"), ("2024-02-29T04:05:06+00:00", "usb 1-1: new device")],
    "timed": [
        ("2024-02-29T10:48:46+00:00", "something happened"),
        ("2024-02-29T10:48:46.500000+00:00", "GET /a"),
        ("2024-02-29T10:48:46.500000+00:00", "now"),
        ("2024-02-29T10:48:46.000250+00:00", "main.go:7: listening"),
        ("2024-02-29T10:48:46.123000+00:00", "[WARN ][o.e.n.Node] [n1] full"),
        ("2024-02-29T10:48:46.123000+00:00", "INFO [main] started"),
        ("2024-02-29T10:48:46+00:00", "stopped"),
        ("2024-02-09T10:48:46.123000+00:00", "* Ready"),
        ("2024-02-09T10:48:46+00:00", ": Info: listening"),
        ("2024-02-29T10:48:46.125000+00:00", "120 10.0.0.1 TCP_MISS/200"),
    ],
    "windows": [
        ("2024-02-29T04:30:30+00:00", "Loaded Servicing Stack v6.1 with Core: C:\\Windows\\cbscore.dll"),
        ("2024-02-29T04:30:31+00:00", "00000001@2024/2/29 failed"),
    ],
    "zookeeper": [
        ("2024-02-29T17:41:44.747000+00:00", "Notification time out: 3200"),
        ("2024-02-29T17:41:44.748000+00:00", "Processed session termination"),
        ("2024-02-29T17:41:44.749000+00:00", "Unexpected exception"),
    ],
}
WIDER = {"hadoop": {"log4j"}, "openssh": {"syslog"}, "thunderbird": {"liberty", "spirit"}}  # formats that fit such lines, too
WIDEST = {"plain", "timed"}
SAMPLES = {  # the format of each of Loghub's systems, and its times once more: which words of a line they are, as Python's datetime reads them
    "Android": ("android", slice(0, 2), "%m-%d %H:%M:%S.%f"),
    "Apache": ("apache-error", slice(0, 5), "[%a %b %d %H:%M:%S %Y]"),
    "BGL": ("bgl", 1, None),
    "HDFS": ("hdfs", slice(0, 2), "%y%m%d %H%M%S"),
    "HPC": ("hpc", -1, None),
    "Hadoop": ("hadoop", slice(0, 2), "%Y-%m-%d %H:%M:%S,%f"),
    "HealthApp": ("healthapp", 0, "%Y%m%d-%H:%M:%S:%f"),
    "Linux": ("syslog", slice(0, 3), "%b %d %H:%M:%S"),
    "Mac": ("syslog", slice(0, 3), "%b %d %H:%M:%S"),
    "OpenSSH": ("openssh", slice(0, 3), "%b %d %H:%M:%S"),
    "OpenStack": ("openstack", slice(1, 3), "%Y-%m-%d %H:%M:%S.%f"),
    "Proxifier": ("proxifier", slice(0, 2), "[%m.%d %H:%M:%S]"),
    "Spark": ("spark", slice(0, 2), "%y/%m/%d %H:%M:%S"),
    "Thunderbird": ("thunderbird", 1, None),
    "Windows": ("windows", slice(0, 2), "%Y-%m-%d %H:%M:%S,"),
    "Zookeeper": ("zookeeper", slice(0, 2), "%Y-%m-%d %H:%M:%S,%f"),
}


def parse(name, lines, *, field=None, today=TODAY):
    sessions = SessionSection(by="key", key_field=field) if field else SessionSection()
    frame = pl.DataFrame({"line": range(1, len(lines) + 1), "text": lines}, schema={"line": pl.UInt64, "text": pl.String})
    return Parser(load_format(name), sessions=sessions, today=today).parse(Lines(frame, "-", 0, 0, 0, 0))


def block(name):
    return LINES[name].strip("\n").split("\n")


def test_every_format_with_a_pattern_has_its_lines():
    patterns = {name for name in known() if load_format(name).kind == "pattern"} - set(ALERTS)
    assert patterns == set(LINES) == set(FOUND)


@pytest.mark.parametrize("name", LINES)
def test_what_is_read(name):
    records, rejects = parse(name, block(name))
    assert rejects["text"].to_list() == []
    assert [(time and time.isoformat(), message) for time, message in records.select("time", "message").rows()] == FOUND[name]


@pytest.mark.parametrize("name", LINES)
def test_no_format_fits_another_one_s_lines(name):
    text = pl.Series("text", block(name))
    others = [load_format(other) for other in known() if other not in {name, *WIDEST}]
    fitting = {other.name for other in others if read_fields(text, other).message.is_not_null().any()}
    assert fitting == WIDER.get(name, set())


@pytest.mark.parametrize(
    ("name", "field", "keys"),
    [
        ("access", "client", ["10.0.0.7", "::1", "10.0.0.8"]),
        ("access", "host", [None, None, "www.example.org:443"]),
        ("android", "thread", ["2395", "12395"]),
        ("apache-error", "component", [None, "core", None]),
        ("apache-error", "pid", [None, "35708", None]),
        ("hadoop", "thread", ["main", None, "Socket Reader #1 for port 62"]),
        ("healthapp", "component", ["Step_LSC", "Step_SPUtils"]),
        ("log4j", "thread", [None, "http-8080-2", None]),
        ("log4j", "component", ["HelloExample:200", "com.example.Shop", "com.example.Shop"]),
        ("nginx-error", "connection", ["91", None]),
        ("openssh", "pid", ["24200", "24203"]),
        ("openstack", "request", ["req-38101a0b-20", None]),
        ("postgresql", "pid", ["1234", "1240", "1240", "1241"]),
        ("postgresql", "database", [None, "orders", "orders", "[unknown]"]),
        ("rfc5424", "program", ["su", "app", "app"]),
        ("spring-boot", "trace", [None, "0af7651916cd43dd8448eb211c80319c"]),
        ("spring-boot", "thread", ["main", "ost-startStop-1"]),
        ("syslog", "pid", ["19939", None, "1", None]),
        ("syslog-iso", "pid", ["7", None]),
        ("zookeeper", "component", ["FastLeaderElection@774", "PrepRequestProcessor@476", "QuorumPeerMain@89"]),
    ],
)
def test_fields_that_may_be_keys(name, field, keys):
    records, _ = parse(name, block(name), field=field)
    assert [found[0] if found else None for found in records["keys"].to_list()] == keys


@pytest.mark.parametrize(
    ("name", "line", "time", "message"),
    [
        ("docker", '{"log":"GET /a 200\\n","stream":"stdout","time":"2024-02-29T10:48:46.123456789Z"}', "10:48:46.123456", "GET /a 200"),
        ("journal", '{"MESSAGE":"Started cron.","_PID":"7","__REALTIME_TIMESTAMP":"1709203726123456"}', "10:48:46.123456", "Started cron."),
    ],
)
def test_formats_of_json_lines(name, line, time, message):
    records, rejects = parse(name, [line, '{"message": "up", "time": "2024-02-29T10:48:46Z"}', "text"])
    assert records.select("time", "message").rows()[0][1] == message
    assert records["time"][0].isoformat() == f"2024-02-29T{time}+00:00"
    assert rejects["line"].to_list() == [2, 3]


@pytest.mark.parametrize(
    ("name", "form"), [("python", "%(asctime)s - %(name)s - %(levelname)s - %(message)s"), ("python-basic", logging.BASIC_FORMAT)]
)
def test_what_python_writes(name, form):
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter(form))
    logger = logging.Logger("shop.cart")
    logger.addHandler(handler)
    logger.warning("low on %s", "stock")
    try:
        raise ValueError("no such order")
    except ValueError:
        logger.exception("failed")
    records, rejects = parse(name, written.getvalue().splitlines())
    assert records["message"].to_list() == ["low on stock", "failed"]
    assert rejects["text"].to_list()[0] == "Traceback (most recent call last):"
    assert rejects["text"].str.contains(load_format(name).continuation).all()


@pytest.mark.parametrize("name", ["hadoop", "log4j", "logback", "postgresql", "python", "spark", "spring-boot", "zookeeper"])
def test_lines_that_go_on_are_no_records_of_their_own(name):
    described = load_format(name)
    more = ["\tat com.example.Shop.main(Shop.java:7)"]
    if name != "postgresql":
        more += ["java.lang.IllegalStateException: no", "Caused by: java.io.IOException: disk full", "  ... 12 more", ""]
    _, rejects = parse(name, more)
    assert rejects.height == len(more)
    assert pl.Series(more).str.contains(f"^(?:{described.continuation})$").all()


@pytest.mark.parametrize("system", SAMPLES)
def test_loghub_s_samples(system, shared):
    name, words, form = SAMPLES[system]
    text = gzip.decompress((shared / "loghub_2k" / f"{system}_2k.log.gz").read_bytes()).decode("latin-1")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    records, rejects = parse(name, lines)
    assert rejects.height <= len(lines) // 100
    assert records["time"].to_list() == [at(lines[line - 1], words, form) for line in records["line"]]
    text = pl.Series("text", lines)
    others = [load_format(other) for other in known() if other not in {name, *WIDEST}]
    assert {other.name for other in others if read_fields(text, other).message.is_not_null().any()} == WIDER.get(name, set())


def at(line, words, form):
    """The time in a line, read without Polars."""
    if words == -1:  # the state before it may be several words
        return datetime.fromtimestamp(int(re.search(r" (\d{9,10}) -?\d+ ", line)[1]), UTC)
    if form is None:
        return datetime.fromtimestamp(int(line.split()[words]), UTC)
    if form.endswith(":%f"):  # milliseconds without leading zeros
        clock, _, milliseconds = line.partition("|")[0].rpartition(":")
        return datetime.strptime(clock, form[:-3]).replace(tzinfo=UTC, microsecond=1000 * int(milliseconds))
    written = " ".join(line.split()[words])
    if "%y" in form.lower():
        return datetime.strptime(written, form).replace(tzinfo=UTC)
    found = datetime.strptime(f"{TODAY.year} {written}", f"%Y {form}").replace(tzinfo=UTC)
    return found if found.date() <= TODAY + timedelta(days=1) else found.replace(year=TODAY.year - 1)
