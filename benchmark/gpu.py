# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that needs an NVIDIA GPU, in one visit of a quarter of an hour.

python benchmark/gpu.py --minutes 12 --output benchmark/nvidia-NAME
python benchmark/gpu.py --dry-run --output /tmp/gpu        # the same code on a CPU, in small

Sections run one after the other, the most valuable first, each in a process of its own and for a
bounded time. Every line of a section is on disk, in SECTION.jsonl, as soon as it is known; a
section that cannot run here says why. gpu.json has all of it.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lrn_ros.errors import BackendError, RunError, UserError  # noqa: E402
from lrn_ros.inference.cache import MAX_ENGINES  # noqa: E402
from lrn_ros.inference.geometry import Geometry, fit  # noqa: E402
from lrn_ros.inference.postprocess import upsample_argmax  # noqa: E402
from lrn_ros.inference.preprocess import resize  # noqa: E402
from lrn_ros.inference.segmenter import Segmenter  # noqa: E402
from lrn_ros.inference.smoothing import Smoother  # noqa: E402
from lrn_ros.inference.supervisor import NotReady, Supervisor  # noqa: E402
from lrn_ros.model.artifact import weights_folder  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402

Line = dict[str, Any]  # what becomes a line of JSON
MODEL = "lrnnet_c_camvid"


@dataclass(frozen=True)
class Scale:
    """The sizes of all measurements.

    Attributes:
        backend: that is measured.
        precisions: of it.
        sizes: of frames and of the network's input, for speed.
        odd: sizes of frames, for agreement.
        batches: frames at once.
        frames: measured ones per figure.
        lasting: frames of the long run.
        network: size of the network's input where no other is said; None: the trained one's.
    """

    backend: str
    precisions: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    odd: tuple[tuple[int, int], ...]
    batches: tuple[int, ...]
    frames: int
    lasting: int
    network: tuple[int, int] | None = None


REAL = Scale(
    "cuda", ("fp16", "bf16", "fp32"), ((512, 1024), (360, 480), (1024, 2048)),
    ((360, 480), (301, 97), (720, 1280), (1080, 1920), (2160, 3840)), (1, 2, 4), 300, 20_000,
)  # fmt: skip
DRY = Scale("torch", ("fp32",), ((64, 96),), ((64, 96), (70, 65)), (1, 2), 3, 20, (64, 96))


def frames(size: tuple[int, int], count: int) -> list[np.ndarray]:
    """Street scenes, (H, W, 3) uint8."""
    height, width = (max(64, n) for n in size)
    scenes = (StreetScene(seed=n, height=height, width=width) for n in range(count))
    return [np.ascontiguousarray(s.frame(0)[0][: size[0], : size[1]]) for s in scenes]


def kernels(scale: Scale) -> Iterator[Line]:
    """The kernels around a TensorRT engine, with random scores in the engine's place."""
    from lrn_ros.inference.device_code import compile_kernels

    yield {"compiled for 8.9, bytes": len(compile_kernels((8, 9)))}
    from lrn_ros.inference.cache import EngineCache
    from lrn_ros.inference.cuda_graph import Pipeline, call, cudart, find_gpu
    from lrn_ros.inference.device_code import Kernels, Stages

    gpu = find_gpu(0)
    kernels = Kernels(gpu.capability, gpu.driver, EngineCache())
    for frame in (*scale.odd, *scale.sizes):
        for batch in scale.batches:
            geometry = fit(frame, (512, 1024), (512, 1024))
            shape = (batch, 11, 64, 128)
            scores = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            images = (batch, *geometry.network, 3)
            pipeline = Pipeline((batch, *frame, 3), images, shape, geometry.output)

            stages = Stages(kernels, geometry, shape, 8, pipeline.upload)
            steps = _RandomScores(stages, pipeline, pipeline.upload(scores), scores.nbytes)
            pipeline.start(steps)
            rgb = frames(frame, batch)
            planes = pipeline.masks(rgb, True)
            seen = np.empty(images, np.uint8)
            ends = seen.ctypes.data, pipeline.device_images
            call("cudaMemcpy", *ends, seen.nbytes, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost)
            expected = [upsample_argmax(s, geometry, 8, True) for s in scores]
            times = _times(lambda p=pipeline, r=rgb: p.masks(r, False), scale.frames)
            yield {
                "frame": frame,
                "batch": batch,
                "same images": all(
                    np.array_equal(s, resize(r, geometry)) for s, r in zip(seen, rgb)
                ),
                "same masks": all(np.array_equal(p, e[0]) for p, e in zip(planes[0], expected)),
                "largest difference of a confidence": max(
                    int(np.abs(p.astype(int) - e[1]).max()) for p, e in zip(planes[1], expected)
                ),
                **times,
            }


