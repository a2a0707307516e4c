"""Who is told of incidents, and what could not be told."""

from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from logllm.serve.alerts.alert_rows import alerts, revive
from logllm.serve.web.refusals import absent
from logllm.serve.web.request_models import Number
from logllm.serve.web.service import Served

router = APIRouter(prefix="/v1", tags=["alerts"])


@router.get("/alerts", summary="Alert destinations and waiting messages")
def list_alerts(service: Served) -> JSONResponse:
    """Where incidents are sent, what waits or was sent there, and the newest dead letters."""
    return JSONResponse(alerts(service.store, now=datetime.now(UTC)))


@router.post("/alerts/{message}/{sink}/retry", summary="Send a dead letter again")
def retry_alert(service: Served, *, message: Number, sink: str) -> JSONResponse:
    """A message that was given up is sent again, at once."""
    # It may have been sent again by another person, or deleted for its age.
    revived = revive(service.store, message=message, sink=sink, now=datetime.now(UTC))
    if not revived:
        raise absent("dead letter")
    return JSONResponse({"revived": revived})
