"""Who may ask: the token, the names that we go by, and requests that other sites' pages send."""

import hashlib
import hmac
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from logllm.serve.web.refusals import Refusal

_PROTECTED = ("/v1/", "/metrics", "/mcp")
"""What a token opens; the page itself has to ask for the token, and probes have none."""
_TAKES_TEXT = "/v1/lines"
"""The one path that takes lines as they stand in a file."""
_READING = {"GET", "HEAD", "OPTIONS"}
_LOCAL = {"localhost", "127.0.0.1", "::1"}


class Access:
    """Lets through what may be asked; answers the rest itself."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        host: str,
        names: Sequence[str],
    ) -> None:
        """A layer around an application.

        Args:
            app: the application.
            token: what clients must bring; none: nothing, as on loopback.
            host: the address that is answered on.
            names: names that browsers use besides.
        """
        self._app = app
        self._digest = None if token is None else _digest(token.encode())
        self._names = {name.lower() for name in names}
        # A site's own name may be made to mean our address; a page from there is then "of one
        # origin" with us. Of a server that is reached by names nobody told us, all are right.
        ours = self._names | _LOCAL | {host.lower()}
        self._accepted = ours if self._names or is_loopback(host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not be asked; pass the rest on."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        """What is wrong with a request, if anything is."""
        headers = Headers(scope=scope)
        # The name first: what comes by a strange name must learn nothing, not even whether a token
        # is needed.
        host = headers.get("host", "")
        if self._accepted is not None and _name(host) not in self._accepted:
            return Refusal(
                421, "this host name is not known here: start logllm serve with --name NAME"
            )
        if scope["method"] not in _READING:
            if not self._is_from_us(headers, host=host):
                return Refusal(
                    403, "this request came from another site's page, which is not allowed"
                )
            if not _is_taken(headers, path=scope["path"]):
                also = " or text/plain" if scope["path"] == _TAKES_TEXT else ""
                return Refusal(415, f"send application/json{also}")
        if self._digest is not None and _is_protected(scope["path"]):
            return self._without_token(headers)
        return None

    def _is_from_us(self, headers: Headers, *, host: str) -> bool:
        """Whether a request comes from our page, or from no page at all."""
        # Browsers say where a request comes from; programs such as curl say nothing.
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
        sender = origin.partition("://")[2].lower()
        if not sender:
            return False
        return sender == host.lower() or _name(sender) in self._names

    def _without_token(self, headers: Headers) -> Refusal | None:
        """What is wrong with the token of a request."""
        scheme, _, brought = headers.get("authorization", "").partition(" ")
        # Compared even where there is another scheme: how long it takes says nothing.
        digest = _digest(brought.strip().encode("latin-1"))
        right = hmac.compare_digest(digest, self._digest or b"")
        if scheme.lower() == "bearer" and right:
            return None
        challenge = {"www-authenticate": 'Bearer realm="logllm"'}
        return Refusal(401, "send the token: Authorization: Bearer TOKEN", headers=challenge)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "db.example")]
    [True, True, True, False, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_taken(headers: Headers, *, path: str) -> bool:
    """Whether a request has a body of JSON, or none.

    A form, or plain text, is all that another site's page may send without asking first.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    # A body of no kind could be anything; without a body there is nothing to take.
    if not kind:
        return headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    return kind == "application/json" or (kind == "text/plain" and path == _TAKES_TEXT)


def _is_protected(path: str) -> bool:
    """Whether a path takes a token."""
    return path.startswith(_PROTECTED)


def _digest(token: bytes) -> bytes:
    """A token as bytes that are always as long, so that comparing them takes always as long."""
    return hashlib.sha256(token).digest()


def _name(host: str) -> str:
    """The name in a Host header, without its port.

    >>> _name("logs.example:8431"), _name("[::1]:8431")
    ('logs.example', '::1')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
