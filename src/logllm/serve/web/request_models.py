"""What may be asked, as models that check it."""

from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple, Self

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from logllm.serve.store.frames import VerdictKey
from logllm.serve.web.verdict_ids import decode, encode, is_storable

_LARGEST = 2**63 - 1


class Cursor(NamedTuple):
    """Where a page of verdicts ends: a change, and of it the last verdict that was given."""

    change: int
    key: VerdictKey | None = None
    """None: all of the change was given."""

    def __str__(self) -> str:
        """The text that a client gives back."""
        if self.key is None:
            return str(self.change)
        return f"{self.change}.{encode(self.key)}"


def cursor(written: str) -> Cursor:
    """What a client gave back.

    >>> cursor("17")
    Cursor(change=17, key=None)

    Raises:
        ValueError: it is none.
    """
    # "17" is a change of which all was given, "17.WyJh..." one within which a page ended.
    change, separator, name = written.partition(".")
    key = decode(name) if separator else None
    sound = change.isascii() and change.isdecimal() and int(change) <= _LARGEST
    if not sound or (separator and key is None):
        raise ValueError("takes a change's number, or `next` of the page before")
    return Cursor(int(change), key)


def _storable(text: str) -> str:
    """A text that a database can look for."""
    if not is_storable(text):
        raise ValueError("holds NUL or half of a character")
    return text


def _checked_cursor(written: str) -> str:
    """A cursor that can be read."""
    cursor(written)
    return written


def _in_utc(time: datetime) -> datetime:
    """A time; UTC where it names no zone."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


Text = Annotated[str, AfterValidator(_storable)]
ShortText = Annotated[str, Field(max_length=2_000), AfterValidator(_storable)]
Time = Annotated[datetime, AfterValidator(_in_utc)]
WrittenCursor = Annotated[str, Field(max_length=8_000), AfterValidator(_checked_cursor)]
Change = Annotated[int, Field(ge=0, le=_LARGEST)]
Number = Annotated[int, Path(ge=0, le=_LARGEST)]


class _Asked(BaseModel):
    """Nothing is passed over that is asked for."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class VerdictQuery(_Asked):
    """Which verdicts are wanted."""

    stream: ShortText | None = None
    """Only verdicts of this watch."""
    anomalous: bool | None = None
    """Only those that are, or are not."""
    state: Literal["open", "closed", "early"] | None = None
    """Only sessions in this state: still going on, over, or closed early."""
    incident: Change | None = None
    """Only of this incident."""
    kind: ShortText | None = None
    """Only of this kind of fault."""
    q: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)] | None = None
    """A session's name, or a part of a name, of a kind or of a telling line."""
    since: Time | None = None
    """Written at this time or later."""
    until: Time | None = None
    """Written before this time."""
    before: WrittenCursor | None = None
    """Only older ones than this change, or than the page whose `next` this is."""
    after: WrittenCursor | None = None
    """Only newer ones than this change, the oldest first."""
    limit: int = Field(default=100, ge=1, le=500)
    """Show at most this many."""


class TimelineQuery(_Asked):
    """Which time is looked at."""

    stream: ShortText | None = None
    """Only verdicts of this watch."""
    since: Time | None = None
    """From this time on; by default the last 24 hours."""
    until: Time | None = None
    """Up to this time; by default now."""
    bins: int = Field(default=120, ge=1, le=300)
    """At most so many stretches of equal length."""


class KindsQuery(_Asked):
    """Which new kinds of message are wanted."""

    stream: ShortText | None = None
    """Only verdicts of this watch."""
    since: Time | None = None
    """First seen at this time or later."""
    before: Change | None = None
    """Older ones than this change."""
    limit: int = Field(default=100, ge=1, le=500)
    """Show at most this many."""


class IncidentQuery(_Asked):
    """Which incidents are wanted."""

    stream: ShortText | None = None
    """Only verdicts of this watch."""
    state: Literal["open", "closed"] | None = None
    """Only those that go on, or are over."""
    since: Time | None = None
    """Sessions joined at this time or later."""
    before: Change | None = None
    """Only those that changed last before this change."""
    after: Change | None = None
    """Only those that changed after this change, the oldest change first."""
    limit: int = Field(default=100, ge=1, le=500)
    """Show at most this many."""


class NewMute(_Asked):
    """A kind of fault that nobody wants to be told of."""

    stream: ShortText
    """Of which watch."""
    kind: ShortText
    """The kind, as verdicts and incidents have it."""
    hours: float = Field(gt=0, le=24 * 366)
    """For how long."""
    why: Annotated[str, Field(max_length=1_000), AfterValidator(_storable)] = ""
    """A reason, for others."""
    by: Annotated[str, Field(max_length=200), AfterValidator(_storable)] = "api"
    """Who gives the answer."""


class GivenLines(_Asked):
    """Lines of a log that are judged now."""

    lines: list[str]
    """The lines as they are written, without their ends."""


class GivenSession(_Asked):
    """One session that is judged now: its lines, or their messages alone."""

    session: Annotated[str, Field(min_length=1, max_length=500)]
    """What it is called."""
    lines: list[str] | None = None
    """Its lines as they are written; they are read by the run's format."""
    messages: list[str] | None = None
    """Its messages as the run's format gives them: without the time, the level before a colon."""

    @model_validator(mode="after")
    # An empty list is given, too: it is told apart from none.
    def _one_of_two(self) -> Self:
        if (self.lines is None) == (self.messages is None):
            raise ValueError("takes one of lines and messages")
        return self


class GivenSessions(_Asked):
    """Sessions that are judged now."""

    sessions: Annotated[list[GivenSession], Field(min_length=1)]
    """Each with a name of its own."""


class NewFeedback(_Asked):
    """What a person says of a session."""

    id: Annotated[str, Field(max_length=8_000)] | None = None
    """The `id` of its verdict."""
    incident: Change | None = None
    """The incident that is meant as a whole, by one of its sessions: a false alarm mutes all its
    kinds."""
    stream: ShortText | None = None
    """The watch of a session that was missed."""
    session: ShortText | None = None
    """The name of a session that was missed."""
    lines_text: Annotated[list[str], Field(max_length=1_000)] | None = None
    """The lines of a session that was missed, as they are written."""
    answer: Literal["anomalous", "normal"]
    """Whether something is wrong in it."""
    lines: Annotated[list[Change], Field(max_length=1_000)] | None = None
    """Numbers of the guilty lines, as the verdict has them; of lines that are given from 1."""
    note: Annotated[str, Field(max_length=2_000)] = ""
    """Why, for others."""
    by: Annotated[str, Field(max_length=200)] = "api"
    """Who gives the answer."""

    @model_validator(mode="after")
    def _one_session(self) -> Self:
        # Either the verdict that is meant, or a session of which there is none with all that it
        # needs.
        by_name = (self.stream, self.session, self.lines_text)
        named = all(value is not None for value in by_name)
        if (self.id is None) != named or (self.id is not None and any(by_name)):
            raise ValueError("takes `id`, or `stream`, `session` and `lines_text`")
        return self


class FeedbackQuery(_Asked):
    """Which answers are wanted."""

    stream: ShortText | None = None
    """Only verdicts of this watch."""
    session: ShortText | None = None
    """Only of this session."""
    after: Change = 0
    """Only those after this change."""
    limit: int = Field(default=100, ge=1, le=500)
    """Show at most this many."""
