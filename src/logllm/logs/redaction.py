"""Secrets become `<email>`, `<ip>`, `<token>` and so on before anything of a log is written.

Two promises differ. *Texts* (messages, quoted lines, errors) have secrets replaced and no more.
*Names* (keys of sessions, files) must stay apart as well, so that a replaced one gets a digest:
`<ip:3f9a01bc22de8c41>`. The digest is keyed with random bytes that are drawn for each redactor and
never written: equal names are one within a call, and nobody can find a name by trying all addresses
there are.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from hashlib import blake2b

import polars as pl

from logllm.errors import DataError, LogLLMError
from logllm.logs.secrets import SECRET_FIELD, SECRETS, Secret

_DIGEST = 8
_SHOWN = re.compile(r"<([a-z]+)>")


def redact(texts: pl.Series) -> pl.Series:
    """Texts without secrets, rule after rule (`logllm.logs.secrets.SECRETS`).

    >>> texts = pl.Series(["ann@example.org from 10.0.0.3: password=hunter2", "took 12ms"])
    >>> redact(texts).to_list()
    ['<email> from <ip>: password=<secret>', 'took 12ms']
    """
    # One query tries all rules: most texts hold no secret, and are left alone.
    tried = [pl.col("text").str.contains(rule.pattern) for rule in SECRETS]
    suspected = texts.alias("text").to_frame().select(pl.any_horizontal(tried)).to_series()
    places = suspected.arg_true()
    if not len(places):
        return texts.clone()
    changing = texts.gather(places)
    for rule in SECRETS:
        matching = changing.str.contains(rule.pattern)
        if matching.any():
            replaced = _replaced(changing.filter(matching), rule)
            changing = changing.scatter(matching.arg_true(), replaced)
    return texts.clone().scatter(places, changing)  # `scatter` writes in place


def redact_text(text: str) -> str:
    """One text without secrets."""
    return str(redact(pl.Series([text], dtype=pl.String)).item())


class Redactor:
    """Redacts names so that different ones stay different."""

    def __init__(self, *, salt: bytes | None = None) -> None:
        """Start with a salt of one's own: random where none is given, and written nowhere."""
        self._salt = secrets.token_bytes(32) if salt is None else salt

    def names(self, names: pl.Series, *, field: str | None = None) -> pl.Series:
        """Names, those that hold a secret with it replaced and a digest of the whole name.

        Args:
            names: names, or lists of names.
            field: the field they come from; all of them are secrets where its name says so.

        >>> names = pl.Series(["job-7", "10.0.0.3", "10.0.0.4", "10.0.0.3"])
        >>> Redactor(salt=b"s").names(names).to_list()
        ['job-7', '<ip:eff159aeb27de6bf>', '<ip:6a16c3c0770dd582>', '<ip:eff159aeb27de6bf>']
        """
        flat = names.explode() if isinstance(names.dtype, pl.List) else names
        distinct = flat.drop_nulls().unique(maintain_order=True)
        whole = field is not None and SECRET_FIELD.search(field)
        shown = redact(distinct)
        if whole:
            shown = pl.repeat("<secret>", len(distinct), eager=True)
        is_changed = shown != distinct
        changed = distinct.filter(is_changed)
        if not len(changed):
            return names

        # `<ip>` becomes `<ip:eff159aeb27de6bf>`: the same address the same digest, in this call.
        digested: list[str] = []
        for name, text in zip(changed, shown.filter(is_changed), strict=True):
            digested.append(_SHOWN.sub(rf"<\1:{self._digest(name)}>", text, count=1))
        replacements = pl.Series(digested, dtype=pl.String)
        if isinstance(names.dtype, pl.List):
            return names.list.eval(pl.element().replace(changed, replacements))
        return names.replace(changed, replacements)

    def name(self, name: str) -> str:
        """One name."""
        return str(self.names(pl.Series([name], dtype=pl.String)).item())

    def _digest(self, name: str) -> str:
        """What stands for a name."""
        return blake2b(name.encode(), key=self._salt, digest_size=_DIGEST).hexdigest()


@contextmanager
def redacted_errors() -> Iterator[None]:
    """Errors inside a `with` block say nothing secret.

    An error that is not one of logllm becomes a DataError.

    Raises:
        LogLLMError: of the same kind, its text redacted and without what caused it.
    """
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is told without what is secret
        ours = (
            copy(exc) if isinstance(exc, LogLLMError) else DataError(f"{type(exc).__name__}: {exc}")
        )
        ours.args = (redact_text(str(ours)),)
        raise ours from None


def _replaced(texts: pl.Series, rule: Secret) -> pl.Series:
    """Texts that a rule matches with what it finds replaced."""
    kept = "${1}" if re.compile(rule.pattern).groups else ""
    replacement = f"{kept}{rule.shown}"
    check = rule.check
    if check is None:
        return texts.str.replace_all(rule.pattern, replacement)

    # Each distinct match is checked once: whether all are secrets, none is, or some are.
    candidates = texts.str.extract_all(rule.pattern)
    distinct = candidates.explode().unique()
    wrong = [text for text in distinct if not check(text)]
    if not wrong:
        return texts.str.replace_all(rule.pattern, replacement)
    if len(wrong) == len(distinct):
        return texts
    seeming = candidates.list.eval(pl.element().is_in(wrong))
    true = ~seeming.list.any()
    cleaned = texts.filter(true).str.replace_all(rule.pattern, replacement)
    texts = texts.scatter(true.arg_true(), cleaned)

    # Few texts hold a secret and what only looks like one: they alone are gone through match by
    # match.
    both = seeming.list.any() & ~seeming.list.all()
    pattern = re.compile(rule.pattern)

    def replaced(match: re.Match[str]) -> str:
        if not check(match[0]):
            return match[0]
        return f"{match[1] if kept else ''}{rule.shown}"

    one_by_one = [pattern.sub(replaced, text) for text in texts.filter(both)]
    if not one_by_one:
        return texts
    return texts.scatter(both.arg_true(), pl.Series(one_by_one, dtype=pl.String))
