"""What was asked for on standard output; talk on standard error: progress bars, tables, notes."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from logllm.counting import counted_as, plural
from logllm.training.processes import writes

if TYPE_CHECKING:
    from rich.progress import Progress


Tell = Callable[[str], None]
"""Says one line to the person at the terminal."""


def note(text: str) -> None:
    """One line for the person at the terminal."""
    import typer

    typer.secho(text, err=True)


def result(text: str, *, aside: bool = False) -> None:
    """One line of what was asked for, on standard output.

    Args:
        text: the line.
        aside: write it to standard error: standard output has the same as JSON.
    """
    import typer

    typer.secho(text, err=aside)


def one_line(text: str) -> str:
    """A line for standard output, cut at its end where a terminal would wrap it."""
    if not sys.stdout.isatty():
        return text
    import shutil

    width = shutil.get_terminal_size().columns
    return text if len(text) <= width else f"{text[: width - 1]}…"


def hanging(begin: str, text: str) -> str:
    """A line for standard output; on a terminal its further lines stand below where `text` begins.

    >>> hanging("  grep   ", "messages with a word of trouble")
    '  grep   messages with a word of trouble'
    """
    # In a pipe it stays one line, for `grep`.
    if not sys.stdout.isatty():
        return f"{begin}{text}"
    import shutil
    import textwrap

    # A terminal would break it in the middle of a word.
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        text, width, initial_indent=begin, subsequent_indent=" " * len(begin), tabsize=1
    )


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    asked: bool = False,
) -> None:
    """A table for the person at the terminal, narrow enough for 80 columns.

    It has no frame, and all of it is aligned to the left.

    Args:
        title: what stands above it.
        columns: their heads.
        rows: its rows.
        asked: it is what was asked for, and goes to standard output.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Text instead of str: rich would take `[error]` in a message for a colour.
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="left", overflow="fold")
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        drawn.add_row(*map(Text, cells))
    Console(stderr=not asked).print(drawn)


def tell_counts(counts: Mapping[str, int], first_rejects: Sequence[Mapping[str, object]]) -> None:
    """Say how much was read, what was not, and the first lines that were not."""
    troubles: list[str] = []
    for name, count in counts.items():
        if count and name != "lines":
            troubles.append(counted_as(count, name))
    lines = plural(counts["lines"], "line")
    note(f"{lines} read: {', '.join(troubles)}" if troubles else f"{lines} read")
    for reject in first_rejects:
        note(f"  rejected: {reject['file']}:{reject['line']}: {reject['text']}")


@contextmanager
def shares() -> Iterator[Callable[[str, float], None]]:
    """A bar for work that tells what it is doing and the share done."""
    # Nobody would see it, and to import Rich takes as long as to read a short log.
    if not sys.stderr.isatty() or not writes():
        yield lambda doing, share: None
        return
    with _bars() as bars:
        tasks: dict[str, int] = {}

        def progress(doing: str, share: float) -> None:
            if doing not in tasks:
                tasks[doing] = bars.add_task(doing, total=1.0)
            bars.update(tasks[doing], completed=share)  # type: ignore[arg-type]

        yield progress


@contextmanager
def counts(doing: str) -> Iterator[Callable[..., None]]:
    """A bar for work that tells how much of how much is done, and perhaps what it is at."""
    # A bar in a file would be thousands of lines.
    if not sys.stderr.isatty():
        yield lambda done, total, said="": None
        return
    with _bars() as bars:
        task = bars.add_task(doing, total=None)

        def progress(done: int, total: int, said: str = "") -> None:
            description = f"{doing} {said}".rstrip()
            bars.update(task, completed=done, total=total, description=description)

        yield progress


def _bars() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(75), duration(3.2)
    ('1 min 15 s', '3.2 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """Bytes as people say them.

    >>> size(7_300_000), size(8_350_000_000)
    ('7.3 MB', '8.35 GB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB"


def emit(value: object) -> None:
    """One JSON object on standard output."""
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")
