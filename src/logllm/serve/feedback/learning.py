"""What a store holds for a run to learn: answers, and sessions that nobody objected to."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, and_, bindparam, exists, select

from logllm.serve.feedback.answered import Answer
from logllm.serve.feedback.combined_data import Quiet
from logllm.serve.feedback.retraining import Feedback, names_of
from logllm.serve.store.schema import verdicts
from logllm.serve.store.service_schema import feedback
from logllm.serve.store.verdict_store import Store
from logllm.serve.store.writing import next_change

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_KEY = ("stream", "partition", "session", "piece", "first_position")


def feedback_on(run: Path, store: Store, *, quiet: int) -> Feedback:
    """What a store holds for a run to learn.

    Args:
        run: as it is named to detect, watch and serve.
        store: where verdicts and answers are; those of other runs are left out.
        quiet: at most so many sessions that nobody objected to.

    Raises:
        ModelError: the folder is no run.
    """
    ours = names_of(run)
    with store.transaction(reading=True) as connection:
        rows = connection.execute(select(feedback).order_by(feedback.c.id))
        given = [_answer(row) for row in rows if ours(row.model)]
        unopposed = [row for row in connection.execute(_quiet_rows(quiet)) if ours(row.model)]

    def mark(numbers: Sequence[int], model: str) -> None:
        learnt = feedback.update().where(feedback.c.id == bindparam("number"))
        with store.transaction() as connection:
            change = next_change(connection)
            values = [{"number": number} for number in numbers]
            connection.execute(learnt.values(trained=model, change=change), values)

    return Feedback(given, [_quiet(row) for row in unopposed], mark)


def _quiet_rows(most: int) -> Any:
    """Whole sessions that were judged normal, that nobody answered for, and whose messages are kept, the newest first."""
    columns = verdicts.c
    answered = exists().where(and_(*(feedback.c[name] == columns[name] for name in _KEY)))
    whole = (columns.state == "closed", columns.cut.is_(None))
    normal = (~columns.anomalous, columns.messages.is_not(None))
    wanted = select(columns.session, columns.messages, columns.updated, columns.model)
    return wanted.where(*whole, *normal, ~answered).order_by(columns.change.desc()).limit(most)


def _quiet(row: Row[Any]) -> Quiet:
    """A session of the store that nobody objected to."""
    return Quiet(row.session, tuple(json.loads(row.messages)), _time(row.updated))


def _answer(row: Row[Any]) -> Answer:
    """An answer of the store."""
    messages = tuple(json.loads(row.messages))
    guilty = None
    if row.guilty is not None:
        places = set(json.loads(row.guilty))
        guilty = tuple(place in places for place in range(len(messages)))
    return Answer(
        number=row.id,
        stream=row.stream,
        session=row.session,
        anomalous=row.answer == "anomalous",
        messages=messages,
        guilty=guilty,
        made=_time(row.made),
        trained=row.trained,
    )


def _time(written: str) -> datetime:
    """A time of the store."""
    return datetime.strptime(written, _TIME).replace(tzinfo=UTC)
