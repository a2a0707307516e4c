"""The page of results, from the tables that are kept with the source."""

from collections.abc import Mapping
from typing import Any

from logllm.evaluate.tables.markdown import TITLES, markdown

_INTRODUCTION = """# Results

The paper's tables (arXiv:2411.08561), reproduced; `make docs` writes this page from `docs/results`.
Every figure stands there with its 95 % interval over sessions, each seed, the threshold and how it
was chosen, time, memory, versions, commands and the data's fingerprint. The paper's figures are of
its own data, whole; where ours are a part of those, the table says so.
"""
_COMMANDS = """## Reproduce them yourself

    logllm reproduce main --data hdfs=DATA --seeds 3 --out RESULTS
    logllm reproduce preprocessing --data hdfs=DATA --raw LOG --labels LABELS --out RESULTS
    logllm reproduce stages --data hdfs=DATA --data bgl=OTHER --out RESULTS
    logllm reproduce beta --data hdfs=DATA --data bgl=OTHER --out RESULTS
    logllm reproduce unstable --data hdfs=DATA --out RESULTS

`DATA` is a folder that `logllm prepare` wrote. A command that was stopped continues where it was;
`--list` says how far it is, `--jobs 2` works on two cells at once, and tables in the same folder
share the cells that they have in common. `RESULTS/TABLE.json`, copied to `docs/results`, is on this
page after `make docs`.
"""
_CAVEATS = {
    "preprocessing": (
        "Drain (Drain3's settings, no masks of its own) learns its templates from the train part "
        "alone; a message that fits none stays as it is, or is `E0`. Without masks nearly every "
        "message is unique."
    ),
    "stages": (
        "A stage is left out and the others become longer in proportion: every cell trains on as"
        " many sessions. In the paper each stage keeps its length, and the whole becomes shorter."
    ),
    "beta": (
        "A share that the minority already has means no oversampling: where each distinct session"
        ' is drawn once (`draw = "distinct"`), anomalies are more than a tenth of the HDFS sample,'
        " as of BGL_6135, and 0 and 0.1 are the same training."
    ),
    "unstable": (
        "An altered session keeps its label, which is not always true: in HDFS a missing event may"
        " itself be the anomaly, and so may a changed order. Sessions and messages are drawn"
        " without looking at labels."
    ),
}


def page(tables: Mapping[str, Mapping[str, Any]], *, pictures: str = "results") -> str:
    """The whole page.

    Args:
        tables: results (`logllm.evaluate.tables.results.results`) by the name of their file.
        pictures: the folder of the plots, as the page names it.
    """
    order = {table: at for at, table in enumerate(TITLES)}
    paragraphs = [_INTRODUCTION]
    by_title = sorted(tables.items(), key=lambda item: (order[item[1]["table"]], item[0]))
    for name, results in by_title:
        blocks = [markdown(results)]
        blocks += [note for note in (_CAVEATS.get(results["table"]), results["remark"]) if note]
        # A table without a finished cell has no picture.
        if any(row["seeds"] for row in results["rows"]):
            blocks.append(f"![{TITLES[results['table']]}: {name}]({pictures}/{name}.png)")
        paragraphs.append("\n\n".join(blocks) + "\n")
    if not tables:
        paragraphs.append("There are no results here yet; the commands below make them.\n")
    return "\n".join([*paragraphs, _COMMANDS])
