"""How sessions begin and end, learnt beside a method: with it a run judges sessions that the ends of a log cut."""

import numpy as np

from logllm.datasets.prepared import Prepared
from logllm.methods.contract import Method
from logllm.metrics import Scores
from logllm.sessions.ends import Ends
from logllm.sessions.message_sets import Keys, keys_of_messages, places

_MOST_MESSAGES = 1_000
"""Messages that are scored by themselves, those that occur most."""
_QUIET = 0.999
"""Share of what is normal that scores lower than a message which tells by itself."""


def learnt_ends(prepared: Prepared, method: Method) -> Ends:
    """How the sessions of the train part begin and end, and how high a fitted method scores their messages alone."""
    ends = Ends.learn(prepared.part("train"), prepared.messages, settings=prepared.settings.sessions)
    ends.line_score = _line_score(ends, method, prepared=prepared)
    return ends


def _line_score(ends: Ends, method: Method, *, prepared: Prepared) -> float:
    """The score that hardly a message of normal sessions exceeds as a session of its own; each counts as often as it occurs."""
    keys: Keys = keys_of_messages(prepared.messages)
    rows = np.flatnonzero(~ends.new(keys))
    often = ends.lines[places(ends.keys, keys[rows]), 0]
    most = np.argsort(-often, kind="stable")[:_MOST_MESSAGES]
    rows, often = rows[most], often[most]
    if not often.any():
        return float("nan")
    scores: Scores = method.score([rows[at : at + 1] for at in range(len(rows))], prepared.messages)
    order = np.argsort(scores, kind="stable")
    reached = often[order].cumsum() >= _QUIET * often.sum()
    return float(scores[order][reached.argmax()])
