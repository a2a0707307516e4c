"""Open files, plain or compressed, whose plain bytes can be read anywhere."""

import os
import stat
from collections import OrderedDict
from collections.abc import Hashable
from typing import Protocol

from logllm.logs.archives import Bytes, Counted, unpack

_STEP = 1 << 20
_WINDOW = 8 << 20
"""Plain bytes that are held of a compressed file, so that a step back does not unpack it anew."""


class NoFile(OSError):
    """What a name stands for is no file that can be read twice: a folder, a pipe, a device."""


class OpenFile(Protocol):
    """A file that is open."""

    packed: bool
    """Whether it is compressed."""
    ended: bool
    """Whether it is compressed and was unpacked to its end."""

    def status(self) -> os.stat_result:
        """What the system knows of the file now; its size is as on disk."""

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` plain bytes from an offset on; fewer only at the end."""

    def close(self) -> None:
        """Give the descriptor back."""


def open_file(name: str) -> OpenFile:
    """A file by its name.

    Raises:
        NoFile: it is a folder, a pipe, a device.
        OSError: it is not there, or may not be read.
    """
    # Without waiting, as a pipe's other end may never come.
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NoFile(None, "is no regular file", name)
        # By its bytes, not its name: a rotation may pack a file under the name that it had.
        start = _Whole(descriptor)
        _, tool = unpack(Counted(start))
    except BaseException:
        os.close(descriptor)
        raise
    return _Packed(descriptor) if tool else _Plain(descriptor)


def open_numbered(name: str, number: tuple[int, int]) -> OpenFile | None:
    """The file of a name, if it has this device and inode.

    None: another file has that name, or there is none.

    Raises:
        OSError: it may not be read.
    """
    try:
        file = open_file(name)
    except FileNotFoundError:
        return None
    # Asked of the open file: between two looks at a name another file may take it.
    status = file.status()
    if (status.st_dev, status.st_ino) == number:
        return file
    file.close()
    return None


class _Whole:
    """A descriptor's bytes from the first on, whatever else is read by it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""
        block = os.pread(self._descriptor, size if size >= 0 else _STEP, self._offset)
        self._offset += len(block)
        return block


class _Plain:
    """A file that is read as it is."""

    packed = False
    ended = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def status(self) -> os.stat_result:
        """What the system knows of the file now."""
        return os.fstat(self._descriptor)

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from an offset on."""
        # A network's file system may give fewer bytes than there are, and more at the next call.
        block = os.pread(self._descriptor, size, offset)
        while block and len(block) < size:
            lacking = size - len(block)
            further = os.pread(self._descriptor, lacking, offset + len(block))
            if not further:
                break
            block += further
        return block

    def data_from(self, offset: int) -> int:
        """Where bytes begin that were written, from an offset on; a hole reads as NULs."""
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError:  # nothing but a hole, or a file system that does not tell
            return offset

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class _Packed:
    """A compressed file, unpacked from its first byte to where it is read."""

    packed = True

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rewind()

    def _rewind(self) -> None:
        self._plain: Bytes
        self._plain, _ = unpack(Counted(_Whole(self._descriptor)))
        self._window = bytearray()
        self._start = 0
        self.ended = False

    def status(self) -> os.stat_result:
        """What the system knows of the file now; its size is that of the compressed bytes."""
        return os.fstat(self._descriptor)

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` plain bytes from an offset on.

        Raises:
            FAULTS: of `logllm.logs.archives`: it is damaged or cut off before what is asked for.
        """
        # A compressed file cannot be entered in its middle: it is unpacked anew from its beginning.
        if offset < self._start:
            self._rewind()
        while self._start + len(self._window) < offset + size:
            try:
                piece = self._plain.read(_STEP)
            except BaseException:
                # What precedes the fault is given first.
                if self._start + len(self._window) > offset:
                    break
                raise
            if not piece:
                self.ended = True
                break
            self._window += piece
            self._forget(offset)
        first = offset - self._start
        return bytes(self._window[first : first + size])

    def _forget(self, offset: int) -> None:
        """Let go of what lies far before an offset."""
        # At least 8 MiB stay, and 1 MiB before what was asked for.
        too_many = len(self._window) - _WINDOW
        far_before = offset - _STEP - self._start
        surplus = min(too_many, far_before)
        if surplus > 0:
            del self._window[:surplus]
            self._start += surplus

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class Descriptors:
    """Open files by what they belong to.

    Where many are open, those that were unused for longest are closed.
    """

    def __init__(self, most: int) -> None:
        """None open yet.

        Args:
            most: how many may be open.
        """
        self._most = most
        self._open: OrderedDict[Hashable, OpenFile] = OrderedDict()

    def of(self, owner: Hashable) -> OpenFile | None:
        """The open file of an owner."""
        file = self._open.get(owner)
        if file is not None:
            self._open.move_to_end(owner)
        return file

    def keep(self, owner: Hashable, file: OpenFile) -> None:
        """Hold an open file for its owner."""
        self.close(owner)
        self._open[owner] = file
        while len(self._open) > self._most:
            # It is opened again by its name when it is needed; only a file that was deleted is lost
            # so.
            _, oldest = self._open.popitem(last=False)
            oldest.close()

    def close(self, owner: Hashable) -> None:
        """Close an owner's file, if it is open."""
        file = self._open.pop(owner, None)
        if file is not None:
            file.close()

    def close_all(self) -> None:
        """Close every file."""
        for owner in list(self._open):
            self.close(owner)
