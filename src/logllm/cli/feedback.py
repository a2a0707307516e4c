"""`logllm feedback`: a person says whether an alarm was right, and which line was to blame."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from logllm.cli.console import emit, note, result
from logllm.counting import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logllm.serve.feedback.answers_given import Said
    from logllm.serve.store.verdict_store import Store


# Which session.
_Where = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="What `logllm watch --store` writes: PATH, sqlite:///PATH or postgresql://...",
    ),
]
_Session = Annotated[
    str | None, typer.Argument(help="Name of the session, as `logllm store show` prints it.")
]

# What is said of it.
_Anomalous = Annotated[
    bool | None,
    typer.Option(
        "--anomalous/--normal", help="The right verdict. A false alarm mutes its kind for 7 days."
    ),
]
_Incident = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Answer for this incident instead of a session; a false alarm mutes all its kinds.",
    ),
]
_Lines = Annotated[
    list[int] | None,
    typer.Option("--line", min=1, help="Number of a line that shows the fault. Repeatable."),
]
_Words = Annotated[str, typer.Option("--note", help="A remark to keep with the answer.")]
_By = Annotated[str, typer.Option(envvar=["LOGLLM_USER", "USER"], help="Who gives the answer.")]
_Stream = Annotated[
    str | None,
    typer.Option(help="The watch that judged it, if several have a session of this name."),
]

# A session that no verdict was stored for.
_Text = Annotated[
    Path | None,
    typer.Option(
        help=(
            "File with the lines of a session that was missed, or - for standard input; needs"
            " --run. Its lines count from 1."
        )
    ),
]
_Run = Annotated[Path | None, typer.Option(help="The run whose format the lines of --text have.")]

# What was said before.
_Listed = Annotated[
    bool,
    typer.Option(
        "--list", help="List the answers so far, newest last; with SESSION only those on it."
    ),
]
_Undo = Annotated[
    int | None,
    typer.Option(
        min=1, help="Take the answer with this number back, and with it the mute it caused."
    ),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print answers as JSON on standard output.")]


def feedback(
    where: _Where,
    session: _Session = None,
    anomalous: _Anomalous = None,
    incident: _Incident = None,
    lines: _Lines = None,
    words: _Words = "",
    by: _By = "",
    stream: _Stream = None,
    text: _Text = None,
    run: _Run = None,
    listed: _Listed = False,
    undo: _Undo = None,
    as_json: _AsJson = False,
) -> None:
    """Say whether an alarm was right, or what was missed; `logllm retrain` learns from it."""
    from contextlib import closing

    store = _opened(where)
    with closing(store):
        if undo is not None:
            _undo(store, undo)
        elif listed:
            _list(store, session, stream=stream, as_json=as_json)
        else:
            said = _said(anomalous, lines=lines, note=words, by=by)
            said = said._replace(incident=incident)
            answer = _given(store, session, stream=stream, said=said, missed=(text, run))
            _tell(answer, as_json=as_json)


def _opened(where: str) -> "Store":
    """A store that is there."""
    from logllm.extras import require
    from logllm.serve.store.verdict_store import Store

    require("watch", to="read verdicts")
    return Store.open(where, create=False)


def _said(anomalous: bool | None, *, lines: list[int] | None, note: str, by: str) -> "Said":
    """The answer as it was given on the command line.

    Raises:
        DataError: it is not said what the session is.
    """
    from logllm.errors import DataError
    from logllm.serve.feedback.answers_given import ANOMALOUS, NORMAL, Said

    # No default: an answer that nobody meant would be learnt.
    if anomalous is None:
        raise DataError(
            "say what the session is with --anomalous or --normal, or use --list or --undo NUMBER"
        )
    answer: Literal["anomalous", "normal"] = ANOMALOUS if anomalous else NORMAL
    return Said(answer, by, tuple(lines) if lines else None, note)


def _given(
    store: "Store",
    session: str | None,
    *,
    stream: str | None,
    said: "Said",
    missed: tuple[Path | None, Path | None],
) -> dict[str, Any]:
    """Give an answer to a verdict that is stored, or to a session whose lines are given.

    Raises:
        DataError: no session is named, or it is not known.
    """
    from logllm.errors import DataError
    from logllm.serve.feedback.answers_given import find_incident, find_session, give

    if session is None and said.incident is not None:
        return give(store, find_incident(store, said.incident), said=said)
    if session is None:
        raise DataError("name the session as `logllm store show` prints it")
    text, run = missed
    # A verdict of the store knows its lines. What was missed because it never was a session of its
    # own is given with them.
    if text is None:
        return give(store, find_session(store, session, stream=stream), said=said)
    if run is None or stream is None:
        raise DataError("--text also needs --run RUN (its format) and --stream NAME (the watch)")
    about, messages = _read(text, run, stream=stream, session=session)
    return give(store, about, said=said._replace(messages=messages))


def _read(text: Path, run: Path, *, stream: str, session: str) -> tuple[Any, tuple[str, ...]]:
    """A session whose lines stand in a file, or come on standard input."""
    import sys

    from logllm.config.prepare import PrepareSection
    from logllm.runs.manifest import find_run, model_name, read_manifest
    from logllm.serve.feedback.answers_given import Missed
    from logllm.serve.feedback.missed_lines import masked_messages

    manifest = read_manifest(find_run(run))
    settings = PrepareSection.read(manifest["data"]["prepare"], source="the run's manifest")
    # Read and masked as the run reads its logs: the answer is compared with what it has learnt.
    raw = sys.stdin.buffer.read() if str(text) == "-" else text.read_bytes()
    decoded = raw.decode(settings.format.encoding, errors="replace")
    messages = masked_messages(decoded.splitlines(), settings)
    return Missed(stream, session, model_name(manifest)), messages


def _undo(store: "Store", number: int) -> None:
    """Take an answer back.

    Raises:
        DataError: there is none of that number.
    """
    from logllm.errors import DataError
    from logllm.serve.feedback.answers_given import take_back

    if not take_back(store, number):
        raise DataError(f"{store.name} has no answer {number}: --list shows them")
    note(f"answer {number} is taken back")


def _list(store: "Store", session: str | None, *, stream: str | None, as_json: bool) -> None:
    """Show what was said."""
    from logllm.serve.feedback.answers_given import answers

    # The newest last: nearest to the prompt, for one who looks for what was said just now.
    newest_last = answers(store, stream=stream, session=session)[::-1]
    if as_json:
        emit(newest_last)
        return
    for given in newest_last:
        result(_line(given))
    note(plural(len(newest_last), "answer"))


def _line(answer: "Mapping[str, Any]") -> str:
    """An answer for the person at the terminal."""
    from logllm.logs.tally import printable

    # Which answer, when, and by whom ...
    made = answer["made"][:19]
    by = f" by {answer['by']}" if answer["by"] else ""
    which = f"{answer['id']} {made}Z{by}"
    # ... what it says of which session ...
    numbers = ", ".join(map(str, answer["lines"] or []))
    lines = f", line {numbers}" if numbers else ""
    session = f"{answer['stream']} {answer['session']}"
    about = f"{session}: {answer['answer']}{lines}"
    # ... and what has become of it.
    learnt = f", learnt by {answer['trained']}" if answer["trained"] else ""
    words = f": {answer['note']}" if answer["note"] else ""
    return printable(f"{which}: {about}{learnt}{words}")


def _tell(answer: "Mapping[str, Any]", *, as_json: bool) -> None:
    """What was said, and what that did."""
    from logllm.logs.tally import printable

    if as_json:
        emit(answer)
    note(_line(answer))
    if "replaces" in answer:
        note(f"it replaces answer {answer['replaces']}")
    if "muted_until" in answer:
        until = answer["muted_until"][:16]
        for kind in answer["muted"]:
            note(printable(f"no alerts for this kind until {until}Z: {kind}"))
        note(f"undo both with `logllm feedback STORE --undo {answer['id']}`")
