"""A page in headless Chromium, driven over a pipe by the DevTools protocol: what a person types, clicks and sees."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 20
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"),
)


def find() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page; a context manager."""

    def __init__(self, program: str, profile: Path) -> None:
        read_in, self._write = os.pipe()
        self._read, write_out = os.pipe()

        def place() -> None:  # where the browser looks for its pipes
            into, out = os.dup(read_in), os.dup(write_out)
            os.dup2(into, 3)
            os.dup2(out, 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read_in)
        os.close(write_out)
        self._buffer = bytearray()
        self._number = 0
        self.events: list[dict[str, Any]] = []
        targets = self.call("Target.getTargets", session=None)["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", {"targetId": page, "flatten": True}, session=None)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *unused: object) -> None:
        try:
            self.call("Browser.close", session=None)
            self._process.wait(PATIENCE_S)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, params: dict[str, Any] | None = None, session: str | None = "page") -> Any:
        """A command's result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        until = time.monotonic() + PATIENCE_S
        while True:
            got = self._next(until)
            if got.get("id") == self._number:
                assert "error" not in got, f"{method}: {got['error']}"
                return got["result"]
            if "method" in got:
                self.events.append(got)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser doesn't answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser ended"
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\0")
        self._buffer = bytearray(rest)
        found: dict[str, Any] = json.loads(line)
        return found

    # -- what a person does -------------------------------------------------------------------------------------------

    def open(self, path: Path, fragment: str = "") -> None:
        """Opens a file from disk, and waits until it is loaded."""
        self.call("Page.navigate", {"url": path.resolve().as_uri() + fragment})
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def js(self, expression: str) -> Any:
        """The value of an expression, as JSON."""
        found = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits for an expression to hold; an element that is there does."""
        until = time.monotonic() + PATIENCE_S
        while not self.js(f"!!({expression})"):
            assert time.monotonic() < until, f"never came true: {expression}"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """What an element shows."""
        return str(self.js(f"document.querySelector({json.dumps(selector)}).innerText"))

    def press(self, *keys: str) -> None:
        """Presses keys one after the other; a name of one character is typed."""
        codes = {
            "Enter": 13,
            "Escape": 27,
            "ArrowDown": 40,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowLeft": 37,
            "End": 35,
            "Home": 36,
        }
        for key in keys:
            params = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
            typed = {"text": key} if len(key) == 1 else {}
            self.call("Input.dispatchKeyEvent", {"type": "keyDown", **params, **typed})
            self.call("Input.dispatchKeyEvent", {"type": "keyUp", **params})

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """Clicks into an element, at a share of its width and height."""
        box = self.js(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.scrollIntoView({{block: 'center', "
            f"behavior: 'instant'}}); const b = one.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }})()"
        )
        at = {"x": box[0] + x * box[2], "y": box[1] + y * box[3], "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", {"type": "mousePressed", **at})
        self.call("Input.dispatchMouseEvent", {"type": "mouseReleased", **at})

    def choose(self, key: str, text: str) -> None:
        """Sets a filter to the entry of this text."""
        self.js(
            f"(() => {{ const box = document.querySelector('select[data-key={key}]'); "
            f"box.value = [...box.options].find((one) => one.text === {json.dumps(text)}).value; "
            "box.dispatchEvent(new Event('change')); })()"
        )

    def screen(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """The size of the window, and what the person's system asks for."""
        self.call(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"features": [scheme]})

    def photograph(self, path: Path, *, whole: bool = False) -> Path:
        """A PNG of the window, or of the whole page."""
        picture = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(picture["data"]))
        return path

    def complaints(self) -> list[str]:
        """What the browser noted so far: exceptions, errors in the console, and what the page's policy stopped."""
        self.js("1")
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(str(event["params"]["entry"]["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"):
                found.append(str(event["params"]["args"]))
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for so far."""
        self.js("1")
        return [one["params"]["request"]["url"] for one in self.events if one["method"] == "Network.requestWillBeSent"]
