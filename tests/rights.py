"""Rights on files that bind: for root, who may do everything, while it is another user."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def bound_by_rights() -> Iterator[None]:
    """As a user whom rights on files bind; whoever is none but root is one already."""
    us = os.geteuid()
    if us == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(us)


@contextmanager
def folder_of_the_bound() -> Iterator[Path]:
    """A folder that whoever is bound by rights may write in; pytest's own folders are closed to all
    but their owner."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
