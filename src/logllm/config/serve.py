"""How a service answers: where, to whom, and how much."""

from typing import Annotated

from pydantic import Field

from logllm.config.section import Section

Positive = Annotated[int, Field(ge=1)]


class ServeSection(Section):
    """The service's address, and what it takes from one client."""

    # Who reaches it: this machine alone, unless someone says otherwise.
    host: str = "127.0.0.1"
    """The address to answer on: one of this machine's own, or `0.0.0.0` for all. Any but loopback
    takes a token."""
    port: int = Field(default=8431, ge=0, le=65_535)
    """The port; 0: any that is free."""
    names: tuple[str, ...] = ()
    """Names by which browsers reach the service, such as `logs.example.org`; on loopback no others
    are answered but `localhost` and loopback's own addresses."""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses of proxies in front, whose X-Forwarded-For is believed."""
    # Limits of one request, so that a client that is slow or broken holds up nobody else.
    body_bytes: Positive = 8 * 1024 * 1024
    """The largest body of a request, in bytes."""
    head_seconds: Positive = 10
    """Seconds for a connection's next request to come, up to its body."""
    unread_seconds: Positive = 30
    """Seconds after which a client is given up that takes nothing of what it is sent."""
    body_seconds: Positive = 30
    """Seconds for the whole body of a request to come."""
    # Limits of all requests together.
    rate: float = Field(default=50.0, gt=0)
    """Requests a second that one client may send for long; four seconds' worth may come at once."""
    streams: Positive = 200
    """Clients that may follow the live stream at a time."""
    lines: Positive = 20_000
    """Lines that are judged at once."""
    judged_at_once: Positive = 1
    """Requests for judging that are worked on at a time; as many again wait, others are refused."""
    log_requests: bool = False
    """Write a line for each request on standard error."""
