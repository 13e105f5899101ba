"""A headless Chromium that a test drives over its DevTools protocol; no driver is needed."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
WANTED = f"one of {', '.join(NAMES)}, or the Python package PyQt6-WebEngine"
LIMIT_S = 60.0

T = TypeVar("T")


def find_chromium() -> list[str] | None:
    """The command of the first of `NAMES` that is installed, or of the one inside Qt."""
    for path in map(shutil.which, NAMES):
        if path is not None:
            return [path]
    if importlib.util.find_spec("PyQt6") and importlib.util.find_spec("PyQt6.QtWebEngineWidgets"):
        return [sys.executable, str(Path(__file__).with_name("qt_browser.py"))]
    return None


class Tab:
    """One tab: commands out, and every event that came back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: WebSocketClientConnection) -> None:
        self._loop, self._socket, self._numbers = loop, socket, itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events before it are kept."""
        number = next(self._numbers)
        message = json.dumps({"id": number, "method": method, "params": params})
        self._wait(self._written(message))
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        text = self._wait(self._received())
        assert text is not None, "the browser closed the connection"
        answer: dict[str, Any] = json.loads(text)
        return answer

    # Tornado ties its futures to the loop that runs when they are made: within coroutines only.
    async def _written(self, message: str) -> None:
        await self._socket.write_message(message)

    async def _received(self) -> str | bytes | None:
        return await self._socket.read_message()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, LIMIT_S))

    def named(self, method: str) -> list[dict[str, Any]]:
        """Parameters of all events of a kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def open(self, page: Path) -> None:
        """Open a file, and wait until all of it is loaded and drawn."""
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        before = len(self.named("Page.loadEventFired"))
        self.send("Page.navigate", url=page.resolve().as_uri())
        while len(self.named("Page.loadEventFired")) == before:
            self.events.append(self._read())
        self.send("Page.bringToFront")
        self.evaluate(
            "Promise.allSettled([...document.images].map((i) => i.decode())).then(() => 1)"
        )

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; a promise is waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def place(self, selector: str, across: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """Scroll to an element; a point in it, in pixels of the window."""
        script = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            f"e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            f"const b = e.getBoundingClientRect();"
            f"return [b.left + {across} * b.width, b.top + {down} * b.height]; }})()"
        )
        x, y = self.evaluate(script)
        return x, y

    def mouse(self, kind: str, x: float, y: float) -> None:
        """A mouse event: "mousePressed", "mouseMoved" or "mouseReleased", left button."""
        self.send(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
        )

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.place(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """A touch event: "touchStart", "touchMove" or "touchEnd"."""
        self.send(
            "Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points]
        )

    def key(self, name: str) -> None:
        """Press and release a key such as "ArrowLeft"."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "End": 35}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=name,
                windowsVirtualKeyCode=codes[name],
            )

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def look(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """Set the size of the window and the colour scheme."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        value = "dark" if dark else "light"
        self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": value}],
        )

    def picture(self, height: int | None = None) -> bytes:
        """The page from its top as PNG: all of it, or as much as ``height``."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        answer = self.send(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1}
        )
        return base64.b64decode(answer["data"])


@contextmanager
def chromium(command: list[str]) -> Iterator[Tab]:
    """Start a browser with one empty tab; it ends with the context."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        options += ["--hide-scrollbars", "--no-first-run", "--remote-debugging-port=0"]
        options += ["--touch-events=enabled", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        loop = asyncio.new_event_loop()
        try:
            address = _address(Path(profile) / "DevToolsActivePort")
            socket = loop.run_until_complete(_first_tab(address))
            yield Tab(loop, socket)
            socket.close()
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            loop.close()


def _address(told: Path) -> str:
    """Host and port, which Chromium writes down when it is ready."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if told.exists() and len(lines := told.read_text().splitlines()) >= 2:
            return f"127.0.0.1:{lines[0]}"
        time.sleep(0.05)
    raise TimeoutError(f"the browser did not start within {LIMIT_S:.0f} s")


async def _first_tab(address: str) -> WebSocketClientConnection:
    from tornado.httpclient import AsyncHTTPClient

    answer = await AsyncHTTPClient().fetch(f"http://{address}/json/list")
    tabs = [tab for tab in json.loads(answer.body) if tab["type"] == "page"]
    url = tabs[0]["webSocketDebuggerUrl"]
    return await websocket_connect(url, max_message_size=2**28)
