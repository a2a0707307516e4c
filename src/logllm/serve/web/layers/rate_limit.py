"""How often one client may ask: a bucket of requests that fills up again with time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil

from starlette.types import ASGIApp, Receive, Scope, Send

from logllm.serve.web.refusals import Refusal

_BURST = 4.0
"""Seconds' worth of requests that may come at once."""
_CLIENTS = 10_000
"""Clients that are remembered; who has not asked for longest is forgotten first."""
_FREE = {"/healthz"}
"""Probes come often, cost nothing, and must not fail for others' requests."""
Clock = Callable[[], float]


class RateLimit:
    """Refuses what comes too fast from one address."""

    def __init__(self, app: ASGIApp, *, rate: float, clock: Clock = time.monotonic) -> None:
        """A layer around an application.

        Args:
            app: the application.
            rate: requests a second that may come for long.
            clock: seconds.
        """
        self._app = app
        self._rate = rate
        self._clock = clock
        self._full = max(1.0, rate * _BURST)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what comes too fast; pass the rest on."""
        if scope["type"] == "http" and scope["path"] not in _FREE:
            wait = self._wait(client_of(scope))
            if wait > 0:
                later = {"retry-after": str(ceil(wait))}
                message = f"too many requests: at most {self._rate:g} a second on average"
                await Refusal(429, message, headers=later).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    def _wait(self, client: str) -> float:
        """Take one request from a client's bucket.

        Seconds until there is one, where there is none.
        """
        now = self._clock()
        # Taken out and put in again: the order is by the last request, and the first is forgotten
        # first.
        left, last = self._buckets.pop(client, (self._full, now))
        left = min(self._full, left + (now - last) * self._rate)
        # A bucket of 4 s worth of requests, each taking one; it fills by `rate` a second.
        allowed = left >= 1.0
        self._buckets[client] = (left - 1.0 if allowed else left, now)
        while len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._rate


def client_of(scope: Scope) -> str:
    """Who asks: an address, or of IPv6 the network that one customer usually has.

    >>> client_of({"client": ("10.0.0.7", 4711)}), client_of({"client": ("2001:db8:1:2:3::4", 1)})
    ('10.0.0.7', '2001:db8:1:2::')
    """
    host: str = (scope.get("client") or ("", 0))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host
    # Whoever has a /64 of IPv6 has 2^64 addresses: one bucket for all of them.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return host
