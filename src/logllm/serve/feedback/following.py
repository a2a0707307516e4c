"""Whoever judges for months takes up the run that was promoted meanwhile."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logllm.detect.detector import Detector
from logllm.detect.judge import Judge
from logllm.errors import LogLLMError
from logllm.runs.manifest import find_run
from logllm.runs.promotion import Promotion, read_promotion

_EVERY = 2.0
"""Seconds between two looks."""


class Following:
    """Watches which run stands in the place of a named run, and loads it when that changes.

    A run that cannot be loaded is reported once, and the former one continues to judge.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        load: Callable[[Path], Detector],
        told: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing loaded yet.

        Args:
            run: as a person names it.
            load: loads a folder.
            told: told which run judges from now on, or why none can be taken up.
            clock: seconds.
        """
        self._run = run
        self._load = load
        self._told = told
        self._clock = clock
        self._folder: Path | None = None
        self._due = 0.0
        self._refused = ""

    def first(self) -> Detector:
        """The run that stands there now.

        Raises:
            LogLLMError: it cannot be loaded.
        """
        # The name stands for whatever was promoted last: `app` may be the folder `app.3`.
        folder = find_run(self._run)
        detector = self._load(folder)
        self._folder = folder
        return detector

    def newer_judge(self) -> Judge | None:
        """What judges in the run that was promoted since the last call."""
        newer = self.newer()
        return None if newer is None else newer.run

    def newer(self) -> Detector | None:
        """The run that was promoted, or rolled back to, since the last call.

        None: there is no other run.
        """
        now = self._clock()
        if now < self._due:
            return None
        # Asked with every batch of lines: a look at the disk each time would be felt.
        self._due = now + _EVERY
        try:
            folder = find_run(self._run)
            if folder == self._folder:
                return None
            detector = self._load(folder)
        except LogLLMError as exc:
            # A watch of months must not end because a new run is damaged: it goes on as it was.
            self._tell_refused(str(exc))
            return None
        # The same trouble is told of again, should it come back.
        self._folder = folder
        self._refused = ""
        self._told(f"{detector.model} judges from now on: it stands in the place of {self._run}")
        return detector

    def _tell_refused(self, words: str) -> None:
        """Say why a run is not taken up, each reason once."""
        if words != self._refused:
            self._told(f"the run goes on as it is: {words}")
        self._refused = words


def standing(run: str | Path) -> dict[str, Any]:
    """Which run stands where a run is named, and what was measured.

    Returns:
        `current`; `former`, none where there is none; `changed`; and `gates`, one for each
        promotion and each refusal, the newest first.

    Raises:
        ModelError: what lies beside the run is damaged.
    """
    named = Path(run)
    # Where nothing was ever promoted, the run stands for itself.
    promotion = read_promotion(named) or Promotion(find_run(run).absolute().name)
    return {
        "current": promotion.current,
        "former": promotion.former,
        "changed": promotion.changed or None,
        "gates": list(promotion.gates),
    }
