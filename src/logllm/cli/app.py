"""The `logllm` command: its verbs, and the one place where errors become an exit code."""

import atexit
import errno
import gc
import os
import sys
import traceback
import warnings
from difflib import get_close_matches
from functools import cache
from io import BytesIO, TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from logllm.cli import (
    alerts,
    baseline,
    bench,
    detect,
    evaluate,
    export,
    feedback,
    folds,
    importing,
    label,
    mcp,
    perturb,
    prepare,
    push,
    reproduce,
    retrain,
    serve,
    show,
    store,
    threshold,
    train,
    watch,
)
from logllm.errors import LogLLMError, first_line
from logllm.extras import lacking

_FULL = (errno.ENOSPC, errno.EDQUOT)
_JSON = {
    "detect": "verdicts are JSON already, an object a line",
    "show run": "what it shows is JSON already",
}
"""Verbs without --json, whose output needs none."""
_ALIKE = 0.75  # of two options; Click takes .6, and offers --ray for --sumary


class _Verbs(TyperGroup):
    """The verbs; what is wrong with an option or its value is said in our words."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb, whose options are read on the way."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as exc:
            exc.message = _of_a_value(exc) or exc.message
            raise
        # Typer has Click's errors under no name of its own.
        except Exception as exc:
            if type(exc).__name__ == "NoSuchOption":
                _advise(exc)
            raise


app = typer.Typer(
    name="logllm",
    cls=_Verbs,
    help="Log anomaly detection with language models.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

# In the order in which `logllm --help` lists them, by what people come for.
_EVERYDAY, _RUNNING, _SHARING, _STUDY = "Everyday", "Running", "Sharing", "Study"
app.command("detect", rich_help_panel=_EVERYDAY)(detect.detect)
app.command("prepare", rich_help_panel=_EVERYDAY)(prepare.prepare)
app.command("train", rich_help_panel=_EVERYDAY)(train.train)
app.command("evaluate", rich_help_panel=_EVERYDAY)(evaluate.evaluate)
app.command("watch", rich_help_panel=_RUNNING)(watch.watch)
app.command("serve", rich_help_panel=_RUNNING)(serve.serve)
app.command("label", rich_help_panel=_RUNNING)(label.label)
app.command("mcp", rich_help_panel=_RUNNING)(mcp.mcp)
app.command("feedback", rich_help_panel=_RUNNING)(feedback.feedback)
app.command("retrain", rich_help_panel=_RUNNING)(retrain.retrain)
app.command("threshold", rich_help_panel=_RUNNING)(threshold.threshold)
app.add_typer(show.app, name="show", rich_help_panel=_RUNNING)
app.add_typer(store.app, name="store", rich_help_panel=_RUNNING)
app.add_typer(alerts.app, name="alerts", rich_help_panel=_RUNNING)
app.command("bench", rich_help_panel=_RUNNING)(bench.bench)
app.command("export", rich_help_panel=_SHARING)(export.export)
app.command("push", rich_help_panel=_SHARING)(push.push)
app.command("import", rich_help_panel=_SHARING)(importing.import_)
app.command("reproduce", rich_help_panel=_STUDY)(reproduce.reproduce)
app.command("perturb", rich_help_panel=_STUDY)(perturb.perturb)
app.command("folds", rich_help_panel=_STUDY)(folds.folds)
app.command("baseline", hidden=True)(baseline.baseline)


@app.callback(invoke_without_command=True)
def options(
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="Show the traceback of an error; works anywhere on the command line.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Print the version and exit.")
    ] = False,
) -> None:
    """Log anomaly detection with language models: prepare, train, evaluate, detect."""
    del verbose  # `main` has looked for it: errors before this call need it too
    if version:
        from logllm import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line.

    Exits with 0 when all is well, 1 for an anomaly with --fail-on-anomaly, and 2 for an error.
    """
    sys.argv, verbose = _without_verbose(sys.argv)
    _settle(verbose=verbose)
    if sys.stdin is None:  # closed, as `<&-` does
        sys.stdin = TextIOWrapper(BytesIO())
    try:
        _run()
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone: not our error. Python would complain
        # when it flushes stdout at exit.
        sys.stderr.close()
        sys.exit(0)
    # Whatever it is, Python would end with 1, which is for anomalies
    except Exception as exc:  # noqa: BLE001
        exc = _named(exc)
        if verbose or not isinstance(exc, (LogLLMError, OSError)):
            traceback.print_exception(exc)
        else:
            typer.secho(f"logllm: {_said(exc)}", err=True, fg=typer.colors.RED)
        sys.exit(2)


