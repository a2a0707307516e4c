"""What was judged: verdicts, one session, the timeline, new kinds of message, and the sources."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from logllm.serve.source_rows import source_rows
from logllm.serve.web import examples, queries
from logllm.serve.web.refusals import absent
from logllm.serve.web.request_models import KindsQuery, TimelineQuery, VerdictQuery
from logllm.serve.web.service import Served
from logllm.serve.web.timeline import Wanted
from logllm.serve.web.verdict_ids import decode

router = APIRouter(prefix="/v1", tags=["verdicts"])


@router.get(
    "/verdicts",
    summary="Verdicts, the newest first",
    responses=examples.shown(examples.VERDICTS),
)
def verdicts(service: Served, query: Annotated[VerdictQuery, Query()]) -> JSONResponse:
    """Verdicts on sessions, the last written first; with `after` the oldest of the newer ones.

    `next` is null where there are no more; else it is given back as `before` (or `after`). A
    search with `q` looks through some thousand verdicts at a time: a page may be empty though
    `next` is there.
    """
    with service.store.transaction(reading=True) as connection:
        # In one transaction with the page: a client that goes on by the stream from `change` misses
        # none.
        change = queries.newest_change(connection)
        page = queries.page(connection, query)
        shown = queries.objects(connection, page.rows)
    following = None if page.next is None else str(page.next)
    return JSONResponse({"verdicts": shown, "next": following, "change": change})


@router.get("/sessions/{name}", summary="One session", responses=examples.shown(examples.SESSION))
def session(service: Served, name: str) -> JSONResponse:
    """One session by the `id` of its verdict, with what is kept of its lines (`texts`)."""
    key = decode(name)
    with service.store.transaction(reading=True) as connection:
        # An id that cannot be read is one of nothing.
        row = None if key is None else queries.one(connection, key)
        if row is None:
            raise absent("session")
        return JSONResponse(queries.objects(connection, [row])[0])


@router.get(
    "/timeline",
    summary="How many sessions came when",
    responses=examples.shown(examples.TIMELINE),
)
def counts(service: Served, query: Annotated[TimelineQuery, Query()]) -> JSONResponse:
    """Sessions and anomalous ones by the time when they were last written, in equal stretches."""
    until = query.until or datetime.now(UTC)
    since = query.since or until - timedelta(days=1)
    wanted = Wanted(query.stream, since, until, query.bins)
    with service.store.transaction(reading=True) as connection:
        bins = service.timeline.bins(connection, wanted)
    return JSONResponse({"bins": bins})


@router.get("/kinds", summary="New kinds of message")
def kinds(service: Served, query: Annotated[KindsQuery, Query()]) -> JSONResponse:
    """Kinds of message that the run had never seen, the newest first."""
    with service.store.transaction(reading=True) as connection:
        return JSONResponse({"kinds": queries.new_kinds(connection, query)})


@router.get("/sources", summary="What is watched", responses=examples.shown(examples.SOURCES))
def sources(service: Served) -> JSONResponse:
    """How each watch is; `alive` is false where it has said nothing for 15 seconds."""
    return JSONResponse({"sources": source_rows(service.store)})
