"""`logllm store`: look at verdicts that were stored, check them, copy them, delete old ones."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from logllm.cli.console import note, result
from logllm.counting import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from logllm.serve.store.verdict_store import Store

app = typer.Typer(
    help="Look into a store of verdicts, check it, back it up, delete old verdicts.",
    no_args_is_help=True,
)

_Where = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="What `logllm watch --store` writes: PATH, sqlite:///PATH or postgresql://...",
    ),
]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, as `detect` writes.")]
_Anomalous = Annotated[bool, typer.Option("--anomalous", help="Only sessions that are anomalous.")]
_Since = Annotated[
    str | None,
    typer.Option(
        help=(
            "Written since then: 2026-11-27T12:00 (UTC unless it names a zone), or 90m, 2h, 7d ago."
        )
    ),
]
_Days = Annotated[
    int, typer.Option(min=1, max=36_500, help="Keep verdicts that are younger than this.")
]


_State = Annotated[
    Literal["open", "closed", "early"] | None,
    typer.Option(help="Only sessions in this state: still going on, over, or closed early."),
]
_Stream = Annotated[str | None, typer.Option(help="Only verdicts of this watch.")]
_Limit = Annotated[int, typer.Option(min=1, help="Show at most this many.")]


@app.command()
def show(
    where: _Where,
    as_json: _Json = False,
    anomalous: _Anomalous = False,
    state: _State = None,
    stream: _Stream = None,
    limit: _Limit = 100,
    since: _Since = None,
) -> None:
    """Show the latest verdicts, newest first."""
    earliest = None if since is None else _time(since, now=datetime.now(UTC))
    store = _opened(where)
    if stream is not None:
        _check_stream(store, stream)
    # None: verdicts of either kind; there is no option for the normal ones alone.
    rows = store.verdicts(
        stream, anomalous=True if anomalous else None, state=state, since=earliest, limit=limit
    )
    store.close()
    if as_json:
        _write(rows)
    else:
        _tell(rows)


@app.command()
def check(where: _Where) -> None:
    """Look for damage: exit 0 if there is none, 2 if there is."""
    from logllm.errors import DataError

    # All faults are told before the command fails.
    store = _opened(where)
    faults = store.check()
    store.close()
    for fault in faults:
        note(fault)
    if faults:
        remedy = "stop the watch and restore a backup"
        raise DataError(f"{store.name} has {plural(len(faults), 'fault')}: {remedy}")
    note(f"{store.name}: no faults")


@app.command()
def backup(
    where: _Where,
    file: Annotated[Path, typer.Argument(help="File for the copy, which is a store itself.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file.")] = False,
) -> None:
    """Copy a store while a watch keeps writing to it; for PostgreSQL use pg_dump."""
    from logllm.errors import DataError

    if file.exists() and not force:
        raise DataError(f"{file} exists: name another file, or replace it with --force")
    store = _opened(where)
    store.backup(file)
    store.close()
    note(f"{file} is a copy of {store.name}; the same watch with --store {file} goes on from there")


@app.command()
def retain(where: _Where, days: _Days) -> None:
    """Delete old verdicts without holding up a watch; open sessions are kept."""
    store = _opened(where)
    deleted = store.retain(days=days, now=datetime.now(UTC))
    store.close()
    verdicts, age = plural(deleted, "verdict"), plural(days, "day")
    note(f"{store.name}: {verdicts} of more than {age} deleted")


@app.command()
def learnt(
    where: _Where,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Show what was learnt in addition to this run: counts, and kinds of message."
        ),
    ] = None,
    stream: Annotated[str | None, typer.Option(help="Only of this watch.")] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget it; a running watch starts over.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per watch and run.")
    ] = False,
) -> None:
    """Show what watches with --learn have learnt beside their runs."""
    from logllm.serve.learning_on.learnings import forgotten, told

    store = _opened(where)
    if forget:
        for learning in forgotten(store, stream):
            note(f"{learning.stream}: what was learnt beside {learning.model} is forgotten")
    else:
        _tell_learnt(told(store, stream, run=run), as_json=as_json)
    store.close()


def _tell_learnt(learnings: "Sequence[Mapping[str, Any]]", *, as_json: bool) -> None:
    """Tell what was learnt by several watches."""
    import json

    for learning in learnings:
        if as_json:
            sys.stdout.write(json.dumps(learning, ensure_ascii=False) + "\n")
        else:
            _tell_learning(learning)
    if not learnings:
        note("nothing was learnt: `logllm watch --learn` does")


def _tell_learning(learning: "Mapping[str, Any]") -> None:
    """Tell what one watch has learnt beside one run."""
    from logllm.counting import counted_as
    from logllm.logs.tally import printable

    words = [f"{learning['stream']}, beside {learning['model']}"]
    for name, count in learning.get("counts", {}).items():
        if count:
            words.append(counted_as(count, name))
    result(printable(", ".join(words)))
    # Under the counts each kind of message, by its first line.
    for line in learning.get("kinds", {}).values():
        result(printable(f"    {line}"))


def _opened(where: str) -> "Store":
    """A store that is there."""
    from logllm.serve.store.verdict_store import Store

    return Store.open(where, create=False)


def _check_stream(store: "Store", stream: str | None) -> None:
    """Check that verdicts of a watch are stored, where one is named.

    Raises:
        DataError: no such watch has written to this store; its name may be misspelt.
    """
    from logllm.errors import DataError

    names = store.streams()
    if stream not in names:
        others = f"it has those of {', '.join(names)}" if names else "it has none at all"
        raise DataError(f"{store.name} has no verdicts of a watch named {stream!r}: {others}")


def _time(written: str, *, now: datetime) -> datetime:
    """A point in time, as people write it or as an age.

    >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    >>> [_time(written, now=noon).isoformat() for written in ("90m", "2026-11-26")]
    ['2026-11-27T10:30:00+00:00', '2026-11-26T00:00:00+00:00']

    Raises:
        DataError: it is none.
    """
    from logllm.errors import DataError

    # `90m`, `2h` and `7d` are ages; anything else is a point in time.
    count, unit = written[:-1], written[-1:]
    try:
        if unit in _UNITS and count.isdecimal():
            return now - timedelta(**{_UNITS[unit]: int(count)})
        time = datetime.fromisoformat(written)
    except (ValueError, OverflowError):
        forms = "2026-11-27T12:00, 2026-11-27T12:00+01:00, 90m, 2h or 7d"
        raise DataError(f"{written} is not a time: write one such as {forms}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _write(rows: "pl.DataFrame") -> None:
    """Write verdicts to standard output, one JSON object a line."""
    import json

    from logllm.serve.store.objects import verdict_objects

    for verdict in verdict_objects(rows):
        sys.stdout.write(json.dumps(verdict, ensure_ascii=False) + "\n")


def _tell(rows: "pl.DataFrame") -> None:
    """Show verdicts on the terminal, each with its end and the line that tells most."""
    from logllm.logs.tally import printable
    from logllm.serve.store.objects import verdict_objects

    for verdict in verdict_objects(rows):
        # A session that is still open, or whose log has no times, has no end.
        when = (verdict["end"] or verdict["updated"])[:19]
        session = f"{verdict['stream']} {verdict['session']}"
        what = "anomalous" if verdict["anomalous"] else "normal"
        lines = plural(len(verdict["lines"]), "line")
        about = f"{session}: {what}, {verdict['score']:.4f}, {lines}"
        result(printable(f"{when}Z {about}, {verdict['state']}"))
        for reason in _reasons(verdict):
            result(printable(f"    {reason}"))
    note(plural(rows.height, "verdict"))


def _reasons(verdict: dict[str, Any]) -> list[str]:
    """The line that tells most, and what did not come."""
    reasons: list[str] = []
    # The foremost alone: the page and `--json` have all of them.
    for telling in verdict.get("evidence", [])[:1]:
        named = [name for name in ("file", "line") if name in telling]
        place = ":".join(str(telling[name]) for name in named)
        reasons.append(f"{place}: {telling['text']}")
    # Where something is missing that line is the last one before the gap, and says nothing.
    missing = verdict.get("expected", [])[:1]
    reasons += [f"did not come: {message}" for message in missing]
    return reasons
