"""Pages of HTML that need nothing else: no network, no other file, and only our own scripts."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from typing import Any

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def rendered(template: str, values: Mapping[str, Any], *, script: str | None = None) -> str:
    """A template with values in it.

    All values are shown as text, whatever they hold, unless the template says `safe`. Templates,
    and what they include, are named by their places in the package. Every template also has the
    values `script` and `policy`; the policy lets nothing in, and lets only this script run.

    Args:
        template: such as `evaluate/report.html.jinja`.
        values: by the names that the template has for them.
        script: the place of the only script that may run; None: no script may.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    # Whatever a log holds must not become part of the page: everything is escaped, and a name that
    # is missing is an error and no empty text.
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_source),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=counted,
        duration=duration,
        figure=figure,
        moment=moment,
        score=score,
        share=share,
    )
    code = "" if script is None else _source(script)
    page = environment.get_template(template)
    return page.render(**values, script=code, policy=_policy(code))


def _source(name: str) -> str:
    """What a file of the package holds."""
    return (files("logllm") / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """What a page may load and run."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    if not script:
        return policy
    # The page's own script by its hash: a script that a log smuggles in would not run.
    digest = sha256(script.encode()).digest()
    return f"{policy}; script-src 'sha256-{b64encode(digest).decode()}'"


def figure(value: float | None) -> str:
    """A figure with four digits.

    >>> figure(0.98765), figure(None)
    ('.9877', '–')
    """
    return "–" if value is None else f"{value:.4f}".removeprefix("0")


def score(value: float) -> str:
    """A score with four digits; only 0 and 1 themselves are written as such.

    >>> score(0.99996), score(0.12345), score(1.0), score(0.00001)
    ('>.9999', '.1235', '1', '<.0001')
    """
    # Rounding must not say that something is certain.
    if 0.9999 < value < 1:
        return ">.9999"
    if 0 < value < 0.0001:
        return "<.0001"
    return f"{value:.4f}".removeprefix("0") if value < 1 else "1"


def share(value: float | None) -> str:
    """A share as a percentage.

    >>> share(0.5), share(0.00123), share(None)
    ('50.0 %', '0.1 %', '–')
    """
    return "–" if value is None else f"{value:.1%}".replace("%", " %")


def counted(value: float) -> str:
    """A count with its thousands apart.

    >>> counted(12345)
    '12,345'
    """
    return f"{value:,}"


def moment(value: datetime | None) -> str:
    """A time to the second.

    >>> moment(datetime(2026, 11, 22, 11, 53, 6, 227000))
    '2026-11-22 11:53:06'
    """
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def duration(value: timedelta | None) -> str:
    """How long something lasts, in its two largest units.

    >>> duration(timedelta(hours=26, minutes=5)), duration(timedelta(seconds=75))
    ('1 d 2 h', '1 min 15 s')
    >>> duration(timedelta(milliseconds=40))
    '0.04 s'
    """
    if value is None:
        return "–"
    seconds = value.total_seconds()
    if seconds < 10:
        return f"{seconds:.2g} s"
    parts: list[tuple[int, str]] = []
    rest = round(seconds)
    for size, name in _UNITS:
        whole, rest = divmod(rest, size)
        parts.append((whole, name))
    parts.append((rest, "s"))
    # From the largest unit that is not 0: `1 d 2 h`, without the minutes.
    first = next(at for at, (whole, _) in enumerate(parts) if whole)
    return " ".join(f"{whole} {name}" for whole, name in parts[first : first + 2] if whole)
