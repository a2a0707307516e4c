"""Names, folders and globs as the paths of logs that are there now."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic, iglob
from os.path import abspath
from pathlib import Path


def named_paths(patterns: Sequence[str]) -> list[str]:
    """The patterns that name one file, there or not yet, as whole paths."""
    return [abspath(pattern) for pattern in patterns if not _many(pattern)]  # noqa: PTH100


def matching_paths(patterns: Sequence[str]) -> Iterator[str]:
    """What matches the patterns that are globs, as whole paths; folders are none."""
    for pattern in filter(_many, patterns):
        for path in iglob(pattern, recursive=True):  # noqa: PTH207 - of absolute ones too
            if not Path(path).is_dir():
                yield abspath(path)  # noqa: PTH100


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a whole path is one that the globs among the patterns stand for.

    >>> matches("/var/log/app.log", ["/var/log/**/app*"])
    True
    """
    # In `fnmatch` a star stands for any characters, slashes too: `**/` needs no more than that.
    several = filter(_many, patterns)
    globs = (abspath(pattern).replace("**/", "*") for pattern in several)  # noqa: PTH100
    return any(fnmatchcase(path, pattern) for pattern in globs)


def _many(pattern: str) -> bool:
    """Whether a pattern stands for many files: a file may be called so, too."""
    return has_magic(pattern) and not Path(pattern).exists()
