"""What a store holds for a run to learn: answers, and sessions that nobody objected to."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, and_, bindparam, exists, select

from logllm.serve.feedback.answered import Answer
from logllm.serve.feedback.attempt import Feedback
from logllm.serve.feedback.combined_data import Unanswered
from logllm.serve.feedback.retraining import names_of
from logllm.serve.store.frames import VerdictKey
from logllm.serve.store.schema import IS_ANOMALOUS, verdicts
from logllm.serve.store.service_schema import feedback
from logllm.serve.store.verdict_store import Store
from logllm.serve.store.writing import next_change

_COLUMNS = ("stream", "session", "messages", "updated", "model", "kind")


def feedback_on(run: Path, store: Store, *, most: int) -> Feedback:
    """What a store holds for a run to learn.

    Args:
        run: as it is named to detect, watch and serve.
        store: where verdicts and answers are; those of other runs are left out.
        most: at most so many quiet sessions, and as many alarms.

    Raises:
        ModelError: the folder is no run.
    """
    ours = names_of(run)
    in_order = select(feedback).order_by(feedback.c.id)
    # One transaction, so that no session is both answered for and quiet.
    with store.transaction(reading=True) as connection:
        answered = connection.execute(in_order).all()
        quiet = connection.execute(_unanswered(False, most)).all()
        alarms = connection.execute(_unanswered(True, most)).all()

    # A store may hold what several runs judged; their masks differ, and so do their messages.
    own_answers = [row for row in answered if ours(row.model)]
    own_quiet = [row for row in quiet if ours(row.model)]
    own_alarms = [row for row in alarms if ours(row.model)]

    # An alarm of a kind that was called false once is probably false as well.
    false_alarms = [row for row in own_answers if row.answer == "normal"]
    called_false = {(row.stream, row.kind) for row in false_alarms}
    others = [row for row in own_alarms if (row.stream, row.kind) not in called_false]

    def mark(numbers: Sequence[int], model: str) -> None:
        learnt = feedback.update().where(feedback.c.id == bindparam("number"))
        # A number of a change, since pages show which answers were learnt.
        with store.transaction() as connection:
            change = next_change(connection)
            values = [{"number": number} for number in numbers]
            connection.execute(learnt.values(trained=model, change=change), values)

    answers = [_answer(row) for row in own_answers]
    quiet_sessions = [_session(row) for row in own_quiet]
    alarmed_sessions = [_session(row) for row in others]
    return Feedback(answers, quiet_sessions, alarmed_sessions, mark)


def _unanswered(anomalous: bool, most: int) -> Any:
    """Whole sessions that nobody answered for, and whose messages are kept, the newest first."""
    columns = verdicts.c
    same = [feedback.c[name] == columns[name] for name in VerdictKey._fields]
    answered = exists().where(and_(*same))
    # A session that is open, or was cut, may say something else when it is whole.
    whole = (columns.state == "closed", columns.cut.is_(None))
    judged = IS_ANOMALOUS if anomalous else ~columns.anomalous
    readable = columns.messages.is_not(None)
    named = [columns[name] for name in _COLUMNS]
    wanted = select(*named).where(*whole, judged, readable, ~answered)
    return wanted.order_by(columns.change.desc()).limit(most)


def _session(row: Row[Any]) -> Unanswered:
    """A session of the store that nobody answered for."""
    messages = tuple(json.loads(row.messages))
    return Unanswered(row.session, messages, datetime.fromisoformat(row.updated))


def _answer(row: Row[Any]) -> Answer:
    """An answer of the store."""
    messages = tuple(json.loads(row.messages))
    guilty = None
    if row.guilty is not None:
        # Stored as places from 0, learnt as a mark for each message: [1] of three is (no, yes, no).
        places = set(json.loads(row.guilty))
        guilty = tuple(place in places for place in range(len(messages)))
    anomalous = row.answer == "anomalous"
    made = datetime.fromisoformat(row.made)
    return Answer(
        number=row.id,
        stream=row.stream,
        session=row.session,
        anomalous=anomalous,
        messages=messages,
        guilty=guilty,
        made=made,
        trained=row.trained,
    )
