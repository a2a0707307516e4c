"""What people say of verdicts: given, listed, taken back."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from logllm.errors import DataError
from logllm.serve.feedback.answers_given import Missed, Said, answers, give, take_back
from logllm.serve.feedback.missed_lines import masked_messages
from logllm.serve.web.refusals import Refusal, absent
from logllm.serve.web.request_models import FeedbackQuery, NewFeedback, Number
from logllm.serve.web.service import Served, Service
from logllm.serve.web.verdict_ids import decode

router = APIRouter(prefix="/v1", tags=["feedback"])


@router.post("/feedback", summary="Say whether a verdict is right", status_code=201)
def add_feedback(service: Served, new: NewFeedback) -> JSONResponse:
    """A false alarm (`normal`) mutes its kind at once, or with `incident` all kinds of that.

    Every answer is a label for `logllm retrain`.

    Where the store has no lines of a session that was missed, the lines are given here.
    """
    try:
        return JSONResponse(_given(service, new), 201)
    except DataError as exc:
        raise Refusal(422, str(exc)) from exc


@router.get("/feedback", summary="What people have said")
def list_feedback(service: Served, query: Annotated[FeedbackQuery, Query()]) -> JSONResponse:
    """Answers, the newest first."""
    return JSONResponse({"feedback": answers(service.store, **query.model_dump())})


@router.delete("/feedback/{number}", summary="Take an answer back", status_code=204)
def delete_feedback(service: Served, number: Number) -> Response:
    """The answer is forgotten, and people are told again of what it had muted."""
    if not take_back(service.store, number):
        raise absent("answer")
    return Response(status_code=204)


def _given(service: Service, new: NewFeedback) -> dict[str, Any]:
    """Store an answer; what became of it.

    Raises:
        Refusal: there is no such session, or it cannot be told what its lines say.
        DataError: the store has nothing of it, or a line is not in it.
    """
    lines = None if new.lines is None else tuple(new.lines)
    # An empty list of lines says that none is guilty; none says nothing of lines.
    said = Said(new.answer, new.by, lines=lines, note=new.note, incident=new.incident)
    if new.id is not None:
        key = decode(new.id)
        if key is None:
            raise absent("session")
        return give(service.store, key, said=said)
    # The store has no lines of a session that was missed: the run that judges here reads those
    # given.
    if service.judging is None:
        raise Refusal(
            409,
            "this service has no run to read lines with: start logllm serve RUN --store STORE",
        )
    detector = service.judging.detector
    messages = masked_messages(new.lines_text or [], detector.settings)
    missed = Missed(new.stream or "", new.session or "", detector.model)
    return give(service.store, missed, said=said._replace(messages=messages))
