"""Faults as a table of kinds.

What each one does, which messages are its doing, and the record of what was done.
"""

import contextlib
import gettext
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg
from load import Load, web
from replica import Replica

CATALOGUE = "/usr/share/locale/{}/LC_MESSAGES/postgres-15.mo"
KNOWN = CATALOGUE.format("de")
"""Any language's catalogue names all messages that the server can write."""
ERRORS = "<errors>"
"""Stands for every message of severity ERROR and worse."""
UNTRANSLATED = "internal: "
"""Begins a message that the server has in English alone."""
CONVERSION = re.compile(
    r"%(?:\d+\$)?[-+ #0]*\d*(?:\.\d+)?(?:l|ll|z|h)*[a-zA-Z]|%%|%(?:\d+\$)?\.\*s"
)


class Messages:
    """The server's messages as patterns, in the language that its log is in."""

    def __init__(self, language: str) -> None:
        self.catalogue = self.read(CATALOGUE.format(language)) if language != "en" else {}
        self.known = self.read(KNOWN)

    @staticmethod
    def read(path: str) -> dict[str, str]:
        """Message ids of a catalogue and what they are in its language."""
        with Path(path).open("rb") as stream:
            entries: dict[str | tuple[str, int], str] = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
        return {(key if isinstance(key, str) else key[0]): value for key, value in entries.items()}

    def pattern(self, message: str) -> str:
        """A regular expression that this message matches.

        It is matched with a line's text from the severity on.

        Raises:
            KeyError: the server knows no such message.
        """
        if message == ERRORS:
            return (
                "^(?:"
                + "|".join(self.catalogue.get(word, word) for word in ("ERROR", "FATAL", "PANIC"))
                + "):"
            )
        if message.startswith(UNTRANSLATED):
            return r"^\w+:  " + ".*".join(
                re.escape(piece) for piece in CONVERSION.split(message.removeprefix(UNTRANSLATED))
            )
        if message not in self.known:
            raise KeyError(message)
        pieces = CONVERSION.split(self.catalogue.get(message, message))
        place = CONVERSION.sub(r"\\d+", self.catalogue.get(" at character %d", " at character %d"))
        return r"^\w+:  " + ".*".join(re.escape(piece) for piece in pieces) + f"(?:{place})?$"


@dataclass(frozen=True)
class Stage:
    """Where injections take place."""

    load: Load
    replica: Replica | None
    dice: random.Random
    language: str
    """The server's language, `en` or `de`."""
    later: bool
    """Whether this is another run than the training run, which holds tables and statements of its
    own."""


@dataclass
class Case:
    """One injection while it runs, and what the record will say of it."""

    stage: Stage
    variant: str
    messages: list[str]
    pids: list[int] = field(default_factory=list)
    """Backends whose lines count; with `users` empty too, those of all."""
    users: list[str] = field(default_factory=list)
    """Users whose sessions' lines count."""
    naming: str = ""
    """What a message must name to count, such as the table that a release has changed."""
    at_least: int = 1
    """How many of the messages a session must hold for any of them to count."""

    def __post_init__(self) -> None:
        self.load, self.dice, self.later, self.replica = (
            self.stage.load,
            self.stage.dice,
            self.stage.later,
            self.stage.replica,
        )
        self.server, self.app = self.load.server, self.load.app

    def rule(self, *statements: str) -> list[object]:
        """Statements of the superuser in the application's database, in this run's words."""
        return self.server.rule(
            *(self.app.say(statement) for statement in statements), database=self.app.database
        )

    def visits(self, count: int, *actions: str, user: str = "shop_web") -> None:
        """So many visits one after the other, so that the fault meets somebody."""
        for _ in range(count):
            with contextlib.suppress(psycopg.Error, OSError):
                web(self.load, self.dice, actions=actions, user=user)
            time.sleep(self.dice.uniform(0.05, 0.25))


Doing = Callable[[Case], None]


class Kind(NamedTuple):
    """A kind of fault: what it does, and the names of its variants."""

    doing: Doing
    train: tuple[str, ...]
    """Variants of the training run."""
    later: tuple[str, ...]
    """Variants that only other runs have."""
    messages: tuple[str, ...]
    """Messages that count."""
    latest: tuple[str, ...]
    """Variants of the run `latest` alone: no other run that was made holds them."""


FAULTS: dict[str, Kind] = {}
"""Kinds by name."""


def fault(
    kind: str,
    *,
    train: str,
    only_later: str = "",
    latest: str = "",
    messages: Sequence[str],
) -> Callable[[Doing], Doing]:
    """Enter a kind of fault into the table."""

    def entered(doing: Doing) -> Doing:
        variants = [tuple(names.split()) for names in (train, only_later, latest)]
        FAULTS[kind] = Kind(doing, variants[0], variants[1], tuple(messages), variants[2])
        return doing

    return entered


def inject(stage: Stage, kind: str, variant: str) -> str:
    """Do it, undo it, and give the line of the record."""
    known = FAULTS[kind]
    case = Case(stage, variant, list(known.messages))
    start = datetime.now(UTC)
    try:
        known.doing(case)
    except (psycopg.Error, RuntimeError, OSError) as exc:
        sys.stderr.write(f"{kind} ({variant}) ended early: {exc}\n")
        stage.load.server.wait()
    time.sleep(0.4)
    end = datetime.now(UTC)
    words = Messages(stage.language)
    patterns = sorted({words.pattern(message) for message in case.messages})
    entry = {
        "kind": kind,
        "variant": variant,
        "start": start.isoformat(timespec="milliseconds"),
        "end": end.isoformat(timespec="milliseconds"),
        "pids": sorted(set(case.pids)),
        "users": sorted(
            {words.catalogue.get(user, case.app.say(user)) if user else "" for user in case.users}
        ),
        "naming": case.naming,
        "at_least": case.at_least,
        "messages": patterns,
    }
    return json.dumps(entry, ensure_ascii=False)
