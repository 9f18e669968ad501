"""A picture of a page of Home Assistant, in a real browser: Debian's chromium, by chromedriver's own interface."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hass import Hass, until
from PIL import Image

from programs import free_port

WIDTH, HEIGHT = 900, 1710
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en"),
    f"--window-size={WIDTH},{HEIGHT}",
)
# All text of the page, whose parts have trees of their own.
_TEXT = """
const text = (node) => [...(node.shadowRoot ? node.shadowRoot.childNodes : []), ...node.childNodes].map(
  (one) => one.nodeType === Node.TEXT_NODE ? one.textContent : one.nodeName === "STYLE" ? "" : text(one)).join(" ");
return text(document.body);
"""


class Browser:
    """at: the address of a session with chromedriver."""

    def __init__(self, at: str) -> None:
        self._at = at

    def ask(self, path: str, **fields: Any) -> Any:
        return asked(f"{self._at}/{path}", fields)

    def look(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._at}/{path}", timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def do(self, script: str, *arguments: Any) -> Any:
        return self.ask("execute/sync", script=script, args=list(arguments))


def asked(address: str, fields: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(fields).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())["value"]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    port = free_port()
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/status", timeout=5) as answer:
            return bool(json.loads(answer.read())["value"]["ready"])
        return False

    try:
        until(is_up, "chromedriver does not start")
        with tempfile.TemporaryDirectory() as profile:
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"args": [*_OPTIONS, f"--user-data-dir={profile}"]},
            }
            session = asked(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            try:
                yield Browser(f"{address}/session/{session}")
            finally:
                urllib.request.urlopen(
                    urllib.request.Request(f"{address}/session/{session}", method="DELETE"), timeout=60
                ).close()
    finally:
        driver.terminate()
        driver.wait()


def take(hass: Hass, path: str, shows: tuple[str, ...], picture: Path) -> None:
    """Writes a PNG of the page when all those texts are on it. path: of the page at Home Assistant."""
    with browser() as window:
        # Any page of this origin: the key to Home Assistant lies in its storage, as after a login.
        window.ask("url", url=f"{hass.address}/manifest.json")
        window.do("localStorage.setItem('hassTokens', arguments[0])", json.dumps(hass.login))
        window.do("localStorage.setItem('dockedSidebar', JSON.stringify('always_hidden'))")
        window.ask("url", url=f"{hass.address}{path}")

        def is_shown() -> bool:
            text = window.do(_TEXT)
            return all(one in text for one in shows)

        until(is_shown, f"the page does not show {shows}")
        # Fonts and icons come after the texts.
        until(lambda: window.do("return document.fonts.status") == "loaded", "the fonts do not come")
        before = b""

        def is_still() -> bool:
            nonlocal before
            now = base64.b64decode(window.look("screenshot"))
            still, before = now == before, now
            return still

        until(is_still, "the page does not come to rest")
    # Few colours, so a third of the size.
    Image.open(io.BytesIO(before)).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(picture, optimize=True)
