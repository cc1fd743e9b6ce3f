# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The process that runs one combination of a benchmark, or measures the machine's limits.

It answers every line of JSON on its standard input, {"do": NAME, argument: value, ...}, with one on
its standard output, and blocks in between. It ends with its input. Nothing that counts as start-up
is imported before "load".
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.errors import BackendError, UserError, one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrn_ros.inference.result import Result
    from lrn_ros.inference.segmenter import Segmenter

BASELINE = ("torch", "fp32")  # backend, precision
_SIDE = 2048  # the size of the square matrices
_COPIED = 1 << 28  # bytes: more than fits into the processor's caches
_REPEATS = 2  # runs per limit and round; the best run counts


class _Combination:
    """A Segmenter with the frames that it is measured on."""

    def __init__(
        self,
        model: str,
        backend: str,
        precision: str,
        size: list[int],
        threads: int,
        cache: str,
        frames: str,
    ) -> None:
        start = time.perf_counter()
        import numpy as np

        from lrn_ros.inference.segmenter import Segmenter

        network_size = (size[0], size[1])
        self._segmenter: Segmenter = Segmenter.load(
            model, backend, precision, network_size, threads, cache_dir=cache
        )
        imported = time.perf_counter()
        self._frames: NDArray[np.uint8] = np.load(frames)
        loaded = time.perf_counter()
        self._segment(0)
        self.start_s = time.perf_counter() - start - (loaded - imported)
        self.device = self._segmenter.backend.device_name
        self._eager: Callable[[], Any] | None = None
        if (backend, precision) == BASELINE:
            self._eager = eager(Path(model), self._frames[0])
            self._eager()
        for index in range(2):
            self._segment(index)
            self._bare(index)

    def _segment(self, index: int) -> Result:
        return self._segmenter(self._frames[index % len(self._frames)])

    def _bare(self, index: int) -> None:
        """The network alone: an image of its size to coarse scores."""
        rgb = self._frames[index % len(self._frames)]
        geometry = self._segmenter.geometry(rgb.shape[0], rgb.shape[1])
        self._segmenter.backend.logits(rgb, geometry)

    def turn(self, frames: int) -> dict[str, Any]:
        """Measure some frames, then the bare network as often; the first of each is left out.

        The baseline measures the eager network as well.
        """
        found: dict[str, list[float]] = {n: [] for n in ("total", "pre", "network", "post")}
        for index in range(frames + 1):
            start = time.perf_counter()
            timings = self._segment(index).timings
            found["total"].append((time.perf_counter() - start) * 1e3)
            found["pre"].append(timings.preprocess_ms)
            found["network"].append(timings.inference_ms)
            found["post"].append(timings.postprocess_ms)
        found["bare"] = [_ms(partial(self._bare, index)) for index in range(frames + 1)]
        if self._eager is not None:
            found["eager"] = [_ms(self._eager) for _ in range(frames + 1)]
        return {"ms": {name: values[1:] for name, values in found.items()}, **_memory()}

    def score(self, data: str | None, masks: str, reference: bool) -> dict[str, Any]:
        """Compare masks with the reference's, which are files in a folder, and with labels.

        Args:
            data: a data set, of which the val split is used; None: the frames.
            masks: the folder.
            reference: write the masks instead of comparing.
        """
        import numpy as np

        from lrn_ros.metrics.confusion import confusion_matrix, scores

        classes = len(self._segmenter.labels)
        matrix = np.zeros((classes, classes + 1), np.int64)
        images = same = pixels = 0
        for rgb, label in self._images(data):
            mask, path = self._segmenter(rgb).mask, Path(masks) / f"{images}.npy"
            if reference:
                np.save(path, mask)
            same += int((mask == np.load(path)).sum())
            images, pixels = images + 1, pixels + mask.size
            if label is not None:
                matrix += confusion_matrix(label, mask, classes)
        miou = scores(matrix).miou if matrix.any() else None
        return {"images": images, "same_label": same / pixels, "miou": miou}

    def _images(
        self, data: str | None
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
        from lrn_ros.data.datasets import read_pair
        from lrn_ros.data.layouts import find_files

        if data is None:
            yield from ((rgb, None) for rgb in self._frames)
            return
        for files in find_files(Path(data), "val"):
            pair = read_pair(files, self._segmenter.labels)
            yield pair.rgb, pair.label


class _Other:
    """A network of another project in OpenVINO, from a random input to its outputs.

    Args:
        model: an ONNX file with one image as its input, planes first or last.
        precision: "fp32" or "bf16".
        size: (height, width) of the image.
        threads: threads of the processor.
    """

    def __init__(self, model: str, precision: str, size: list[int], threads: int) -> None:
        start = time.perf_counter()
        import numpy as np
        import openvino as ov

        from lrn_ros.inference.backends import has_bf16

        if precision == "bf16" and not has_bf16():
            raise UserError("this processor has no bf16")
        core = ov.Core()
        try:
            read = core.read_model(model)
            shape = _image_shape(read.inputs, size)
            read.reshape({read.input(0): shape})
            hint = {"fp32": "f32", "bf16": "bf16"}[precision]
            config = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": hint,
                "INFERENCE_NUM_THREADS": str(threads),
            }
            self._request = core.compile_model(read, "CPU", config).create_infer_request()
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise UserError(f"OpenVINO cannot run {model} at {size}: {lines[-1][:200]}") from error
        kind = read.input(0).element_type.to_dtype()
        image = np.random.default_rng(0).uniform(0, 255 if kind == np.uint8 else 1, shape)
        self._image = image.astype(kind)
        self._infer()
        self.start_s = time.perf_counter() - start
        self.device = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        self._infer()

    def _infer(self) -> None:
        self._request.infer([self._image], share_inputs=True, share_outputs=True)

    def turn(self, frames: int) -> dict[str, Any]:
        """Measure so many frames; the first is left out."""
        total = [_ms(self._infer) for _ in range(frames + 1)][1:]
        nothing = [0.0] * len(total)
        found = {"total": total, "network": total, "bare": total, "pre": nothing, "post": nothing}
        return {"ms": found, **_memory()}


