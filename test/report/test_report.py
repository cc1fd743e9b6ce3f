# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, as wide as a phone and as a desktop."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags")
pytest.importorskip("torch")

from scene_bags import IMAGES, LABELS

from lrn_ros import Segmenter
from lrn_ros.cli import main
from lrn_ros.data.bags.reader import BagReader
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.accuracy import read_part, replay
from lrn_ros.replay.figures import Curve, Point
from lrn_ros.replay.records import write_record
from lrn_ros.replay.results import RESULTS, merge
from lrn_ros.replay.scoring import TruthOptions
from lrn_ros.report.charts import Line, heat_chart, joined, length_s, line_chart
from lrn_ros.report.page import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
WIDTHS = (390, 1280)

# Works the page as a person would and tells the page around it what it saw.
WORK = """<script>
let violations = 0;
document.addEventListener('securitypolicyviolation', () => violations++);
addEventListener('load', async () => {
  const strip = document.getElementById('strip');
  const shown = [];
  for (const value of [0, strip.max]) {
    strip.value = value;
    strip.dispatchEvent(new Event('input'));
    shown.push([document.getElementById('strip-image').src.length,
                document.getElementById('strip-caption').textContent]);
  }
  const choice = document.getElementById('worst-class'), visible = [];
  for (const option of choice.options) {
    choice.value = option.value;
    choice.dispatchEvent(new Event('change'));
    visible.push([option.value, [...document.querySelectorAll('[data-class]')]
      .filter((part) => part.offsetHeight > 0).map((part) => part.dataset.class)]);
    for (const image of document.images) image.loading = 'eager';
  }
  const dialog = document.getElementById('enlarged'), enlarged = [];
  document.querySelector('[data-class]:not([hidden]) img').click();
  enlarged.push(dialog.open && dialog.querySelector('img').src.startsWith('data:image/'));
  dialog.click();
  enlarged.push(dialog.open);
  const images = [...document.images], canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  const ready = () => images.every((image) => image.complete && image.naturalWidth);
  for (let i = 0; i < 100 && !ready(); i++) await new Promise((done) => setTimeout(done, 100));
  const decoded = images.map((image) => {  // drawing is what decodes
    context.clearRect(0, 0, 1, 1);
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, 1, 1).data[3] === 255 ? image.naturalWidth : 0;
  });
  parent.postMessage(JSON.stringify({
    inner: innerWidth, scroll: document.documentElement.scrollWidth, decoded, shown, visible,
    enlarged,
    requests: performance.getEntriesByType('resource').map((e) => e.name)
      .filter((name) => !name.startsWith('data:')), violations,
    wide: [...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, svg')
      && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML.slice(0, 80)),
  }), '*');
});
</script>"""
# A window has a least width, a frame has not.
FRAME = """<body style="margin: 0"><iframe srcdoc="{page}" width="{width}" height="900"
 style="border: 0"></iframe><script>addEventListener('message', (event) => {{
  const result = document.createElement('pre');
  result.id = 'result';
  result.textContent = event.data;
  document.body.append(result);
}});</script></body>"""


@pytest.fixture(scope="module")
def segmenter(random_model):
    return Segmenter.load(random_model, backend="torch", network_size=(64, 80), threads=1)


@pytest.fixture
def report(segmenter, frames, write_bag, timed, tmp_path):
    """Of two bags, one of which failed, and a third with odd names."""
    images, labels = zip(*frames)
    parts = []
    for name in ("drive", "a <b> & 'c' with a name that is much longer than a phone is wide" * 2):
        bag = write_bag(
            {IMAGES: timed(images), LABELS: timed(labels)},
            LabelSet.load("camvid11"),
            name=f"bag{len(parts)}",
        )
        out = tmp_path / f"out{len(parts)}"
        replay(segmenter, BagReader(bag), IMAGES, out, TruthOptions(), thorough=True)
        parts.append(read_part(name, out))
    results = merge(parts, failed={"broken": "/a/path/" + "x" * 200 + ": not a bag"})
    path = tmp_path / "report.html"
    write_report(path, results, parts)
    return path


