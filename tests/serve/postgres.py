"""A PostgreSQL server for tests: made in a temporary folder, on loopback, gone when they end."""

import importlib.util
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

SCRIPT = Path(__file__).parents[2] / "datasets" / "postgres" / "server.py"
NUMBERS = count(1)


def module() -> ModuleType:
    """The script by which the shipped data set's servers are run."""
    spec = importlib.util.spec_from_file_location("postgres_server", SCRIPT)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # its dataclasses ask for it
    spec.loader.exec_module(script)
    return script


class Databases:
    """Places for stores in a server: a schema each, for a database is hundreds of files."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def fresh(self, options: str = "") -> str:
        """The URL of a new, empty place; `options` are settings of its connections."""
        schema = f"store_{next(NUMBERS)}"
        self.server.rule(f"CREATE SCHEMA {schema}")
        settings = quote(f"-c search_path={schema} {options}")
        return (
            f"postgresql://postgres:hush@127.0.0.1:{self.server.port}/postgres?options={settings}"
        )

    def rule(self, where: str, *statements: str) -> list[Any]:
        """Statements in such a place; what the last one gave."""
        with psycopg.connect(where, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def serving(**settings: str) -> Iterator[Databases]:
    """A server that runs, where PostgreSQL is installed and we may become its user."""
    script = module()
    if not script.BINARIES.is_dir():
        pytest.skip("needs PostgreSQL 15, as apt-get install postgresql brings it")
    root, watcher = script.workshop()
    try:
        server = script.Server(
            root, "store", port=script.free_port(), log=root / "server.log", settings=settings
        )
        server.initialise([], environment={})
        server.admit("local all all trust", "host all all 127.0.0.1/32 trust")
        server.start()
        try:
            yield Databases(server)
        finally:
            server.stop(signal.SIGQUIT)  # what it holds is not wanted any more
    finally:
        watcher.stdin.close()
        watcher.wait()
