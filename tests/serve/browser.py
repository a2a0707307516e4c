"""Chromium for tests of the live page: driven through its own pipe, with nothing but Python."""

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from threading import Thread
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
_HIGH = 20  # descriptors below this one are the shell's and the browser's
_BEGIN = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execvp(sys.argv[3], sys.argv[3:])"
"""The browser takes its commands from descriptor 3 and answers on 4."""
_ANSWER = 60.0  # seconds
_LOOK = 0.05
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)


def chromium() -> str | None:
    """The command, where one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One headless browser; pages are opened in it."""

    def __init__(self, command: str, folder: Path) -> None:
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        read, write = fcntl(to_browser, F_DUPFD, _HIGH), fcntl(from_browser, F_DUPFD, _HIGH)
        call = [command, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        begin = [sys.executable, "-c", _BEGIN, str(read), str(write), *call]
        self._process = subprocess.Popen(begin, pass_fds=(read, write), stderr=subprocess.DEVNULL)
        for descriptor in (to_browser, from_browser, read, write):
            os.close(descriptor)
        self._number = 0
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, method: str, *, page: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the browser's protocol."""
        self._number += 1
        number, answers = self._number, queue.Queue()
        self._answers[number] = answers
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if page is not None:
            message["sessionId"] = page
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = answers.get(timeout=_ANSWER)
        del self._answers[number]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, address: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> "Page":
        """A page of a size."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        phone = width < 500
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)
        if phone:
            page.call("Emulation.setTouchEmulationEnabled", enabled=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Page.navigate", url=address)
        page.until("document.readyState === 'complete'")
        return page

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._to)
        self._reader.join(5)
        os.close(self._from)

    def _read(self) -> None:
        """Give answers to who waits for them, and events to their pages."""
        rest = b""
        while block := os.read(self._from, 1 << 20):
            *messages, rest = (rest + block).split(b"\0")
            for message in map(json.loads, messages):
                if answers := self._answers.get(message.get("id", 0)):
                    answers.put(message)
                elif page := self._pages.get(message.get("sessionId", "")):
                    page.hear(message)


class Page:
    """One page: what it says of itself, and what a person would do in it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        """What stands in the console as an error; that a server could not be reached does not count."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command for this page."""
        return self._browser.call(method, page=self._session, **parameters)

    def hear(self, message: dict[str, Any]) -> None:
        """Take an event."""
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(str(details.get("exception", {}).get("description", details["text"])))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert", "warning"):
            self.errors.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error" and told["entry"]["source"] != "network":
            self.errors.append(told["entry"]["text"])

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "?"))
        return answer["result"].get("value")

    def until(self, script: str, *, seconds: float = 20.0) -> Any:
        """The value of an expression, as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"never true within {seconds:g} s: {script}")
            time.sleep(_LOOK)
        return value

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return int(self.run(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def text(self, selector: str = "body") -> str:
        """What can be read in an element."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        """A text into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """A click in the middle of an element."""
        place = self.until(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;"
            " e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            " return b.width ? [b.x + b.width / 2, b.y + b.height / 2] : null; })()"
        )
        self.mouse("mousePressed", *place)
        self.mouse("mouseReleased", *place)

    def mouse(self, what: str, x: float, y: float) -> None:
        """One event of the mouse."""
        buttons = {} if what == "mouseMoved" else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=what, x=x, y=y, **buttons)

    def picture(self, path: Path) -> None:
        """What is on view, as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser, where Chromium is installed."""
    command = chromium()
    if command is None:
        raise FileNotFoundError("none of " + ", ".join(NAMES))
    opened = Browser(command, folder / "profile")
    try:
        yield opened
    finally:
        opened.close()
