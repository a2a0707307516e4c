"""Addresses to listen on, as people write them."""

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from logllm.errors import ServeError


class Address(NamedTuple):
    """Where a source listens."""

    host: str
    """A name or a number, of IPv6 without its brackets."""
    port: int
    """0: any that is free."""
    option: str
    """What stands behind the question mark."""

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine's own programs can reach it.

        >>> Address("127.0.0.1", 4318, "").is_loopback, Address("0.0.0.0", 4318, "").is_loopback
        (True, False)
        """
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parsed(address: str, *, scheme: str, example: str) -> Address:
    """An address taken apart.

    >>> parsed("syslog://[::1]:5514?udp", scheme="syslog", example="")
    Address(host='::1', port=5514, option='udp')

    Args:
        address: as somebody wrote it.
        scheme: what it must begin with.
        example: a right one, for the error.

    Raises:
        ServeError: it is none.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket that is not closed
        host = port = None
    # A path is taken for a mistake: nothing that listens on a port has one.
    has_path = parts.path.strip("/")
    whole = host and port is not None and parts.scheme == scheme and not has_path
    if not whole or host is None or port is None:
        raise ServeError(f"{address} is no address to listen on: write {example}")
    return Address(host, port, parts.query)
