# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A local web page that shows a feed; the browser mixes the colours.

A frame travels as one binary WebSocket message: the length of a JSON object as four bytes (little
endian), the object, and the files that its `parts` lists (camera JPEG, mask PNG, confidence PNG).
The page asks for the next frame when it has drawn one, so that at most one is on its way.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from lrn_ros.errors import RunError
from lrn_ros.images.compressed import encode_jpeg, encode_png
from lrn_ros.inference.palette import people, shown
from lrn_ros.view.feed import Feed, View

LOCAL = ("127.0.0.1", "localhost", "::1")
_PAGE = Path(__file__).with_name("page.html")
_WAIT_S = 0.5
_JPEG_QUALITY = 85
_HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data: blob:",
    "Referrer-Policy": "no-referrer",  # the address may hold the token
    "Cache-Control": "no-store",
}


class ViewServer:
    """Serves the page and its frames.

    Args:
        feed: what is shown.
        host: address to serve.
        port: 0: any that is free.
        token: what a visitor's address must hold; empty: none, for this machine alone.
    """

    def __init__(self, feed: Feed, host: str, port: int, token: str = "") -> None:
        self._feed, self._host, self._port, self._token = feed, host, port, token
        # One thread encodes, so that browsers leave the other cores to the network.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="view")
        self._encoded: tuple[int, bool, bytes] | None = None

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until interrupted.

        Args:
            ready: is told the page's address.

        Raises:
            RunError: the address cannot be used.
        """
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: Callable[[str], None]) -> None:
        app = web.Application(middlewares=[self._guard])
        app.add_routes([web.get("/", self._page), web.get("/frames", self._frames)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise RunError(
                f"{self._host}:{self._port} cannot be served: {error.strerror}; --port 0 takes a"
                " free one"
            ) from error
        port = runner.addresses[0][1]
        name = f"[{self._host}]" if ":" in self._host else self._host
        ready(f"http://{name}:{port}/" + (f"?token={self._token}" if self._token else ""))
        try:
            await asyncio.Event().wait()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Allow clients that know the token; without a token, only pages of this machine itself."""
        if self._token:
            given = request.query.get("token", "")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise web.HTTPForbidden(text="the address lacks the token that lrn view printed\n")
        elif _hostname(request.host) not in LOCAL:  # a foreign name that resolves to this machine
            raise web.HTTPForbidden(text="lrn view serves this machine only\n")
        origin = request.headers.get("Origin", "")
        if origin and origin.split("://")[-1] != request.host:
            raise web.HTTPForbidden(text="another site's page may not look\n")
        response: web.StreamResponse = await handler(request)
        return response

    async def _page(self, request: web.Request) -> web.Response:
        text = _PAGE.read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    async def _frames(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one browser: one frame for each of its requests."""
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=4096, compress=False)
        await socket.prepare(request)
        seen = 0
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                break
            confidence = message.data == "confidence"
            view = await self._newer(socket, seen, confidence)
            if view is None:
                break
            seen = view.number
            data = await self._in_thread(self._encode, view, confidence)
            if socket.closed:
                break
            await socket.send_bytes(data)
        await socket.close()
        return socket

    async def _newer(
        self, socket: web.WebSocketResponse, seen: int, confidence: bool
    ) -> View | None:
        """Wait for a frame that the browser has not seen; None if no frame comes any more."""
        while not socket.closed:
            view: View | None = await self._in_thread(
                self._feed.slot.newer, seen, _WAIT_S, confidence
            )
            if view is not None:
                return view
            if self._feed.slot.closed:
                reason = self._feed.slot.error or "the source has ended"
                await socket.send_str(json.dumps({"error": reason}))
                return None
        return None

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def _encode(self, view: View, confidence: bool) -> bytes:
        held = self._encoded
        if held is not None and held[:2] == (view.number, confidence):
            return held[2]  # all browsers get the same message
        data = encode_view(self._feed, view, confidence)
        self._encoded = view.number, confidence, data
        return data


def encode_view(feed: Feed, view: View, confidence: bool) -> bytes:
    """The message of one frame; see the module."""
    parts = [
        ("camera", encode_jpeg(view.rgb, _JPEG_QUALITY)),
        ("mask", encode_png(view.mask, 1)),
    ]
    if confidence and view.confidence is not None:
        parts.append(("confidence", encode_png(view.confidence, 1)))
    labels = feed.labels()
    display = shown(labels) if labels is not None else None
    figures = view.figures
    head = {
        "title": feed.title,
        "number": view.number,
        "stamp_ns": str(view.stamp_ns),
        "masked_unix_ms": (time.time() - time.monotonic() + view.masked_at) * 1e3,
        "stages": {k: v if v == v else None for k, v in figures.stages},
        "input_hz": figures.input_hz,
        "output_hz": figures.output_hz,
        "dropped": figures.dropped,
        "backend": figures.backend,
        "classes": [] if display is None else [
            {"name": n, "rgb": list(c)} for n, c in zip(display.names, display.colors)
        ],
        "people": [] if display is None else list(people(display)),
        "parts": [[name, len(data)] for name, data in parts],
    }  # fmt: skip
    text = json.dumps(head, allow_nan=False).encode()
    return b"".join((struct.pack("<I", len(text)), text, *(data for _, data in parts)))


def new_token() -> str:
    """A random token that nobody can guess."""
    return secrets.token_urlsafe(16)


def _hostname(host: str) -> str:
    """The host of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
