"""The paper's figures (arXiv:2411.08561, sections 5 and 6), to stand beside ours."""

from typing import NamedTuple


class Published(NamedTuple):
    """What the paper reports of one cell; None where it reports nothing."""

    precision: float | None
    recall: float | None
    f1: float


SETS = ("hdfs", "bgl", "liberty", "thunderbird")
"""The paper's data sets, in its order."""
SESSIONS = {"hdfs": 575_061, "bgl": 47_135, "liberty": 50_000, "thunderbird": 99_997}
"""How many sessions each of them has."""

_COMPARED = {
    "deeplog": "DeepLog       .835/.994/.908 .166/.988/.285 .751/.855/.800 .017/.966/.033",
    "loganomaly": "LogAnomaly .886/.893/.966 .176/.985/.299 .684/.876/.768 .025/.966/.050",
    "plelog": "PLELog         .893/.979/.934 .595/.880/.710 .795/.874/.832 .808/.724/.764",
    "fastlogad": "FastLogAD   .721/.893/.798 .167/1.0/.287 .151/.999/.263 .008/.931/.017",
    "logbert": "LogBERT       .989/.614/.758 .165/.989/.283 .902/.633/.744 .022/.172/.039",
    "logrobust": "LogRobust   .961/1.0/.980 .696/.968/.810 .695/.979/.813 .318/1.0/.482",
    "cnn": "CNN               .966/1.0/.982 .698/.965/.810 .580/.914/.709 .870/.690/.769",
    "neurallog": "NeuralLog   .971/.988/.979 .792/.884/.835 .875/.926/.900 .794/.931/.857",
    "rapid": "RAPID           1.0/.859/.924 .874/.399/.548 .911/.611/.732 .200/.207/.203",
    "logllm": "LogLLM         .994/1.0/.997 .861/.979/.916 .992/.926/.958 .966/.966/.966",
}
_F1 = {
    "preprocessing": {
        "raw text": ".993 .846 .909 .833",
        "Drain template": ".995 .889 .949 .776",
        "template id": ".969 .418 .425 .550",
        "regex": ".997 .916 .958 .966",
    },
    "stages": {
        "without 1": ".995 .725 .408 .522",
        "without 2": ".997 .888 .949 .903",
        "only 3": ".996 .868 .949 .897",
        "without 3": ".996 .738 .812 .868",
        "all": ".997 .916 .958 .966",
    },
}
NAMES = {name: row.split()[0] for name, row in _COMPARED.items()}
"""The compared methods as the paper writes them; the first column of its table of results."""
REMARKS = {
    "main": "LogAnomaly's figures on HDFS do not agree with one another in the paper.",
    "beta": (
        "The paper shows a plot alone: F1 moves by at most .07 for shares of 10–80 %, with none"
        " at all every session of Thunderbird is called normal, and 30–50 % is advised."
    ),
}
"""What the paper says beyond the figures."""


def published(
    table: str, data: str | None, *, method: str = "logllm", variant: str = ""
) -> Published | None:
    """The paper's figures for a cell of one of its tables.

    >>> published("stages", "bgl", variant="without 1")
    Published(precision=None, recall=None, f1=0.725)
    >>> published("main", "hdfs", method="rapid")
    Published(precision=1.0, recall=0.859, f1=0.924)

    Args:
        table: `main`, `preprocessing`, `stages`; the others have no figures.
        data: one of `SETS`; anything else gives None.
        method: the name of one of ours.
        variant: the row of `preprocessing` and `stages`.
    """
    if data not in SETS:
        return None
    # `precision/recall/F1` a data set, in the order of `SETS`, behind the method's name.
    at = SETS.index(data)
    if table == "main":
        if method not in _COMPARED:
            return None
        cells = _COMPARED[method].split()[1:]
        precision, recall, f1 = cells[at].split("/")
        return Published(float(precision), float(recall), float(f1))
    row = _F1.get(table, {}).get(variant) if method == "logllm" else None
    return Published(None, None, float(row.split()[at])) if row else None
