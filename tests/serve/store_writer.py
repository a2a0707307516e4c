"""A process that writes verdicts as a watch does until it is killed, and says what was
acknowledged."""

import sys

from logllm.serve.store.verdict_store import Kept, Store
from tests.serve.store_contract import frame, verdict


def main(where: str, together: int) -> None:
    """Write a session a line, some together, from where the last owner stopped."""
    store = Store.open(where)
    mine = store.claim("app", "p", owner="writer")
    low, written = mine.low, mine.counters.get("written", 0)
    while True:
        # The last two sessions stay open, and are revised by the next write.
        lines = range(low, low + together)
        rows = [
            verdict(f"s{line}", line, state="open" if line >= low + together - 2 else "closed")
            for line in lines
        ]
        low, written = low + together - 2, written + together - 2
        place = Kept(mine.epoch, low, {"line": low}, {"written": written})
        store.write("app", verdicts=frame(*rows), kept={"p": place})
        print(low, flush=True)  # noqa: T201 - for who started it


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