def browse(page: Path, width: int, *options: str) -> str:
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--window-size={width},900", f"--user-data-dir={page.parent / f'profile{width}'}",
        "--virtual-time-budget=20000", *options, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_in_a_browser(report):
    page = escape(report.read_text().replace("</body>", f"{WORK}</body>"))
    for width in WIDTHS:
        frame = report.with_name(f"frame{width}.html")
        frame.write_text(FRAME.format(page=page, width=width))
        dom = browse(frame, width, "--dump-dom")
        found = json.loads(unescape(re.findall(r'<pre id="result">(.*?)</pre>', dom, re.S)[0]))
        assert found["inner"] == width
        assert found["scroll"] <= width and found["wide"] == []
        assert found["requests"] == [] and found["violations"] == 0
        assert len(found["decoded"]) > 40 and min(found["decoded"]) == 160
        assert found["enlarged"] == [True, False]
        (first, last) = found["shown"]
        assert first[1].startswith("drive, frame 0, 0.00 s into the topic, stamp 1700000000.0")
        assert "frame 15, 1.50 s" in last[1]
        assert len(found["visible"]) == 11
        assert all(visible == [chosen] for chosen, visible in found["visible"])


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_screenshots_are_not_empty(report, tmp_path):
    for width in WIDTHS:
        picture = tmp_path / f"{width}.png"
        browse(report, width, f"--screenshot={picture}")
        image = cv2.imread(str(picture))
        assert image.shape == (900, width, 3)
        colors = np.unique(image.reshape(-1, 3), axis=0)
        assert len(colors) > 50
    if folder := os.environ.get("LRN_SCREENSHOTS"):
        shutil.copytree(tmp_path, folder, dirs_exist_ok=True)


def curve(*bags: list[Point]) -> list[Curve]:
    return [Curve(str(i), tuple(points)) for i, points in enumerate(bags)]


def test_charts_share_one_time():
    """What is known of the first bag alone ends in the middle of the picture."""
    both = curve(
        [Point(t, 1, miou=1.0, ece=1.0) for t in (1.0, 3.0)],
        [Point(t, 1, miou=1.0) for t in (1.0, 3.0)],
    )
    assert length_s(both) == 8
    found = {}
    for key in ("miou", "ece"):
        svg = line_chart([Line(key, "a", list(joined(both, key)))], length_s(both), key)
        found[key] = [float(x) for x in re.findall(r"([\d.]+),[\d.]+", svg)]
        assert re.findall(r">(\d+)</text>", svg)[-5:] == ["0", "2", "4", "6", "8"]
    assert found["miou"][:2] == found["ece"] and len(found["miou"]) == 4
    at = np.array(found["miou"]) - found["miou"][0]
    np.testing.assert_allclose(at / at[-1], [0, 2 / 6, 4 / 6, 1], atol=0.001)


def test_the_heat_map_tells_zero_from_absent():
    points = [Point(1.0, 1, iou={"car": 0.0}), Point(3.0, 1, iou={"sky": 0.5})]
    svg = heat_chart(curve(points), ["car", "sky", "sign"])
    assert re.findall(r'fill-opacity="([\d.]+)"', svg) == ["0.00", "0.50"]
    assert svg.count("<line") == 2 and "sign" not in svg
    assert re.findall(r">(\d+)</text>", svg) == ["0", "1", "2", "3", "4"]


def test_short_bags_have_few_spans(report):
    """Sixteen frames a bag: two spans each, not one a frame."""
    part = read_part("drive", report.with_name("out0"))
    points = merge([part]).curve[0].points
    assert [point.frames for point in points] == [8, 8]


def test_the_class_that_fails_most_comes_first(report):
    page = report.read_text()
    sections = re.findall(r'<div data-class="([^"]+)">(.*?)(?=<div data-class|<h2>)', page, re.S)
    worst = [min(map(float, re.findall(r"IoU ([\d.]+) %", inner))) for _, inner in sections]
    assert len(worst) == 11 and worst == sorted(worst)
    assert re.findall(r"<option>(.*?)</option>", page) == [name for name, _ in sections]


