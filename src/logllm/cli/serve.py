"""`logllm serve`: verdicts over HTTP, to people and to programs.

If sources are named, it watches them as well.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from logllm.cli.alerts import AlertOption, AlertsOption, PageOption, alert_settings, delivering
from logllm.cli.console import note
from logllm.cli.watch import (
    Shown,
    alerts_of,
    following_of,
    from_file,
    sources_of,
    tell,
    tell_watched,
    told_apart,
    with_alerts,
)
from logllm.cli.watch_options import Learn

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.config.watch import WatchFile
    from logllm.detect.detector import Detector
    from logllm.detect.judge import Judge
    from logllm.serve.feedback.following import Following
    from logllm.serve.store.verdict_store import Store
    from logllm.serve.web.judging.judging_now import JudgingNow
    from logllm.serve.web.running import Server
    from logllm.serve.web.watching_thread import WatchingThread

_SHORTEST_TOKEN = 16
"""Characters; what is shorter may be found by trying."""


# What is shown, and what is watched in the same process.
_Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN] [SOURCE...]",
        help=(
            "A run (a folder that `logllm train` wrote) to judge what clients send, then sources to"
            " watch, as for `logllm watch`."
        ),
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        help=(
            "The TOML file of `logllm watch --config`; its section serve holds the settings of the"
            " service."
        )
    ),
]
_Store = Annotated[
    str,
    typer.Option(
        help="The store of verdicts: a file, sqlite:///PATH, or postgresql://USER@HOST/DATABASE."
    ),
]

# Who reaches the service, and how.
_Host = Annotated[
    str | None,
    typer.Option(
        help=(
            "Address to listen on, by default 127.0.0.1; 0.0.0.0 for all addresses of this machine."
        )
    ),
]
_Port = Annotated[
    int | None,
    typer.Option(min=0, max=65_535, help="Port to listen on, by default 8431; 0 for any free one."),
]
_TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with the token that clients must send, instead of LOGLLM_TOKEN."),
]
_Name = Annotated[
    list[str] | None,
    typer.Option(help="Host name that browsers use, such as logs.example.org. Repeatable."),
]
_Proxy = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "Address of a reverse proxy to trust with the client's address; by default only this"
            " machine. Repeatable."
        )
    ),
]

# How the sources are watched; as of `logllm watch`.
_Begin = Annotated[
    Literal["start", "end", "stored"],
    typer.Option("--from", help="Where to begin with a watched log that is new to the store."),
]
_Idle = Annotated[
    int | None,
    typer.Option(min=1, help="Seconds without a line after which a watched session is over."),
]
_Format = Annotated[str | None, typer.Option(help="Format of the sources, instead of the run's.")]
_Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help="Remove addresses, tokens and other secrets from the store and from answers.",
    ),
]
_LogRequests = Annotated[
    bool, typer.Option("--log-requests", help="Write a line for each request to standard error.")
]
_Engine = Annotated[
    str | None,
    typer.Option(help="Engine that scores, instead of the recipe's: exact, bf16, or auto."),
]


def serve(
    inputs: _Inputs = None,
    config: _Config = None,
    store: _Store = "logllm.db",
    host: _Host = None,
    port: _Port = None,
    token_file: _TokenFile = None,
    name: _Name = None,
    proxy: _Proxy = None,
    begin: _Begin = "end",
    idle: _Idle = None,
    format: _Format = None,
    redact: _Redact = False,
    learn: Learn = False,
    alerts: AlertsOption = None,
    alert: AlertOption = None,
    public_url: PageOption = None,
    log_requests: _LogRequests = False,
    engine: _Engine = None,
) -> None:
    """Show stored verdicts on a live page and through an API; with sources, watch these as well."""
    from logllm.config.watch import ServeFile
    from logllm.extras import require

    require("serve", to="serve verdicts")
    # A file says all of it; the command line then only adds to it.
    if config is not None:
        wanted = from_file(config, inputs, kind=ServeFile)
    else:
        settings = {"store": store, "begin": begin, "idle": idle, "redact": redact, "learn": learn}
        wanted = _wanted(inputs or [], format=format, **settings)
    answering = {
        "host": host,
        "port": port,
        "names": name,
        "proxies": proxy,
        "log_requests": log_requests or None,
    }
    wanted = _answering(wanted, answering)
    wanted = with_alerts(wanted, alert_settings(alerts, alert, page=public_url), named=alerts)
    token = _token(token_file, host=wanted.serve.host)
    following = following_of(wanted, engine=engine) if wanted.run else None
    _serve(wanted, following, token=token)


def _wanted(inputs: list[str], *, format: str | None, **settings: Any) -> "WatchFile":
    """What is served and watched, checked."""
    from logllm.config.watch import ServeFile, SourceSection
    from logllm.runs.manifest import SHIPPED

    named, sources = told_apart(inputs)
    # Without sources it only shows what others have stored, and needs no run.
    run = named or (SHIPPED if sources else "")
    sections: tuple[SourceSection, ...] = ()
    if sources:
        section = {"source": sources, "format": format}
        sections = (SourceSection.read(section, source="the command line"),)
    settings |= {"run": run, "sources": sections}
    return ServeFile.read(settings, source="the command line")


def _answering(wanted: "WatchFile", settings: dict[str, Any]) -> "WatchFile":
    """What is served, with what the command line says of the service."""
    from urllib.parse import urlsplit

    from logllm.config.serve import ServeSection

    # What the command line does not say stays as the file has it.
    named = {name: value for name, value in settings.items() if value not in (None, [])}
    together = wanted.serve.model_dump() | named
    section = ServeSection.read(together, source="the command line")
    # Browsers name the host that people typed, and any other name is refused.
    public = urlsplit(wanted.public_url or "").hostname
    names = (*section.names, public) if public else section.names
    reachable = section.model_copy(update={"names": names})
    return wanted.model_copy(update={"serve": reachable})


def _serve(wanted: "WatchFile", following: "Following | None", *, token: str | None) -> None:
    """Answer until told to stop."""
    from logllm.serve.incidents.quiet_ending import ending_quiet
    from logllm.serve.store.verdict_store import Store
    from logllm.serve.web.running import address_of, listening

    # The model loads before the port is open: who connects is answered.
    detector = None if following is None else following.first()
    # A port that another has must not leave an empty store behind.
    with (
        listening(wanted.serve) as bound,
        closing(Store.open(wanted.store, create=bool(wanted.sources))) as store,
        delivering(store, alerts_of(wanted)),
    ):
        judging = None if detector is None else _judging(wanted, detector)
        watching = _watching(wanted, detector, store=store)
        _take_up_newer(following, judging, watching)
        server = _server(wanted, store, judging=judging, watching=watching, token=token)
        note(f"{store.name} is shown at {address_of(bound)}")
        if watching is None:
            with ending_quiet(store, wanted.incidents):
                server.run_until_told(bound)
        else:
            _watch_beside(watching, lambda: server.run_until_told(bound), failed=server.end)


def _judging(wanted: "WatchFile", detector: "Detector") -> "JudgingNow":
    """What judges lines that clients send."""
    from logllm.serve.web.judging.judging_now import JudgingNow

    # A request that is too large, or one too many, is refused rather than kept waiting.
    limits = wanted.serve
    return JudgingNow(
        detector, lines=limits.lines, at_once=limits.judged_at_once, redact=wanted.redact
    )


def _watching(
    wanted: "WatchFile", detector: "Detector | None", *, store: "Store"
) -> "WatchingThread | None":
    """The watch of this process; none without sources, or without a run that could judge them."""
    from logllm.serve.watch import Watch
    from logllm.serve.web.watching_thread import WatchingThread

    if detector is None or not wanted.sources:
        return None
    watched = sources_of(wanted, detector)
    tell_watched(wanted, detector, watched)
    running = Watch(watched, run=detector.run, how=wanted, store=store, told=note)
    return WatchingThread(running)


def _take_up_newer(
    following: "Following | None",
    judging: "JudgingNow | None",
    watching: "WatchingThread | None",
) -> None:
    """Have a run that is promoted meanwhile judge here.

    It is loaded once, by the watch where there is one.
    """
    if following is None or judging is None:
        return
    # Nobody else looks for a newer run: it is looked for when something is to be judged.
    if watching is None:
        judging.newer = following.newer
        return

    def newer() -> "Judge | None":
        detector = following.newer()
        if detector is None:
            return None
        judging.detector = detector
        return detector.run

    watching.watch.newer = newer


def _server(
    wanted: "WatchFile",
    store: "Store",
    *,
    judging: "JudgingNow | None",
    watching: "WatchingThread | None",
    token: str | None,
) -> "Server":
    """The server that answers requests."""
    from logllm.runs.manifest import SHIPPED
    from logllm.serve.web.application import application
    from logllm.serve.web.running import Server
    from logllm.serve.web.service import service_of

    run = None if wanted.run in ("", SHIPPED) else Path(wanted.run)
    trouble = (lambda: None) if watching is None else watching.trouble
    service = service_of(store, wanted.serve, judging=judging, run=run, trouble=trouble)
    # Streams first: a client that follows would hold up the end of the service.
    closing = [service.feed.close]
    if watching is not None:
        closing.append(watching.stop)
    answers = application(service, token=token)
    return Server(answers, wanted.serve, closing=closing)


def _watch_beside(
    watching: "WatchingThread", answer: "Callable[[], None]", *, failed: "Callable[[], None]"
) -> None:
    """Answer, and watch meanwhile; whatever has ended the watch ends the service."""
    shown = Shown(None)
    watching.start(status=shown.show, failed=failed)
    try:
        answer()
    finally:
        watching.stop()
        watching.join()
        shown.end()
    if watching.error is not None:
        raise watching.error
    tell(watching.watch)


def _token(file: Path | None, *, host: str) -> str | None:
    """The token that clients must bring; none: on loopback nothing needs to be said.

    Raises:
        DataError: the file cannot be read.
        RecipeError: it is too short, or the service is reached from elsewhere and there is none.
    """
    from logllm.errors import DataError, RecipeError
    from logllm.serve.web.layers.access import is_loopback

    # Never on the command line, where every user of the machine sees it.
    try:
        token = (
            os.environ.get("LOGLLM_TOKEN", "") if file is None else file.read_text(encoding="utf-8")
        )
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(
            f"{file} cannot be read: {getattr(exc, 'strerror', 'it is not text')}"
        ) from exc
    token = token.strip()
    # Loopback is reached from this machine alone.
    if not token and file is None and is_loopback(host):
        return None
    remedy = "make one with `openssl rand -hex 32 > token` and add --token-file token"
    if not token:
        raise RecipeError(
            f"who reaches {host} could read every log, so a token is needed; {remedy}"
        )
    if len(token) < _SHORTEST_TOKEN:
        raise RecipeError(f"the token is short enough to be found by trying: {remedy}")
    return token
