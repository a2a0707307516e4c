"""What the routes lean on, made once when the service starts."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from logllm.config.serve import ServeSection
from logllm.serve.store.verdict_store import Store
from logllm.serve.web.feed import Feed


class Service(NamedTuple):
    """What the routes lean on."""

    store: Store
    """What is shown."""
    section: ServeSection
    """How much is answered."""
    feed: Feed
    """What changes, to all who follow."""


async def _service(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
"""An argument of a route that is the service."""
