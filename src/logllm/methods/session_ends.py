"""How sessions begin and end, learnt beside a method, to judge sessions that a log's ends cut."""

import numpy as np

from logllm.datasets.prepared import Prepared
from logllm.methods.contract import Method
from logllm.metrics import Scores
from logllm.sessions.ends import Ends
from logllm.sessions.message_sets import Keys, keys_of_messages, places

_MOST_MESSAGES = 1_000
"""How many messages are scored by themselves: those that occur most."""
_QUIET = 0.999
"""The share of normal messages that score lower than a message which tells by itself."""


def learnt_ends(prepared: Prepared, method: Method) -> Ends:
    """How the sessions of the train part begin and end.

    It also holds how high a fitted method scores their messages by themselves.
    """
    sessions = prepared.part("train")
    ends = Ends.learn(sessions, prepared.messages, settings=prepared.settings.sessions)
    ends.line_score = _line_score(ends, method, prepared=prepared)
    return ends


def _line_score(ends: Ends, method: Method, *, prepared: Prepared) -> float:
    """A score that hardly any message of normal sessions exceeds as a session of its own.

    Each message counts as often as it occurs.
    """
    # The messages that normal sessions hold most often: those are most of what comes.
    keys: Keys = keys_of_messages(prepared.messages)
    rows = np.flatnonzero(~ends.new(keys))
    learnt = places(ends.keys, keys[rows])
    often = ends.lines[learnt, 0]
    most = np.argsort(-often, kind="stable")[:_MOST_MESSAGES]
    rows, often = rows[most], often[most]
    if not often.any():
        return float("nan")

    # The quantile .999 of their scores, weighted by how often each occurs.
    alone = [rows[at : at + 1] for at in range(len(rows))]
    scores: Scores = method.score(alone, prepared.messages)
    order = np.argsort(scores, kind="stable")
    enough = _QUIET * often.sum()
    reached = often[order].cumsum() >= enough
    rising = scores[order]
    return float(rising[reached.argmax()])
