"""How a topic is named, and the settings with which librdkafka reads it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from logllm.errors import ServeError, nearest

PORT = 9092
"""The port of a server that is named without one."""
GROUP = "logllm"
"""The consumer group, where none is named."""

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@\s]+)(?::(?P<port>\d{1,5}))?")
_PARAMETERS = ("group",)
_OURS = {
    "bootstrap.servers": "the address names the servers",
    "enable.auto.commit": "places are committed after the store has them",
    "enable.auto.offset.store": "places are committed after the store has them",
    "auto.offset.reset": "--from says where a partition begins",
    "partition.assignment.strategy": "partitions move from process to process one by one",
    "group.protocol": "partitions move from process to process one by one",
}
"""Settings that nobody else may give: what is promised hangs on them, and why."""
_DEFAULTS: dict[str, Any] = {
    "client.id": "logllm",
    "queued.min.messages": 10_000,  # of a partition, read ahead; librdkafka's own is 100,000
    "queued.max.messages.kbytes": 16_384,
    "fetch.message.max.bytes": 1 << 20,
    "fetch.error.backoff.ms": 100,
    "session.timeout.ms": 45_000,  # librdkafka's own
    "statistics.interval.ms": 5_000,  # so often partitions' ends are asked for, paused ones too
}
_FIXED: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "cooperative-sticky",
}


class Topic(NamedTuple):
    """What an address names."""

    servers: str
    """`host:port`, several with commas."""
    name: str
    group: str | None
    """The consumer group; none: the address names none."""


def topic_of(url: str) -> Topic:
    """The topic that an address names.

    >>> topic_of("kafka://one:9092,two/orders?group=watch")
    Topic(servers='one:9092,two:9092', name='orders', group='watch')

    Raises:
        ServeError: it is no such address.
    """
    parts = urlsplit(url)
    # What stands on a command line is seen by everyone on the machine.
    if "@" in parts.netloc:
        problem = "an address of Kafka holds no user and no password"
        raise ServeError(f"{problem}: those belong into the settings of a TOML file")
    named = parts.netloc.split(",")
    servers = ",".join(_server(server, url=url) for server in named)
    name = unquote(parts.path.removeprefix("/"))
    if not _TOPIC.fullmatch(name):
        problem = f"{name!r} cannot be the name of a topic" if name else "it names no topic"
        raise ServeError(f"{url}: {problem}; write kafka://HOST:PORT/TOPIC")
    # A parameter that is misspelt would be passed over in silence, and another group read.
    values = parse_qs(parts.query, keep_blank_values=True)
    for parameter in values:
        if parameter not in _PARAMETERS:
            hint = f"did you mean {nearest(parameter, _PARAMETERS)!r}?"
            raise ServeError(f"{url}: there is no {parameter!r} here; {hint}")
    group = values.get("group", [None])[-1]
    if group == "":
        raise ServeError(f"{url}: the group has no name; write ?group=NAME")
    return Topic(servers, name, group)


def configuration(topic: Topic, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What librdkafka is told: ours, what a person sets, and defaults.

    Args:
        topic: The topic.
        settings: librdkafka's, by name; tables within tables are names with dots, as TOML reads
            `sasl.password = "..."`.

    Raises:
        ServeError: a setting that is ours, or one that holds no plain value.
    """
    # TOML makes a table of `sasl.username = "x"`: librdkafka's names hold the dots themselves.
    flat = dict(_flat(settings))
    for name, reason in _OURS.items():
        if name in flat:
            raise ServeError(f"Kafka's setting {name} cannot be set here: {reason}")
    group = flat.pop("group.id", None)
    if group and topic.group and group != topic.group:
        problem = f"the address names the group {topic.group!r}, the settings {group!r}"
        raise ServeError(f"{problem}: name one")
    # Defaults may be changed by a person, what is promised hangs on what is fixed.
    chosen = {**_DEFAULTS, **flat, **_FIXED}
    chosen["bootstrap.servers"] = topic.servers
    chosen["group.id"] = topic.group or group or GROUP
    return chosen


def _server(server: str, *, url: str) -> str:
    """One server with its port."""
    parts = _SERVER.fullmatch(server.strip())
    if parts is None or int(parts["port"] or PORT) > 65_535:
        raise ServeError(f"{url}: {server!r} is no server; write kafka://HOST:PORT/TOPIC")
    return f"{parts['host']}:{parts['port'] or PORT}"


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their whole names."""
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, str | int | float | bool):
            yield name, value
        else:
            kinds = "a text, a number, or true or false"
            raise ServeError(f"Kafka's setting {name} must be {kinds}, not {value!r}")
