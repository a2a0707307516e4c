"""Incidents of streams that nobody watches end, too, as long as somebody shows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from logllm.config.alerts import IncidentSection
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.source_rows import source_rows
from logllm.serve.store.troubles import StoreAway, StoreFull
from logllm.serve.store.verdict_store import Clock, Store, machine_time

_EVERY = 10.0
"""Seconds between two looks."""


@contextmanager
def ending_quiet(
    store: Store,
    section: IncidentSection,
    *,
    every: float = _EVERY,
    clock: Clock = machine_time,
) -> Iterator[None]:
    """End incidents that are quiet while the block runs.

    Incidents of streams that are watched are left to the watch.

    Args:
        store: where incidents are.
        section: when they are quiet.
        every: seconds between two looks.
        clock: the time now.
    """
    incidents = Incidents(section, clock=clock)
    ended = Event()

    def look() -> None:
        while not ended.wait(every):
            try:
                watched = {row["stream"] for row in source_rows(store) if row["alive"]}
                incidents.tidy(store, watched=watched)
            except (StoreFull, StoreAway):
                continue  # the next look may find it there again

    thread = Thread(target=look, name="quiet incidents", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
