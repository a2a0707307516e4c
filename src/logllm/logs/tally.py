"""What was read of a log and what was not: counts, the first rejects, and whether it is a log."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.counting import plural
from logllm.errors import DataError
from logllm.logs.calendar.zones import ambiguous_zones, unknown_zones
from logllm.logs.lines import Lines
from logllm.logs.records import Records
from logllm.logs.redaction import redact_text

_NAMES = (
    *("lines", "rejected", "empty", "files_without_records", "rejected_alerts"),
    *("replaced_characters", "cut_lines", "timeless", "continued"),
    *("turned", "moved_years", "unknown_zones", "ambiguous_zones"),
    *("lines_with_colours", "headers", "of_other_kinds"),
)
_SHOWN_REJECTS = 3
_SHOWN_CHARACTERS = 120
_SAMPLE = 1000


class WrongFormat(DataError):
    """Most lines of a log are not in the format that they were read by."""

    sample: pl.Series
    """Some of its lines."""
    described: FormatSection
    """The format."""


class Tallied(NamedTuple):
    """What was read of a part of a log, as it may be sent from one process to another."""

    counts: dict[str, int]
    """Plain counts."""
    rejects: list[dict[str, object]]
    """The first lines that did not parse."""
    sample: pl.Series
    """Some of its first lines."""

    def after(self, lines: int) -> "Tallied":
        """The same of a part that so many lines of its file come before."""
        if not lines:
            return self
        rejects = []
        for reject in self.rejects:
            line = int(str(reject["line"])) + lines
            rejects.append({**reject, "line": line})
        return self._replace(rejects=rejects)


class Tally:
    """Counts of what passes, batch by batch."""

    def __init__(
        self,
        described: FormatSection,
        *,
        named: Callable[[str], str],
        redact: bool,
    ) -> None:
        """Nothing read yet.

        Args:
            described: the format that the log is read by.
            named: gives a file's name as it may be written.
            redact: take what is secret out of the rejects that are shown.
        """
        self.counts = dict.fromkeys(_NAMES, 0)
        """Plain counts so far.

        `timeless` are records of a format with times that have none, `empty` rejects that hold
        nothing, `continued` lines that joined the one before, `turned` records of files that are
        written newest first, `moved_years` times without a year that had to be of an earlier one
        than the lines before them say, `unknown_zones` and `ambiguous_zones` names of zones.
        """
        self.first_rejects: list[dict[str, object]] = []
        """The first three lines that did not parse: `file`, `line`, `text` (shortened)."""
        self._described = described
        self._named = named
        self._redact = redact
        self._sample = pl.Series("text", [], dtype=pl.String)

    def add(self, lines: Lines, parsed: Records) -> None:
        """Count a batch of lines and what they held."""
        records, rejects = parsed
        if not len(self._sample):
            self._sample = lines.frame["text"].head(_SAMPLE)
        self.counts["lines"] += lines.frame.height
        self.counts["replaced_characters"] += lines.replaced
        self.counts["cut_lines"] += lines.cut
        self.counts["lines_with_colours"] += lines.coloured
        # The lines of a row of CSV that did not parse are so many rejects, and continue nothing.
        joined = 0
        if self._described.kind == "csv":
            breaks = rejects["text"].str.count_matches("\n", literal=True)
            joined = int(breaks.sum() or 0)
        self.counts["rejected"] += rejects.height + joined
        self.counts["continued"] -= joined
        written = rejects.filter(pl.col("text").str.contains(r"\S"))
        self.counts["empty"] += rejects.height - written.height
        self.counts["rejected_alerts"] += int(rejects["anomalous"].sum() or 0)
        if self._described.time_formats:
            self.counts["timeless"] += records["time"].null_count()
        room = _SHOWN_REJECTS - len(self.first_rejects)
        for line, text, _ in written.head(room).iter_rows():
            if self._redact:
                text = redact_text(text)  # before it is cut: half a secret is not recognised
            file = self._named(Path(lines.file).name)
            self.first_rejects.append({"file": file, "line": line, "text": shortened(text)})

    def take(self, parts: Sequence["Tally"]) -> None:
        """Be the sum of others."""
        totals: dict[str, int] = {}
        rejects: list[dict[str, object]] = []
        for part in parts:
            rejects += part.first_rejects
            for name, count in part.counts.items():
                totals[name] = totals.get(name, 0) + count
        self.counts.update(totals)
        self.first_rejects[:] = rejects[:_SHOWN_REJECTS]

    @property
    def tallied(self) -> Tallied:
        """All of it, as it may be sent."""
        return Tallied(dict(self.counts), list(self.first_rejects), self._sample)

    def join(self, part: Tallied) -> None:
        """Count what was read of the next part elsewhere."""
        for name, count in part.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        room = _SHOWN_REJECTS - len(self.first_rejects)
        self.first_rejects += part.rejects[:room]
        if not len(self._sample):
            self._sample = part.sample

    def zones(self, names: set[str], *, zone: str | None) -> None:
        """Count the names of zones that no table has, and those of several meanings.

        Args:
            names: those that times had.
            zone: the zone of times that name none; none: UTC.
        """
        self.counts["unknown_zones"] = len(unknown_zones(names, zone=zone))
        self.counts["ambiguous_zones"] = len(ambiguous_zones(names, zone=zone))

    def check(self, files: list[str]) -> None:
        """Whether a log that has been read to its end is one in its format.

        Raises:
            WrongFormat: more than half of its lines did not parse.
            DataError: it holds empty lines only.
        """
        # Lines that are empty or go on with another say nothing of the format.
        # Records are what is in the format or not; an empty line is neither.
        lines = self.counts["lines"] - self.counts["continued"] - self.counts["empty"]
        rejected = self.counts["rejected"] - self.counts["empty"]
        if not lines:
            raise DataError(f"{', '.join(files)} holds empty lines only")
        if 2 * rejected <= lines:
            return
        first = self.first_rejects[0]
        are = "is" if rejected == 1 else "are"
        example = f"line {first['line']} of {first['file']}: {first['text']}"
        fault = WrongFormat(
            f"{rejected:,} of {plural(lines, 'line')} {are} not in the format"
            f" {self._described.name}, such as {example}"
        )
        fault.sample, fault.described = self._sample, self._described
        raise fault


def shortened(text: str) -> str:
    r"""A line as it may stand in a message: short, and without characters that would move a cursor.

    >>> shortened("a\tb\x1b[2J")
    'a b�[2J'
    """
    beginning = text[:_SHOWN_CHARACTERS]
    if len(text) > _SHOWN_CHARACTERS:
        beginning += "…"
    return printable(beginning)


def printable(text: str) -> str:
    """A text without characters that would move a cursor."""
    if text.isprintable():
        return text
    spaced = (" " if letter.isspace() else letter for letter in text)
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in spaced)
