"""Sessions in other languages, by the message catalogues of the program that writes the log.

A program that speaks its user's language looks each message up in a catalogue, the way GNU gettext
does: an English text with gaps for values, and what it is in another language. What was learnt from
English logs is then copied into languages that no labelled log is in.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import polars as pl

from logllm.config.mask import MaskSection
from logllm.config.train import TrainSection
from logllm.datasets.prepared import Prepared
from logllm.datasets.published.packaged import PACKAGED
from logllm.errors import RecipeError, first_line
from logllm.logs.masking import mask
from logllm.methods.held_out import taken
from logllm.methods.prepared_part import Part
from logllm.sessions.message_table import MessageTable, occurring

SHARE = 0.5
"""How many copies there are for each session that is learnt, all languages together."""

_GAP = re.compile(r"%(?:(\d+)\$)?[-+ #0]*\d*(?:\.(?:\d+|\*))?(?:hh|h|ll|l|z)?([a-zA-Z%])")
"""A value's place in a message of C: `%s`, `%.3f`, `%2$s`, `%lu`; and `%%`, a percent sign."""
_A_NUMBER = "7"
"""Stands for a number while an entry is masked."""
_WORD_GAP = re.compile(r"Gap([a-z])Gap")
"""Stands for a word while an entry is masked, as `GapaGap` does for the first: masking leaves it as
it is."""
_GAP_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MASKED = "<*>"
_FEWEST_LETTERS = 4
"""An entry with fewer letters than this would fit what it does not mean."""
_HEAD = re.compile(r"([A-Z]+):(\s+)((?:<\*> |[0-9A-Z]{5}: )?)(.*)", re.DOTALL)
"""What PostgreSQL's messages begin with: a severity, and an error code where one is logged."""
_VERBATIM = "STATEMENT"
"""What stands behind this head was written by the user."""


class _Entry(NamedTuple):
    """A message of a catalogue, both texts masked as the log is."""

    pattern: re.Pattern[str]
    """What its English text matches; a group for each word."""
    words: tuple[str, ...]
    """Which gap of the translation each group fills."""
    translation: str

    def fill(self, match: re.Match[str]) -> str:
        """The translation, with the words of a match in its gaps."""
        values = dict(zip(self.words, match.groups()[-len(self.words) :], strict=False))
        return _WORD_GAP.sub(lambda gap: values.get(gap.group(1), ""), self.translation)


@dataclass(frozen=True)
class Translation:
    """One language's catalogue, ready to translate masked messages."""

    entries: Sequence[_Entry]
    """Whole messages; those with more text of their own first."""
    endings: Sequence[_Entry]
    """What may follow one, such as ` at character %d`: entries that begin with a blank."""
    heads: dict[str, str]
    """Severities and the like, without their colon."""

    @classmethod
    def of(cls, catalogue: dict[str, str], settings: MaskSection) -> Self:
        """Read a catalogue.

        Args:
            catalogue: English messages with gaps, and what they are in the language.
            settings: how the log is masked.
        """
        # Some messages have several lines; in a log each stands for itself, for what follows a
        # message may be put beneath it.
        english: list[str] = []
        translated: list[str] = []
        for text, translation in catalogue.items():
            lines = _with_gaps_named(text).strip("\n").split("\n")
            others = _with_gaps_named(translation).strip("\n").split("\n")
            if len(lines) == len(others):
                english += lines
                translated += others
        english = mask(pl.Series(english, dtype=pl.String), settings).to_list()
        translated = mask(pl.Series(translated, dtype=pl.String), settings).to_list()

        # The one with the most text of its own is meant, where several fit.
        pairs = sorted(zip(english, translated, strict=True), key=lambda pair: -_letters(pair[0]))
        telling = [pair for pair in pairs if _letters(pair[0]) >= _FEWEST_LETTERS]
        entries = [_entry(*pair) for pair in telling if not pair[0].startswith(" ")]
        endings = [_entry(*pair, ending=True) for pair in telling if pair[0].startswith(" ")]
        heads = {text.rstrip(": "): other.rstrip(": ") for text, other in pairs if is_head(text)}
        return cls(entries, endings, heads)

    def translated(self, messages: pl.Series) -> pl.Series:
        """The messages in this language; what the catalogue does not know stays as it is."""
        return pl.Series([self._message(message) for message in messages], dtype=pl.String)

    def _message(self, message: str) -> str:
        match = _HEAD.fullmatch(message)
        if match is None:
            return "\n".join(self._line(line) for line in message.split("\n"))
        head, blanks, code, rest = match.groups()
        if head != _VERBATIM:
            rest = "\n".join(self._line(line) for line in rest.split("\n"))
        return f"{self.heads.get(head, head)}:{blanks}{code}{rest}"

    def _line(self, line: str) -> str:
        # What follows the message is taken off first, from the end.
        following = ""
        rest: str | None = line
        while rest is not None:
            line = rest
            rest = None
            for entry in self.endings:
                match = entry.pattern.fullmatch(line)
                if match is not None:
                    rest = match.group(1)
                    following = entry.fill(match) + following
                    break
        for entry in self.entries:
            match = entry.pattern.fullmatch(line)
            if match is not None:
                return entry.fill(match) + following
        return line + following


