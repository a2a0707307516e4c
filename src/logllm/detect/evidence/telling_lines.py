"""Which lines speak most for an anomalous verdict, and what did not come."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.detect.evidence.gaps import Gap, gap
from logllm.detect.evidence.turning import Turns
from logllm.detect.evidence.whole_records import Written, titles
from logllm.logs.redaction import redact
from logllm.metrics import Scores
from logllm.sessions.following import END, Following
from logllm.sessions.message_sets import Keys, keys_of_messages
from logllm.sessions.message_table import Rows, lengths, rows_of

ScoreLines = Callable[[list[Rows]], list[Scores]]
"""How much each message of some sessions speaks for "anomalous"."""

MOST = 5
"""How many lines a verdict names at most."""
LEAST = 0.5
"""A line must say at least this share of what the most telling one says, and the most telling one
of what its session's score does: else it is not the reason."""
_MOST_STEPS = 1000
"""Of a session so many messages are compared with what usually follows, at most."""


class Sources(NamedTuple):
    """What is asked about lines and sessions."""

    score_lines: ScoreLines
    turns: Callable[[list[Rows]], Turns]
    """Where sessions turned that are anomalous as a whole."""
    level: float | None = None
    """A line that says less than this does not tell by itself. None: the method learnt no labels,
    and there is no such level."""
    following: Following | None = None
    """What normal sessions go on with."""


def evidence(
    sessions: pl.DataFrame,
    messages: pl.Series,
    *,
    sources: Sources,
    written: Written,
    files: Sequence[str],
) -> pl.DataFrame:
    """Why sessions are anomalous, one row for each session.

    `evidence` is a list of `line, file, score, text`: the lines that speak most for it. A message
    that is repeated is named once, where it says most, and no line has a higher score than the
    verdict. Its text is what its record is called (`titles`).

    Where no line tells by itself, it is the line with which the score of the session so far
    reaches the threshold; then `expected` is a list of the messages that did not come, as far as
    this log holds them elsewhere.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`, with `score`, the verdict's.
        messages: the message table.
        sources: scores lines, and says where sessions turned.
        written: gives what is written in lines.
        files: names of the inputs; where there is only one, no line has a file.
    """
    # Equal sessions are looked at once.
    numbered = sessions.select("messages", "score").with_row_index("session")
    alike = numbered.group_by("messages", maintain_order=True)
    distinct = alike.agg("session", pl.col("score").first()).with_row_index("of")
    rows_of_distinct = rows_of(distinct["messages"])
    scores = distinct["score"].to_numpy()
    telling, missing = _telling(rows_of_distinct, messages, scores=scores, sources=sources)

    # Each telling line of each session.
    of_session = distinct.select("of", "session").explode("session").sort("session")
    rows = of_session.join(telling, on="of", maintain_order="left_right")
    # A line has the number and the file of its place, and no higher score than the verdict.
    verdicts = sessions.select("lines", "files", "score").with_row_index("session")
    rows = rows.join(verdicts, on="session", maintain_order="left")
    # `at` is the message's place in its session, and so the place of its line among the lines.
    at = pl.col("at")
    line = pl.col("lines").list.get(at)
    file = pl.col("files").list.get(at)
    score = pl.min_horizontal("score_of_line", "score")
    message = messages.gather(rows["message"])
    rows = rows.select("session", line=line, file=file, score=score, message=message)
    places = rows.select("file", "line", "message")
    rows = rows.with_columns(text=titles(places, written))

    # One list of structs a session, with the file's name only where there are several files.
    columns: list[str | pl.Expr] = ["line", "score", "text"]
    if len(files) > 1:
        names = pl.lit(pl.Series(files, dtype=pl.String))
        file_name = names.gather(pl.col("file")).alias("file")
        columns.insert(1, file_name)
    entry = pl.struct(columns).alias("evidence")
    lines = rows.select("session", entry)
    lists = lines.group_by("session", maintain_order=True).agg("evidence")
    expected = _without_secrets(missing) if written.redacted else missing
    expected_of_session = expected.gather(of_session["of"])
    return lists.select("evidence", expected=expected_of_session)


def _telling(
    distinct: list[Rows], messages: pl.Series, *, scores: Scores, sources: Sources
) -> tuple[pl.DataFrame, pl.Series]:
    """The telling lines of distinct sessions, and for each session the messages that did not come.

    Lines are `of` (which session), `at` (place in it), `message` and `score_of_line`, the most
    telling ones first.
    """
    of_lines = sources.score_lines(distinct)
    expected: list[list[str] | None] = [None] * len(distinct)
    level = sources.level
    if level is None:
        return _without_labels(
            distinct, messages, of_lines=of_lines, scores=scores, following=sources.following
        )

    # Sessions whose lines are innocent one by one: order, absence and repetition.
    most = np.array([lines.max() for lines in of_lines])
    innocent = np.flatnonzero(most < level)
    of_innocent = pl.col("of").is_in(innocent)
    foremost = _foremost(distinct, of_lines, least=level)
    guilty = foremost.filter(~of_innocent)
    if not len(innocent):
        return guilty, _lists(expected)
    among = [distinct[row] for row in innocent]
    turned = sources.turns(among)
    at_turn = [session[place] for session, place in zip(among, turned.places, strict=True)]
    columns = {
        "of": innocent.astype(np.uint32),
        "message": at_turn,
        "score_of_line": turned.scores,
        "at": turned.places,
    }
    lines = pl.DataFrame(columns, schema=guilty.schema)
    # Of those, the reason may be what did not come.
    if sources.following is not None:
        missing = _expected(among, turned, messages=messages, following=sources.following)
        for row, of_session in zip(innocent.tolist(), missing, strict=True):
            expected[row] = of_session
    return pl.concat([guilty, lines]), _lists(expected)


