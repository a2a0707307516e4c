"""Every error that logllm raises on purpose, as one tree, and how messages count.

    LogLLMError
    ├── RecipeError    a recipe, a setting or an option is wrong
    ├── DataError      a log, its labels or prepared data are wrong
    ├── ModelError     weights are missing, do not fit, or a run is not what it was
    └── ServeError     the service cannot start or answer

Each message says what was found and what to do about it. The command line catches `LogLLMError` once, prints its
one line and exits with 2. Messages count with `plural` and `agreeing`.
"""

import re
from importlib.util import find_spec

_EITHER = re.compile(r"\{([^{|}]*)\|([^{|}]*)\}")
"""Words for one, and for more or none."""


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


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "session"), plural(1200, "anomalous session"), plural(0, "line")
    ('1 session', '1,200 anomalous sessions', '0 lines')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def agreeing(count: int, text: str) -> str:
    """A count and words that go with it: of `{one|more}` the first for one, else the second.

    >>> agreeing(1, "{line was|lines were} cut"), agreeing(2, "{line was|lines were} cut")
    ('1 line was cut', '2 lines were cut')
    """
    return f"{count:,} " + _EITHER.sub(lambda either: either[1 if count == 1 else 2], text)


_EXTRAS = {
    "train": ("accelerate", "peft", "sklearn", "transformers"),
    "qlora": ("bitsandbytes",),
    "report": ("jinja2", "matplotlib"),
    "study": ("drain3",),
}
"""Packages that not every installation has, as they are imported, by the extra that brings them."""


def require(extra: str, *, to: str) -> None:
    """Make sure that an extra is installed before work begins that needs it.

    Args:
        extra: its name in `pip install 'logllm[...]'`.
        to: what it is needed for: "train".

    Raises:
        RecipeError: it is not; the message names what to install.
    """
    for package in _EXTRAS[extra]:
        if find_spec(package) is None:
            raise lacking(package, to=to)


def lacking(package: str, *, to: str = "do this") -> RecipeError:
    """The error of a package that is not installed.

    >>> str(lacking("peft", to="train"))
    "to train takes peft, which is not installed: pip install 'logllm[train]', or in the source's folder pip install '.[train]'"
    """
    extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
    said = f"to {to} takes {package}, which is not installed: "
    if extra is None:
        return RecipeError(f"{said}this installation is not whole; install logllm again")
    return RecipeError(f"{said}pip install 'logllm[{extra}]', or in the source's folder pip install '.[{extra}]'")
