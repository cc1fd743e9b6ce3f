# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn view as a process: frames that a browser gets, who gets none, and a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import lichtblick
import numpy as np
import pytest
from browser import CHROMIUM, Browser

from lrn_ros import Segmenter
from lrn_ros.cli import main
from lrn_ros.images.compressed import write_png
from lrn_ros.inference.palette import shown
from lrn_ros.model.labels import LabelSet

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("torch")
LABELS = shown(LabelSet.load("camvid11"))


@pytest.fixture(scope="module")
def folder(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i, (rgb, _) in enumerate(frames):
        write_png(folder / f"{i:02d}.png", rgb)
    return folder


@contextlib.contextmanager
def viewer(folder, model, *options):
    """The process and its address."""
    command = [sys.executable, "-m", "lrn_ros", "view", str(folder), "--model", str(model)]
    command += ["--backend", "torch", "--threads", "1", "--port", "0", "--rate", "20", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=dict(os.environ, PYTHONUNBUFFERED="1", OMP_NUM_THREADS="1"),
    )  # fmt: skip
    try:
        said = ""
        while not (found := re.search(r"(?:open|serving) (\S+)", said)):
            line = process.stdout.readline()
            assert line, said
            said += line
        yield process, found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def address(folder, random_model):
    with viewer(folder, random_model) as (_, address):
        yield address


def parts(data):
    """The JSON object and the files of a frame."""
    length = struct.unpack_from("<I", data)[0]
    head, at, found = json.loads(data[4 : 4 + length]), 4 + length, {}
    for name, size in head["parts"]:
        found[name] = cv2.imdecode(np.frombuffer(data[at : at + size], np.uint8), -1)
        at += size
    assert at == len(data)
    return head, found


def test_frames(address, folder, random_model):
    async def look():
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}frames") as ws:
            await asyncio.sleep(1)
            with pytest.raises(asyncio.TimeoutError):
                await ws.receive(timeout=1.5)  # nothing comes that was not asked for
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}frames") as ws:
            received = []
            for text in ("next", "next", "confidence", "confidence", "confidence"):
                await ws.send_str(text)
                received.append(parts(await ws.receive_bytes(timeout=60)))
            await asyncio.sleep(1)
            await ws.send_str("next")
            received.append(parts(await ws.receive_bytes(timeout=60)))
            return received

    received = asyncio.run(look())
    numbers = [head["number"] for head, _ in received]
    assert numbers == sorted(set(numbers)), "no frame twice, none older"
    segmenter = Segmenter.load(random_model, backend="torch")
    by_size = [cv2.imread(str(p))[..., ::-1] for p in sorted(folder.iterdir())]
    for head, found in received:
        rgb = min(by_size, key=lambda p: np.abs(p - found["camera"][..., ::-1].astype(int)).sum())
        expected = segmenter(rgb, confidence=True)
        np.testing.assert_array_equal(found["mask"], expected.mask)
        if "confidence" in found:
            np.testing.assert_array_equal(found["confidence"], expected.confidence)
        assert head["backend"] == "torch fp32" and head["stages"]["inference_ms"] > 0
        assert [(c["name"], tuple(c["rgb"])) for c in head["classes"]] == list(
            zip(LABELS.names, LABELS.colors)
        )
    assert "confidence" in received[4][1] and "confidence" not in received[0][1]
    assert received[-1][0]["input_hz"] == pytest.approx(20, rel=0.3)


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"Host": "evil.example:80"}, ""),  # a name that points at this machine
        ({"Host": "evil.example:80"}, "frames"),
        ({"Origin": "http://evil.example"}, "frames"),  # another site's page
    ],
)
def test_pages_of_other_sites_get_nothing(address, headers, path):
    async def ask():
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{address}{path}", headers=headers) as answer,
        ):
            return answer.status

    assert asyncio.run(ask()) == 403


def test_other_machines_need_the_token(folder, random_model):
    with viewer(folder, random_model, "--host", "0.0.0.0") as (_, address):
        base, token = re.fullmatch(r"(http://0\.0\.0\.0:\d+/)\?token=(\S{20,})", address).groups()

        async def ask(query):
            async with aiohttp.ClientSession() as session, session.get(base + query) as answer:
                return answer.status

        queries = ("", "?token=", f"?token={token[:-1]}", f"?token={token}", "frames")
        assert [asyncio.run(ask(q)) for q in queries] == [403, 403, 403, 200, 403]


