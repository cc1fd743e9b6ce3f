# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A real Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


class Browser:
    """One page. Use as an asynchronous context manager.

    Args:
        profile: an empty folder.
        size: width and height of the page.
        options: further ones of the command line.
    """

    def __init__(
        self, profile: Path, size: tuple[int, int] = (1280, 800), options: Sequence[str] = ()
    ) -> None:
        self._profile, self._size, self._options = profile, size, options
        self._numbers = itertools.count(1)
        self.errors: list[str] = []

    async def __aenter__(self) -> Browser:
        width, height = self._size
        command = [
            CHROMIUM, "--headless=new", "--no-first-run", "--disable-gpu", "--disable-sync",
            "--disable-background-networking", "--remote-debugging-port=0",
            f"--user-data-dir={self._profile}", f"--window-size={width},{height}", *self._options,
        ]  # fmt: skip
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium refuses root otherwise
        self._process = subprocess.Popen(
            [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        told = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (told.is_file() and len(told.read_text().split()) == 2):
            assert time.monotonic() < deadline and self._process.poll() is None, "no Chromium"
            await asyncio.sleep(0.1)
        port = told.read_text().split()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [t for t in await answer.json() if t["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )
        await self._call("Runtime.enable")
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._session.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def open(self, address: str) -> None:
        """Go to an address."""
        await self._call("Page.navigate", url=address)

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, which may be a promise."""
        answer = await self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def wait(self, script: str, timeout: float = 60.0) -> Any:
        """Wait until an expression is true; returns its value."""
        deadline = time.monotonic() + timeout
        while not (found := await self.evaluate(f"Boolean({script}) && ({script})")):
            assert time.monotonic() < deadline, f"not within {timeout} s: {script}; {self.errors}"
            await asyncio.sleep(0.1)
        return found

    async def screenshot(self, path: Path) -> None:
        """Save what the page looks like, as PNG."""
        answer = await self._call("Page.captureScreenshot")
        path.write_bytes(base64.b64decode(answer["data"]))

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=90)
            if message.get("method") == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.errors.append(str(details.get("exception", details).get("description")))
            if message.get("id") == number:
                return message["result"]