def _image_shape(inputs: list[Any], size: list[int]) -> list[int]:
    """The shape of one image for a model's only input.

    Raises:
        UserError: it takes something else, or another size only.
    """
    if len(inputs) != 1 or len(inputs[0].partial_shape) != 4:
        given = ", ".join(f"{i.any_name} {i.partial_shape}" for i in inputs)
        raise UserError(f"the model takes {given}; one image with four axes is needed")
    axes = inputs[0].partial_shape
    planes = [axes[n].is_static and axes[n].get_length() == 3 for n in (1, 3)]
    shape = [1, *size, 3] if planes[1] and not planes[0] else [1, 3, *size]
    for axis, length in zip(axes, shape):
        if axis.is_static and axis.get_length() != length:
            raise UserError(f"the model takes {axes} only, not {shape}")
    return shape


def eager(model: Path, rgb: NDArray[np.uint8]) -> Callable[[], Any]:
    """A call of the network as it was trained, nothing folded, on a prepared float32 image."""
    import torch

    from lrn_ros.inference.backends.torch import load_network
    from lrn_ros.model.artifact import read_info

    info = read_info(model)
    network = load_network(model, info)
    mean, std = (torch.tensor(v)[:, None, None] for v in (info.mean, info.std))
    image = ((torch.from_numpy(rgb).permute(2, 0, 1) / 255 - mean) / std)[None].contiguous()

    def call() -> Any:
        with torch.inference_mode():
            return network.coarse(image)  # type: ignore[operator]

    return call


def limits(threads: int) -> dict[str, Any]:
    """Multiply-adds per second of a matrix product in fp32 and bf16, bytes copied per second.

    A copied byte counts once though it is read and written.
    """
    import torch

    torch.set_num_threads(threads)
    found: dict[str, Any] = {"software": f"torch {torch.__version__}"}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(2, _SIDE, _SIDE, dtype=dtype)
        out = torch.empty_like(a)
        found[name] = _SIDE**3 / _best(partial(torch.mm, a, b, out=out))
    source = torch.ones(_COPIED // 4)
    target = torch.zeros_like(source)
    found["copy"] = _COPIED / _best(lambda: target.copy_(source))
    return found


def _best(run: Callable[[], Any]) -> float:
    """Seconds of the fastest run, after one that does not count."""
    run()
    return min(_ms(run) for _ in range(_REPEATS)) * 1e-3


def _ms(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def _memory() -> dict[str, float]:
    """Resident memory of this process now and at its peak, in MB of 10^6 bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kib = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith("Vm")}
    return {"memory": kib["VmRSS:"] * 1.024e-3, "peak": kib["VmHWM:"] * 1.024e-3}


def main() -> None:
    """Answer requests until the input ends; an exception other than UserError ends the process."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # text that libraries print must not mix with the answers
    combination: _Combination | _Other | None = None
    for line in sys.stdin:
        request = json.loads(line)
        do = request.pop("do")
        try:
            if do == "limits":
                reply = limits(**request)
            elif do == "load":
                other = request.pop("other", False)
                names = ("model", "precision", "size", "threads")
                if other:
                    combination = _Other(**{name: request[name] for name in names})
                else:
                    combination = _Combination(**request)
                reply = {"start_s": combination.start_s, "device": combination.device, **_memory()}
            else:
                reply = getattr(combination, do)(**request)
        except (UserError, BackendError) as error:
            reply = {"refused": one_line(error)}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
