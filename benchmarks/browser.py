"""Chromium for what looks at the live page.

Driven through its own pipe, with nothing but Python.
"""

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
_BEGIN = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]),"
    " 4);os.execvp(sys.argv[3], sys.argv[3:])"
)
"""The browser takes its commands from descriptor 3 and answers on 4."""
_ANSWER = 60.0  # seconds
_LOOK = 0.05
_WIDEST_PHONE = 500
_TEXTS = {"Enter": "\r"}
_CODES = {"Enter": 13, "Escape": 27, "Tab": 9}
_MIDDLE = """(() => {{
  const element = document.querySelector({selector});
  element?.scrollIntoView({{ block: "nearest" }});
  const box = element?.getBoundingClientRect();
  if (!box?.width) return null;
  const place = [box.x + box.width / 2, box.y + box.height / 2];
  const top = document.elementFromPoint(...place);
  return element.contains(top) ? place : null;
}})()"""
"""Where an element is, when it is on view and nothing lies over it."""
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
        """Started, with a profile of its own in a folder."""
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
        number = self._number
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers[number] = answers
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if page is not None:
            message["sessionId"] = page
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = answers.get(timeout=_ANSWER)
        del self._answers[number]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(
        self,
        address: str,
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
    ) -> "Page":
        """A page of a size; narrow ones are phones."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        phone = width < _WIDEST_PHONE
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1}
        page.call("Emulation.setDeviceMetricsOverride", **size, mobile=phone)
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
        """Of a browser."""
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        """Errors in the console; that a server could not be reached does not count."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command for this page."""
        return self._browser.call(method, page=self._session, **parameters)

    def hear(self, message: dict[str, Any]) -> None:
        """Take an event."""
        told = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                thrown = details.get("exception", {})
                self.errors.append(str(thrown.get("description", details["text"])))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert", "warning"):
                self.errors.append(json.dumps(told["args"]))
            case "Log.entryAdded" if _is_error(told["entry"]):
                self.errors.append(told["entry"]["text"])

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        how = {"awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", expression=script, **how)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {})
            raise RuntimeError(thrown.get("description", "an error without words"))
        return answer["result"].get("value")

    def until(self, script: str, *, seconds: float = 120.0) -> Any:
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
            what: dict[str, Any] = {"key": key}
            what["windowsVirtualKeyCode"] = _CODES.get(key, ord(key[0].upper()))
            text = _TEXTS.get(key, key if len(key) == 1 else None)
            written = {} if text is None else {"text": text}
            self.call("Input.dispatchKeyEvent", type="keyDown", **what, **written)
            self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def type(self, text: str) -> None:
        """A text into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """A click in the middle of an element."""
        middle = _MIDDLE.format(selector=json.dumps(selector))
        place, before = self.until(middle), None
        while place != before:  # what is drawn beside it may still move it
            time.sleep(_LOOK)
            place, before = self.until(middle), place
        self.mouse("mousePressed", x=place[0], y=place[1])
        self.mouse("mouseReleased", x=place[0], y=place[1])

    def mouse(self, what: str, *, x: float, y: float) -> None:
        """One event of the mouse."""
        moved = what == "mouseMoved"
        buttons: dict[str, Any] = {} if moved else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=what, x=x, y=y, **buttons)

    def picture(self, path: Path) -> None:
        """What is on view, as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


def _is_error(entry: dict[str, Any]) -> bool:
    """Whether an entry of the browser's log is an error of the page's own."""
    return bool(entry["level"] == "error" and entry["source"] != "network")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser, with its profile in a folder.

    Raises:
        FileNotFoundError: Chromium is not installed.
    """
    command = chromium()
    if command is None:
        raise FileNotFoundError("none of " + ", ".join(NAMES))
    opened = Browser(command, folder / "profile")
    try:
        yield opened
    finally:
        opened.close()
