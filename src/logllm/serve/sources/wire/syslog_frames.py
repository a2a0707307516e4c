"""Messages of syslog in a stream of bytes."""

import re

from logllm.logs.lines import LONGEST_LINE

_COUNTED = re.compile(rb"([1-9][0-9]{0,8}) (?=<[0-9]{1,3}>)")
"""What stands before a message whose bytes are counted (RFC 6587, 3.4.1)."""
_MAY_BE_COUNTED = re.compile(rb"[1-9][0-9]{0,8}(?: (?:<[0-9]{0,3})?)?")
"""A beginning of that, of which more must come before it is known."""
_END = re.compile(rb"[\n\0]")
_DIGITS = frozenset(b"123456789")


class Framer:
    r"""Cuts a stream into messages, wherever it was cut on its way.

    A message's bytes are counted only where a number, a blank and a priority say so; every other
    one ends at LF or NUL. Both may come on one connection. What is longer than `LONGEST_LINE` bytes
    is cut: no more is held of a message that does not end.

    >>> framer = Framer()
    >>> framer.feed(b"<34>one\n8 <34>t"), framer.feed(b"\nwo10 green bottles\n"), framer.end()
    ([b'<34>one'], [b'<34>t\nwo', b'10 green bottles'], [])
    """

    def __init__(self) -> None:
        self.cut = 0
        """Messages that were too long."""
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer in which there is no end
        self._over = 0  # bytes of a counted message that were too many, still to come
        self._passing = False  # whether all up to the next end is too much

    @property
    def held(self) -> int:
        """Bytes of a message that has not ended."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Messages that end in this chunk; some may be empty."""
        self._buffer += chunk
        frames: list[bytes] = []
        start = 0
        while start < len(self._buffer):
            following, frame = self._next(start)
            if frame is not None:
                frames.append(frame)
            elif following == start:
                break
            start = following
        # Once for the whole chunk: to delete after each message would move all of the rest each
        # time.
        del self._buffer[:start]
        self._searched = max(0, self._searched - start)
        return frames

    def end(self) -> list[bytes]:
        """What came of a message that did not end."""
        # What was counted, and broke off, is kept without its number.
        counted = _COUNTED.match(self._buffer)
        rest = bytes(self._buffer[counted.end() if counted else 0 :])
        self._buffer.clear()
        return [rest] if rest else []

    def _next(self, start: int) -> tuple[int, bytes | None]:
        """Where to go on, and the message before that place.

        None: more must come, or the message was too long.
        """
        buffer = self._buffer
        if self._over:
            passed = min(self._over, len(buffer) - start)
            self._over -= passed
            return start + passed, None
        # "10 green bottles" begins with a number as well: only a priority behind it makes it a
        # count.
        if buffer[start] in _DIGITS and not self._passing:
            counted = _COUNTED.match(buffer, start)
            if counted:
                return self._counted(counted)
            # "10 <3" may go on either way: it is waited for one more byte.
            if _MAY_BE_COUNTED.fullmatch(buffer, start):
                return start, None
        return self._until_end(start)

    def _counted(self, counted: re.Match[bytes]) -> tuple[int, bytes | None]:
        """A message whose bytes are counted."""
        length, start = int(counted[1]), counted.end()
        most = min(length, LONGEST_LINE)
        # Not all of it has come: it begins again at its number.
        if len(self._buffer) - start < most:
            return counted.start(), None
        self.cut += length > most
        self._over = length - most
        return start + most, bytes(self._buffer[start : start + most])

    def _until_end(self, start: int) -> tuple[int, bytes | None]:
        """A message that ends at a line break or NUL."""
        buffer = self._buffer
        # Only what is new is searched: a message of megabytes comes in thousands of pieces.
        end = _END.search(buffer, max(start, self._searched))
        place = end.start() if end else len(buffer)
        following = end.end() if end else len(buffer)
        if self._passing:
            self._passing = end is None
            return following, None
        if place - start > LONGEST_LINE:
            self.cut += 1
            self._passing = end is None
            return following, bytes(buffer[start : start + LONGEST_LINE])
        if end is None:
            self._searched = place
            return start, None
        return following, bytes(buffer[start:place])
