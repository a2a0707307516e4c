"""How lines of one kind of log become records.

What `formats/known/*.toml` and a user's own TOML file say.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from logllm.config.mask import MaskRuleSection
from logllm.config.section import Section
from logllm.config.sessions import SessionSection

_IN_BLOCKS = ("csv", "w3c", "export")
"""Kinds whose records a line by itself does not tell: a header names the fields, or several lines
are a record."""


class LabelFileSection(Section):
    """A CSV file with one label a session, a line, or an interval of time.

    Its labels are of lines if it has a column of line numbers and none of sessions, and of
    intervals if it has columns of their beginning and their end.
    """

    # Where the label belongs: to a key, to a line, or to a stretch of time.
    session: str = "session"
    """Column that holds the session's key."""
    line: str = "line"
    """Column that holds the line's number, from 1; lines that the file does not name are normal."""
    begin: str = "from"
    """Column that holds the time at which an interval begins; sessions in no interval are
    normal."""
    end: str = "to"
    """Column that holds the time at which it ends."""
    # What the label says. Files write normal in many ways; what is none of them is anomalous.
    label: str = "label"
    """Column that holds its label."""
    normal: tuple[str, ...] = Field(
        default=("normal", "Normal", "NORMAL", "0", "0.0", "false", "False", "FALSE", "-"),
        min_length=1,
    )
    """Labels that mean normal; every other one means anomalous."""
    anomalous: tuple[str, ...] = ()
    """Labels that mean anomalous; empty: every label that is not normal. When given, a third kind
    of label is an error."""


class PartialSection(Section):
    """How to recognise lines that were cut into pieces, as container runtimes do after 16 KB.

    Both settings are regular expressions in Rust's syntax.
    """

    goes_on: str
    """What a line matches that goes on in the next one."""
    pattern: str
    """What a whole line matches, with the groups `before` and `part`, and where they are needed
    `after` and `stream`: the texts of `part` are joined into one line, for each stream by
    itself."""