class _RandomScores:
    """Steps of a Pipeline: the kernels, and in the engine's place a copy of given scores."""

    def __init__(self, stages: Any, pipeline: Any, scores: int, size: int) -> None:
        self.make_images, self.make_masks = stages.make_images, stages.make_masks
        self._ends, self._size = (pipeline.device_scores, scores), size

    def infer(self, stream: int) -> bool:
        """See lrn_ros.inference.cuda_graph.Steps."""
        from lrn_ros.inference.cuda_graph import call, cudart

        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        call("cudaMemcpyAsync", *self._ends, self._size, kind, stream)
        return True


def right(scale: Scale) -> Iterator[Line]:
    """Masks beside those of torch in fp32 on the CPU, for every released model."""
    for path in sorted(weights_folder().glob("*.safetensors")):
        reference = Segmenter.load(path, "torch", "fp32", scale.network)
        for precision in scale.precisions:
            segmenter = Segmenter.load(path, scale.backend, precision, scale.network)
            for tf32 in (False, True) if precision == "fp32" else (True,):
                _allow_tf32(tf32)
                for size in scale.odd:
                    batch = scale.batches[-1]
                    rgb = frames(size, batch)
                    geometry = segmenter.geometry(*size)
                    found = segmenter.backend.run(rgb, geometry, True)
                    single = [segmenter(one, confidence=True) for one in rgb]
                    expected = [reference(one).mask for one in rgb]
                    yield {
                        "model": path.stem,
                        "precision": precision,
                        "tf32": tf32,
                        "frame": size,
                        "same label": _share(found, expected),
                        "same label alone": _share(single, expected),
                    }

    yield from _right_otherwise(scale)


def _right_otherwise(scale: Scale) -> Iterator[Line]:
    """The same with another network size, and with smoothing between the frames of a video."""
    size = scale.odd[0]
    height, width = size
    scene = StreetScene(seed=3, height=height, width=width)
    video = [np.ascontiguousarray(scene.frame(n)[0]) for n in range(4)]
    for precision in scale.precisions:
        for network in scale.sizes:
            pair = [
                Segmenter.load(MODEL, name, p, network)
                for name, p in ((scale.backend, precision), ("torch", "fp32"))
            ]
            found, expected = ([one(rgb) for rgb in video] for one in pair)
            yield {
                "precision": precision,
                "network size": network,
                "same label": _share(found, [result.mask for result in expected]),
            }
        pair = [
            Segmenter.load(MODEL, name, p, scale.network)
            for name, p in ((scale.backend, precision), ("torch", "fp32"))
        ]
        smoothers = [Smoother() for _ in pair]
        found, expected = (
            [one(rgb, smooth=smoother.at(n / 30)) for n, rgb in enumerate(video)]
            for one, smoother in zip(pair, smoothers)
        )
        masks = [result.mask for result in expected]
        yield {"precision": precision, "smoothed": True, "same label": _share(found, masks)}


def faults(scale: Scale) -> Iterator[Line]:
    """Faults on purpose: the messages, and whether the masks afterwards are the same."""
    size = scale.odd[0]
    (rgb,) = frames(size, 1)
    segmenter = _small(scale)
    expected = segmenter(rgb).mask

    def after(fault: str, one: Segmenter, **more: Any) -> Line:
        return {"fault": fault, **more, "same mask": bool((one(rgb).mask == expected).all())}

    start = time.perf_counter()
    for n in range(MAX_ENGINES + 1):
        segmenter(np.zeros((64, 64 + 8 * n, 3), np.uint8))
    kept = segmenter.prepared(segmenter.geometry(*size))
    seconds = round(time.perf_counter() - start, 2)
    yield after("more sizes than engines are kept", segmenter, **{"still kept": kept, "s": seconds})
    yield _in_other_threads(scale, rgb, expected)
    yield _restart(scale, rgb, expected)
    if scale.backend != "cuda":
        yield {"skipped": "captures and memory are the backend cuda's"}
        return
    from unittest import mock

    from lrn_ros.inference.backends.cuda import Engine

    with mock.patch.object(Engine, "capture", side_effect=RuntimeError("on purpose")):
        yield after("the capture fails", _small(scale))
    yield after("out of memory", segmenter, said=_fill_memory(segmenter))


