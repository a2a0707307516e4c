"""The run that judges: which one it is, what was measured, and the way back."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from logllm.errors import DataError, ModelError
from logllm.serve.feedback.following import standing
from logllm.serve.feedback.retraining import roll_back
from logllm.serve.web.refusals import Refusal
from logllm.serve.web.service import Served, Service

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.get("", summary="The current run and the former one")
def show_runs(service: Served) -> JSONResponse:
    """Which run stands in its place, which one did, and what was measured before each change."""
    return JSONResponse(standing(_run(service)))


@router.post("/rollback", summary="Go back to the former run")
def roll_back_run(service: Served) -> JSONResponse:
    """The former run judges within seconds, here and in every watch of the same run."""
    run = _run(service)
    try:
        roll_back(run)
    except (ModelError, DataError) as exc:
        # Nothing to go back to, or it is damaged: the run goes on as it is.
        raise Refusal(409, str(exc)) from exc
    return JSONResponse(standing(run))


def _run(service: Service) -> Path:
    """The run as it was named.

    Raises:
        Refusal: none was.
    """
    if service.run is None:
        raise Refusal(409, "this service has no run: start logllm serve RUN --store STORE")
    return service.run