def translations_of(prepared: Prepared, section: TrainSection) -> dict[str, Translation]:
    """Catalogues by language.

    Args:
        prepared: the data, which say how messages are masked.
        section: names the languages, and where their translations are: a packaged data set that has
            some, or a JSON file that has, under `languages`, an object of English messages and
            their translations for each language.

    Raises:
        RecipeError: there is no such file, it cannot be read, or it lacks a language.
    """
    ours = PACKAGED.get(section.translations)
    path = Path(section.translations) if ours is None else ours.translations
    try:
        catalogues: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))["languages"]
        lacking = [language for language in section.languages if language not in catalogues]
        if not lacking:
            settings, languages = prepared.settings.mask, section.languages
            return {name: Translation.of(catalogues[name], settings) for name in languages}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        reason = getattr(exc, "strerror", None) or first_line(exc)
        remedy = f"train.translations is a JSON file, or one of {', '.join(PACKAGED)}"
        raise RecipeError(f"translations {path} cannot be read: {reason}; {remedy}") from exc
    has = ", ".join(sorted(catalogues)) or "no language"
    what = f"{path} has no translations into {lacking[0]!r}, but into {has}"
    raise RecipeError(f"{what}: set train.languages to some of these")


def with_copies(part: Part, translations: Mapping[str, Translation], *, seed: int) -> Part:
    """A part with copies of some of its sessions, each in one of several languages.

    Args:
        part: what is learnt.
        translations: by language.
        seed: decides which sessions are copied into which language.
    """
    dice = np.random.default_rng(seed)
    chance = SHARE / max(1, len(translations))
    # What is alike in two languages is one message, as all equal messages are.
    table = MessageTable()
    table.push(part.messages)
    sessions, chosen = list(part.sessions), [np.arange(len(part.sessions))]
    for translation in translations.values():
        rows = np.flatnonzero(dice.random(len(part.sessions)) < chance)
        originals = [part.sessions[row] for row in rows]
        used = occurring(originals)
        translated = translation.translated(part.messages[used])
        numbers = table.push(translated).to_numpy().astype(np.int64)
        sessions += [numbers[np.searchsorted(used, session)] for session in originals]
        chosen.append(rows)

    # A copy has the labels of what it is a copy of.
    labelled = taken(part, np.concatenate(chosen))
    return labelled._replace(sessions=sessions, messages=table.messages)


def _with_gaps_named(text: str) -> str:
    """A message whose gaps for numbers hold one, and whose gaps for words are named by their place.

    >>> _with_gaps_named('%d%% of "%s"'), _with_gaps_named('"%2$s": %1$d')
    ('7% of "GapbGap"', '"GapbGap": 7')
    """
    count = 0

    def named(match: re.Match[str]) -> str:
        nonlocal count
        place, kind = match.groups()
        if kind == "%":
            return "%"
        count += 1
        number = int(place or count)
        return f"Gap{_GAP_LETTERS[number - 1]}Gap" if kind == "s" else _A_NUMBER

    return _GAP.sub(named, text)


def _entry(english: str, translation: str, *, ending: bool = False) -> _Entry:
    words: list[str] = []
    pattern = "(.*?)" if ending else ""
    word = r"(\S+)" if ending else "(.*?)"
    for piece in re.split(r"(Gap[a-z]Gap|<\*>)", english):
        name = _WORD_GAP.fullmatch(piece)
        if name is not None:
            words.append(name.group(1))
            pattern += word
        elif piece == _MASKED:
            pattern += r"\S*<\*>\S*"
        else:
            pattern += re.escape(piece)
    return _Entry(re.compile(pattern, re.DOTALL), tuple(words), translation)


def _letters(english: str) -> int:
    """How many letters a message has of its own."""
    return sum(character.isalpha() for character in _WORD_GAP.sub("", english))


def is_head(english: str) -> bool:
    """Whether a catalogue's message is a severity, or what stands before a detail."""
    return re.fullmatch(r"[A-Z]+(:\s+)?", english) is not None
