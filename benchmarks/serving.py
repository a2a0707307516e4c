"""`logllm serve` that a measurement or a test starts and kills, and nginx before it."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watching import free_port

_WITHIN = 180.0  # seconds for a server to answer, on a machine that has other work
_LOOK = 0.05
_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""
"""As people have it: nothing in it knows of streams."""


class Serving:
    """`logllm serve` as people start it; always on one port, however often it is started."""

    def __init__(self, store: str | Path, *, token: str = "") -> None:
        """Not started yet; `token` is what clients must bring."""
        self.port = free_port()
        self._environment = os.environ | {"LOGLLM_TOKEN": token}
        settings = ["--store", str(store), "--port", str(self.port)]
        self._command = [sys.executable, "-m", "logllm", "serve", *settings]
        self._log = Path(f"{store}.serve.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> "Serving":
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stderr=log)
        try:
            answers(f"{self.address}healthz")
        except OSError as exc:
            raise RuntimeError(self._log.read_text()) from exc
        return self

    def kill(self) -> None:
        """End it as a loss of power would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Have it stop by itself."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(20)


def answers(address: str) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + _WITHIN
    while True:
        try:
            # The address is one of this machine.
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310
                return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(_LOOK)


def nginx_command() -> str | None:
    """The command, where it is installed."""
    folders = os.environ.get("PATH", os.defpath)
    return shutil.which("nginx", path=f"{folders}:/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(folder: Path, *, before: int) -> Iterator[str]:
    """The address of an nginx before a port.

    Raises:
        FileNotFoundError: it is not installed.
    """
    command = nginx_command()
    if command is None:
        raise FileNotFoundError("nginx")
    folder.mkdir()
    port = free_port()
    settings = folder / "nginx.conf"
    settings.write_text(_NGINX.format(folder=folder, port=port, upstream=before))
    call = [command, "-c", str(settings), "-e", str(folder / "nginx.log")]
    with subprocess.Popen(call) as process:
        try:
            answers(f"http://127.0.0.1:{port}/")
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
