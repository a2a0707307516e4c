"""Messages on their way: a thread for each place that is told."""

import os
import socket
from collections.abc import Callable, Sequence
from random import Random
from secrets import token_hex
from threading import Event, Thread
from time import monotonic
from typing import Any

from logllm.errors import LogLLMError
from logllm.serve.alerts.sink_worker import Around, SinkWorker
from logllm.serve.alerts.sinks import Sink
from logllm.serve.store.verdict_store import Clock, Store, machine_time

_AFTER_TROUBLE = 5.0
"""Seconds until a store is asked again that could not be read or written."""


class Delivery:
    """Tells places what waits for them in a store's outbox.

    Any number of processes may do this at the same time, such as the watch and the service: each
    message is sent once (see `SinkWorker`). A place that does not answer does not hold up the
    others.
    """

    def __init__(
        self,
        store: Store,
        sinks: Sequence[Sink],
        *,
        page: str | None,
        told: Callable[[str], None],
        clock: Clock = machine_time,
    ) -> None:
        """Nothing sent yet.

        Args:
            store: Whose outbox.
            sinks: Places.
            page: Where people reach the page; none: nowhere.
            told: Told what a person should know, a sentence; from several threads.
            clock: The time now.
        """
        # A process that starts anew may have the number of one that was killed: it is another
        # owner.
        owner = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        around = Around(store, owner, page, clock, Random(), told)  # noqa: S311 - spreads tries
        self.workers = [SinkWorker(sink, around) for sink in sinks]
        self._told = told
        self._stopping = Event()
        self._threads = []
        for worker in self.workers:
            name = f"alerts {worker.sink.name}"
            thread = Thread(target=self._run, args=(worker,), name=name, daemon=True)
            self._threads.append(thread)

    def start(self) -> None:
        """Begin to send: what comes from now on, and what was left by others.

        Raises:
            ServeError: the store does not answer.
        """
        for worker in self.workers:
            # All before the first message: a place that is not known yet is told no history.
            worker.introduce()
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Send what is due, and stop; what must wait is left to the next start.

        Args:
            timeout: Seconds that they are waited for, all together.
        """
        self._stopping.set()
        # One time limit for all: ten places that do not answer take no longer than one.
        deadline = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))

    def status(self) -> dict[str, Any]:
        """Which places are told, and whether any process tells them."""
        status = {}
        for worker, thread in zip(self.workers, self._threads, strict=True):
            sink, alive = worker.sink, thread.is_alive()
            status[sink.name] = {"kind": sink.kind, "budget": sink.budget, "alive": alive}
        return status

    def _run(self, worker: SinkWorker) -> None:
        """Send until told to stop."""
        wait = 0.0
        troubled = False
        while not self._stopping.wait(wait):
            try:
                wait = worker.step()
                troubled = False
            except LogLLMError as exc:
                # Once: a store that is away for an hour is not told of every five seconds.
                if not troubled:
                    self._told(f"alerts wait: {exc}")
                troubled = True
                wait = _AFTER_TROUBLE
        try:
            worker.finish()
        except LogLLMError:
            return  # what waits stays, and the lease ends by itself
