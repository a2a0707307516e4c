"""`logllm serve`: verdicts over HTTP, to people and to programs."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logllm.cli.console import note

if TYPE_CHECKING:
    from logllm.config.serve import ServeSection

_SHORTEST_TOKEN = 16
"""Characters; what is shorter may be found by trying."""


def serve(
    store: Annotated[
        str,
        typer.Option(help="The verdicts: a file, sqlite:///PATH, or postgresql://USER@HOST/DATABASE."),
    ] = "logllm.db",
    host: Annotated[str, typer.Option(help="The address to answer on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 for any that is free.")] = 8431,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that clients must bring, instead of LOGLLM_TOKEN."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name by which browsers reach it, such as logs.example.org; may be given several times."),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="The address of a proxy in front, which says who asks; by default only of this machine."),
    ] = None,
) -> None:
    """Show verdicts on a page and give them to programs, as they are stored."""
    from logllm.config.serve import ServeSection
    from logllm.extras import require

    require("serve", to="serve verdicts")
    settings = {"host": host, "port": port, "names": name or (), **({"proxies": proxy} if proxy else {})}
    section = ServeSection.read(settings, source="the command line")
    _serve(section, store=store, token=_token(token_file, host=host))


def _serve(section: "ServeSection", *, store: str, token: str | None) -> None:
    """Answer until told to stop."""
    from logllm.serve.store.verdict_store import Store
    from logllm.serve.web.application import application
    from logllm.serve.web.running import Server, address_of, listening
    from logllm.serve.web.service import service_of

    with closing(Store.open(store, create=False)) as opened:
        service = service_of(opened, section)
        app = application(service, token=token)
        with listening(section) as bound:
            note(f"{opened.name} is shown at {address_of(bound)}")
            Server(app, section, closing=service.feed.close).run_until_told(bound)


def _token(file: Path | None, *, host: str) -> str | None:
    """What clients must bring; none on loopback where nothing is said.

    Raises:
        DataError: the file cannot be read.
        RecipeError: it is too short, or the service is reached from elsewhere and there is none.
    """
    from logllm.errors import DataError, RecipeError
    from logllm.serve.web.layers.access import is_loopback

    try:
        token = os.environ.get("LOGLLM_TOKEN", "") if file is None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{file} cannot be read: {getattr(exc, 'strerror', 'it is no text')}") from exc
    token = token.strip()
    if not token and file is None and is_loopback(host):
        return None
    remedy = "make one with `openssl rand -hex 32 > token` and add --token-file token"
    if not token:
        raise RecipeError(f"who reaches {host} would read every log: a token is needed; {remedy}")
    if len(token) < _SHORTEST_TOKEN:
        raise RecipeError(f"the token is short enough to be found by trying: {remedy}")
    return token
