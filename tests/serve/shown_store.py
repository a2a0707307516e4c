"""A store with verdicts for tests of the service, and requests to the service without a network."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2 as httpx

from logllm.config.serve import ServeSection
from logllm.serve.store.verdict_store import Store
from logllm.serve.web.application import application
from logllm.serve.web.feed import Feed
from logllm.serve.web.judging.judging_now import JudgingNow
from logllm.serve.web.service import service_of
from tests.serve.store_contract import empty_store, frame, kept, verdict

TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - a test's own


def anomalous(session: str, *lines: int, **more: Any) -> dict[str, Any]:
    """A row of an anomalous verdict."""
    evidence = f'[{{"line": {lines[-1]}, "score": 0.9, "text": "ERROR job 7 failed"}}]'
    told = {"anomalous": True, "score": 0.9, "evidence": evidence, "kind": "ERROR job <*> failed"}
    return verdict(
        session, *lines, **(told | {"texts": '["job 7 begins", "ERROR job 7 failed"]'} | more)
    )


class Shown:
    """A store, and the service on it."""

    def __init__(
        self,
        where: str | Path,
        *,
        token: str | None = None,
        clock: Any = None,
        detector: Any = None,
        redact: bool = False,
        **section: Any,
    ) -> None:
        self.trouble: str | None = None
        self.where = where
        if isinstance(where, Path) and not where.exists():
            where.write_bytes(empty_store())
        self.store = Store.open(where, **({"clock": clock} if clock else {}))
        self._claimed = self.store.claim("app", "p", owner="test")
        settings = ServeSection.read(section, source="a test")
        self.feed = Feed(self.store, every=0.01)
        judging = (
            None
            if detector is None
            else JudgingNow(detector, lines=settings.lines, at_once=1, redact=redact)
        )
        service = service_of(self.store, settings, judging=judging, trouble=lambda: self.trouble)
        self.service = service._replace(feed=self.feed)
        self.app = application(self.service, token=token)

    def write(self, *rows: dict[str, Any]) -> None:
        """Store verdicts of the stream `app`, as one change."""
        self.store.write("app", verdicts=frame(*rows), kept=kept(self._claimed))

    def ask(
        self, path: str, *, method: str = "GET", host: str = "127.0.0.1:8431", **more: Any
    ) -> httpx.Response:
        """What the service answers."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(
                app=self.app, raise_app_exceptions=False, client=("127.0.0.1", 4711)
            )
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    def names(self, path: str) -> list[str]:
        """Sessions of a page of verdicts, in order."""
        answer = self.ask(path)
        assert answer.status_code == 200, answer.text
        return [told["session"] for told in answer.json()["verdicts"]]

    def close(self) -> None:
        self.store.close()
