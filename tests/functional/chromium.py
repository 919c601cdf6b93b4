"""A tab of headless Chromium, driven by its DevTools protocol: what is clicked is clicked by the browser itself."""

import json
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import websocket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    "--disable-component-update --remote-debugging-port=0 --remote-allow-origins=*"
).split()
PATIENCE_S = 60.0


class Tab:
    """One page. `WebSocketTimeoutException` where the browser does not answer."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket, self._asked = socket, 0
        self.ask("Page.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command's answer; what the browser tells meanwhile is left aside."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._asked:
            pass
        assert "error" not in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    def evaluate(self, script: str) -> Any:
        """What a script comes to, promises too. No page's content policy holds it up."""
        found = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        self._loaded()

    def click(self, selector: str, *, leads: bool = True) -> None:
        """The first element of a selector, by the mouse, and the page that it leads to, if any."""
        self.evaluate("window.isOld = true")
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        assert box is not None, f"nothing is {selector}"
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        self._loaded("!window.isOld" if leads else "true")

    def type(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    @property
    def text(self) -> str:
        """What is read of the page."""
        return str(self.evaluate("document.querySelector('main').innerText"))

    @property
    def address(self) -> str:
        return str(self.evaluate("location.href"))

    def picture(self, path: Path) -> None:
        path.write_bytes(b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def _loaded(self, besides: str = "true") -> None:
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            found = self.ask("Runtime.evaluate", expression=f"document.readyState === 'complete' && {besides}")
            if found["result"].get("value") is True and self.evaluate("location.href") != "about:blank":
                return
            time.sleep(0.02)
        raise TimeoutError("the page is not loaded")


@contextmanager
def a_tab(profile: Path) -> Iterator[Tab]:
    """With the browser around it."""
    words = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            port, ends_at = profile / "DevToolsActivePort", time.monotonic() + PATIENCE_S
            while not (port.exists() and port.read_text().strip()) and time.monotonic() < ends_at:
                time.sleep(0.02)
            pages = httpx.get(f"http://127.0.0.1:{port.read_text().split()[0]}/json", timeout=PATIENCE_S).json()
            url = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            socket = websocket.create_connection(url, timeout=PATIENCE_S)
            try:
                yield Tab(socket)
            finally:
                socket.close()
        finally:
            browser.terminate()