def _without_labels(
    distinct: list[Rows],
    messages: pl.Series,
    *,
    of_lines: list[Scores],
    scores: Scores,
    following: Following | None,
) -> tuple[pl.DataFrame, pl.Series]:
    """The same for a method that learnt no labels.

    The line that says most always tells, unless it says far less than the verdict: then what is
    unusual is that something is missing. The line named is the last one before the gap, with the
    verdict's score: what should have followed it says all. Where nothing certain is missing, it is
    the first line that normal sessions do not have there, with its own score.
    """
    foremost = _foremost(distinct, of_lines, least=0.0)
    expected: list[list[str] | None] = [None] * len(distinct)
    if following is None:
        return foremost, _lists(expected)
    keys = keys_of_messages(messages)
    texts = _texts_by_key(keys, messages)

    # Only where no line says half of what the verdict does can it be what came next, or did not.
    most = np.array([lines.max() for lines in of_lines])
    says_too_little = most < LEAST * scores
    unexplained = np.flatnonzero(says_too_little)
    steps = []
    for row in unexplained.tolist():
        session, score = distinct[row], scores[row]
        step = gap(keys[session], following, texts=texts)
        if step is None:
            step = _unusual_step(keys[session], following)
            if step is None:
                continue
            score = of_lines[row][step.place]
        place, likely = step
        expected[row] = _in_this_log(likely, texts)
        steps.append((row, session[place], score, place))

    # These sessions are told by that one line, the others as they were.
    lines = pl.DataFrame(steps, schema=foremost.schema, orient="row")
    has_step = pl.col("of").is_in(lines["of"].implode())
    others = foremost.filter(~has_step)
    return pl.concat([others, lines]), _lists(expected)


def _unusual_step(keys: Keys, following: Following) -> Gap | None:
    """Where a session first goes on otherwise than normal ones, and with what they go on there.

    None where it never does, as far as is known.
    """
    count = len(keys)
    last = count - 1
    # Nothing is known of how sessions begin, so the first message is never the unusual one.
    for place in range(1, min(count, _MOST_STEPS) + 1):
        beginning = keys[:place]
        usual = following.usual(beginning)
        came = keys[place] if place < count else END
        if not usual or came in usual:
            continue
        likely = [key for key in usual if key != END]
        # Where the session stopped there is no line but its last one.
        return Gap(min(place, last), likely)
    return None


def _foremost(distinct: list[Rows], of_lines: list[Scores], *, least: float) -> pl.DataFrame:
    """The lines of each session that say most, and at least `least` except for the foremost one."""
    numbers = np.arange(len(distinct), dtype=np.uint32)
    of = np.repeat(numbers, lengths(distinct))
    messages = np.concatenate(distinct).astype(np.uint32)
    columns = {"of": of, "message": messages, "score_of_line": np.concatenate(of_lines)}
    # A repeated message is named once, at its first place among those where it says most.
    place = pl.int_range(pl.len()).over("of")
    entries = pl.DataFrame(columns).with_columns(at=place)
    order = entries.sort("of", "score_of_line", "at", descending=[False, True, False])
    once = order.unique(["of", "message"], keep="first", maintain_order=True)

    # Half of what the foremost line says, and the least there is; the foremost one in any case.
    says = pl.col("score_of_line")
    most = says.max().over("of")
    near_the_most = says >= LEAST * most
    tells = (says >= least) | (says == most)
    enough = near_the_most & tells
    foremost = once.filter(enough).group_by("of", maintain_order=True)
    return foremost.head(MOST)


def _expected(
    sessions: list[Rows], turned: Turns, *, messages: pl.Series, following: Following
) -> list[list[str] | None]:
    """What normal sessions go on with after the same beginning, for each session.

    The beginning is what came before the session turned, or all of it if it never turned.
    """
    keys = keys_of_messages(messages)
    texts = _texts_by_key(keys, messages)
    lists: list[list[str] | None] = []
    for session, place, risen in zip(sessions, turned.places, turned.risen, strict=True):
        # After the beginning before the message at which it turned; of one that never turned, after
        # all of it, where nothing came.
        of_session = keys[session]
        before, came = of_session, END
        if risen:
            before, came = of_session[:place], of_session[place]
        likely = following.expected(before, came=came)
        lists.append(_in_this_log(likely, texts))
    return lists


def _texts_by_key(keys: Keys, messages: pl.Series) -> dict[int, str]:
    """The messages of the table by their keys."""
    return dict(zip(keys.tolist(), messages.to_list(), strict=True))


def _in_this_log(likely: Sequence[int], texts: Mapping[int, str]) -> list[str] | None:
    """The texts of messages by their keys; None where there is none."""
    # A message that this log never holds has no text here.
    in_this_log = [texts[key] for key in likely if key in texts]
    return in_this_log or None


def _without_secrets(lists: pl.Series) -> pl.Series:
    """Lists of messages as they may be shown."""
    texts = lists.explode().drop_nulls().unique(maintain_order=True)
    may_be_shown = pl.element().replace(texts, redact(texts))
    return lists.list.eval(may_be_shown)


def _lists(expected: list[list[str] | None]) -> pl.Series:
    """Messages that did not come, as a column."""
    return pl.Series("expected", expected, dtype=pl.List(pl.String))
