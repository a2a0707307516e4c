"""The `logllm` command: its verbs, and the one place where errors become an exit code."""

import os
import sys
import warnings
from typing import Annotated

import typer

from logllm.cli import (
    admit,
    baseline,
    bench,
    detect,
    evaluate,
    export,
    folds,
    importing,
    perturb,
    prepare,
    push,
    reproduce,
    show,
    threshold,
    train,
)
from logllm.errors import LogLLMError

app = typer.Typer(
    name="logllm",
    help="Log anomaly detection with language models.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("admit")(admit.admit)
app.command("threshold")(threshold.threshold)
app.command("detect")(detect.detect)
app.command("baseline")(baseline.baseline)
app.command("perturb")(perturb.perturb)
app.command("folds")(folds.folds)
app.command("bench")(bench.bench)
app.command("reproduce")(reproduce.reproduce)
app.command("import")(importing.import_)
app.command("export")(export.export)
app.command("push")(push.push)
app.add_typer(show.app, name="show")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Log anomaly detection with language models: prepare, train, evaluate, detect."""
    context.obj = {"verbose": verbose}
    if version:
        from logllm import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line: exit 0 when all is well, 1 for an anomaly with --fail-on-anomaly, 2 for a mistake to mend."""
    # What other libraries say of their own progress is not for our users; `-v` keeps it.
    if not {"-v", "--verbose"} & set(sys.argv[1:2]):
        os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
        warnings.simplefilter("ignore")
    try:
        app()
    except LogLLMError as exc:
        if {"-v", "--verbose"} & set(sys.argv[1:2]):
            raise
        typer.secho(f"logllm: {exc}", err=True, fg=typer.colors.RED)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone: not our error. Python would complain when it flushes stdout at exit.
        sys.stderr.close()
        sys.exit(0)
