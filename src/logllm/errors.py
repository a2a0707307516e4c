"""Every error that logllm raises on purpose, as one tree, and how messages count.

    LogLLMError
    ├── RecipeError    a recipe, a setting or an option is wrong
    ├── DataError      a log, its labels or prepared data are wrong
    ├── ModelError     weights are missing, do not fit, or a run is not what it was
    └── ServeError     the service cannot start or answer

Each message says what was found and what to do about it. The command line catches `LogLLMError`
once, prints its one line and exits with 2.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

_WORD = re.compile(r"[a-z0-9]+")
_AS_SPELT = 0.8
"""How alike two words must be to be one that is misspelt."""
_IN_TITLE = 0.9
"""What a word counts that a title has and its name has not."""


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
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


def nearest(name: str, known: Sequence[str], *, titles: Mapping[str, str] | None = None) -> str:
    """The known name that a person who wrote another one is most likely to have meant.

    It is the nearest one by its spelling, or by the words of its name and its title.

    >>> nearest("deplog", ["cnn", "deeplog", "rapid"])
    'deeplog'
    >>> titles = {"tree-counts": "decision tree on counts"}
    >>> nearest("decision tree", ["deeplog", "tree-counts"], titles=titles)
    'tree-counts'
    """
    lowered = name.lower()
    words = _WORD.findall(lowered)

    def nearness(candidate: str) -> float:
        spelling = SequenceMatcher(None, lowered, candidate.lower()).ratio()
        # "decision tree" is spelt like no name, and yet its words are those of a title.
        name_words = _WORD.findall(candidate.lower())
        title = (titles or {}).get(candidate, "")
        title_words = _WORD.findall(title.lower())
        meant = 0.0
        for word in words:
            in_name, in_title = _alike(word, name_words), _alike(word, title_words)
            meant += max(in_name, _IN_TITLE * in_title)
        return max(spelling, meant / max(1, len(words)))

    return max(known, key=nearness)


def _alike(word: str, others: Sequence[str]) -> float:
    """How alike a word is to the most alike of some others, in [0, 1].

    It is 0 if the word is none of them, nor one of them misspelt.
    """
    best = 0.0
    for other in others:
        ratio = SequenceMatcher(None, word, other).ratio()
        # Below that two words have some letters in common, and no meaning.
        if ratio >= _AS_SPELT:
            best = max(best, ratio)
    return best
