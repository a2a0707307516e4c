"""What the routes use, made once when the service starts."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from logllm.config.serve import ServeSection
from logllm.serve.store.verdict_store import Store
from logllm.serve.web.feed import Feed
from logllm.serve.web.instruments import Instruments
from logllm.serve.web.judging.judging_now import JudgingNow
from logllm.serve.web.readiness import Readiness
from logllm.serve.web.timeline import Timeline


class Service(NamedTuple):
    """What the routes lean on."""

    store: Store
    """What is shown."""
    section: ServeSection
    """How much is answered."""
    feed: Feed
    """What changes, to all who follow."""
    instruments: Instruments
    """What is measured."""
    readiness: Readiness
    """Whether all is well."""
    timeline: Timeline
    """Counts sessions by time."""
    judging: JudgingNow | None = None
    """Judges what clients send; none: no run was named."""
    run: Path | None = None
    """The folder that was named as the run, in whose place a newer one may stand."""


def service_of(
    store: Store,
    section: ServeSection,
    *,
    judging: JudgingNow | None = None,
    run: Path | None = None,
    trouble: Callable[[], str | None] = lambda: None,
) -> Service:
    """A service on a store.

    Args:
        store: what is shown.
        section: how much is answered.
        judging: judges what clients send.
        run: the folder that was named as the run.
        trouble: why the watch of this process has ended; none: it has not, or there is none.
    """
    # One reader of changes for all clients, however many there are.
    feed = Feed(store)
    readiness = Readiness(store, trouble=trouble)
    instruments = Instruments(store, feed)
    return Service(store, section, feed, instruments, readiness, Timeline(), judging, run)


async def _service(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
"""An argument of a route that is the service."""
