"""A headless Chromium that a test drives as a person would: keys, wheel, clicks; and what it shows.

It speaks the DevTools protocol over two pipes, so that nothing has to be installed for it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

CHROMIUM = shutil.which("chromium")
_SECONDS_MAX = 40.0
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip
_CODES = {"ArrowDown": 40, "ArrowUp": 38, "PageDown": 34, "PageUp": 33, "Home": 36, "End": 35, "Tab": 9}


class NoAnswer(Exception):
    """The browser cannot do what it was asked; while a page loads there is none to ask, for instance."""


class Browser:
    """One browser with one page; a context manager that ends it."""

    def __init__(self, folder: Path, *, width: int = 1400, height: int = 900) -> None:
        assert CHROMIUM is not None
        reading, theirs_out = os.pipe()
        theirs_in, writing = os.pipe()
        self._in, self._out = reading, writing
        options = [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", "about:blank"]
        # The browser reads its descriptor 3 and writes its descriptor 4.
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, CHROMIUM, *_QUIET, *options],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._number, self._session = b"", 0, ""
        self.said: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, address: str) -> None:
        """Go to an address."""
        self._ask("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page; its value must be JSON."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str, good: Callable[[Any], bool] = bool) -> Any:
        """Wait until an expression gives something good, and return it."""
        end, value = time.monotonic() + _SECONDS_MAX, None
        while time.monotonic() < end:
            with contextlib.suppress(NoAnswer):
                value = self.run(script)
                if good(value):
                    return value
            time.sleep(0.05)
        raise AssertionError(f"{script} stayed {value!r}; the page said {self.said}")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = key if len(key) == 1 else ""
        code = _CODES.get(key, ord(key.upper()) if text else 0)
        for kind in ("keyDown", "keyUp"):
            event: dict[str, Any] = {"type": kind, "key": key, "windowsVirtualKeyCode": code}
            self._ask("Input.dispatchKeyEvent", **event, **({"text": text} if kind == "keyDown" else {}))

    def wheel(self, x: float, y: float, delta: float, *, ctrl: bool = False) -> None:
        """Turn the wheel over a place, in CSS pixels."""
        held = 2 if ctrl else 0
        self._ask(
            "Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta, modifiers=held
        )

    def click(self, selector: str) -> None:
        """Click in the middle of what a selector finds."""
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self) -> npt.NDArray[np.uint8]:
        """Take a picture of the page: uint8 (row, column, rgb) in CSS pixels."""
        with Image.open(io.BytesIO(self.png())) as shown:
            return np.asarray(shown.convert("RGB"))

    def png(self) -> bytes:
        """Take a picture of the page as PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        os.close(self._in)
        os.close(self._out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        wish: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            wish["sessionId"] = self._session
        os.write(self._out, json.dumps(wish).encode() + b"\0")
        end = time.monotonic() + _SECONDS_MAX
        while True:
            answer = self._message(end)
            self._listen(answer)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise NoAnswer(json.dumps(answer["error"]))
                result: dict[str, Any] = answer["result"]
                return result

    def _listen(self, event: dict[str, Any]) -> None:
        """Note what a page should never say: errors of scripts, and what its policy refused."""
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.said.append(json.dumps(parameters["exceptionDetails"])[:500])
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.said.append(parameters["entry"]["text"])

    def _message(self, end: float) -> dict[str, Any]:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._in, selectors.EVENT_READ)
            while b"\0" not in self._buffer:
                assert waiting.select(max(end - time.monotonic(), 0)), "the browser does not answer"
                chunk = os.read(self._in, 1 << 16)
                assert chunk, "the browser ended"
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message
