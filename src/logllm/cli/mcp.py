"""`logllm mcp`: incidents and verdicts for programs, by the Model Context Protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logllm.cli.console import note

if TYPE_CHECKING:
    from logllm.serve.feedback.following import Following
    from logllm.serve.store.verdict_store import Store


_Store = Annotated[
    str,
    typer.Option(
        help="The store of verdicts: a file, sqlite:///PATH, or postgresql://USER@HOST/DATABASE."
    ),
]
_Run = Annotated[
    str | None, typer.Option(help="The run that judges lines. Without one, no lines are judged.")
]
_Logs = Annotated[
    list[Path] | None,
    typer.Option(help="A folder whose logs may be read and compared. Repeatable. Default: none."),
]
_Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help="Remove addresses, tokens, passwords and other secrets from what is judged.",
    ),
]
_By = Annotated[str, typer.Option(help="Name under which labels are stored.")]


def mcp(
    store: _Store = "logllm.db",
    run: _Run = None,
    logs: _Logs = None,
    redact: _Redact = False,
    by: _By = "agent",
) -> None:
    """Serve the Model Context Protocol on standard input and output.

    An agent reads incidents and sessions, has lines judged, and labels sessions.
    """
    from contextlib import closing

    from logllm.extras import require

    require("mcp", to="answer over MCP")
    with closing(_opened(store)) as opened:
        _answer(opened, _following(run), folders=logs or [], redact=redact, by=by)


def _opened(where: str) -> "Store":
    """A store that is there."""
    from logllm.serve.store.verdict_store import Store

    return Store.open(where, create=False)


def _following(run: str | None) -> "Following | None":
    """What gives the run that judges; it is loaded when lines are to be judged first."""
    from logllm.detect.detector import Detector
    from logllm.runs.manifest import find_run, read_manifest
    from logllm.serve.feedback.following import Following

    if run is None:
        return None
    # A run that is not there is said now; its model takes seconds, and may never be asked for.
    read_manifest(find_run(run))
    return Following(run, load=Detector.load, told=note)


def _answer(
    store: "Store", following: "Following | None", *, folders: list[Path], redact: bool, by: str
) -> None:
    """Answer until standard input ends."""
    from logllm.serve.tools.mcp_server import mcp_server
    from logllm.serve.tools.toolbox import Toolbox

    toolbox = Toolbox(store, following=following, folders=folders, redact=redact, by=by)
    mcp_server(toolbox).run("stdio")
