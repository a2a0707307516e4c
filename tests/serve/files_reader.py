"""A program that watches a log and stores what it took with its place, as the watch does: run by
the test that kills it."""

import json
import os
import random
import sys
from pathlib import Path

from logllm.serve.sources.contract import Resumed
from logllm.serve.sources.files import FilesSource


def main(pattern: str, folder: Path) -> None:
    """Take lines for ever; one file holds how many were stored, and the place of a line up to 300
    before them."""
    state, lines = folder / "state.json", folder / "lines"
    stored = json.loads(state.read_text()) if state.exists() else {"bytes": 0, "places": {}}
    given: dict[str, str] = {}
    with lines.open("a+b") as out:
        out.truncate(stored["bytes"])
        out.seek(0)
        for line in out.read().decode().splitlines():
            number, _, text = line.partition(" ")
            given[number] = text
        source = FilesSource([pattern], begin="start", quiet=0.05, poll=0.005)
        source.begin(
            lambda name: Resumed(*stored["places"][name]) if name in stored["places"] else None
        )
        chance = random.Random(0)
        while True:
            for arrival in source.take(0.01).arrivals:
                for number, text in arrival.lines.iter_rows():
                    if given.setdefault(str(number), text) is not text:
                        if given[str(number)] != text:
                            out.write(f"{number} WRONG {text} {given[str(number)]}\n".encode())
                        continue
                    out.write(f"{number} {text}\n".encode())
                out.flush()
                low = max(1, arrival.lines["line"][-1] + 1 - chance.randrange(300))
                stored["places"][arrival.partition] = [low, source.place(arrival.partition, low)]
                stored |= {"bytes": out.tell(), "counts": dict(source.counts)}
                source.stored({arrival.partition: low})
                whole = state.with_suffix(".new")
                whole.write_text(json.dumps(stored))
                whole.replace(state)


if __name__ == "__main__":
    os.nice(5)
    main(sys.argv[1], Path(sys.argv[2]))
