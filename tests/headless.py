"""Headless Chromium for tests of pages, driven through chromedriver's HTTP interface."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

PROGRAMS = ("chromium", "chromedriver")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PORT_LINE = "was started successfully on port "


class Browser:
    """A page in a window of some size: run scripts in it, read its console and its requests."""

    def __init__(self, session: str) -> None:
        self.session = session

    def open(self, path: Path) -> None:
        """Load a local page and wait for its scripts."""
        self.console(), self.requested()  # of the page before
        self._post("url", {"url": path.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Return what the body of a function of JavaScript returns."""
        return self._post("execute/sync", {"script": script, "args": []})

    def console(self) -> list[str]:
        """Return errors and warnings of the page since the last call."""
        entries = self._post("se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def requested(self) -> list[str]:
        """Return the addresses that the page asked for since the last call, itself included."""
        events = [
            json.loads(entry["message"])["message"]
            for entry in self._post("se/log", {"type": "performance"})
        ]
        sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return [url for url in urls if not url.startswith("chrome:")]  # its own new tab

    def _post(self, command: str, body: dict[str, Any]) -> Any:
        answer = requests.post(f"{self.session}/{command}", json=body, timeout=120).json()["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{command}: {answer['message']}")
        return answer


def check_page(browser: Browser, path: Path) -> None:
    """Open a page: no error, nothing asked for but the page itself, no scrolling sideways."""
    browser.open(path)
    assert browser.console() == []
    asked = [url for url in browser.requested() if not url.startswith("data:")]
    assert asked == [path.resolve().as_uri()]
    wide, shown = browser.run(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown


@contextmanager
def window(name: str, profile: Path) -> Iterator[Browser]:
    """A window of a size of SIZES; skips where there is no browser."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not on this machine: `make browser` installs them")
    width, height = SIZES[name]
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    session = ""
    try:
        root = f"http://127.0.0.1:{_port_of(driver)}"
        session = f"{root}/session/{_new_session(root, width, height, profile)}"
        yield Browser(session)
    finally:
        if session:
            with suppress(requests.RequestException):
                requests.delete(session, timeout=30)
        driver.terminate()
        driver.wait(timeout=30)
        driver.stdout.close()


def _port_of(driver: subprocess.Popen[str]) -> str:
    for line in driver.stdout:
        if PORT_LINE in line:
            return line.partition(PORT_LINE)[2].strip().rstrip(".")
    message = "chromedriver ended before it was ready"
    raise AssertionError(message)


def _new_session(root: str, width: int, height: int, profile: Path) -> str:
    options: dict[str, Any] = {
        "binary": shutil.which("chromium"),
        "args": [
            "--headless",
            "--no-sandbox",  # tests may run as root
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            f"--window-size={width},{height}",
            f"--user-data-dir={profile}",
        ],
    }
    if width < 500:  # the narrowest window of a desktop
        metrics = {"width": width, "height": height, "pixelRatio": 2, "mobile": True}
        options["mobileEmulation"] = {"deviceMetrics": metrics}
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    body = {"capabilities": {"alwaysMatch": wanted}}
    for last in (False, False, True):  # a busy machine may be slow to start it
        answer = requests.post(f"{root}/session", json=body, timeout=120).json()["value"]
        if "sessionId" in answer:
            return str(answer["sessionId"])
        if not last:
            time.sleep(1)
    raise AssertionError(f"Chromium did not start: {answer.get('message')}")
