"""How the service is: alive, ready, and what it is made of."""

from typing import Any

from fastapi import APIRouter

from logllm import __version__
from logllm.serve.web.service import Served

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the service is alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@router.get("/v1/about", summary="What is served")
def about(service: Served) -> dict[str, Any]:
    """The version, the store, and the run that judges."""
    return {"version": __version__, "store": service.store.name}
