"""What happened: incidents, and the kinds of fault that nobody wants to be told of."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from logllm.serve.incidents.incident_rows import Wished, incident, incidents
from logllm.serve.incidents.mutes import Muting, mute, mutes, unmute
from logllm.serve.web import examples, queries
from logllm.serve.web.refusals import absent
from logllm.serve.web.request_models import IncidentQuery, NewMute, Number, VerdictQuery
from logllm.serve.web.service import Served

router = APIRouter(prefix="/v1", tags=["incidents"])
_SESSIONS = 50
"""Verdicts that an incident is given with, the newest ones."""


@router.get(
    "/incidents",
    summary="Incidents, those that changed last first",
    responses=examples.shown(examples.INCIDENTS),
)
def list_incidents(service: Served, query: Annotated[IncidentQuery, Query()]) -> JSONResponse:
    """Anomalous sessions of one fault, close in time; `next` is given back as `before`."""
    with service.store.transaction(reading=True) as connection:
        # Before the list: what changes between the two comes once more by the stream, and is not
        # missed.
        change = queries.newest_change(connection)
    wished = Wished(**query.model_dump())
    rows = incidents(service.store, wished, now=datetime.now(UTC))
    is_full = len(rows) >= query.limit
    following = rows[-1]["change"] if is_full else None
    return JSONResponse({"incidents": rows, "next": following, "change": change})


@router.get("/incidents/{number}", summary="One incident")
def one_incident(service: Served, number: Number) -> JSONResponse:
    """One incident, with the newest of its sessions' verdicts."""
    content = incident(service.store, number, now=datetime.now(UTC))
    if content is None:
        raise absent("incident")
    # An incident of a day may have thousands: the rest is asked for by `/v1/verdicts?incident=`.
    theirs = VerdictQuery(incident=number, limit=_SESSIONS)
    with service.store.transaction(reading=True) as connection:
        page = queries.page(connection, theirs)
        verdicts = queries.objects(connection, page.rows)
    return JSONResponse(content | {"verdicts": verdicts})


@router.get("/mutes", summary="What is muted")
def list_mutes(service: Served) -> JSONResponse:
    """Kinds of fault that nobody is told of, each until a time."""
    return JSONResponse({"mutes": mutes(service.store, now=datetime.now(UTC))})


@router.post("/mutes", summary="Mute a kind of fault", status_code=201)
def add_mute(service: Served, new: NewMute) -> JSONResponse:
    """Nobody is told of this kind for some hours; its incidents are still listed."""
    now = datetime.now(UTC)
    until = now + timedelta(hours=new.hours)
    muting = Muting(new.stream, new.kind, until, by=new.by, why=new.why)
    return JSONResponse(mute(service.store, muting, now=now), 201)


@router.delete("/mutes/{number}", summary="Take a mute back", status_code=204)
def delete_mute(service: Served, number: Number) -> Response:
    """From now on people are told of this kind again."""
    if not unmute(service.store, number, now=datetime.now(UTC)):
        raise absent("mute")
    return Response(status_code=204)
