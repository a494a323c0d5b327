"""Headless Chromium, asked through its debugging pipe; the standard library alone is needed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import F_DUPFD_CLOEXEC, fcntl
from pathlib import Path
from select import select
from typing import Any

LONGEST_SILENCE = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip


def installed() -> str | None:
    """The program, if the machine has it."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page: what it logged, what it asked the network for, and what an expression in it gives."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.to_browser, self.from_browser = to_browser, from_browser
        self.session: str | None = None
        self.number, self.rest = 0, b""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.events: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; what the browser tells meanwhile is kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != self.number:
            self._note(found)
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        return found["result"]

    def open(self, path: Path) -> None:
        """Load a file and wait until it is loaded."""
        self._load("Page.navigate", url=path.resolve().as_uri())

    def reload(self) -> None:
        self._load("Page.reload")

    def _load(self, method: str, **parameters: Any) -> None:
        self.events.clear()
        self.ask(method, **parameters)
        while "Page.loadEventFired" not in self.events:
            self._note(self._next())

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key that is pressed and let go."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            if not select([self.from_browser], [], [], LONGEST_SILENCE)[0]:
                raise RuntimeError(f"Chromium has said nothing for {LONGEST_SILENCE} s")
            read = os.read(self.from_browser, 1 << 20)
            if not read:
                raise RuntimeError("Chromium has gone")
            self.rest += read
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, told = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([argument.get("value") for argument in told["args"]]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])


@contextmanager
def chromium_page(profile: Path) -> Iterator[Page]:
    """A page of a browser that ends with the block; `profile` is a folder for it."""
    program = installed()
    assert program is not None
    commands_read, commands_write = os.pipe()
    answers_read, answers_write = os.pipe()

    def attach() -> None:
        """Chromium reads commands from descriptor 3 and answers on 4, which one of the pipes may have by chance."""
        high = [fcntl(descriptor, F_DUPFD_CLOEXEC, 10) for descriptor in (commands_read, answers_write)]
        for own, wanted in zip(high, (3, 4), strict=True):
            os.dup2(own, wanted)

    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=attach,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_read)
    os.close(answers_write)
    try:
        yield Page(commands_write, answers_read)
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(commands_write)
        os.close(answers_read)
