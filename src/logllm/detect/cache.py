"""Scores of sessions on disk, and what else was said of them.

What an earlier call of the same run computed is not computed again.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from logllm import __version__
from logllm.config.recipe import Recipe
from logllm.methods.registry import entry
from logllm.storage import cache

RUNS = 8
"""Most runs whose scores are kept; the one longest out of use goes first."""

_LAYOUT = 3
_PATIENCE = 30.0  # seconds that another process may hold the file
_TABLE = """
CREATE TABLE IF NOT EXISTS scores
    (key BLOB PRIMARY KEY, score REAL NOT NULL, used INTEGER NOT NULL, more TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON scores (used);
"""
_ASKED = """
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE asked (key BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


def identity(manifest: Mapping[str, Any], recipe: Recipe, *, threshold: float) -> str:
    """What determines a run's scores, as 32 hexadecimal digits.

    That is its weights and how they are used, not its folder or its name. Of the settings of
    detection only the sizes do not count: they alter scores by less than 1e-5.
    """
    # Sizes of batches alter scores by less than 1e-5: who changes them keeps the cache.
    sizes = {"batch_positions", "batch_tokens", "tree_positions", "read_lines", "cache_sessions"}
    detect = recipe.detect.model_dump(mode="json", exclude=sizes)
    model = recipe.model.model_dump(mode="json")
    for network in ("encoder", "decoder"):
        model[network].pop("weights")  # a name or a place; what they hold is in `base_models`
    bases = {network: base["sha256"] for network, base in manifest.get("base_models", {}).items()}

    # Around the threshold scores that round are computed again exactly, so that it matters there.
    settled = None if recipe.detect.engine == "exact" else threshold
    package = entry(recipe.method).source  # of another package's method its release
    determining = [
        *(_LAYOUT, __version__, recipe.method, package, recipe.options),
        *(manifest["files"], bases, model, detect, settled),
    ]
    written = json.dumps(determining, sort_keys=True)
    return hashlib.blake2b(written.encode(), digest_size=16).hexdigest()


Known = tuple[float, str | None]
"""A session's score, and as JSON what else its verdict says; None: nothing."""


class ScoreCache:
    """Scores by a session's digest, in one SQLite file a run, shared by all processes of a user.

    Nothing depends on it: a file that is damaged is made anew, and where it cannot be read or
    written detection goes on without it; both are said once, as a warning of this module's logger.
    """

    def __init__(self, run: str, *, most: int) -> None:
        """Open the scores of a run.

        Args:
            run: its `identity`.
            most: how many sessions to keep; of more, those longest out of use go.
        """
        self.path = cache() / "scores" / f"{run}.sqlite"
        """The file."""
        self._most = most
        self._turn = 0  # of this call among the file's; what it reads or writes counts as used then
        self._kept = 0
        self._file: sqlite3.Connection | None = None
        try:
            self._open()
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.OperationalError):
                self._without(exc)
            else:
                self._afresh(exc)
        except OSError as exc:
            self._without(exc)

    def known(self, keys: Iterable[bytes]) -> dict[bytes, Known]:
        """What is known of sessions; those of which nothing is known are left out."""
        return self._tried(lambda file: self._known(file, keys)) or {}

    def keep(self, sessions: Mapping[bytes, Known]) -> None:
        """Keep what is said of sessions, and remove what is too much."""
        self._tried(lambda file: self._keep(file, sessions))

    def close(self) -> None:
        """Leave the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _known(self, file: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, Known]:
        """Look up, and note the use."""
        # The keys go into a table of their own: a query takes no more than some thousand values.
        file.executemany("INSERT OR IGNORE INTO asked VALUES (?)", ((key,) for key in keys))
        rows = file.execute("SELECT key, score, more FROM scores JOIN asked USING (key)")
        known: dict[bytes, Known] = {key: (score, more) for key, score, more in rows}
        turn = self._turn
        with suppress(sqlite3.OperationalError):  # in a file that can only be read no use is noted
            file.execute(
                "UPDATE scores SET used = ? WHERE used < ? AND key IN (SELECT key FROM asked)",
                (turn, turn),
            )
        file.execute("DELETE FROM asked")
        file.commit()
        return known

    def _keep(self, file: sqlite3.Connection, sessions: Mapping[bytes, Known]) -> None:
        """Write, and remove what is longest out of use."""
        rows: list[tuple[bytes, float, int, str | None]] = []
        for key, (score, more) in sessions.items():
            if isfinite(score):
                rows.append((key, score, self._turn, more))
        file.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", rows)
        self._kept += len(rows)
        if self._kept > self._most:  # others may have written or removed, too
            (self._kept,) = file.execute("SELECT count(*) FROM scores").fetchone()
        if (excess := self._kept - self._most) > 0:
            file.execute(
                "DELETE FROM scores WHERE key IN (SELECT key FROM scores ORDER BY used LIMIT ?)",
                (excess,),
            )
            self._kept -= excess
        file.commit()

    def _open(self) -> sqlite3.Connection:
        """The file, made where there is none."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        if new:
            self.path.touch()  # SQLite would let its group only read it, whatever the umask says
        # One call uses it at a time, but verdicts may be read by another thread than the one that
        # began it.
        self._file = file = sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False)
        with suppress(sqlite3.OperationalError):  # one that can only be read has its table
            file.executescript(_TABLE)
        file.executescript(_ASKED)
        self._kept, last = file.execute(
            "SELECT count(*), coalesce(max(used), 0) FROM scores"
        ).fetchone()
        self._turn = last + 1
        if new:
            _let_go(self.path)
        return file

    def _tried(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        """The result of some work on the file.

        None, now and from now on, where the file cannot be used.
        """
        if self._file is None:
            return None
        try:
            return work(self._file)
        except sqlite3.OperationalError as exc:  # no room, no right, no answer
            self._without(exc)
        except sqlite3.DatabaseError as exc:
            self._afresh(exc)
        return None

    def _afresh(self, fault: Exception) -> None:
        """Replace a damaged file by an empty one."""
        _log.warning("scores are cached anew: %s was damaged (%s)", self.path, fault)
        # What was kept is only time saved: a damaged file is no reason to judge nothing.
        self.close()
        try:
            _remove(self.path)
            self._open()
        except (OSError, sqlite3.Error) as exc:
            self._without(exc)

    def _without(self, fault: Exception) -> None:
        """Go on without the file."""
        _log.warning("going on without the cache of scores: %s (%s)", self.path, fault)
        self.close()


def _let_go(newest: Path) -> None:
    """Remove the scores of runs that are longest out of use."""
    with suppress(OSError):  # another process may be doing the same
        others = [path for path in newest.parent.glob("*.sqlite") if path != newest]
        others.sort(key=lambda path: path.stat().st_mtime)
        excess = max(0, len(others) - RUNS + 1)
        for path in others[:excess]:
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a file of scores, and what an interrupted write left beside it."""
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
