"""The name of one verdict in addresses: its key, written so that every address may hold it."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from logllm.serve.store.frames import VerdictKey

_LARGEST = 2**63 - 1
"""The largest number that a database holds."""


def encode(key: VerdictKey) -> str:
    """A key as an id.

    >>> encode(VerdictKey("app", "app.log", "blk_7", 1, 12))
    'WyJhcHAiLCJhcHAubG9nIiwiYmxrXzciLDEsMTJd'
    """
    # JSON keeps texts and numbers apart; base64 makes of it what any address may hold.
    text = json.dumps(key, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(name: str) -> VerdictKey | None:
    """The key that an id stands for; none where it is no id.

    >>> decode("WyJhcHAiLCJhcHAubG9nIiwiYmxrXzciLDEsMTJd").session, decode("blk_7")
    ('blk_7', None)
    """
    try:
        # Without its padding, which some programs escape in addresses.
        padded = name + "=" * (-len(name) % 4)
        values = json.loads(urlsafe_b64decode(padded.encode()))
        key = VerdictKey(*values)
    except (ValueError, TypeError, RecursionError):
        return None
    return key if _is_sound(key) else None


def _is_sound(key: VerdictKey) -> bool:
    """Whether a database can look for a key."""
    texts = key[:3]
    numbers = key[3:]
    if not all(isinstance(text, str) for text in texts):
        return False
    # `true` is an int in Python, and a number beyond 64 bits an error of the database.
    if not all(type(number) is int and abs(number) <= _LARGEST for number in numbers):
        return False
    return all(is_storable(text) for text in texts)


def is_storable(text: str) -> bool:
    r"""Whether every database takes a text: no NUL, and no half of a character.

    >>> is_storable("job 7"), is_storable("a\x00b"), is_storable("\ud800")
    (True, False, False)
    """
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False