def _settle(*, verbose: bool) -> None:
    """Make the settings of other libraries, before these are imported."""
    # Torch's threads sleep soon where they wait for each other: on a busy machine waiting awake
    # takes longer than a short log itself.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # What other libraries say of their own progress is not for our users; `-v` keeps it.
    if not verbose:
        os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
        warnings.simplefilter("ignore")
    # At the end Python looks through everything for cycles, with a model loaded for two seconds;
    # what is left goes with the process.
    atexit.register(gc.freeze)


def _named(exc: Exception) -> Exception:
    """The error itself, or for a package that is not installed one that names the extra with it."""
    if not isinstance(exc, ModuleNotFoundError) or not exc.name:
        return exc
    package = exc.name.partition(".")[0]
    return exc if package.startswith("logllm") else lacking(package)


def _without_verbose(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without `-v`, wherever before `--` it stands, and whether it was there.

    >>> _without_verbose(["logllm", "detect", "-v", "app.log"])
    (['logllm', 'detect', 'app.log'], True)
    """
    # After `--` everything is a name, even one that looks like an option.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before, after = arguments[:end], arguments[end:]
    others = [argument for argument in before if argument not in {"-v", "--verbose"}]
    verbose = len(others) < len(before)
    return [*others, *after], verbose


def _run() -> None:
    """Run the command and flush its output.

    Raises:
        BrokenPipeError: the reader of the output has gone.
    """
    try:
        _command()()
    except SystemExit as stop:
        # typer catches a broken pipe and would have us end with 1.
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise
    finally:
        _flush()


@cache
def _command() -> Any:
    """The verbs and their options, put together once in a process."""
    return typer.main.get_command(app)


def _flush() -> None:
    """Flush standard output, and drop what it does not take, such as on a full disk.

    Raises:
        OSError: it does not take all.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # Python would try again at exit, and complain a second time.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        raise


def _of_a_value(exc: typer.BadParameter) -> str | None:
    """What pydantic, by which typer reads options, found wrong; None: it was not asked."""
    from pydantic import ValidationError

    from logllm.config.section import problem_in_words

    if not isinstance(exc.__cause__, ValidationError):
        return None
    problem = exc.__cause__.errors()[0]
    words = problem_in_words(problem)
    value = f"{problem['input']!r:.80}"
    return words if value in words else f"{words} (found {value})"


def _advise(exc: Any) -> None:
    """Make the error of an option that a verb does not have say what to do."""
    program = exc.ctx.find_root().info_name
    verb = exc.ctx.command_path.removeprefix(program).strip()
    if exc.option_name == "--json" and verb in _JSON:
        exc.message += f": {_JSON[verb]}; leave --json out"
    near = get_close_matches(exc.option_name, exc.possibilities or (), cutoff=_ALIKE)
    exc.possibilities = near or None


def _said(exc: LogLLMError | OSError) -> str:
    """An error in one line."""
    if isinstance(exc, LogLLMError):
        return str(exc)
    # `[Errno 2] No such file...` means nothing to people; the file and the reason do.
    what = exc.strerror or first_line(exc)
    if exc.errno in _FULL:
        # A file that finds no room is named where it is written (`logllm.storage`).
        place = exc.filename or "standard output"
        return f"{place}: {what}: free some room there, or write to another place"
    return f"{exc.filename or 'something cannot be read or written'}: {what}"
