"""What is wrong with a request, or with us, as JSON of one shape; never a traceback."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from logllm.errors import LogLLMError
from logllm.serve.store.troubles import StoreAway, StoreFull

_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected",
    422: "invalid",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}
_RETRY = "5"
"""Seconds after which a store that is away, or has no room, may be asked again."""


class Refusal(Exception):
    """A request that is not answered as it is."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """A refusal with an HTTP status, and what the client can do."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """What the client gets."""
        code = _CODES.get(self.status, "error")
        # One shape for all: a client reads `error.code`, a person `error.message`.
        body = {"error": {"code": code, "message": self.message}}
        return JSONResponse(body, self.status, self.headers)


def absent(what: str) -> Refusal:
    """The refusal of what is not there."""
    return Refusal(404, f"there is no such {what}: it may have been deleted since")


def too_large() -> Refusal:
    """The refusal of a body that is too large; the rest of it is not read."""
    message = "the body is too large: send less at once"
    return Refusal(413, message, headers={"connection": "close"})


def told_as_json(app: FastAPI) -> None:
    """Let an application answer every error in this shape."""
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_of_the_framework)
    app.exception_handler(LogLLMError)(_ours)
    app.exception_handler(Exception)(_unexpected)


async def _refused(request: Request, exc: Refusal) -> JSONResponse:
    del request
    return exc.response()


async def _invalid(request: Request, exc: RequestValidationError) -> JSONResponse:
    """The first thing that is wrong with a request, in a sentence."""
    del request
    # One sentence is read; a list of twenty is not.
    problems = exc.errors()
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Refusal(422, f"{_problem(problems[0])}{more}").response()


def _problem(problem: Mapping[str, Any]) -> str:
    """One thing that is wrong with a request; what was sent is not repeated."""
    if problem["type"] == "json_invalid":
        return f"the body is not JSON: {problem['ctx']['error']}"
    # The first of it says only whether it was in the address or in the body.
    where = ".".join(str(part) for part in problem["loc"][1:])
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where or 'the request'}: {what[:1].lower()}{what[1:]}"


async def _of_the_framework(request: Request, exc: HTTPException) -> JSONResponse:
    """What FastAPI itself refuses: unknown paths, wrong methods, bodies that are too large."""
    # The framework found it while it read: the connection ends, or the rest would still come.
    if exc.status_code == 413:
        return too_large().response()
    message = str(exc.detail)
    if exc.status_code == 404:
        message = f"{request.url.path} does not exist: /openapi.json lists every path"
    return Refusal(exc.status_code, message, headers=exc.headers).response()


async def _ours(request: Request, exc: LogLLMError) -> JSONResponse:
    """Errors that logllm raises on purpose."""
    del request
    # These pass by themselves: a client may come again. Others need a person.
    if isinstance(exc, StoreAway | StoreFull):
        return Refusal(503, str(exc), headers={"retry-after": _RETRY}).response()
    return Refusal(503, str(exc)).response()


async def _unexpected(request: Request, exc: Exception) -> JSONResponse:
    """A fault of ours: the server's own log has its traceback."""
    del request, exc
    return Refusal(500, "something went wrong; see the service's log").response()
