"""Messages for Slack's incoming webhooks, and for what takes the same.

Mattermost, Rocket.Chat and Discord's `/slack` take them, too.
"""

from collections.abc import Iterable

from logllm.serve.alerts import alert_texts
from logllm.serve.alerts.notes import Note, Summary

_LONGEST = 3_000
"""Characters of a message; Slack shortens one of more than 4,000."""
_LONGEST_TITLE = 150
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
"""What Slack takes for its own: links, mentions, `<!channel>`."""


class SlackForm:
    """A text with Slack's marks.

    Lines of the log stand between backquotes, where nobody takes them for marks or mentions.
    """

    def note(self, note: Note, *, now: str) -> dict[str, str]:
        """What is new of an incident."""
        del now  # Slack shows it
        incident = note.incident
        headline = _escaped(alert_texts.headline(note))
        when = alert_texts.when(incident)
        score = f"score {incident['score']:.4f}"
        quoted = [_code(line) for line in alert_texts.lines(incident)]
        more_kinds = alert_texts.more_kinds(incident)
        link = _link(note.link, "open the incident")
        return _text([f"*{headline}*", f"{when}, {score}", *quoted, more_kinds, link])

    def summary(self, summary: Summary, *, now: str) -> dict[str, str]:
        """What was held back."""
        del now
        listed = summary.notes[: alert_texts.MOST_LISTED]
        more = len(summary.notes) - len(listed)
        headline = _escaped(alert_texts.summary_headline(summary))
        lines = [f"*{headline}*", *map(_entry, listed)]
        lines.append(f"and {more:,} more" if more else "")
        lines.append(_link(summary.link, "open the incidents"))
        return _text(lines)


def _entry(note: Note) -> str:
    """An incident in a summary."""
    title = alert_texts.shortened(note.incident["title"], _LONGEST_TITLE)
    return f"• {_escaped(alert_texts.headline(note))}: {_code(title)}"


def _text(lines: Iterable[str]) -> dict[str, str]:
    """A message of some lines; what is too long is cut at the end of a line."""
    text = ""
    for line in filter(None, lines):
        # A cut inside a line could end within a mark, and Slack would show the rest wrongly.
        if len(text) + len(line) > _LONGEST:
            text += "\n…"
            break
        text += f"\n{line}" if text else line
    return {"text": text}


def _code(line: str) -> str:
    """A line of the log, as it is written."""
    if not line:
        return ""
    # A backquote of the log would end the code early: it becomes a letter that looks like it.
    without_marks = line.replace("`", "ˋ")
    return f"`{_escaped(without_marks)}`"


def _escaped(text: str) -> str:
    """A text none of whose characters means anything to Slack.

    >>> _escaped("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    # The ampersand first: those of the other two names must stay.
    for character, name in _ESCAPES:
        text = text.replace(character, name)
    return text


def _link(url: str | None, words: str) -> str:
    """A link; nothing where there is none."""
    return f"<{_escaped(url)}|{words}>" if url else ""
