"""What a watch learns, in PostgreSQL."""

from datetime import UTC, datetime

import pytest

from logllm.serve.learning_on.learnings import forgotten, told
from logllm.serve.store.verdict_store import Store
from tests.serve.test_learning_on import (
    Dying,
    KilledError,
    Novel,
    fitted,
    judge,
    scores,
    sessions_of,
    watching,
)
from tests.serve.test_learning_on import told as session

pytestmark = pytest.mark.real


def test_what_is_learnt_survives_kills(databases, tmp_path):
    run, lines = (
        Novel(fitted()),
        sessions_of(*[session("rests"), session("disk failed"), session("waits")] * 10),
    )
    here = Store.open(tmp_path / "app.db")
    at_once = judge(run, here, lines, step=len(lines))
    there = Store.open(databases.fresh())
    stream, ended = None, False
    for lives in (*range(10), 1_000):
        if ended:
            break
        source = type(at_once.source)({"a": lines})
        stream = watching(run, source, Dying(there, lives=lives, after=lives % 2 == 0))
        try:
            while not ended:
                source.give("a", 13)
                stream.take(0)
                ended = source.over
                if ended:
                    stream.end()
                stream.store(at_once=True)
        except KilledError:
            ended = False
    assert ended
    assert scores(there) == scores(here)
    assert stream.learner.counts == at_once.learner.counts
    there.retain(days=90, now=datetime.now(UTC))
    assert [learning["model"] for learning in told(there, "app", run=None)] == ["novel@1"]
    assert len(forgotten(there, None)) == 1
    here.close()
    there.close()