def test_a_report_does_without_pictures_that_somebody_removed(report):
    """Some of the first bag's, all of the second's."""
    parts = [read_part(f"bag{i}", report.with_name(f"out{i}")) for i in range(2)]
    results = merge(parts)
    pages = []
    for _ in range(2):
        write_report(report, results, parts)
        pages.append(report.read_text())
        for picture in parts[0].files.pictures.glob("*_mask.png"):
            picture.unlink()
        shutil.rmtree(parts[1].files.pictures)
        parts[1].files.pictures.mkdir()
    assert "bag1, frame" in pages[0] and "bag1, frame" not in pages[1]
    assert "bag0, frame" in pages[0] and "bag0, frame" not in pages[1]
    assert pages[0].split("<h2>Worst")[0].strip() == pages[1].split("<h2>Bags")[0].strip()


def test_needs_no_network(report):
    page = report.read_text()
    assert re.findall(r"""(?:src|href)=["']""", page) == []  # pictures are data for the script
    pictures = json.loads(re.findall(r'id="pictures">(.*?)</script>', page, re.S)[0])
    assert len(pictures) > 40
    assert all(uri.startswith("data:image/") for uri in pictures.values())
    assert set(re.findall(r'data-picture="([^"]+)"', unescape(page))) <= pictures.keys()
    assert "url(" not in page and "import" not in page
    assert "&lt;b&gt; &amp;" in page and "<b> &" not in page
    assert "failed: /a/path/" in page


@pytest.fixture
def comparison(segmenter, random_model, frames, write_bag, timed, tmp_path):
    """The page of two runs of one bag, of which the second one is at another network size."""
    images, labels = zip(*frames)
    bag = write_bag({IMAGES: timed(images), LABELS: timed(labels)}, LabelSet.load("camvid11"))
    small = Segmenter.load(random_model, backend="torch", network_size=(96, 160), threads=1)
    for name, model in (("a", segmenter), ("b", small)):
        folder = tmp_path / name / "bags" / "a <b>"
        replay(model, BagReader(bag), IMAGES, folder, TruthOptions())
        results = merge([read_part("a <b>", folder)], folder=tmp_path / name)
        write_record(tmp_path / name / RESULTS, results)
    page = tmp_path / "gate.html"
    arguments = ["--allow", "network-size", "--html", page]
    status = main([str(a) for a in ("compare", tmp_path / "a", tmp_path / "b", *arguments)])
    assert status in (0, 1, 2) and page.is_file()
    return page


def test_the_comparison_shows_what_changed(comparison):
    page = unescape(comparison.read_text())
    assert re.search(r'network size</td><td class="worse text">64x80</td>', page)
    assert "<td>mIoU, %</td>" in page and "16 frames</td>" in page and "15 pairs</td>" in page
    assert page.count('<circle class="') == len(re.findall("IoU of [a-z-]+, %</td>", page))
    pictures = json.loads(re.findall(r'id="pictures">(.*?)</script>', page, re.S)[0])
    shown = re.findall(r'data-picture="([^"]+)"', page)
    assert shown and set(shown) == pictures.keys()
    assert "a <b>, frame" not in comparison.read_text()  # is escaped


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_the_comparison_in_a_browser(comparison):
    work = WORK.replace("const strip = document", "const strip = null, none = document")
    work = re.sub(r"for \(const value of \[0, strip.max\]\) \{.*?\n  \}\n", "", work, flags=re.S)
    work = re.sub(r"for \(const option of choice.options\) \{.*?\n  \}\n", "", work, flags=re.S)
    page = escape(comparison.read_text().replace("</body>", f"{work}</body>"))
    for width in WIDTHS:
        frame = comparison.with_name(f"frame{width}.html")
        frame.write_text(FRAME.format(page=page, width=width))
        dom = browse(frame, width, "--dump-dom")
        found = json.loads(unescape(re.findall(r'<pre id="result">(.*?)</pre>', dom, re.S)[0]))
        assert found["inner"] == width
        assert found["scroll"] <= width and found["wide"] == []
        assert found["requests"] == [] and found["violations"] == 0
        assert len(found["decoded"]) > 5 and found["enlarged"] == [True, False]
