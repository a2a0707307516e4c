"""How the service is: alive, ready, measured, and what it is made of."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from logllm import __version__
from logllm.serve.feedback.following import standing
from logllm.serve.web.instruments import CONTENT_TYPE
from logllm.serve.web.service import Served

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the service is alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@router.get("/readyz", summary="Whether the service can do its work")
def readyz(service: Served) -> JSONResponse:
    """503 where the store cannot be written, or the watch of this process has ended with an error.

    `lag` is what waits at the sources, in bytes or lines, of watches that are alive.
    """
    # The status is for load balancers, which read nothing else.
    state = service.readiness.state()
    return JSONResponse(state, 200 if state["ready"] else 503)


@router.get("/metrics", summary="Measurements for Prometheus")
def metrics(service: Served) -> Response:
    """Requests, clients, incidents, deliveries and watches, in Prometheus's text format."""
    return Response(service.instruments.text(), media_type=CONTENT_TYPE)


@router.get("/v1/about", summary="What is served")
def about(service: Served) -> dict[str, Any]:
    """The version, the store, and the run that judges lines here."""
    facts: dict[str, Any] = {"version": __version__, "store": service.store.name, "run": None}
    if service.judging is not None:
        detector = service.judging.detector
        facts |= {"run": detector.model, "threshold": detector.threshold}
    if service.run is not None:
        facts["former"] = standing(service.run)["former"]
    return facts