class FormatSection(Section):
    """One log format."""

    name: str = Field(min_length=1)
    """What the format is called on the command line."""
    title: str = ""
    """One line for people."""
    twin: str | None = None
    """Another built-in format whose lines look the same, and which is meant where nothing but lines
    can tell."""
    # What a line is: how it is taken apart into fields.
    kind: Literal["pattern", "json", "csv", "w3c", "logfmt", "export", "plain"] = "pattern"
    """`pattern`: a regular expression with named groups; `json`: one JSON object a line; `csv`:
    rows of fields, quoted ones may hold line breaks; `w3c`: rows of fields whose names a line
    `#Fields: ...` before them gives, as IIS, CloudFront and Zeek write them; `logfmt`: `key=value`
    pairs; `export`: blocks of `KEY=value` lines and an empty line, as journald exports; `plain`:
    the line is the message."""
    pattern: str | None = None
    """Regular expression (Rust syntax) that a whole line must match, with a group
    `(?<message>...)`. A line that does not match is a reject."""
    columns: tuple[str, ...] = ()
    """Names of a CSV file's columns, further ones are ignored; none: the first row of each file
    names them. Of kind `w3c`: the names of rows before which no line names them, as those of a
    file's tail are."""
    separator: str = Field(default=",", min_length=1, max_length=1)
    """What stands between the fields of kinds `csv` and `w3c`."""
    records: str | None = None
    """Dotted path, through lists too, to the list of a JSON line's records, such as
    `resourceLogs.scopeLogs.logRecords`: each is read as a line of its own, with the number of the
    line that it is in; none: a line is a record."""
    # What the message is: the one text that is masked, counted and judged.
    message: str = "message"
    """Group or field (in JSON a dotted path) that holds the message; `$` in a structured kind: the
    whole line."""
    severity: str | None = None
    """Group or field that holds a severity, which is put before the message as `ERROR:  message`;
    none: messages stay as they are."""
    tail: tuple[tuple[str, str], ...] = ()
    """Pairs of words and a field, such as `[" at character ", "position"]`, which follow the
    message where a line has the field."""
    parts: tuple[tuple[str, str], ...] = ()
    """Pairs of a word and a field, such as `["HINT", "hint"]`: where a line has the field it gives
    a record of its own, `HINT:  text`."""
    # When: the order of windows and the ages of sessions come from it.
    time: str | None = None
    """Group or JSON field that holds the time; none: records have no time."""
    day: str | None = None
    """Group or field that holds the day, where `time` holds the time of day alone: the time is the
    two with a blank between them."""
    time_format: tuple[str, ...] = ("iso",)
    """How the time is written, first match wins: `iso` (RFC 3339; its zone may be a name such as
    CET), `epoch` (seconds), `epoch_ms`, `epoch_us`, `epoch_ns`, or strftime codes (`:%f` at the
    end: milliseconds as a number; `%Z`: a zone's name). Where they say no year, or no day, the
    order of the lines tells it, and that no time lies ahead."""
    time_zone: str | None = None
    """Zone of times that name none, or one of several meanings such as IST: a name of the tz
    database (`Europe/Berlin`) or an offset (`+05:30`); none: UTC, and what docs/formats.md says of
    each name."""
    # Records of more than one line, such as a stack trace.
    continuation: str | None = None
    """Regular expression (Rust syntax) for lines that do not match `pattern` and belong to the
    record before them, such as a stack trace's; none: such lines are rejects. A line that itself
    begins a record of another kind, with a time or as an access log's lines do, joins none: it is a
    record of its own."""
    message_below: bool = False
    """Whether a line that holds its time and no message begins a record, whose message is what goes
    on with it, as after `date` in a script and in Oracle's alert log. Where nothing follows such a
    line it is a reject that holds nothing."""
    text_below: bool = False
    """Whether the text of a record stands in the lines below its first, which then go on with it
    however they begin."""
    # Lines of other programs: among these lines, around them, or inside their messages.
    beside: tuple["FormatSection", ...] = ()
    """Formats of other kinds of lines among these, such as a web server's access log in an
    application's: a line that this format does not match is a record of the first of them that
    does."""
    partial: PartialSection | None = None
    """Lines that were cut into pieces; none: every line is whole."""
    escapes: tuple[tuple[str, str], ...] = ()
    """Pairs of what stands in the message for a character, and the character: rsyslog writes `#011`
    for a tab."""
    instead: tuple[tuple[str, str], ...] = ()
    """Pairs of a field and another one, which stands in for it where a line lacks it."""
    inside: "FormatSection | None" = None
    """Format of the text in the message field, where that holds lines of another program, as a
    container's or a journal's record around a server's line does. Time and keys are the inner
    record's, or where it has none the outer one's; inner lines that begin no record go on with the
    one before them as `continuation` of the inner format says. It is of a kind whose records are
    lines by themselves: no `csv`, no `w3c`, no `export`."""
    streams: tuple[str, ...] = ()
    """Fields that tell apart what several programs write at the same time, such as `pod`: an inner
    line goes on with a record of its own stream."""
    wraps: bool = False
    """Whether the format is only ever meant around another one (`inside`), as `name | ` before what
    a container writes is."""
    # Labels in the lines themselves, as the paper's data sets have them.
    label: str | None = None
    """Group or JSON field that holds the line's label; none: lines carry no label."""
    normal: tuple[str, ...] = Field(default=("-",), min_length=1)
    """Labels that mean normal; every other one is an alert. JSON `true` and `false` are the strings
    `true` and `false`."""
    # What else goes with lines of this kind, unless the user says otherwise.
    masks: tuple[MaskRuleSection, ...] = ()
    """Masking rules that this format's messages need beside the paper's, tried before them; a
    user's own come before these."""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    """How bytes become text; invalid UTF-8 and NUL become U+FFFD and are counted. The paper's data
    sets are latin-1."""
    label_file: LabelFileSection = LabelFileSection()
    """Columns of a CSV file with labels per session."""
    sessions: SessionSection = SessionSection()
    """The grouping this format is used with unless something else is asked for."""
    split: Literal["time", "random"] = "time"
    """The split this format is used with unless something else is asked for."""

    @property
    def layers(self) -> tuple["FormatSection", ...]:
        """The format and those inside it, the outermost first."""
        return (self, *(self.inside.layers if self.inside is not None else ()))

    @property
    def innermost(self) -> "FormatSection":
        """The format whose messages are read."""
        return self.layers[-1]

    @property
    def time_formats(self) -> tuple[str, ...]:
        """How times may be written, those of the innermost format first.

        Empty: records have no time.
        """
        # A time is read from the innermost record that has one, so its forms are tried first.
        inner, *outer = reversed(self.layers)
        forms: list[str] = []
        for layer in (inner, *inner.beside, *outer):
            if layer.time is not None:
                forms += layer.time_format
        # Each form is tried once.
        return tuple(dict.fromkeys(forms))

    @model_validator(mode="after")
    def _lines_inside(self) -> Self:
        # A message is one text: a table's header or a block's end would lie in another message.
        inner = self.inside
        if inner is not None and (inner.kind in _IN_BLOCKS or inner.partial is not None):
            raise ValueError(f"what is inside is read line by line: {inner.name} is not")
        return self

    @model_validator(mode="after")
    def _lines_beside(self) -> Self:
        for other in self.beside:
            # It sees only the lines that the format itself did not match, one here and one there.
            in_blocks = other.kind in _IN_BLOCKS or other.partial is not None
            holds_another = other.inside is not None or bool(other.beside)
            if in_blocks or holds_another:
                raise ValueError(
                    "what is beside a format is read line by line, and holds no other:"
                    f" {other.name} is not so"
                )
        return self

    @model_validator(mode="after")
    def _pattern_when_needed(self) -> Self:
        if (self.kind == "pattern") != (self.pattern is not None):
            needs = "needs a" if self.kind == "pattern" else "takes no"
            raise ValueError(f"a format of kind {self.kind!r} {needs} pattern")
        if self.records is not None and self.kind != "json":
            raise ValueError(f"a format of kind {self.kind!r} takes no records within a line")
        if self.columns and self.kind not in ("csv", "w3c"):
            raise ValueError(f"a format of kind {self.kind!r} takes no columns")
        return self
