# SPDX-License-Identifier: GPL-2.0-only
"""A headless Chromium that looks at one page, steered through pipes by its DevTools protocol."""

import base64
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Look:
    """What the browser saw."""

    problems: list[str] = field(default_factory=list)  # of the console, and exceptions
    requests: list[str] = field(default_factory=list)  # for anything but the page itself
    overflow: int = 0  # pixels that the page is wider than the window
    picture: bytes = b""  # PNG of the whole page


class _Browser:
    def __init__(self, profile: str) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        argv = [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        # The protocol is spoken on descriptors 3 and 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *argv],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict] = []

    def close(self) -> None:
        os.close(self._out)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def _read(self) -> dict:
        while b"\0" not in self._buffer:
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise RuntimeError("chromium has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **parameters: object) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        answer = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = answer["sessionId"]

    def wait_for(self, event: str) -> None:
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self._read())


def look_at(file: Path, width: int, height: int, scheme: str) -> Look:
    """Opens a file in a window of that size; scheme is light or dark."""
    with tempfile.TemporaryDirectory() as profile:
        browser = _Browser(profile)
        try:
            browser.attach()
            for domain in ("Page", "Runtime", "Log", "Network"):
                browser.call(f"{domain}.enable")
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
            browser.call("Emulation.setDeviceMetricsOverride", mobile=width < 600, **metrics)
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.call("Emulation.setEmulatedMedia", features=[feature])
            browser.call("Page.navigate", url=file.as_uri())
            browser.wait_for("Page.loadEventFired")
            script = "document.documentElement.scrollWidth - window.innerWidth"
            overflow = browser.call("Runtime.evaluate", expression=script)["result"]["value"]
            shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True)
            look = Look(overflow=overflow, picture=base64.b64decode(shot["data"]))
            for event in browser.events:
                method, facts = event.get("method"), event.get("params", {})
                if method in ("Log.entryAdded", "Runtime.exceptionThrown"):
                    look.problems.append(json.dumps(facts))
                elif method == "Runtime.consoleAPICalled":
                    look.problems.append(json.dumps(facts))
                elif method == "Network.requestWillBeSent":
                    url = facts["request"]["url"]
                    if url != file.as_uri() and not url.startswith("data:"):
                        look.requests.append(url)
            return look
        finally:
            browser.close()
