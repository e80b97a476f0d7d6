"""A report about heads, measured once; and a browser to look at pages with."""

from __future__ import annotations

import base64
import json
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mesascope import analyses, models, probes
from mesascope.analyses.reports.report import Report

PATIENCE = 60
"""Seconds after which a browser that says nothing is taken for dead."""
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


@pytest.fixture(scope="package")
def induction_report() -> Report:
    """induction-heads on the shipped two-layer model, with few sequences."""
    probe = probes.InductionHeads(periods=(20, 15, 10), n_sequences=8)
    made = analyses.run(models.load("induction-2layer"), probe)
    assert isinstance(made, Report)
    return made


class Browser:
    """Headless Chromium, told what to do through a pipe (the DevTools protocol), with real keys and clicks."""

    def __init__(self, program: str, profile: Path) -> None:
        # the browser hears on descriptor 3 and speaks on 4
        line = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null'
        command = ["sh", "-c", line, program, *QUIET, f"--user-data-dir={profile}", "about:blank"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0)
        self._rest, self._count, self._session = b"", 0, ""
        self._loaded: set[str] = set()
        self.complaints: list[str] = []
        """Errors, warnings and breaches of the page's policy since it was opened."""
        page = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Audits"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()

    def ask(self, method: str, **parameters: Any) -> Any:
        """One command, and its answer."""
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._count, "method": method, "params": parameters, **session}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> Any:
        assert self._process.stdout
        while b"\0" not in self._rest:
            assert select.select([self._process.stdout], [], [], PATIENCE)[0], "the browser says nothing"
            heard = self._process.stdout.read(1 << 16)
            assert heard, "the browser has ended"
            self._rest += heard
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def _note(self, event: Any) -> None:
        about = event.get("params", {})
        if event["method"] == "Page.lifecycleEvent" and about["name"] == "load":
            self._loaded.add(about["loaderId"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif event["method"] == "Runtime.consoleAPICalled" and about["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(about["args"]))
        elif event["method"] == "Log.entryAdded" and about["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(about["entry"]["text"])
        elif event["method"] == "Audits.issueAdded" and about["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.complaints.append(str(about["issue"]["details"]))

    def open(self, path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Open a page, and wait until it is there."""
        self.complaints.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for url in ("about:blank", path.as_uri()):  # the same page again would be no new one
            loader = self.ask("Page.navigate", url=url)["loaderId"]
            while loader not in self._loaded:
                self._note(self._next())

    def run(self, expression: str) -> Any:
        """The value of JavaScript in the page. The page's policy does not hold for it."""
        how = {"returnByValue": True, "awaitPromise": True}
        answer = self.ask("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        """A key, as if by hand: "Tab", "Enter"."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        event = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        box = f"const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        x, y = self.run(f"{{ {box} [box.x + box.width / 2, box.y + box.height / 2] }}")
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """The page as a picture, for people who want to look."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages. Chromium is a package of the system, and need not be there."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium")
    made = Browser(program, tmp_path_factory.mktemp("profile"))
    yield made
    made.close()
