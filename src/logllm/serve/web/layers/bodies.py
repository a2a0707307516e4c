"""How large a request's body may be by its own word, and how long it may take to come."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from logllm.serve.web.refusals import too_large


class Bodies:
    """Refuses a request whose body is declared too large, or does not end in time.

    One that says nothing of its length is counted by the application while it comes.
    """

    def __init__(self, app: ASGIApp, *, most: int, seconds: float) -> None:
        """A layer around an application.

        Args:
            app: the application.
            most: the largest body, in bytes.
            seconds: until the whole body has come.
        """
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, whose body has to come in time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # By its own word, before a byte of it is read.
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            await too_large().response()(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        over = False

        async def in_time() -> Message:
            nonlocal over
            # After the body one waits for the client to go, who takes as long as he likes.
            if over:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise _slow(self._seconds) from None
            over = over or not message.get("more_body", False)
            return message

        # An answer that has begun must not be broken off for a body that nobody reads any more.
        async def answering(message: Message) -> None:
            nonlocal over
            over = True
            await send(message)

        await self._app(scope, in_time, answering)


def _slow(seconds: float) -> HTTPException:
    """The error of a body that did not come; all who read a body let this type pass."""
    message = f"the body did not come within {seconds:g} seconds"
    return HTTPException(408, message, headers={"connection": "close"})
