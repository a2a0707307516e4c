"""The tools over HTTP, for an application that has looked at who asks."""

import asyncio
from typing import Any

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Receive, Scope, Send

_LONGEST_BODY = 2 * 2**20
"""Bytes of a request."""


class McpOverHttp:
    """An ASGI application at one path: `Route("/mcp", endpoint=McpOverHttp(server))`.

    Each request is answered by itself, so that nothing is kept of a client. It begins with the
    first request and ends with the loop that serves: no lifespan of the application is needed.
    Tokens, names of hosts and origins are looked at before it.
    """

    def __init__(self, server: MCPServer[Any]) -> None:
        """Nothing runs yet."""
        # Who asks, and under which name of a host, has been looked at by the application around it.
        trusted = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        server.streamable_http_app(
            json_response=True,
            stateless_http=True,
            transport_security=trusted,
            max_request_body_size=_LONGEST_BODY,
        )
        self._manager = server.session_manager
        self._running: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        # Not in the constructor: there is no loop yet. Between the look and the assignment nothing
        # else of the loop runs, so that it begins once.
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await self._ready.wait()
        await self._manager.handle_request(scope, receive, send)

    async def _run(self) -> None:
        """Hold open what requests are answered in, until the loop ends."""
        async with self._manager.run():
            self._ready.set()
            # For ever: the loop's end cancels it.
            await asyncio.Event().wait()