def _small(scale: Scale) -> Segmenter:
    return Segmenter.load(MODEL, scale.backend, scale.precisions[0], scale.sizes[0])


def _in_other_threads(scale: Scale, rgb: np.ndarray, expected: np.ndarray) -> Line:
    """Segmenters that one thread loads, another runs and a third frees."""
    masks, memory = [], [_memory()]
    with ThreadPoolExecutor(1) as loader, ThreadPoolExecutor(1) as runner:
        for _ in range(3):
            one = loader.submit(_small, scale)
            holder = [one.result()]
            masks.append(runner.submit(holder[0], rgb).result().mask)
            del one
            runner.submit(holder.clear).result()
            memory.append(_memory())
    same = all(bool((mask == expected).all()) for mask in masks)
    return {"fault": "loaded, run and freed by three threads", "memory": memory, "same mask": same}


def _restart(scale: Scale, rgb: np.ndarray, expected: np.ndarray) -> Line:
    """A backend that throws for three frames, which the supervisor replaces."""
    loaded: list[Segmenter] = []

    def load(given_up: Mapping[str, str]) -> Segmenter:
        one = _small(scale)
        if not loaded:
            one.run = _broken  # type: ignore[method-assign]
        loaded.append(one)
        return one

    supervisor = Supervisor(load)
    geometry = supervisor.model.geometry(*rgb.shape[:2])
    said, mask = [], None
    start = time.perf_counter()
    while mask is None and time.perf_counter() - start < 120:
        try:
            mask = supervisor.run([rgb], geometry, False)[0].mask
        except NotReady:
            time.sleep(0.05)
        except RuntimeError as error:
            said.append(str(error))
    seconds = round(time.perf_counter() - start, 2)
    supervisor.close(10)
    same = mask is not None and bool((mask == expected).all())
    line = {"fault": "the backend throws", "said": said, "loaded": len(loaded), "s": seconds}
    return {**line, "same mask": same}


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("on purpose")


def _fill_memory(segmenter: Segmenter) -> str:
    """The message if 16 frames of 4K are compiled while 256 MB of memory are left."""
    import torch

    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    filler = torch.empty(max(0, free - (256 << 20)), dtype=torch.uint8, device="cuda")
    try:
        segmenter.prepare(segmenter.geometry(2160, 3840), 16)
    except BackendError as error:
        return str(error)
    finally:
        del filler
        torch.cuda.empty_cache()
    return "nothing: the memory was enough"


def overlap(scale: Scale) -> Iterator[Line]:
    """The next frame's upload beside the present frame: what two engines by turns would give.

    This is about speed alone. The two engines share workspaces of libraries, so their masks are
    not looked at.
    """
    if scale.backend != "cuda":
        yield {"skipped": "the engines are the backend cuda's"}
        return
    import torch

    from lrn_ros.inference.backends.cuda import CudaBackend

    for size in scale.sizes:
        segmenter = Segmenter.load(MODEL, scale.backend, scale.precisions[0], size)
        backend, geometry = segmenter.backend, segmenter.geometry(*size)
        assert isinstance(backend, CudaBackend)
        engines = [backend._compile((geometry, 1)) for _ in range(2)]
        streams = [torch.cuda.Stream() for _ in engines]
        rgb = frames(size, 2)
        line: Line = {"size": size}
        for name, behind in (("one after the other", 0), ("by turns", 1)):
            start = time.perf_counter()
            for n in range(scale.frames + behind):
                turn = n % 2
                if n < scale.frames:
                    np.copyto(engines[turn].frames[0], rgb[turn])
                    with torch.inference_mode(), torch.cuda.stream(streams[turn]):
                        engines[turn].launch(False)
                if n >= behind:
                    done = (n - behind) % 2
                    streams[done].synchronize()
                    engines[done].planes[0].copy()
            seconds = time.perf_counter() - start
            line[f"frames per second, {name}"] = round(scale.frames / seconds, 1)
        yield line


