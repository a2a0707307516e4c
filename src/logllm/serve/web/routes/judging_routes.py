"""Judged now: lines of a log, or whole sessions; nothing of them is stored."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from logllm.serve.web import examples
from logllm.serve.web.judging.judging_now import Judged, JudgingNow
from logllm.serve.web.refusals import Refusal
from logllm.serve.web.request_models import GivenLines, GivenSessions
from logllm.serve.web.service import Served

router = APIRouter(prefix="/v1", tags=["judged now"])
_LINE = "2026-11-27T12:00:00Z ERROR job=7 failed: connection timed out"
_FORMS = {
    "application/json": {"schema": GivenLines.model_json_schema(), "example": {"lines": [_LINE]}},
    "text/plain": {"schema": {"type": "string"}, "example": _LINE},
}
_SESSION = {"session": "order 7", "messages": ["order taken", "payment refused"]}


async def _sent_lines(request: Request) -> list[str]:
    """The lines of a request, which are JSON, or stand there as in a file."""
    body = await request.body()
    # As `curl --data-binary @app.log` sends a file.
    if request.headers.get("content-type", "").startswith("text/plain"):
        return body.decode("utf-8", "replace").removesuffix("\n").split("\n")
    try:
        return GivenLines.model_validate_json(body).lines
    except ValidationError as exc:
        # In the framework's own form, so that all errors of requests are told alike.
        problems = exc.errors(include_url=False)
        in_body = [problem | {"loc": ("body", *problem["loc"])} for problem in problems]
        raise RequestValidationError(in_body) from exc


@router.post(
    "/lines",
    summary="Judge lines of a log",
    responses=examples.shown(examples.JUDGED),
    openapi_extra={"requestBody": {"required": True, "content": _FORMS}},
)
def judge_lines(
    service: Served,
    lines: Annotated[list[str], Depends(_sent_lines)],
) -> JSONResponse:
    """Verdicts on the sessions of some lines, read and grouped by the run's settings.

    Lines are sent as JSON, or as they stand in a file, as `text/plain`.
    """
    return _answer(_judging(service).lines(lines))


@router.post(
    "/sessions",
    summary="Judge sessions",
    responses=examples.shown(examples.JUDGED),
)
def judge_sessions(
    service: Served,
    sent: Annotated[GivenSessions, Body(examples=[{"sessions": [_SESSION]}])],
) -> JSONResponse:
    """Verdicts on whole sessions: each is a name, and its `lines`, or its `messages` alone.

    `lines` of a verdict, and of its evidence, count from 1 in the session as it was sent.
    """
    return _answer(_judging(service).sessions(sent.sessions))


def _judging(service: Served) -> JudgingNow:
    """What judges.

    Raises:
        Refusal: no run was named when the service was started.
    """
    if service.judging is None:
        raise Refusal(409, "this service has no run: start logllm serve RUN --store STORE")
    return service.judging


def _answer(judged: Judged) -> JSONResponse:
    """Verdicts as they are given."""
    content: dict[str, Any] = judged._asdict()
    return JSONResponse(content)
