"""docs/cli.md: every verb of the command line with its arguments and options, from its own help."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from logllm.cli.app import app

INTRODUCTION = """# Command line

Every verb, argument and option, made from the source by `make docs`. `logllm VERB --help` shows the
same on a terminal. What was asked for goes to standard output: verdicts, JSON, lists, figures of
`evaluate`. Progress, notes and summaries go to standard error; so do tables where `--json` has
their content on standard output.

| exit status | means |
| --- | --- |
| 0 | it worked |
| 1 | `detect --fail-on-anomaly` has found an anomaly |
| 2 | something went wrong, and standard error says what |
| 130 | it was stopped with Ctrl-C |
"""


def page() -> str:
    """The whole page."""
    command = typer.main.get_command(app)
    return "\n".join([INTRODUCTION, *described("logllm", command)])


def described(name: str, command: Any) -> Iterator[str]:
    """A command and all commands inside it."""
    inner = getattr(command, "commands", {})
    visible = {key: each for key, each in inner.items() if not each.hidden}
    if not inner:
        yield from _command(name, command)
    for key, each in visible.items():
        yield from described(f"{name} {key}", each)


def _command(name: str, command: Any) -> Iterator[str]:
    """One verb: what it does, and a table of what it takes."""
    yield f"## {name}\n\n{_line(command.help)}\n"
    yield "| argument or option | takes | default | what |\n| --- | --- | --- | --- |"
    for parameter in command.params:
        if "--help" in parameter.opts or getattr(parameter, "hidden", False):
            continue
        yield (
            f"| {_name(parameter)} | {_takes(parameter)} | {_default(parameter)} |"
            f" {_line(parameter.help)} |"
        )
    yield ""


def _name(parameter: Any) -> str:
    """How a parameter is written; bars are escaped, so that they end no cell."""
    if parameter.param_type_name == "argument":
        shown = parameter.metavar or parameter.name.upper()
        return f"`{shown}`".replace("|", chr(92) + "|")
    written = [*parameter.opts, *parameter.secondary_opts]
    return ", ".join(f"`{word}`" for word in written)


def _takes(parameter: Any) -> str:
    """What kind of value it takes."""
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{choice.value}`" for choice in annotation)
    kinds = {bool: "nothing", str: "text", int: "number", float: "number", Path: "path"}
    return kinds.get(annotation, "text")


def _default(parameter: Any) -> str:
    """What holds where it is not given."""
    if parameter.required:
        return "required"
    value = parameter.default
    if callable(value) or value is None or value is False or value == "" or value == ():
        return ""
    value = getattr(value, "value", value)
    return f"`{value}`" if isinstance(value, (str, int, float)) else ""


def _line(text: str | None) -> str:
    """A help text in one line, fit for a table."""
    return " ".join((text or "").split()).replace("|", chr(92) + "|")
