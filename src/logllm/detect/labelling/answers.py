"""What a person has answered, kept in a CSV file that `prepare --labels` reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import LabelFileSection
from logllm.detect.labelling.questions import Question
from logllm.errors import DataError, first_line
from logllm.storage import write_atomic

ANOMALOUS, NORMAL, SKIPPED = "anomalous", "normal", "skipped"
"""What may be answered."""
_ASKED = "asked_about"
"""The column with the name of the session that was shown: others with the same messages have the
same label."""
_SPELT = {
    "anomalous": ANOMALOUS,
    "anomaly": ANOMALOUS,
    "normal": NORMAL,
    "skipped": SKIPPED,
    "": SKIPPED,
}
"""How answers are written in a file that comes back."""
_SHOWN = 3


class Tally(NamedTuple):
    """How many sessions have which label."""

    anomalous: int
    normal: int


class Answers:
    """Answers in their order, each written at once.

    A skipped session stands in the file with an empty label, so that it is not asked about again.
    """

    def __init__(self, path: Path, settings: LabelFileSection) -> None:
        """Read the answers that are there already.

        Args:
            path: the file; where it is missing, there is no answer yet.
            settings: what the run's format calls its columns and labels.

        Raises:
            DataError: the file is no file of answers.
        """
        self._path = path
        self._columns = (settings.session, settings.label, _ASKED)
        anomalous = next(iter(settings.anomalous), ANOMALOUS)
        # In the words that the user's own file of labels has, so that one file serves both.
        self._words = {ANOMALOUS: anomalous, NORMAL: settings.normal[0], SKIPPED: None}
        self._given: dict[str, tuple[str, tuple[str, ...]]] = {}
        if path.exists():
            self._given = self._read()

    def __contains__(self, question: Question) -> bool:
        """Whether a question has been answered, or skipped."""
        return question.session in self._given

    @property
    def tally(self) -> Tally:
        """How many sessions have which label."""
        counts = {ANOMALOUS: 0, NORMAL: 0, SKIPPED: 0}
        for answer, names in self._given.values():
            counts[answer] += len(names)
        return Tally(counts[ANOMALOUS], counts[NORMAL])

    def give(self, question: Question, answer: str) -> None:
        """Answer a question, for all sessions of the same messages."""
        self._given.pop(question.session, None)
        self._given[question.session] = (answer, question.names)
        self.write()

    def take_back(self) -> str | None:
        """Forget the last answer, and give the session that it was about.

        None where there is no answer.
        """
        if not self._given:
            return None
        # Answers lie in the order in which they were given.
        session, _ = self._given.popitem()
        self.write()
        return session

    def write(self) -> None:
        """Write all answers."""
        schema = dict.fromkeys(self._columns, pl.String)
        frame = pl.DataFrame(self._rows(), schema=schema, orient="row")
        write_atomic(self._path, frame.write_csv().encode())

    def _rows(self) -> Iterator[tuple[str, str | None, str]]:
        """The file's rows; a session of several pieces is anomalous if one of them is."""
        # The label is of the whole session: `prepare` reads one line a session.
        # One session may have been asked about twice, as itself and as a piece of a longer one.
        anomalous: set[str] = set()
        for answer, names in self._given.values():
            if answer == ANOMALOUS:
                anomalous.update(names)
        for asked, (answer, names) in self._given.items():
            for name in names:
                overruled = answer == NORMAL and name in anomalous
                label = ANOMALOUS if overruled else answer
                yield name, self._words[label], asked

    def _read(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """What the file holds."""
        table = _table(self._path)
        expected = ", ".join(filter(None, self._words.values()))
        if missing := [column for column in self._columns if column not in table.columns]:
            raise DataError(
                f"{self._path} has no column {missing[0]!r}, so `logllm label` has not written it:"
                " name another file with --labels"
            )
        # Rows of one question stand together; they become one answer with all its names again.
        answers = {word or "": answer for answer, word in self._words.items()}
        given: dict[str, tuple[str, tuple[str, ...]]] = {}
        for name, word, asked in table.select(*self._columns).iter_rows():
            if word not in answers:
                raise DataError(
                    f"{self._path} holds the label {word!r}: {expected} were expected, or none"
                )
            _, names = given.get(asked, ("", ()))
            given[asked] = (answers[word], (*names, name))
        return given


def returned(path: Path, asked: Sequence[Question]) -> list[tuple[Question, str]]:
    """The answers of a file that was handed out and has come back.

    Rows without a label are left to be asked.

    Args:
        path: a CSV file with columns `session` and `label`.
        asked: all questions that could be asked.

    Raises:
        DataError: it cannot be read, or holds labels other than normal and anomalous, or sessions
            of another log.
    """
    table = _table(path)
    if missing := {"session", "label"}.difference(table.columns):
        raise DataError(
            f"{path} has no column {min(missing)!r}: columns session and label are read, as"
            " --export writes them"
        )
    rows: list[tuple[str, str]] = []
    for session, label in table.select("session", "label").iter_rows():
        if word := label.strip().lower():
            rows.append((session, word))
    # Only the two labels are read: a third word may be a slip of the pen.
    wrong = sorted({label for _, label in rows if label not in _SPELT})
    if wrong:
        raise DataError(
            f"{path} holds labels other than anomalous and normal: {', '.join(wrong[:_SHOWN])}"
        )
    # A row may name any of the sessions with the same messages.
    by_name: dict[str, Question] = {}
    for question in asked:
        for name in (*question.names, question.session):
            by_name[name] = question
    strange = [session for session, _ in rows if session not in by_name]
    if strange:
        raise DataError(
            f"{path} labels {', '.join(strange[:_SHOWN])}, which the verdicts do not name: it is of"
            " another log or of other verdicts"
        )
    # Sessions of the same messages cannot have two labels.
    answers: dict[str, tuple[Question, str]] = {}
    for session, label in rows:
        question, answer = by_name[session], _SPELT[label]
        _, before = answers.setdefault(question.session, (question, answer))
        if before != answer:
            raise DataError(
                f"{path} calls {session} {answer}, and {before} another session that holds just the"
                " same messages: no model can tell them apart, so give both one label"
            )
    return list(answers.values())


def _table(path: Path) -> pl.DataFrame:
    """A CSV file as text.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return pl.read_csv(path, infer_schema=False).fill_null("")
    except (OSError, pl.exceptions.PolarsError) as exc:
        reason = getattr(exc, "strerror", None) or first_line(exc)
        raise DataError(f"{path} is not a CSV file that can be read: {reason}") from exc
