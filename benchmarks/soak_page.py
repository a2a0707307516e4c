"""The live page in Chromium: how soon a session is on it, and what it does in a burst."""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from browser import Page, browser, chromium
from serving import Serving, nginx
from soak_pace import IDLE, begun, replay
from watching import Load, Watching

from logllm.serve.store.frames import VERDICTS
from logllm.serve.store.verdict_store import Kept, Store

_SECONDS = 600.0  # of a whole load
_BURST = 5_000  # verdicts
_BURST_SECONDS = 10.0
_TOGETHER = 50  # verdicts of one transaction
_KILLED, _STARTED = 0.5, 0.7  # of the burst
_SETTLE = 60.0  # seconds that the page has to take everything

_FIRST_SEEN = """
window.first = {};
new MutationObserver((changes) => {
  const now = Date.now();
  for (const change of changes) for (const row of change.addedNodes) {
    const { session, lines, state } = row.verdict ?? {};
    if (session && state !== "open") window.first[`${session} ${lines[0]}`] ??= now;
  }
}).observe(document.querySelector("#verdict-list"), { childList: true });
"""
"""Notes when each session that is over was first a row of the page."""

_COUNTING = """
window.seen = new Set();
window.most = 0;
window.longest = 0;
document.addEventListener("logllm-verdicts", (event) => {
  for (const { id } of event.detail) window.seen.add(id);
});
const list = document.querySelector("#verdict-list");
const count = () => (window.most = Math.max(window.most, list.childElementCount));
new MutationObserver(count).observe(list, { childList: true });
let last = performance.now();
const beat = (now) => {
  window.longest = Math.max(window.longest, now - last);
  last = now;
  requestAnimationFrame(beat);
};
requestAnimationFrame(beat);
"""
"""Notes which verdicts came, the most rows there were, and the longest frame in ms."""

_NAMES = "[...document.querySelectorAll('#verdict-list .name')].map((name) => name.textContent)"


def page_latency(load: Load) -> dict[str, float]:
    """From the end of a session to its row on the page, at 200 lines a second."""
    target, store = load.folder / "shown.log", str(load.folder / "shown.db")
    seconds = _SECONDS * load.share
    target.touch()
    options = ["--from", "start", "--idle", str(IDLE)]
    watching = Watching(load.run, [str(target)], store=store, options=options).start()
    begun(watching)
    serving = Serving(store).start()
    with browser(load.folder) as opened:
        page = opened.open(f"{serving.address}?show=all")
        live(page)
        page.run(_FIRST_SEEN)
        written = replay(load.log, target, seconds=seconds)
        time.sleep(IDLE + 5)
        shown = page.run("window.first")
        errors = page.errors
    serving.stop()
    watching.stop()
    late = _late(shown, store=store, written=written, settled=min(60.0, seconds / 4))
    return {
        "sessions": len(late),
        "p50": float(np.quantile(late, 0.5)),
        "p95": float(np.quantile(late, 0.95)),
        "longest": float(late.max()),
        "errors": len(errors),
    }


def page_burst(load: Load) -> dict[str, float]:
    """5,000 verdicts in ten seconds, through nginx; the server is killed meanwhile, and started."""
    where = load.folder / "burst.db"
    store = Store.open(where)
    serving = Serving(where).start()
    with (
        browser(load.folder) as opened,
        nginx(load.folder / "nginx", before=serving.port) as address,
    ):
        page = opened.open(f"{address}?show=all")
        live(page)
        page.run(_COUNTING)
        _write_burst(store, serving)
        written = time.monotonic()
        page.until(f"window.seen.size >= {_BURST}", seconds=_SETTLE)
        behind = time.monotonic() - written
        page.until(f"({_NAMES}).includes('s-{_BURST - 1}')", seconds=_SETTLE)
        shown = page.run(_NAMES)
        newest = store.verdicts(limit=500)["session"].to_list()
        figures = {
            "verdicts": page.run("window.seen.size"),
            "doubled": len(shown) - len(set(shown)),
            "not_the_newest": len(set(shown) ^ set(newest)),
            "most_rows": page.run("window.most"),
            "longest_frame_ms": page.run("window.longest"),
            "seconds_behind": behind,
            "errors": len(page.errors),
        }
    serving.stop()
    store.close()
    return figures


def there() -> bool:
    """Whether this machine has a browser."""
    return chromium() is not None


def live(page: Page) -> None:
    """Wait until a page follows the stream."""
    page.until("document.querySelector('#connection')?.dataset.state === 'live'", seconds=_SETTLE)


def _late(
    shown: dict[str, float],
    *,
    store: str,
    written: list[float],
    settled: float,
) -> np.ndarray:
    """Seconds from the end of each session to its row, after the first ones.

    Args:
        shown: when each session was on the page, in ms, by its name and its first line.
        store: where the sessions are.
        written: when each line was.
        settled: seconds in which a watch may still find its pace.
    """
    opened = Store.open(store)
    rows = opened.verdicts(state="closed", limit=10_000_000)
    opened.close()
    last = pl.Series(written).gather(rows["last_position"] - 1).to_numpy()
    # A key that comes again after a pause is another session.
    first = rows["lines"].list.first().cast(pl.String)
    names = rows["session"] + " " + first
    on_page = np.array([shown.get(name, np.nan) / 1000 for name in names])
    wanted = last > written[0] + settled
    missing = int(np.isnan(on_page[wanted]).sum())
    if missing:
        raise RuntimeError(f"{missing} sessions were never on the page")
    late: np.ndarray = on_page[wanted] - (last[wanted] + IDLE)
    return late


def _write_burst(store: Store, serving: Serving) -> None:
    """Store the verdicts at a steady pace; the server is away for a while."""
    claimed = store.claim("app", "app.log", owner="burst")
    batches = _BURST // _TOGETHER
    began = time.monotonic()
    for batch in range(batches):
        first = batch * _TOGETHER
        rows = pl.DataFrame([_verdict(first + row) for row in range(_TOGETHER)], schema=VERDICTS)
        place = Kept(claimed.epoch, first, {}, {})
        store.write("app", verdicts=rows, kept={"app.log": place})
        if batch == int(batches * _KILLED):
            serving.kill()
        if batch == int(batches * _STARTED):
            serving.start()
        due = began + (batch + 1) * _BURST_SECONDS / batches
        time.sleep(max(0.0, due - time.monotonic()))


def _verdict(number: int) -> dict[str, object]:
    """A session of one line; every tenth is anomalous."""
    anomalous = number % 10 == 0
    now = datetime.now(UTC)
    evidence = f'[{{"line": {number + 1}, "score": 0.9, "text": "ERROR disk {number} failed"}}]'
    told = {"evidence": evidence, "kind": "ERROR disk <*> failed"} if anomalous else {}
    row = {
        "partition": "app.log",
        "session": f"s-{number}",
        "piece": 1,
        "first_position": number + 1,
        "last_position": number + 1,
        "state": "closed",
        "score": 0.95 if anomalous else 0.05,
        "anomalous": anomalous,
        "lines": [number + 1],
        "start": now,
        "end": now,
        "model": "runs/app",
    }
    return dict.fromkeys(VERDICTS) | row | told


def burst_alone(folder: Path) -> dict[str, float]:
    """The burst, without a run and a log."""
    return page_burst(Load(folder, folder, folder, 1.0))
