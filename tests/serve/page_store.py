"""A store that a test writes to as a watch does, with sessions worth looking at."""

import json
from pathlib import Path
from typing import Any

from logllm.config.alerts import IncidentSection
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.store.verdict_store import Store
from tests.serve.store_contract import frame, kept, verdict

LOG = "/var/log/app.log"


class Written:
    """A store that is written to as a watch does."""

    def __init__(self, where: str | Path) -> None:
        self.store = Store.open(where)
        self._claimed = self.store.claim("app", LOG, owner="test")
        self._incidents = Incidents(IncidentSection())
        self._line = 0

    def add(self, *rows: dict[str, Any]) -> None:
        """Store verdicts, as one change."""
        place = {LOG: kept(self._claimed)["p"]}
        self.store.write("app", verdicts=frame(*rows), kept=place, also=[self._incidents])

    def normal(self, session: str, **more: Any) -> dict[str, Any]:
        """A verdict on a session of three lines in which nothing is wrong."""
        return self._row(session, 3, more)

    def anomalous(
        self, session: str, text: str = "ERROR disk 7 failed", **more: Any
    ) -> dict[str, Any]:
        """A verdict on a session of thirty lines, of which the tenth is guilty."""
        lines = [f"INFO step {number} of {session} is done" for number in range(30)]
        lines[9] = text
        guilty = {"line": self._line + 10, "score": 0.97, "text": text}
        told = {
            "score": 0.98,
            "anomalous": True,
            "evidence": json.dumps([guilty]),
            "texts": json.dumps(lines),
            "messages": json.dumps(lines),
            "kind": "ERROR disk <*> failed",
        }
        told |= {
            "more": json.dumps(
                {"minds": {"logllm": 0.9, "words": 0.99}, "expected": ["closed <file>"]}
            )
        }
        return self._row(session, 30, told | more)

    def _row(self, session: str, number: int, more: dict[str, Any]) -> dict[str, Any]:
        lines = range(self._line + 1, self._line + 1 + number)
        self._line += number
        return verdict(session, *lines, partition=LOG, **more)

    def close(self) -> None:
        self.store.close()
