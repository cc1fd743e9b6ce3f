# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the report and the comparison page: templates, pictures, provenance."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from lrn_ros.images.compressed import encode_jpeg, encode_png
from lrn_ros.metrics.text import number, percent
from lrn_ros.model.artifact import write_atomically
from lrn_ros.replay.figures import Results

_FOLDER = Path(__file__).parent / "templates"
_QUALITY = 80  # of JPEG


class PagePictures:
    """The pictures of a page as data URIs by name; each picture is kept once."""

    def __init__(self) -> None:
        self.uris: dict[str, str] = {}

    def photo(self, name: str, rgb: NDArray[np.uint8]) -> str:
        """Add an image as JPEG; returns its name."""
        return self._add(name, "jpeg", rgb)

    def drawing(self, name: str, rgb: NDArray[np.uint8]) -> str:
        """Add a picture of few colours as PNG; returns its name."""
        return self._add(name, "png", rgb)

    def _add(self, name: str, kind: str, rgb: NDArray[np.uint8]) -> str:
        if name not in self.uris:
            data = encode_png(rgb, 9) if kind == "png" else encode_jpeg(rgb, _QUALITY)
            self.uris[name] = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        return name


def write_page(path: Path, template: str, pictures: PagePictures, **values: Any) -> None:
    """Write a page that needs no network: one of the templates, filled."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "number_percent": lambda share, digits: percent(share, digits).removesuffix(" %"),
        "width": lambda share: f"{100 * share:.1f}" if share == share else "0",
    }
    text = environment.get_template(template).render(
        style=_own("style.css"), script=_own("script.js"), pictures=pictures.uris, **values
    )
    write_atomically(path, text.encode())


def _own(name: str) -> Markup:
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))  # noqa: S704 (our own file)


def facts(results: Results) -> list[tuple[str, str]]:
    """Model, machine and options of the results, as pairs of a name and a text."""
    model, made = results.model, results.provenance
    bags = results.bags
    played = results.realtime.bags if results.realtime else ()
    where = [(b.path, b.topic) for b in bags] or [(b.played.path, b.played.topic) for b in played]
    on = [text for text in (model.backend, model.precision, model.device) if text]
    truth = _each(b.ground_truth.source for b in bags if b.ground_truth)
    files = ", ".join(f"{name} {digest[:16]}" for name, digest in model.files.items())
    return [
        ("date", made.date),
        ("lrn_ros", made.version),
        ("model", f"{model.name}, {model.architecture}; SHA-256 {files}"),
        ("licence of the weights", model.license),
        ("backend", ", ".join(on) or _each(b.backend for b in played) or "-"),
        ("network size", _each("{}x{}".format(*b.network_size) for b in bags) or "-"),
        ("image size", _each("{}x{}".format(*b.image_size) for b in bags) or "-"),
        ("bags", _each(path for path, _ in where)),
        ("image topics", _each(topic for _, topic in where)),
        ("ground truth", truth or "none"),
        ("classes", results.labels.name if results.labels else "-"),
        ("mapping", _each(b.mapping for b in bags) or "none"),
        ("machine", f"{made.machine.cpu}, {made.machine.cores} cores; {made.machine.system}"),
        ("command", " ".join(made.command) or "-"),
    ]


def _each(texts: Any) -> str:
    return ", ".join(dict.fromkeys(text for text in texts if text))


def seconds_and_stamp(index: int, seconds: float, stamp_ns: int) -> str:
    """Where a frame is in its bag, so that it can be found in a viewer."""
    whole, fraction = divmod(stamp_ns, 1_000_000_000)
    return f"frame {index}, {seconds:.2f} s into the topic, stamp {whole}.{fraction:09d}"
