"""Every error that logllm raises on purpose, as one tree, and how messages count.

    LogLLMError
    ├── RecipeError    a recipe, a setting or an option is wrong
    ├── DataError      a log, its labels or prepared data are wrong
    ├── ModelError     weights are missing, do not fit, or a run is not what it was
    └── ServeError     the service cannot start or answer

Each message says what was found and what to do about it. The command line catches `LogLLMError` once, prints its
one line and exits with 2.
"""

from collections.abc import Sequence
from difflib import get_close_matches


class LogLLMError(Exception):
    """The root: catch this to catch every error a user can mend."""


class RecipeError(LogLLMError):
    """A recipe, a setting or an option is wrong."""


class DataError(LogLLMError):
    """A log, its labels or prepared data are wrong."""


class ModelError(LogLLMError):
    """Weights are missing or do not fit, or a run directory is not what its manifest says."""


class ServeError(LogLLMError):
    """The service cannot start or answer."""


def first_line(exc: BaseException) -> str:
    r"""What an error says first, or its kind where it says nothing.

    >>> first_line(ValueError("no such layer\nsee the manual")), first_line(KeyError())
    ('no such layer', 'KeyError')
    """
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


def nearest(name: str, known: Sequence[str]) -> str:
    """Of known names the one that a person who wrote another one is most likely to have meant.

    >>> nearest("deplog", ["cnn", "deeplog", "rapid"])
    'deeplog'
    """
    return get_close_matches(name, known, n=1, cutoff=0.0)[0]
