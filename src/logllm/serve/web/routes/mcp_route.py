"""The tools for programs that act for people, at `/mcp`."""

from logllm.detect.detector import Detector
from logllm.serve.tools.mcp_http import McpOverHttp
from logllm.serve.tools.mcp_server import mcp_server
from logllm.serve.tools.toolbox import Toolbox
from logllm.serve.web.judging.judging_now import JudgingNow
from logllm.serve.web.service import Service


class _RunOfService:
    """Gives the tools the run that judges here, so that it is loaded once."""

    def __init__(self, judging: JudgingNow) -> None:
        self._judging = judging
        self._given: Detector | None = None

    def first(self) -> Detector:
        """The run that judges now."""
        self._given = self._judging.detector
        return self._given

    def newer(self) -> Detector | None:
        """The run that judges now, if it is not the one that was given last."""
        # Promotions are followed by the service itself: the tools see what it has taken up.
        return None if self._judging.detector is self._given else self.first()


def mcp_over_http(service: Service) -> McpOverHttp:
    """The tools on the store of a service; files of logs are read for nobody."""
    judging = service.judging
    following = None if judging is None else _RunOfService(judging)
    redact = judging is not None and judging.redact
    return McpOverHttp(mcp_server(Toolbox(service.store, following=following, redact=redact)))
