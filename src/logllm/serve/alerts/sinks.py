"""Where incidents are sent, as they are set.

Each has a name that holds no secret, a target and a form.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import SplitResult, unquote, urlsplit

from logllm.config.alerts import SinkKind, SinkSection
from logllm.errors import RecipeError
from logllm.serve.alerts import alertmanager
from logllm.serve.alerts.alertmanager import AlertmanagerForm
from logllm.serve.alerts.notes import Form
from logllm.serve.alerts.posting import Target
from logllm.serve.alerts.slack import SlackForm
from logllm.serve.alerts.webhook import WebhookForm

_SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_HASH_LENGTH = 6
_UNFIT = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")
"""What no URL and no header may hold as it is."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class Sink:
    """A place that is told."""

    name: str
    """What people call it."""
    kind: SinkKind
    section: SinkSection
    """What is told, and how often."""
    target: Target
    form: Form

    @property
    def budget(self) -> int | None:
        """Messages an hour at most; none: as many as there are."""
        return None if self.kind == "alertmanager" else self.section.budget


def sinks_of(
    sections: Sequence[SinkSection],
    *,
    environment: Mapping[str, str],
    page: str | None,
) -> list[Sink]:
    """Where incidents are sent.

    Args:
        sections: As they are set.
        environment: Variables that URLs and tokens may name.
        page: Where people reach the page of `logllm serve`; none: nowhere.

    Raises:
        RecipeError: a URL is none, a variable is not set, or two have one name. No message holds
            more of a URL than its host.
    """
    if page is not None:
        _checked(page, what="--public-url")
    sinks = [_sink(section, environment, page=page) for section in sections]
    # A name is the key in the store: two places of one name would take each other's messages.
    names = [sink.name for sink in sinks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"alerts: two are called {twice}: give one another `name`")
    return sinks


def section_of(url: str) -> SinkSection:
    """The settings of a place that is given as a URL alone, as on the command line."""
    return SinkSection(url=url)


def _sink(section: SinkSection, environment: Mapping[str, str], *, page: str | None) -> Sink:
    """One place."""
    url = _expanded(section.url, environment)
    parts = _checked(url, what="alerts")
    kind = section.kind or _kind(parts)
    headers = dict(section.headers)
    if section.token is not None:
        headers["Authorization"] = f"Bearer {_expanded(section.token, environment)}"
    elif parts.username is not None:
        headers["Authorization"] = _basic(parts)
    _check_headers(headers, host=parts.hostname)
    plain = _without_user(parts)
    if kind == "alertmanager" and not plain.path.endswith(alertmanager.PATH):
        plain = plain._replace(path=plain.path.rstrip("/") + alertmanager.PATH)
    # Without a name of its own it is called by its host, and by a hash that gives no secret away.
    digest = sha256(url.encode()).hexdigest()[:_HASH_LENGTH]
    name = section.name or f"{kind}-{parts.hostname}-{digest}"
    target = Target(plain.geturl(), headers, section.timeout)
    return Sink(name, kind, section, target, _form(kind, section, page=page))


def _expanded(value: str, environment: Mapping[str, str]) -> str:
    """A value, or that of the variable that it names.

    >>> _expanded("$HOOK", {"HOOK": "https://example.org/x"})
    'https://example.org/x'

    Raises:
        RecipeError: there is no such variable.
    """
    if not value.startswith("$"):
        return value
    name = value.removeprefix("$").strip("{}")
    if name not in environment:
        raise RecipeError(f"alerts: the environment variable {name} is not set")
    return environment[name]


def _checked(url: str, *, what: str) -> SplitResult:
    """The parts of a URL.

    Raises:
        RecipeError: it is none that can be asked.
    """
    try:
        parts = urlsplit(url)
        # A port that is no number is found only when it is read.
        parts.port  # noqa: B018 - reads it
    except ValueError:
        # The error itself repeats the URL, which may hold a password or a secret path.
        raise RecipeError(f"{what}: a URL is not written as one: https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or _UNFIT.search(url):
        raise RecipeError(f"{what}: a URL is not written as one: https://HOST/PATH, without spaces")
    return parts


def _kind(parts: SplitResult) -> SinkKind:
    """The form that a URL tells of."""
    if parts.hostname in _SLACK_HOSTS:
        return "slack"
    return "alertmanager" if parts.path.endswith(alertmanager.PATH) else "webhook"


def _basic(parts: SplitResult) -> str:
    """A URL's user and password as a header."""
    user = unquote(parts.username or "")
    password = unquote(parts.password or "")
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _without_user(parts: SplitResult) -> SplitResult:
    """A URL without its user and password."""
    # The user goes into a header, the fragment nowhere: neither is part of a request's URL.
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")


def _check_headers(headers: Mapping[str, str], *, host: str | None) -> None:
    """Whether headers can be sent.

    Raises:
        RecipeError: one cannot.
    """
    for name, value in headers.items():
        # A line end in a header would let whoever writes the settings add requests.
        if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable():
            raise RecipeError(f"alerts: the header {name!r:.60} for {host} cannot be sent")


def _form(kind: SinkKind, section: SinkSection, *, page: str | None) -> Form:
    """How messages look there."""
    if kind == "alertmanager":
        return AlertmanagerForm(section, page=page)
    return SlackForm() if kind == "slack" else WebhookForm()