def fast(scale: Scale) -> Iterator[Line]:
    """Frame in host memory to mask in host memory."""
    yield _limits(scale)
    for size in scale.sizes:
        for precision in scale.precisions:
            segmenter = Segmenter.load(MODEL, scale.backend, precision, size)
            for batch in (1, 4) if 4 in scale.batches else (1,):
                rgb, geometry = frames(size, batch), segmenter.geometry(*size)
                run = _call(segmenter, rgb, geometry)
                line = {"size": size, "precision": precision, "batch": batch}
                times = _times(run, scale.frames)
                rate = {"frames per second": round(batch * 1e3 / times["p50 ms"], 1)}
                yield {**line, **times, **rate, **_device_time(segmenter, geometry, batch)}


def lasting(scale: Scale) -> Iterator[Line]:
    """The memory that is left after many frames of two sizes in turns."""
    segmenter = Segmenter.load(MODEL, scale.backend, scale.precisions[0], scale.network)
    sizes = scale.odd[:2]
    runs = [_call(segmenter, frames(size, 1), segmenter.geometry(*size)) for size in sizes]
    for number in range(scale.lasting + 1):
        runs[number % 2]()
        if number % max(1, scale.lasting // 10) == 0:
            yield {"frames": number, **_memory()}


def tests(scale: Scale) -> Iterator[Line]:
    """The tests that are marked with gpu."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        "test/inference",
        "test/benchmark",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    yield {"exit status": done.returncode, "said": done.stdout.splitlines()[-30:]}


# Share of the time that is left when it is a section's turn, the most valuable ones first.
SECTIONS: dict[str, tuple[Callable[[Scale], Iterator[Line]], float]] = {
    "kernels": (kernels, 0.2),
    "right": (right, 0.35),
    "fast": (fast, 0.4),
    "faults": (faults, 0.3),
    "overlap": (overlap, 0.2),
    "tests": (tests, 0.6),
    "lasting": (lasting, 1.0),
}


def _call(segmenter: Segmenter, rgb: list[np.ndarray], geometry: Geometry) -> Callable[[], Any]:
    return lambda: segmenter.backend.run(rgb, geometry, False)


def _times(run: Callable[[], Any], count: int) -> Line:
    for _ in range(min(count, 20)):
        run()
    found = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        found.append((time.perf_counter() - start) * 1e3)
    p50, p99 = np.percentile(found, (50, 99))
    return {"p50 ms": round(float(p50), 4), "p99 ms": round(float(p99), 4)}


def _share(found: list[Any], expected: list[np.ndarray]) -> float:
    same = [(one.mask == mask).mean() for one, mask in zip(found, expected)]
    return round(float(np.mean(same)), 6)


def _allow_tf32(allowed: bool) -> None:
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def _limits(scale: Scale) -> Line:
    """The limits of the device: copies from pinned memory and within it, matrix products."""
    import torch

    device = "cuda" if scale.backend == "cuda" else "cpu"
    side, count = (8192, 1 << 28) if device == "cuda" else (256, 1 << 16)
    host = torch.empty(count, dtype=torch.uint8, pin_memory=device == "cuda")
    here = torch.empty(count, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    dtype = torch.bfloat16
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def seconds(run: Callable[[], Any]) -> float:
        best = []
        for _ in range(5):
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            best.append(time.perf_counter() - start)
        return min(best)

    return {
        "upload GB/s": count / seconds(lambda: here.copy_(host, non_blocking=True)) / 1e9,
        "download GB/s": count / seconds(lambda: host.copy_(here, non_blocking=True)) / 1e9,
        "copy within GB/s": count / seconds(lambda: there.copy_(here)) / 1e9,
        "bf16 TMAC/s": side**3 / seconds(lambda: torch.mm(a, b)) / 1e12,
    }


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _device_time(segmenter: Segmenter, geometry: Geometry, batch: int) -> Line:
    """Milliseconds of the device alone for one graph, copies among them; the rest is Python."""
    import torch

    from lrn_ros.inference.backends.device import DeviceBackend

    backend = segmenter.backend
    if not isinstance(backend, DeviceBackend):
        return {}
    engine = backend._engines.get((geometry, batch), backend._compile)
    stream = backend._stream  # type: ignore[attr-defined]
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.inference_mode(), torch.cuda.stream(stream):
        start.record(stream)
        for _ in range(20):
            engine.launch(False)
        end.record(stream)
    end.synchronize()
    moved = int(np.prod((batch, *geometry.frame, 3))) + int(np.prod((batch, *geometry.output)))
    return {"device ms": round(start.elapsed_time(end) / 20, 4), "copied MB": moved / 1e6}


def _memory() -> Line:
    """Megabytes: resident in the process, pinned by torch, and in use on the device."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1e3  # type: ignore[index]
    import torch

    if not torch.cuda.is_available():
        return {"resident MB": resident}
    free, total = torch.cuda.mem_get_info()
    line = {"resident MB": resident, "device MB": (total - free) / 1e6}
    if hasattr(torch.cuda, "host_memory_stats"):  # of newer versions of torch
        line["pinned MB"] = torch.cuda.host_memory_stats()["allocated_bytes.current"] / 1e6
    return line


def run_section(name: str, scale: Scale) -> int:
    """Print a section's lines as JSON; in a process of its own."""
    if scale is REAL and name != "kernels":
        try:
            import torch
        except ImportError as error:
            print(json.dumps({"skipped": str(error)}), flush=True)
            return 0
        if not torch.cuda.is_available():
            print(json.dumps({"skipped": "torch finds no GPU"}), flush=True)
            return 0
    try:
        for line in SECTIONS[name][0](scale):
            print(json.dumps(line), flush=True)
    except (UserError, BackendError, RunError, ImportError) as error:
        print(json.dumps({"skipped": " ".join(str(error).split())}), flush=True)
    return 0


def main() -> int:
    """Run the sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=float, default=12.0, help="minutes for everything (%(default)s)")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of gpu.json; default: benchmark/nvidia-NAME",
    )
    add("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    add("--dry-run", action="store_true", help="a small run on a CPU with the backend torch")
    add("--run", choices=SECTIONS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    scale = DRY if args.dry_run else REAL
    if args.run:
        return run_section(args.run, scale)
    output = args.output or ROOT / "benchmark" / f"nvidia-{_gpu_name()}"
    output.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * args.minutes
    results: Line = {"machine": platform.platform(), "gpu": _gpu_name(), "dry run": args.dry_run}
    for name in args.sections:
        left = max(1.0, (end - time.monotonic()) * (1.0 if args.dry_run else SECTIONS[name][1]))
        print(f"{name}: at most {left:.0f} s", flush=True)
        results[name] = _section(name, args.dry_run, left, output / f"{name}.jsonl")
        text = json.dumps(results, indent=1)
        (output / "gpu.json").write_text(text + "\n", encoding="utf-8")
    print(f"wrote {output}/gpu.json")
    return 0


def _section(name: str, dry: bool, seconds: float, file: Path) -> list[Line]:
    """The lines of a section; the last line says why there are no more."""
    command = [sys.executable, __file__, "--run", name, *(["--dry-run"] if dry else [])]
    end: Line = {}
    with file.open("wb") as lines:
        try:
            subprocess.run(
                command, stdout=lines, stderr=subprocess.PIPE, timeout=seconds, check=True
            )
        except subprocess.TimeoutExpired:
            end = {"stopped": f"after {seconds:.0f} s"}
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").splitlines()[-15:]
            end = {"failed": error.returncode, "said": said}
        if end:
            lines.write(json.dumps(end).encode() + b"\n")
    found = [json.loads(one) for one in file.read_bytes().splitlines() if one.endswith(b"}")]
    for line in found:
        print(f"  {json.dumps(line)}", flush=True)
    return found


def _gpu_name() -> str:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        found = ""
    return re.sub(r"[^a-z0-9]+", "-", found.split("\n")[0].lower()).strip("-") or "none"


if __name__ == "__main__":
    sys.exit(main())
