"""What the evidence of verdicts costs: a log judged with it and without, in turn, in one process.

    python benchmarks/evidence.py RUN LOG [--rounds 3] [--out evidence.json]

Nothing is taken from a cache, and the log is read and judged whole each time. Seconds are those of
the processor, so that a busy machine does not matter. The cost is the time with evidence less the
time without, over the time without; of several rounds the fastest count.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from logllm.detect.detector import Detector


def seconds(detector: Detector, log: Path, *, evidence: bool) -> tuple[float, int]:
    """How long the log takes, and how many of its sessions are anomalous."""
    detector.method  # noqa: B018 - loads it
    begun = time.process_time()
    anomalous = sum(
        int(frame["anomalous"].sum()) for frame in detector.read([log], evidence=evidence).frames()
    )
    return time.process_time() - begun, anomalous


def measured(run: str, log: Path, *, rounds: int) -> dict[str, Any]:
    """Times with evidence and without; each on a detector that has met no message."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for evidence in (False, True):
            took, anomalous = seconds(Detector.load(run), log, evidence=evidence)
            times[evidence].append(took)
    without, with_it = min(times[False]), min(times[True])
    return {
        "run": str(run),
        "log": log.name,
        "anomalous": anomalous,
        "without_seconds": round(without, 2),
        "with_seconds": round(with_it, 2),
        "cost": round((with_it - without) / without, 3),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("log", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = json.dumps(measured(given.run, given.log, rounds=given.rounds), indent=2)
    if given.out is not None:
        given.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
