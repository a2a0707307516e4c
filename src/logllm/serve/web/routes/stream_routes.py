"""The live stream: what changes, as server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from logllm.serve.web.changes import Event
from logllm.serve.web.refusals import Refusal
from logllm.serve.web.request_models import Change
from logllm.serve.web.service import Served

router = APIRouter(prefix="/v1", tags=["live"])
_SIGN_OF_LIFE = ServerSentEvent(comment="")
Events = AsyncGenerator[Event | None]


async def _events(
    service: Served,
    *,
    after: Annotated[Change | None, Query()] = None,
    last_event_id: Annotated[Change | None, Header()] = None,
) -> AsyncIterator[Events]:
    """Events from where the client was; they end when the client has gone."""
    # A stream holds a connection for hours: without a bound nobody else would get one.
    if service.feed.followers >= service.section.streams:
        later = {"retry-after": "10"}
        raise Refusal(503, "too many clients are following the stream", headers=later)
    # Browsers send the header by themselves when a line breaks.
    place = last_event_id if after is None else after
    async with aclosing(service.feed.follow(place)) as events:
        yield events


@router.get(
    "/stream",
    summary="What changes, as it happens",
    response_class=EventSourceResponse,
)
async def stream(events: Annotated[Events, Depends(_events)]) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `hello`, then `verdict`, `incident`, `kind`, `feedback` and `source`.

    The id of an event is the number of the last change that the client has completely; with it, as
    `after` or `Last-Event-ID`, the stream goes on without a gap. `reset`: read everything again.
    """
    async for event in events:
        if event is None:
            yield _SIGN_OF_LIFE
        else:
            yield ServerSentEvent(event=event.name, raw_data=event.data, id=str(event.id))
