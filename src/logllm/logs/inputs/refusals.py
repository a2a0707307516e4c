"""Why an input is refused as it is, and what makes it one that can be read."""

from collections.abc import Sequence
from glob import escape
from pathlib import Path
from shlex import quote

from logllm.errors import DataError
from logllm.logs.inputs.urls import is_url

_STDIN = "-"


def refuse(kind: str, *, name: str, tool: str) -> None:
    """Refuse a file that is not lines as it is, and say how to come to its lines.

    Args:
        kind: what `logllm.logs.archives.other_kind` calls it.
        name: the file's.
        tool: the command that unpacks it.

    Raises:
        DataError: always.
    """
    # What unpacks it writes into a file: from a pipe not every command reads.
    if kind == "zip":
        reason = f"a zip archive: unzip -p {_source(name)} FILE > one.log, then name one.log"
    elif kind == "tar":
        untar = f"{unpacking(name, tool)} | tar -xO FILE > one.log"
        # It may be packed once more, by the tool.
        reason = f"a tar archive: {untar}, then name one.log"
    elif kind == "journal":
        export = f"journalctl --file {_source(name)} -o export > journal.export"
        reason = f"a journal of systemd's: {export}, then name journal.export"
    else:
        # Whatever it is, there is no line in it to read.
        reason = "binary, and a log is text: name another file, or write it as text first"
    raise DataError(f"{called(name)} is {reason}")


def unpacking(name: str, tool: str) -> str:
    """The command that writes what an archive holds to standard output.

    >>> unpacking("my app.gz", "zcat"), unpacking("-", "xzcat")
    ("zcat 'my app.gz'", '... | xzcat')
    """
    return f"... | {tool}" if name == _STDIN else f"{tool} {_source(name)}"


def nothing_in(names: Sequence[str]) -> str:
    """What there is to say of inputs that hold no line.

    >>> nothing_in(["-"])
    'standard input holds no lines: see what the command before the pipe says'
    """
    if list(names) == [_STDIN]:
        return "standard input holds no lines: see what the command before the pipe says"
    # What most often empties a log is its rotation: the lines are in a file beside it.
    rotated = [file for name in names if not is_url(name) for file in _rotated(Path(name))]
    remedy = "see whether this is the file that the program writes to"
    if rotated:
        newest = max(rotated, key=lambda file: file.stat().st_mtime)
        remedy = f"it was rotated, and the lines before are in {newest}"
    return f"{', '.join(names)} holds no lines: {remedy}"


def _rotated(log: Path) -> list[Path]:
    """The files beside a log that were it before, such as `app.log.1`."""
    beside = log.parent.glob(f"{escape(log.name)}[.-][0-9]*")
    return [file for file in beside if file.is_file() and file.stat().st_size]


def called(name: str) -> str:
    """An input as a message names it.

    >>> called("-"), called("app.log")
    ('standard input', 'app.log')
    """
    return "standard input" if name == _STDIN else name


def _source(name: str) -> str:
    """An input as a command of the shell names it; what is behind a URL has to be fetched first."""
    return quote(Path(name).name if is_url(name) else name)
