"""Whether the service can do its work."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from logllm.errors import LogLLMError
from logllm.serve.source_rows import source_rows
from logllm.serve.store.schema import numbers
from logllm.serve.store.verdict_store import Store

_AGAIN = 2.0
"""Seconds for which an answer holds, however often one asks."""


class Readiness:
    """Tries to write to the store, and asks how the watches are."""

    def __init__(self, store: Store, *, trouble: Callable[[], str | None]) -> None:
        """Nothing tried yet.

        Args:
            store: what is to be written.
            trouble: why the watch of this process has ended; none: it has not, or there is none.
        """
        self._store = store
        self._trouble = trouble
        self._lock = Lock()
        self._until = 0.0
        self._state: dict[str, Any] = {"ready": False, "store": "not known yet"}

    def state(self) -> dict[str, Any]:
        """`ready`, and what it is made of; anybody may ask for it, as often as they like.

        While one request waits for a store that does not answer, others are told what was known
        before.
        """
        # Probes come every few seconds from several sides: one looks, the others get what it saw
        # last.
        if not self._lock.acquire(blocking=False):
            return self._state
        try:
            if time.monotonic() > self._until:
                self._state = self._looked_at()
                self._until = time.monotonic() + _AGAIN
            return self._state
        finally:
            self._lock.release()

    def _looked_at(self) -> dict[str, Any]:
        """How things are now."""
        store, lag = "writable", None
        try:
            self._write()
            # Of a watch that says nothing any more the last lag means nothing.
            waiting = [row["lag"] for row in source_rows(self._store) if row["alive"]]
            lag = sum(number for number in waiting if number is not None)
        except LogLLMError as exc:
            # The kind of trouble, such as `StoreAway`: anybody may see this, and a message may name
            # paths.
            store = type(exc).__name__
        watch = "ended with an error" if self._trouble() else "well"
        ready = store == "writable" and watch == "well"
        return {"ready": ready, "store": store, "watch": watch, "lag": lag}

    def _write(self) -> None:
        """Write what is there already: a full disk shows itself only so."""
        same = numbers.update().values(value=numbers.c.value)
        with self._store.transaction() as connection:
            connection.execute(same)
