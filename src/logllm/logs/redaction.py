"""Secrets become `<email>`, `<ip>`, `<token>` and so on before anything of a log is written.

Two promises differ. *Texts* (messages, quoted lines, errors) have secrets replaced and no more. *Names* (keys of sessions, files) must
stay apart as well, so that a replaced one gets a digest: `<ip:3f9a01bc22de8c41>`. The digest is keyed with random bytes that are drawn for
each redactor and never written: equal names are one within a call, and nobody can find a name by trying all addresses there are.
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

    >>> redact(pl.Series(["ann@example.org from 10.0.0.3: password=hunter2", "took 12ms"])).to_list()
    ['<email> from <ip>: password=<secret>', 'took 12ms']
    """
    texts = texts.clone()  # `scatter` writes in place
    for rule in SECRETS:
        found = texts.str.contains(rule.pattern)
        if found.any():
            texts = texts.scatter(found.arg_true(), _replaced(texts.filter(found), rule))
    return texts


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

        >>> Redactor(salt=b"s").names(pl.Series(["job-7", "10.0.0.3", "10.0.0.4", "10.0.0.3"])).to_list()
        ['job-7', '<ip:eff159aeb27de6bf>', '<ip:6a16c3c0770dd582>', '<ip:eff159aeb27de6bf>']
        """
        flat = names.explode() if isinstance(names.dtype, pl.List) else names
        distinct = flat.drop_nulls().unique(maintain_order=True)
        whole = field is not None and SECRET_FIELD.search(field)
        shown = pl.repeat("<secret>", len(distinct), eager=True) if whole else redact(distinct)
        changed = distinct.filter(shown != distinct)
        if not len(changed):
            return names
        marked = [
            _SHOWN.sub(rf"<\1:{self._digest(name)}>", text, count=1)
            for name, text in zip(changed, shown.filter(shown != distinct), strict=True)
        ]
        if isinstance(names.dtype, pl.List):
            return names.list.eval(pl.element().replace(changed, pl.Series(marked, dtype=pl.String)))
        return names.replace(changed, pl.Series(marked, dtype=pl.String))

    def name(self, name: str) -> str:
        """One name."""
        return str(self.names(pl.Series([name], dtype=pl.String)).item())

    def _digest(self, name: str) -> str:
        """What stands for a name."""
        return blake2b(name.encode(), key=self._salt, digest_size=_DIGEST).hexdigest()


@contextmanager
def redacted_errors() -> Iterator[None]:
    """Errors inside a `with` block say nothing secret; what is no error of ours becomes a DataError.

    Raises:
        LogLLMError: of the same kind, its text redacted and without what caused it.
    """
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is told without what is secret
        ours = copy(exc) if isinstance(exc, LogLLMError) else DataError(f"{type(exc).__name__}: {exc}")
        ours.args = (redact_text(str(ours)),)
        raise ours from None


def _replaced(texts: pl.Series, rule: Secret) -> pl.Series:
    """Texts that a rule matches with what it finds replaced."""
    kept = "${1}" if re.compile(rule.pattern).groups else ""
    check = rule.check
    if check is None:
        return texts.str.replace_all(rule.pattern, f"{kept}{rule.shown}")
    candidates = texts.str.extract_all(rule.pattern)
    distinct = candidates.explode().unique()
    wrong = [text for text in distinct if not check(text)]
    if not wrong or len(wrong) == len(distinct):
        return texts if wrong else texts.str.replace_all(rule.pattern, f"{kept}{rule.shown}")
    seeming = candidates.list.eval(pl.element().is_in(wrong))
    true = ~seeming.list.any()
    texts = texts.scatter(true.arg_true(), texts.filter(true).str.replace_all(rule.pattern, f"{kept}{rule.shown}"))
    both = seeming.list.any() & ~seeming.list.all()
    # Few texts hold a secret and what only looks like one: they alone are gone through match by match.
    pattern = re.compile(rule.pattern)
    one_by_one = [
        pattern.sub(lambda match: f"{match[1] if kept else ''}{rule.shown}" if check(match[0]) else match[0], text)
        for text in texts.filter(both)
    ]
    return texts.scatter(both.arg_true(), pl.Series(one_by_one, dtype=pl.String)) if one_by_one else texts