def test_it_ends_on_the_first_signal(folder, random_model):
    with viewer(folder, random_model) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.mp4"], "nowhere.mp4: no such file or folder"),
        (["/dev/video77"], "/dev/video77: no such file or folder"),
        (["77"], "camera 77: there is no /dev/video77"),
        (["rtsp://me:secret@127.0.0.1:1/x"], "me:***@127.0.0.1:1/x: cannot be read as a video"),
        (["DAMAGED"], "cannot be read as an image"),
        (["DIR", "--camera", "front"], "only with the name of a running node"),
        (["DIR", "--port", "70000"], "0 to 65535 work"),
        (["DIR", "--foxglove", "--host", "0.0.0.0"], "serves this machine alone"),
    ],
)
def test_wrong_usage(folder, arguments, says, tmp_path, capsys):
    (tmp_path / "damaged.png").write_text("no picture")
    folders = {"DIR": str(folder), "DAMAGED": str(tmp_path)}
    assert main(["view", *(folders.get(a, a) for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_port_in_use(address, folder, random_model, capsys):
    port = re.search(r":(\d+)/", address)[1]
    arguments = ["view", str(folder), "--model", str(random_model), "--backend", "torch"]
    assert main([*arguments, "--port", port]) == 1
    assert "--port 0 takes a free one" in capsys.readouterr().err


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_the_page_in_chromium(address, folder, random_model, tmp_path):
    """Pixels of the page against the same overlay made here."""
    segmenter = Segmenter.load(random_model, backend="torch")
    pictures = [cv2.imread(str(p))[..., ::-1] for p in sorted(folder.iterdir())]
    canvas = """(() => { const c = document.getElementById("NAME");
        const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        return [c.width, c.height, ...data] })()"""

    async def look():
        async with Browser(tmp_path) as page:
            await page.open(address)
            await page.wait("window.shown && shown.frames > 2")
            await page.evaluate("document.getElementById('side').click()")
            await page.evaluate(
                "{ const a = document.getElementById('alpha'); a.value = 100; a.oninput() }"
            )
            frames = await page.evaluate("shown.frames")
            await page.wait(f"shown.frames > {frames + 1}")
            # Both in one script: no frame comes in between.
            both = await page.evaluate(
                f"[{canvas.replace('NAME', 'camera')}, {canvas.replace('NAME', 'overlay')}]"
            )
            buttons = await page.evaluate(
                "[...document.querySelectorAll('#classes button')].map(b => b.textContent)"
            )
            await page.evaluate(
                "document.querySelectorAll('#classes button').forEach(b => b.click())"
            )
            bare = await page.evaluate(
                f"[{canvas.replace('NAME', 'camera')}, {canvas.replace('NAME', 'overlay')}]"
            )
            text = await page.evaluate("document.body.innerText")
            return both, buttons, bare, text, page.errors

    both, buttons, bare, text, errors = asyncio.run(look())

    def picture(numbers):
        width, height, *data = numbers
        return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]

    camera, overlay = map(picture, both)
    rgb = min(pictures, key=lambda p: np.abs(p - camera.astype(int)).sum())
    color = LABELS.palette[segmenter(rgb).mask]
    line = (overlay == 0).all(2) | (overlay == 255).all(2)  # around people
    assert (np.abs(overlay.astype(int) - color) <= 1).all(2)[~line].mean() > 0.999
    assert line.mean() < 0.5
    assert buttons == list(LABELS.names)
    np.testing.assert_array_equal(*map(picture, bare), "with every class off the camera is left")
    for word in ("torch fp32", "dropped", "masks out", "stamp to mask", "live"):
        assert word in text
    assert errors == []


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_the_page_says_that_the_node_has_gone(folder, random_model, tmp_path):
    async def look():
        with viewer(folder, random_model) as (process, address):
            async with Browser(tmp_path, (390, 844)) as page:
                await page.open(address)
                await page.wait("window.shown && shown.frames > 0")
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                process.send_signal(signal.SIGINT)
                await page.wait("document.getElementById('state').textContent.includes('trying')")

    asyncio.run(look())


def test_foxglove(folder, random_model):
    """A client of the protocol gets the layout's topics, with schemas and in CDR."""
    pytest.importorskip("foxglove")
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)

    async def look(address):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, protocols=["foxglove.sdk.v1"], max_msg_size=0) as ws,
        ):
            channels, found = {}, {}
            deadline = time.monotonic() + 60
            while len(found) < 8 and time.monotonic() < deadline:
                message = await ws.receive(timeout=30)
                if message.type is aiohttp.WSMsgType.TEXT:
                    data = json.loads(message.data)
                    if data["op"] == "advertise":
                        new = {c["id"]: c for c in data["channels"]}
                        channels |= new
                        wanted = [{"id": i, "channelId": i} for i in new]
                        await ws.send_json({"op": "subscribe", "subscriptions": wanted})
                elif message.data[0] == 1:  # message data: id, time, payload
                    channel = channels[struct.unpack_from("<I", message.data, 1)[0]]
                    found[channel["topic"]] = (channel, message.data[13:])
            return found

    with viewer(folder, random_model, "--foxglove") as (_, address):
        found = asyncio.run(look(address))
    assert {"/segmentation/overlay/compressed", "/segmentation/legend", "/diagnostics"} <= set(
        found
    )
    messages = {
        topic: store.deserialize_cdr(data, channel["schemaName"])
        for topic, (channel, data) in found.items()
    }
    color = cv2.imdecode(messages["/segmentation/color"].data, 1)[..., ::-1]
    assert {tuple(c) for c in color.reshape(-1, 3)} <= set(LABELS.colors)
    status = messages["/segmentation/latency"].status[0]
    assert status.name == "segmentation: camera"
    assert float({v.key: v.value for v in status.values}["inference_ms"]) > 0


@pytest.mark.skipif(not lichtblick.AT_HAND, reason=lichtblick.WHY)
def test_every_panel_of_the_layout_shows_it_live_in_lichtblick(folder, random_model, tmp_path):
    layout = Path(__file__).parents[2] / "config" / "foxglove.json"
    with viewer(folder, random_model, "--foxglove") as (_, address):
        source = {"ds": "foxglove-websocket", "ds.url": address}
        asyncio.run(lichtblick.check_panels(layout, tmp_path, source))
