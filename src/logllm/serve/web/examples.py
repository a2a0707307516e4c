"""Answers as they look, for the description of the API."""

from typing import Any

_KIND = "ERROR: job=<*> failed: connection timed out"
_LINE = "2026-11-27T12:00:04Z ERROR job=1020 failed: connection timed out"
_NAME = "WyJhcHAiLCJhcHAubG9nIiwiMTAyMCIsMSw2MV0"
_TIMES = {"start": "2026-11-27T12:00:01.000000Z", "end": "2026-11-27T12:00:04.000000Z"}
_JUDGED = {
    "session": "1020",
    "score": 0.92,
    "anomalous": True,
    "lines": [61, 62, 63, 64],
    **_TIMES,
    "model": "app@98d6ad83",
    "evidence": [{"line": 64, "score": 0.92, "text": _LINE}],
    "schema": 1,
}
_VERDICT = {
    "stream": "app",
    **_JUDGED,
    "state": "closed",
    "partition": "app.log",
    "piece": 1,
    "kind": _KIND,
    "incident": 3,
    "updated": "2026-11-27T12:00:09.120000Z",
    "change": 17,
    "id": _NAME,
}
_INCIDENT = {
    "id": 3,
    "stream": "app",
    "kind": _KIND,
    "title": _LINE,
    "state": "open",
    **_TIMES,
    "opened": "2026-11-27T12:00:09.120000Z",
    "updated": "2026-11-27T12:00:09.120000Z",
    "closed": None,
    "sessions": 1,
    "score": 0.92,
    "muted": False,
    "change": 17,
}
_SOURCE = {
    "stream": "app",
    "owner": "web-1:4711",
    "run": "app@98d6ad83",
    "lines": 120_412,
    "sessions": 30_103,
    "anomalous": 41,
    "open_sessions": 12,
    "lag": 0,
    "rate": 37.5,
    "counts": {"lines": 120_412, "rejected": 2},
    "trouble": None,
    "updated": "2026-11-27T12:00:10.000000Z",
    "alive": True,
}
_BIN = {"start": "2026-11-27T12:00:00.000000Z", "sessions": 240, "anomalous": 1}

VERDICTS = {"verdicts": [_VERDICT], "next": f"17.{_NAME}", "change": 17}
SESSION = _VERDICT | {"texts": ["2026-11-27T12:00:01Z INFO job=1020 opened the file", _LINE]}
TIMELINE = {"bins": [_BIN]}
INCIDENTS = {"incidents": [_INCIDENT], "next": None, "change": 17}
SOURCES = {"sources": [_SOURCE]}
JUDGED = {"verdicts": [_JUDGED], "counts": {"lines": 4}, "seconds": 0.04}


def shown(answer: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """What FastAPI is told of a route that answers so."""
    return {200: {"content": {"application/json": {"example": answer}}}}
