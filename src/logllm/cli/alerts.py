"""`logllm alerts`: try the destinations of alerts, and look after messages that wait or failed."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logllm.cli.console import note, result
from logllm.counting import plural

if TYPE_CHECKING:
    from logllm.config.alerts import AlertsFile
    from logllm.serve.alerts.sinks import Sink
    from logllm.serve.store.verdict_store import Store

app = typer.Typer(
    help="Test where alerts go, see which messages are waiting, send failed ones again.",
    no_args_is_help=True,
)

AlertsOption = Annotated[
    Path | None,
    typer.Option(
        "--alerts",
        help="TOML file that says where incidents are sent, and which sessions make one incident.",
    ),
]
AlertOption = Annotated[
    list[str] | None,
    typer.Option(
        "--alert",
        help=(
            "Send incidents to this URL: Slack, Alertmanager or any webhook. $NAME takes it from an"
            " environment variable."
        ),
    ),
]
PageOption = Annotated[
    str | None,
    typer.Option(
        "--public-url",
        help="Address at which people open the page of `logllm serve`; messages link to it.",
    ),
]
_Where = Annotated[str, typer.Argument(metavar="STORE", help="What `logllm watch --store` writes.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
_STOPPING = 4.0
"""Seconds that messages on their way are waited for at the end."""


@app.command("test")
def send_test(
    alerts: AlertsOption = None, alert: AlertOption = None, public_url: PageOption = None
) -> None:
    """Send a test message to each destination and print its answer.

    Exit 2 if one does not accept it.
    """
    from logllm.errors import RecipeError, ServeError
    from logllm.serve.alerts.trying_sinks import tried

    settings = alert_settings(alerts, alert, page=public_url)
    if not settings.alerts:
        raise RecipeError("nobody is named: add --alerts FILE, or --alert URL")
    # All are tried before any failure is reported: one URL that is wrong hides no other.
    refusing: list[str] = []
    for sink in _sinks(settings):
        answer = tried(sink, page=settings.public_url)
        outcome = "taken" if answer.taken else "not taken"
        words = answer.told or "no words"
        result(f"{sink.name}: {outcome}: {words}")
        if not answer.taken:
            refusing.append(sink.name)
    if refusing:
        raise ServeError(f"{', '.join(refusing)} accepted no message: check the answer and the URL")


@app.command()
def show(where: _Where, as_json: _Json = False) -> None:
    """Show what was sent to each destination, what is waiting, and what failed."""
    from logllm.serve.alerts.alert_rows import alerts
    from logllm.serve.store.verdict_store import Store

    with closing(Store.open(where, create=False)) as store:
        report = alerts(store, now=datetime.now(UTC))
    if as_json:
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        _tell(report)


@app.command()
def retry(
    where: _Where,
    message: Annotated[
        int | None,
        typer.Argument(
            help="Number of the message, as `show` prints it. Without it, every failed message."
        ),
    ] = None,
    sink: Annotated[str | None, typer.Option(help="Only for this destination.")] = None,
) -> None:
    """Send failed messages again; a running watch or serve with --alerts does the sending."""
    from logllm.errors import DataError
    from logllm.serve.alerts.alert_rows import revive
    from logllm.serve.store.verdict_store import Store

    with closing(Store.open(where, create=False)) as store:
        revived = revive(store, message=message, sink=sink, now=datetime.now(UTC))
    if not revived:
        raise DataError(f"no such message has failed: see `logllm alerts show {where}`")
    note(f"{plural(revived, 'message')} will be sent again")


def alert_settings(file: Path | None, urls: list[str] | None, *, page: str | None) -> "AlertsFile":
    """Who is told of incidents, as a file and the command line say it.

    Raises:
        DataError: the file cannot be read.
        RecipeError: it says something else than it may.
    """
    from logllm.config.alerts import AlertsFile
    from logllm.serve.alerts.sinks import section_of

    # `--alert` adds to what a file says, so that one more can be tried out for a moment.
    settings = AlertsFile()
    if file is not None:
        settings = AlertsFile.read(_toml(file), source=str(file))
    further = tuple(map(section_of, urls or []))
    destinations = settings.alerts + further
    public_url = page or settings.public_url
    return settings.model_copy(update={"alerts": destinations, "public_url": public_url})


@contextmanager
def delivering(store: "Store", settings: "AlertsFile") -> Iterator[dict[str, Any]]:
    """Have messages sent inside a `with` block, which is given the state of each destination."""
    from logllm.serve.alerts.delivering import Delivery

    sinks = _sinks(settings)
    delivery = Delivery(store, sinks, page=settings.public_url, told=note)
    # Messages are sent by a thread of their own, so that a slow receiver does not hold up verdicts.
    delivery.start()
    if sinks:
        names = ", ".join(sink.name for sink in sinks)
        note(f"incidents are sent to {names}")
    try:
        yield delivery.status()
    finally:
        delivery.stop(_STOPPING)


def _sinks(settings: "AlertsFile") -> "list[Sink]":
    """Where incidents are sent."""
    from logllm.serve.alerts.sinks import sinks_of

    return sinks_of(settings.alerts, environment=os.environ, page=settings.public_url)


def _toml(file: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        DataError: it cannot be read.
        RecipeError: it is not TOML.
    """
    import tomllib

    from logllm.errors import DataError, RecipeError, first_line

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise DataError(f"{file} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise RecipeError(f"{file} is not TOML: {first_line(exc)}") from exc


def _tell_sink(sink: dict[str, Any]) -> None:
    """Say how many messages of a destination are in which state, and its last error."""
    from logllm.logs.tally import printable

    # Always what was sent; the other states only where a message is in them.
    counts = [f"{sink['sent']:,} sent"]
    for state in ("waiting", "held", "dead", "withdrawn"):
        if sink[state]:
            counts.append(f"{sink[state]:,} {state}")
    summary = ", ".join(counts)
    result(printable(f"{sink['name']} ({sink['kind']}): {summary}"))
    if sink["error"]:
        due = sink["due"][:19]
        result(printable(f"    {sink['error']}; tried again at {due}Z"))


def _tell(report: dict[str, Any]) -> None:
    """Say what became of messages: those of each destination, and those that were given up."""
    from logllm.logs.tally import printable

    for sink in report["sinks"]:
        _tell_sink(sink)
    # What can be sent again with `logllm alerts retry`.
    for letter in report["dead_letters"]:
        address = f"message {letter['message']} for {letter['sink']}"
        what = f"{address}, {letter['event']}: {letter['title']}"
        result(printable(f"given up: {what} ({letter['error']})"))
    if not report["sinks"]:
        note("incidents are sent nowhere: `logllm watch --alert URL`")
