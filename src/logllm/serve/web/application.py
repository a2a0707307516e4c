"""The application: routes, what stands before them, and how errors are told."""

from importlib.util import find_spec

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from logllm import __version__
from logllm.serve.web.layers.access import Access
from logllm.serve.web.layers.bodies import Bodies
from logllm.serve.web.layers.measured import Measured
from logllm.serve.web.layers.rate_limit import RateLimit
from logllm.serve.web.layers.security_headers import SecurityHeaders
from logllm.serve.web.refusals import told_as_json
from logllm.serve.web.routes import (
    alert_routes,
    feedback_routes,
    health_routes,
    incident_routes,
    judging_routes,
    run_routes,
    stream_routes,
    verdict_routes,
)
from logllm.serve.web.routes.page_routes import PageFiles
from logllm.serve.web.service import Service

_ROUTES = (
    verdict_routes,
    incident_routes,
    stream_routes,
    judging_routes,
    feedback_routes,
    alert_routes,
    run_routes,
    health_routes,
)


def application(service: Service, *, token: str | None) -> ASGIApp:
    """What answers requests.

    Args:
        service: what the routes lean on.
        token: what clients must bring; none: nothing.
    """
    section = service.section
    app = FastAPI(
        title="logllm",
        summary="Verdicts on the sessions of logs: stored, live, and judged now.",
        version=__version__,
        docs_url=None,  # these pages would load scripts from other sites
        redoc_url=None,
        max_body_size=section.body_bytes,
    )
    app.state.service = service
    told_as_json(app)
    for routes in _ROUTES:
        app.include_router(routes.router)
    # The tools come with the extra `mcp`; the service goes without.
    if find_spec("mcp") is not None:
        from logllm.serve.web.routes.mcp_route import mcp_over_http

        app.router.routes.append(Route("/mcp", endpoint=mcp_over_http(service)))
    app.mount("/", PageFiles())

    # The last one is the first to see a request.
    most, seconds = section.body_bytes, section.body_seconds
    # Headers stand on every answer, refusals too; what is refused is measured; who asks too often
    # costs no look at tokens; only who may ask sends a body.
    layered: ASGIApp = Bodies(app, most=most, seconds=seconds)
    layered = Access(layered, token=token, host=section.host, names=section.names)
    layered = RateLimit(layered, rate=section.rate)
    layered = Measured(layered, service.instruments, log=section.log_requests)
    return SecurityHeaders(layered)
