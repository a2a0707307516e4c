"""A watch in the process of the service: a thread, and what became of it."""

from collections.abc import Callable
from threading import Thread

from logllm.serve.watch import Watch


class WatchingThread:
    """Watches beside the service, until it is told to stop or its sources end."""

    def __init__(self, watch: Watch) -> None:
        """Not begun yet."""
        self.watch = watch
        """What is watched."""
        self.error: Exception | None = None
        """Why it has ended; none: it goes on, or there was nothing more to watch."""
        self._thread: Thread | None = None

    def start(self, *, status: Callable[[Watch], None], failed: Callable[[], None]) -> None:
        """Begin.

        Args:
            status: told several times a second how far things are.
            failed: told when the watch has ended with an error.
        """
        # No daemon: what was read is stored before the process ends.
        self._thread = Thread(target=self._run, args=(status, failed), name="watch")
        self._thread.start()

    def stop(self) -> None:
        """Stop after what is in hand; does not wait for it."""
        self.watch.stopping = True

    def join(self) -> None:
        """Wait until it has stopped: what was read is stored then."""
        if self._thread is not None:
            self._thread.join()

    def trouble(self) -> str | None:
        """Why it has ended, in words."""
        return None if self.error is None else str(self.error)

    def _run(self, status: Callable[[Watch], None], failed: Callable[[], None]) -> None:
        """Watch."""
        try:
            self.watch.run(status=status)
        except Exception as exc:  # noqa: BLE001 - whoever started it raises it again
            self.error = exc
            failed()
