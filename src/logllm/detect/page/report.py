"""Verdicts as a page of HTML, alone or in a folder with the verdicts themselves."""

from importlib.metadata import version
from pathlib import Path

import polars as pl

from logllm.detect.page.contents import Contents
from logllm.detect.page.html import rendered
from logllm.detect.verdict import json_lines
from logllm.errors import DataError
from logllm.storage import MANIFEST, check_replaceable, new_folder, sha256, write_atomic, write_json

PAGE = "report.html"
"""File of the page in a folder."""
VERDICTS = "verdicts.jsonl"
"""File of the verdicts in a folder."""
KIND = "verdicts"
"""What the folder's manifest says it is."""

_TEMPLATE = "detect/page/page.html.jinja"
_SCRIPT = "detect/page/page.js"


def is_page(path: Path) -> bool:
    """Whether a report is to be one page, and no folder.

    >>> is_page(Path("today.html")), is_page(Path("today"))
    (True, False)
    """
    return path.suffix.lower() in (".html", ".htm")


def check_report(path: Path, *, force: bool) -> None:
    """Whether a report can be written here, asked before minutes of scoring.

    Args:
        path: of a page, or of a folder.
        force: replace what is there, if it is a file, or a folder of the same kind.

    Raises:
        DataError: something is here that may not be replaced.
    """
    # `report` is a folder, `report.html` a page.
    if not is_page(path):
        check_replaceable(path, force=force, kind=KIND)
    elif path.is_dir():
        raise DataError(
            f"{path} is a folder: name a file for the page, or a folder that does not end in .html"
        )
    elif path.exists() and not force:
        raise DataError(f"{path} exists: name another file, or replace it with --force")


def page(contents: Contents) -> str:
    """The page as HTML: all that it needs is in it, and what it shows of a log is text."""
    # The filter of the table offers only calls that it holds.
    calls = sorted({session.call for session in contents.table})
    marked = any(session.marked for session in contents.table)
    values = {"page": contents, "calls": calls, "marked": marked, "logllm": version("logllm")}
    return rendered(_TEMPLATE, values, script=_SCRIPT)


def write_report(
    path: Path,
    contents: Contents,
    *,
    verdicts: pl.DataFrame,
    force: bool,
) -> Path:
    """Write the page, or a folder that holds it and the verdicts.

    Args:
        path: of a page, or of a folder.
        contents: what the page says.
        verdicts: a verdict frame, all of it.
        force: as for `check_report`.

    Returns:
        Where the page is.

    Raises:
        DataError: it cannot be written, or something is there that may not be replaced.
    """
    check_report(path, force=force)
    text = page(contents).encode()
    if is_page(path):
        write_atomic(path, text)
        return path
    # All or nothing: the folder appears under its name when it is whole.
    with new_folder(path, force=force, kind=KIND) as place:
        write_atomic(place / PAGE, text)
        lines = "".join(json_lines(verdicts.drop("messages")))
        write_atomic(place / VERDICTS, lines.encode())
        files = {file.name: sha256(file) for file in sorted(place.iterdir())}
        manifest = {"kind": KIND, "version": 1, "files": files}
        write_json(place / MANIFEST, manifest)
    return path / PAGE
