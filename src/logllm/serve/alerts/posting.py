"""One request to a place that is told, and what it answered."""

import json
import re
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from logllm import __version__
from logllm.logs.tally import printable

_REFUSED = {400, 405, 411, 413, 414, 415, 422}
"""Answers that say that the message itself is wrong: to send it again does not help."""
_SHORTEST_SECRET = 8
"""Characters of what is taken for secret wherever it stands in an answer."""
_MOST_READ = 2_000
_MOST_SHOWN = 200


class Target(NamedTuple):
    """Where requests go."""

    url: str
    headers: Mapping[str, str]
    timeout: float
    """Seconds that each step of a request may take."""


class Answer(NamedTuple):
    """What a place answered."""

    status: int | None
    """HTTP's status; none: there was no answer."""
    words: str
    """What the place says, or what went wrong, for people."""
    wait: float | None = None
    """Seconds after which the place asks to be tried again."""

    @property
    def taken(self) -> bool:
        """Whether the place has taken the message."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def told(self) -> str:
        """What a person is told of it."""
        if self.status is None:
            return self.words
        return f"HTTP {self.status} {self.words}".strip()

    @property
    def refused(self) -> bool:
        """Whether the place will never take this message."""
        return self.status in _REFUSED


class _NoRedirect(HTTPRedirectHandler):
    """A place that has moved is told to the person: what is secret goes nowhere else."""

    def redirect_request(self, *args: object, **more: object) -> None:
        """Follow none."""
        del args, more


def post(target: Target, value: Any, *, key: str) -> Answer:
    """Send a JSON value; certificates are verified, proxies of the environment used.

    Args:
        target: Where to.
        value: What.
        key: Sent as `Idempotency-Key`.
    """
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"logllm/{__version__}",
        "Idempotency-Key": key,
    }
    # The scheme was looked at
    request = Request(target.url, body, {**headers, **target.headers}, method="POST")  # noqa: S310
    opener = build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=target.timeout) as response:
            return Answer(response.status, _words(response.read(_MOST_READ), target))
    except HTTPError as exc:
        # The error is the response itself: unread and open, it would keep the connection.
        with exc:
            return _refusal(exc, target)
    except (OSError, HTTPException) as exc:
        # Some errors say nothing but their name.
        reason = str(getattr(exc, "reason", exc)) or type(exc).__name__
        return Answer(None, _words(reason.encode(), target))


def _refusal(exc: HTTPError, target: Target) -> Answer:
    """What another status than success says."""
    try:
        words = _words(exc.read(_MOST_READ), target)
    except (OSError, HTTPException):
        words = ""
    # Not followed: the body of a redirect says nothing, and a secret must not go to another host.
    if 300 <= exc.code < 400:
        words = "it has moved: name its new URL"
    # Seconds; a date, which HTTP allows as well, is not waited for.
    wait = exc.headers.get("Retry-After", "")
    return Answer(exc.code, words, float(wait) if wait.isdecimal() else None)


def _words(answer: bytes, target: Target) -> str:
    """The beginning of an answer, for people, without secrets of the request.

    Some places repeat the request in their answer.
    """
    text = " ".join(answer.decode(errors="replace").split())
    # Longest first, or a part that was replaced would leave the rest of a whole.
    for secret in _secrets(target):
        text = text.replace(secret, "…")
    return printable(text[:_MOST_SHOWN])


def _secrets(target: Target) -> list[str]:
    """What of a request nobody is shown: its headers, and the path, as a whole and in parts.

    >>> _secrets(Target("https://host/services/T0/s3cr3ts3cr3t?key=k", {}, 1))
    ['/services/T0/s3cr3ts3cr3t?key=k', '/services/T0/s3cr3ts3cr3t', 's3cr3ts3cr3t', 'services']
    """
    parts = urlsplit(target.url)
    whole = f"{parts.path}?{parts.query}"
    pieces = re.split("[/?&=]", whole)
    values = [piece for value in target.headers.values() for piece in value.split()]
    secrets = {whole, parts.path, *pieces, *values}
    long = (secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)
    return sorted(long, key=len, reverse=True)
