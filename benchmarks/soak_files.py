"""Files that rotate while a watch of them is killed: no line lost, none judged twice."""

import gzip
import random
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from watching import Load, Watching, detected, stored, until

_LINES = 100_000
_ROTATIONS = 200
_KILLS = 3
_RATE = 1_000  # lines a second
_KEPT = 1_000  # rotated files: what is deleted before it is read nobody can read
_STAMP = "%y%m%d %H%M%S"


def rotations(load: Load) -> dict[str, Any]:
    """Rename and create, the older ones compressed or deleted, while the watch is killed.

    Against `detect` of the same lines.
    """
    lines, turns = int(_LINES * load.share), int(_ROTATIONS * load.share)
    chance = random.Random(0)  # noqa: S311 - moments, and no secrets
    log, whole, store = (
        load.folder / "app.log",
        load.folder / "whole.log",
        str(load.folder / "files.db"),
    )
    log.touch()
    idle = int(lines / _RATE * 1.5) + 60
    watching = Watching(
        load.run, [str(log)], store=store, options=["--from", "start", "--idle", str(idle)]
    ).start()
    until(lambda: watching.lines >= 0, seconds=120)
    kills = sorted(chance.sample(range(turns // 10, turns), _KILLS))
    with whole.open("w", encoding="utf-8") as all_lines:
        for turn, text in enumerate(_portions(load.log, lines=lines, turns=turns)):
            with log.open("a", encoding="utf-8") as sink:
                sink.write(text)
            all_lines.write(text)
            if turn in kills:
                watching.kill()
                watching.start()
            time.sleep(lines / turns / _RATE)
            _rotate(log)
    expected = detected(load.run, [str(whole)])
    until(lambda: len(stored(store, state="closed")) >= len(expected), seconds=idle + 120)
    watching.stop()
    return {"rotations": turns, "kills": _KILLS, "lines": lines} | compared(store, expected)


def compared(store: str, expected: dict[str, Any]) -> dict[str, int]:
    """Sessions that are stored beside those of `detect`.

    Which are missing, which are there twice, which differ.
    """
    rows = stored(store)
    names = rows["session"].to_list()
    found = {row["session"]: (row["lines"], row["anomalous"]) for row in rows.iter_rows(named=True)}
    return {
        "sessions": len(expected),
        "missing": len(expected.keys() - found.keys()),
        "doubled": len(names) - len(set(names)),
        "others": len(found.keys() - expected.keys()),
        "with_other_lines": sum(
            found[name][0] != lines for name, (lines, _) in expected.items() if name in found
        ),
        "cut_for_detect": sum(wrong is None for _, wrong in expected.values()),
        "with_another_verdict": sum(
            found[name][1] != wrong
            for name, (_, wrong) in expected.items()
            if wrong is not None and name in found
        ),
    }


def _portions(log: Path, *, lines: int, turns: int) -> Iterator[str]:
    """Lines of a log in so many portions, stamped as they are given."""
    with log.open(encoding="utf-8") as source:
        for _ in range(turns):
            now = datetime.fromtimestamp(time.time(), UTC)
            portion = [f"{now:{_STAMP}}{next(source)[13:]}" for _ in range(lines // turns)]
            yield "".join(portion)


def _rotate(log: Path) -> None:
    """As logrotate does by default, with `delaycompress`."""
    oldest = log.with_name(f"{log.name}.{_KEPT}.gz")
    oldest.unlink(missing_ok=True)
    for number in range(_KEPT - 1, 1, -1):
        packed = log.with_name(f"{log.name}.{number}.gz")
        if packed.exists():
            packed.rename(log.with_name(f"{log.name}.{number + 1}.gz"))
    latest = log.with_name(f"{log.name}.1")
    if latest.exists():
        with (
            latest.open("rb") as plain,
            gzip.open(log.with_name(f"{log.name}.2.gz"), "wb") as packed_file,
        ):
            shutil.copyfileobj(plain, packed_file)
        latest.unlink()
    log.rename(latest)
    log.touch()
