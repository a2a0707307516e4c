"""Why an input is refused as it is, and what makes it one that can be read."""

from collections.abc import Sequence
from glob import escape
from pathlib import Path
from shlex import quote

from logllm.errors import DataError
from logllm.logs.inputs.urls import is_url

CONTROLS = bytes(range(9)) + bytes(range(14, 27)) + bytes(range(28, 32))
"""Control characters that hardly any text holds."""

_STDIN = "-"
_JOURNAL = b"LPKSHHRH"  # the first bytes of systemd's journal
_LOOKED_AT = 16_384  # bytes
# A protocol's own separators, such as FIX's, are many but of few kinds.
_KINDS = 8
_LEAST = 512  # bytes
_FEW = 0.05  # of the bytes


def check_log(start: bytes, *, name: str, tool: str) -> None:
    """Refuse what is not lines as it is: archives of several files, and what is no text.

    Args:
        start: a file's first bytes, out of its archive.
        name: the file's.
        tool: the command that unpacks it.

    Raises:
        DataError: it is none.
    """
    shown = called(name)
    if start.startswith(b"PK\x03\x04"):
        unzip = f"unzip -p {_source(name)} FILE > one.log"
        raise DataError(f"{shown} is a zip archive: {unzip}, then name one.log")
    if start[257:262] == b"ustar":
        untar = f"{unpacking(name, tool)} | tar -xO FILE > one.log"
        raise DataError(f"{shown} is a tar archive: {untar}, then name one.log")
    if start.startswith(_JOURNAL):
        export = f"journalctl --file {_source(name)} -o export > journal.export"
        raise DataError(f"{shown} is a journal of systemd's: {export}, then name journal.export")
    if _binary(start[:_LOOKED_AT]):
        raise DataError(
            f"{shown} is binary, and a log is text: name another file, or write it as text first"
        )


def _binary(start: bytes) -> bool:
    r"""Whether bytes are no text, for a file that somebody has called a log.

    >>> _binary(b"8=FIX.4.4\x019=65\x0135=A\x01"), _binary(bytes(range(256)))
    (False, False)
    >>> _binary(bytes(range(256)) * 2)
    True
    """
    if len(start) < _LEAST:
        return False
    # A file that was cut off while a program wrote on holds NULs, and is a log.
    written = start.translate(None, b"\0")
    letters = written.translate(None, CONTROLS)
    controls = len(written) - len(letters)
    kinds = sum(control in written for control in CONTROLS[1:])
    return kinds >= _KINDS and controls > _FEW * len(written)


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
