# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The viewer Lichtblick in Chromium where its web build is at hand; LICHTBLICK names its folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cv2
import numpy as np
from aiohttp import web
from browser import CHROMIUM, Browser

BUILD = Path(os.environ.get("LICHTBLICK") or "/nonexistent")
AT_HAND = bool(CHROMIUM) and (BUILD / "index.html").is_file()
WHY = "LICHTBLICK names no folder with a web build of Lichtblick, or there is no Chromium"
_LAYOUT = "/*LICHTBLICK_SUITE_DEFAULT_LAYOUT_PLACEHOLDER*/"
# Pictures are drawn by WebGL, here in software.
_OPTIONS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_RECTANGLE = """(() => {
  const panel = document.querySelector(`[data-testid="panel-mouseenter-container NAME"]`);
  const r = panel?.querySelector("canvas")?.getBoundingClientRect();
  return [panel?.innerText ?? "", r ? [r.x, r.y, r.width, r.height].map(Math.round) : []];
})()"""


async def check_panels(layout: Path, folder: Path, source: dict[str, str]) -> None:
    """Open a source with a layout and check that every panel shows something of it.

    Args:
        layout: file of the layout.
        folder: for the browser's profile and the screenshot; what is in it is served as /data/.
        source: the viewer's parameters, such as {"ds": "remote-file", "ds.url": "/data/a.mcap"}.
    """
    config = json.loads(layout.read_text())
    page = (BUILD / "index.html").read_text().replace(_LAYOUT, json.dumps(config))
    app = web.Application()

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    app.router.add_get("/", index)
    app.router.add_static("/data", folder)
    app.router.add_static("/", BUILD)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    source = {k: address + v if v.startswith("/") else v for k, v in source.items()}
    try:
        async with Browser(folder / "profile", (1600, 1000), _OPTIONS) as viewer:
            await viewer.open(f"{address}/?{urlencode(source)}")
            for name in config["configById"]:
                await viewer.wait(f"({_RECTANGLE.replace('NAME', name)})[0]", 180)
            await _wait_until_shown(viewer, config["configById"], folder / "viewer.png")
    finally:
        await runner.cleanup()


async def _wait_until_shown(viewer: Browser, panels: dict[str, Any], picture: Path) -> None:
    missing = ["all"]
    for _ in range(60):
        await viewer.evaluate("new Promise(done => setTimeout(done, 1000))")
        await viewer.screenshot(picture)
        screen = cv2.imread(str(picture))[..., ::-1].astype(int)
        missing = []
        for name, panel in panels.items():
            text, rectangle = await viewer.evaluate(_RECTANGLE.replace("NAME", name))
            missing += [f"{name}: {what}" for what in _lacks(screen, panel, text, rectangle)]
        if not missing:
            return
    raise AssertionError(missing)


def _lacks(screen: Any, panel: dict[str, Any], text: str, rectangle: list[int]) -> list[str]:
    """What a panel does not show: its title, its picture, a curve, a status."""
    title = panel.get("lichtblickPanelTitle", "")
    found = [title] if title and "topicToRender" not in panel and title not in text else []
    if not rectangle:
        wanted = panel.get("selectedName", "segmentation: ")
        return found + [wanted] * (wanted not in text or " Hz" not in text)
    x, y, width, height = rectangle
    shown = screen[y : y + height, x : x + width]
    if "imageMode" in panel:
        colors = np.unique(shown.reshape(-1, 3) // 32, axis=0)
        return found + ["a picture"] * (len(colors) < 8)
    # A value of the present time is beside the name of at least one curve; after a jump the viewer
    # has but one message of a topic. Axes and grid are grey.
    if not any(re.search(rf"{re.escape(p['label'])}\s+\d", text) for p in panel["paths"]):
        found.append("a value")
    if (np.ptp(shown, axis=2) > 60).sum() < 100:
        found.append("curves")
    return found
