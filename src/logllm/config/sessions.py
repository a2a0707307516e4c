"""How records become sessions."""

from typing import Literal, Self

from pydantic import Field, model_validator

from logllm.config.section import Section


class SessionSection(Section):
    """Grouping of records into sessions: by key, by file or folder, by count or by time."""

    # What holds records together.
    by: Literal["key", "file", "folder", "count", "time"] = "count"
    """`key`: one session a key, such as an HDFS block; `file`: a file is one session; `folder`: the
    files of a folder are one; `count`: windows of `size` records, which end with their file;
    `time`: windows of `size` seconds."""
    key_pattern: str | None = None
    r"""Regular expression (Rust syntax) whose every match in the message is a key, or what its one
    group matches: `order (\d+)`; a line belongs to each of its keys."""
    key_field: str | None = None
    """Field of the record that holds the key, instead of `key_pattern`: a named group, or a JSON
    field (a list names several keys). What stands for nothing there, such as `-` or `N/A`, is no
    key."""
    # Windows: how long, and how far apart.
    size: int = Field(default=100, ge=1)
    """Length of a window: records (`count`; the paper: 100) or seconds (`time`)."""
    step: int | None = Field(default=None, ge=1)
    """From one window's start to the next one's, in the unit of `size`; none: the size, windows do
    not overlap."""
    merged: bool = False
    """The records of all files are one timeline, in the order of their times: those of several
    services. They are all read before the first session, and windows go on from file to file."""
    # Limits: a decoder reads so much, and memory holds so many sessions that are still open.
    max_messages: int = Field(default=128, ge=1)
    """Longest session the decoder reads, in messages (paper: 128)."""
    long: Literal["cut", "split"] = "split"
    """A longer session is cut after `max_messages` (the paper) or goes on as piece 2, 3, ... with
    ids `<session>#2`, `<session>#3`."""
    idle: int | None = Field(default=None, ge=1)
    """Seconds of log time after which a key session without records closes; none: at the end of the
    input."""
    max_open_sessions: int = Field(default=1_000_000, ge=1)
    """Open key sessions held at once; beyond it the ones idle for longest close early."""

    @property
    def by_key(self) -> bool:
        """Whether records, or their files, name their sessions.

        If not, sessions are windows: stretches of the log that may end between any two records.
        """
        return self.by in ("key", "file", "folder")

    @property
    def by_file(self) -> bool:
        """Whether the file or the folder that records lie in names their sessions."""
        return self.by in ("file", "folder")

    @property
    def key(self) -> tuple[str | None, str | None]:
        """The field that holds the key of a record, and the pattern that finds it in the message.

        Windows have neither.
        """
        if self.by != "key":
            return None, None
        return self.key_field, self.key_pattern

    @property
    def overlapping(self) -> bool:
        """Whether a record may be in several windows."""
        if self.by_key or self.step is None:
            return False
        return self.step < self.size

    @property
    def in_words(self) -> str:
        """How records become sessions, in a few words.

        >>> SessionSection(by="key", key_field="pid").in_words
        'by pid'
        >>> SessionSection(by="time", size=60).in_words
        'windows of 60 seconds'
        """
        key = self.key_field or self.key_pattern
        kinds = {
            "key": f"by {key}",
            "file": "by file",
            "folder": "by folder",
            "count": f"windows of {self.size} records",
            "time": f"windows of {self.size} seconds",
        }
        return kinds[self.by]

    @model_validator(mode="after")
    def _keys_when_by_key(self) -> Self:
        # Both or neither would leave open by what a line is grouped.
        if self.by == "key" and (self.key_pattern is None) == (self.key_field is None):
            raise ValueError("sessions by key take one of key_pattern and key_field")
        if self.step is not None and self.step > self.size:
            raise ValueError(
                f"step {self.step} is larger than size {self.size}: records would belong to no"
                " window"
            )
        return self
