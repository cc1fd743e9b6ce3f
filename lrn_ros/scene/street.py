# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A drive down an endless street, drawn by painter's algorithm, with the label of every pixel.

Pinhole camera: focal length about 0.95 * sqrt(height * width) pixels, 1.25 to 1.55 m above a flat
road, looking a few degrees down; world in metres, x right, y up, z along the street.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np

from lrn_ros.scene.canvas import Canvas, PinholeCamera, Sprite
from lrn_ros.scene.figures import (
    CYCLIST_END,
    CYCLIST_SIDE,
    PHASES,
    WALKER,
    cyclist,
    make_look,
    walker,
)
from lrn_ros.scene.ground import Ground, Street
from lrn_ros.scene.layout import (
    BLOCK,
    Block,
    Panel,
    Parked,
    Post,
    Tree,
    hashed,
    make_block,
    make_kit,
)
from lrn_ros.scene.roadside import StreetView, draw_back, draw_panel, draw_post, draw_tree
from lrn_ros.scene.sky import Panorama, Weather, make_weather
from lrn_ros.scene.traffic import Mover, at_crossing, car_ahead, car_choice, in_lanes, make_lanes
from lrn_ros.scene.vehicles import MESHES, draw_car

Shadow = tuple[np.ndarray, float]  # a convex polygon (N, 3) in metres, and its strength 0 to 1
FAR, FAR_SMALL = 70.0, 30.0  # metres; beyond, shadows are left out


def find_shadows(
    camera: PinholeCamera, street: Street, weather: Weather, blocks: dict[tuple[int, int], Block],
    movers: list[Mover],
) -> Iterator[Shadow]:  # fmt: skip
    """All shadows near the camera, the large ones first."""
    near = {k: b for k, b in blocks.items() if k[0] * BLOCK < camera.z + FAR}
    cast = -weather.sun / weather.sun[1] * (1, 0, 1)  # the shadow of a point 1 m above the ground
    if weather.shadow:
        yield from _cast(street, near, cast, weather.shadow)
    for mover in movers:
        at, away = np.array(street.spot(mover.z, mover.offset)), mover.z - camera.z
        if mover.kind == "car" and away < FAR:
            yield _under(at, car_choice(mover.look)[0])
        elif mover.kind != "car" and away < FAR_SMALL:
            long = 0.8 if mover.kind == "cyclist" and mover.view != "side" else 0.3
            yield _ellipse(at + cast * 0.1, 0.3, long), 0.4
    for block in near.values():
        for thing in block.along:
            if isinstance(thing, Parked):
                yield _under(np.array(street.spot(thing.z, thing.offset)), thing.model)


def _cast(
    street: Street, blocks: dict[tuple[int, int], Block], cast: np.ndarray, strength: float
) -> Iterator[Shadow]:
    for (_, side), block in blocks.items():
        for house in block.buildings:
            top = cast * max(house.height, house.ridge)
            offset = side * (street.edge + house.setback)
            a, b = (np.array(street.spot(z, offset)) for z in (house.z0, house.z1))
            yield np.array([a, b, b + top, a + top]), strength
        for thing in (*block.behind, *block.along):
            if isinstance(thing, Tree):
                at = np.array(street.spot(thing.z, thing.offset)) + cast * 0.65 * thing.height
                yield _ellipse(at, 0.33 * thing.height, 0.33 * thing.height), strength


def _under(at: np.ndarray, model: str) -> Shadow:
    z, x = MESHES[model].half
    x, z = x + 0.12, z + 0.2
    return at + np.array([(-x, 0, -z), (x, 0, -z), (x, 0, z), (-x, 0, z)]), 0.62


def _ellipse(at: np.ndarray, rx: float, rz: float) -> np.ndarray:
    turn = np.linspace(0, 2 * math.pi, 10, endpoint=False)
    return at + np.stack([rx * np.cos(turn), 0 * turn, rz * np.sin(turn)], axis=1)


PEDESTRIAN, BICYCLIST = 9, 10
VIEW = 170.0  # metres of street drawn ahead
LOOKS = 20  # differently dressed people in a scene
NOISE = 64  # pixels by which the sensor noise shifts about


class StreetScene:
    """A video of a drive: frame(index) is a function of the constructor's arguments and index.

    seed: any int >= 0; height, width: pixels, at least 64; fps: frames per second, more than 0.
    Raises ValueError for anything else.
    """

    def __init__(
        self, seed: int = 0, height: int = 512, width: int = 1024, fps: float = 25.0
    ) -> None:
        for name, size in (("height", height), ("width", width)):
            if size < 64:
                raise ValueError(f"{name} is {size}; it must be at least 64 pixels")
        if not 0 < fps < math.inf:
            raise ValueError(f"fps is {fps}; it must be a finite number above 0")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must be 0 or more")
        self.seed, self.height, self.width, self.fps = seed, height, width, fps
        rng = hashed(seed, 1)
        self._drive = -1 if rng.random() < 0.7 else 1
        self._street = Street(
            rng.uniform(4.4, 4.7), rng.uniform(2.8, 3.6),
            ((rng.uniform(1, 5), 2 * math.pi / rng.uniform(330, 460), rng.uniform(0, 6)),
             (rng.uniform(0, 1), 2 * math.pi / rng.uniform(150, 210), rng.uniform(0, 6))),
        )  # fmt: skip
        self._speed = rng.uniform(7.4, 8.6)  # metres per second
        self._focal = rng.uniform(0.88, 1.04) * math.sqrt(height * width)
        self._eye, self._pitch = rng.uniform(1.25, 1.55), -rng.uniform(0.015, 0.055)
        self._gain = rng.uniform(0.88, 1.08)
        self._weather = make_weather(hashed(seed, 2))
        self._ground = Ground(hashed(seed, 3), self._street, self._weather)
        self._panorama = Panorama(hashed(seed, 4), self._weather, self._camera(0.0))
        self._kit = make_kit(hashed(seed, 5))
        self._looks = [make_look(hashed(seed, 6, k)) for k in range(LOOKS)]
        self._lanes = make_lanes(self._drive, self._street.half, self._street.pavement)
        shape = (height + NOISE, width + NOISE, 3)
        grain = hashed(seed, 7).standard_normal(shape, dtype=np.float32) * 2.6
        self._noise = np.clip(grain + 16, 0, 32).astype(np.uint8)
        self._blocks: dict[tuple[int, int], Block] = {}
        self._people: dict[tuple[str, int, str, int, bool], Sprite] = {}

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one frame: (H, W, 3) uint8 RGB and (H, W) uint8 CamVid-11 class ids.

        Raises ValueError for a negative index.
        """
        if index < 0:
            raise ValueError(f"index is {index}; it must be 0 or more")
        t = index / self.fps
        camera = self._camera(t)
        canvas = Canvas(camera, self._weather.air)
        first = math.floor((camera.z - 8) / BLOCK)
        numbers = range(first, first + math.ceil(VIEW / BLOCK) + 1)
        blocks = {(n, s): self._block(n, s) for n in numbers for s in (-1, 1)}
        movers = list(self._movers(t, camera.z, blocks))
        self._panorama.paint(camera, canvas.image, canvas.labels)
        crossings = [(n + 0.5) * BLOCK for n, s in blocks if s > 0 and blocks[n, s].crossing]
        shadows = find_shadows(camera, self._street, self._weather, blocks, movers)
        self._ground.paint_on(canvas, crossings, list(shadows))
        stage = StreetView(canvas, self._street, self._kit, self._weather)
        draw_back(stage, blocks)
        self._draw_street(stage, blocks, movers)
        return self._sensor(canvas.image, index), canvas.labels

    def _camera(self, t: float) -> PinholeCamera:
        z = 40.0 + self._speed * t
        x = self._street.spot(z, 1.4 * self._drive)[0] + 0.06 * math.sin(0.5 * t)
        yaw = self._street.heading(z) + 0.006 * math.sin(0.37 * t)
        pitch = self._pitch + 0.0012 * math.sin(2.3 * t) + 0.0006 * math.sin(5.1 * t)
        y = self._eye + 0.008 * math.sin(3.1 * t)
        return PinholeCamera(x, y, z, yaw, pitch, self._focal, self.height, self.width)

    def _block(self, number: int, side: int) -> Block:
        key = (number, side)
        if key not in self._blocks:
            if len(self._blocks) > 64:
                self._blocks.clear()
            street = self._street
            self._blocks[key] = make_block(self.seed, number, side, street.half, street.pavement)
        return self._blocks[key]

    def _movers(self, t: float, z: float, blocks: dict[tuple[int, int], Block]) -> Iterator[Mover]:
        yield from in_lanes(self.seed, self._lanes, t, z)
        yield from car_ahead(self.seed, self._drive, t, z)
        for (number, side), block in blocks.items():
            place = (number + 0.5) * BLOCK
            if side > 0 and block.crossing and place - z < 100:
                yield from at_crossing(self.seed, number, place, z, t, self._speed, self._drive,
                                       self._street.half, self._lanes[0])  # fmt: skip

    def _draw_street(
        self, stage: StreetView, blocks: dict[tuple[int, int], Block], movers: list[Mover]
    ) -> None:
        """All things on road and pavement in drawing order: far before near, outer before inner."""
        canvas = stage.canvas
        reach = canvas.camera.z + 130
        things: list[tuple[float, int, Tree | Panel | Post | Parked | Mover]]
        things = [(self._depth(a), k, a) for k, a in enumerate(
            a for b in blocks.values() for a in b.along if self._depth(a) < reach)]  # fmt: skip
        things += [(self._depth(m), -1 - k, m) for k, m in enumerate(movers)]
        for _, _, thing in sorted(things, reverse=True, key=lambda item: item[:2]):
            if isinstance(thing, Tree):
                draw_tree(stage, thing)
            elif isinstance(thing, Panel):
                draw_panel(stage, thing)
            elif isinstance(thing, Post):
                draw_post(stage, thing)
            elif isinstance(thing, Parked):
                back = thing.back == (self._drive < 0)
                self._draw_car(canvas, thing.model, thing.z, thing.offset, thing.paint, back)
            elif thing.kind == "car":
                model, paint = car_choice(thing.look)
                self._draw_car(canvas, model, thing.z, thing.offset, paint, thing.view == "front")
            else:
                self._draw_person(canvas, thing)

    @staticmethod
    def _depth(thing: Tree | Panel | Post | Parked | Mover) -> float:
        """Sorting key in metres: the near end, larger for things further from the road's middle."""
        z = thing.z0 if isinstance(thing, Panel) else thing.z
        if isinstance(thing, Parked):
            z -= MESHES[thing.model].half[0]
        elif isinstance(thing, Mover) and thing.kind == "car":
            z -= MESHES[car_choice(thing.look)[0]].half[0]
        return z + 1.5 * abs(thing.offset)

    def _draw_car(
        self, canvas: Canvas, model: str, z: float, offset: float,
        paint: tuple[int, int, int], back: bool,
    ) -> None:  # fmt: skip
        heading = self._street.heading(z) + (math.pi if back else 0.0)
        place = self._street.spot(z, offset)
        draw_car(canvas, model, place, heading, paint, self._weather.sun, self._weather.ambient)

    def _draw_person(self, canvas: Canvas, mover: Mover) -> None:
        look, on_bike = mover.look % LOOKS, mover.kind == "cyclist"
        key = (mover.kind, look, mover.view, mover.phase % PHASES, mover.still)
        if key not in self._people:
            dress = self._looks[look]
            self._people[key] = (
                cyclist(dress, mover.view, mover.phase) if on_bike
                else walker(dress, mover.view, mover.phase, mover.still)
            )  # fmt: skip
        size = WALKER
        if on_bike:
            size = CYCLIST_SIDE if mover.view == "side" else CYCLIST_END
        tall = 0.9 + 0.1 * ((mover.look >> 8) % 16) / 15 if not on_bike else 1.0
        canvas.board(self._people[key], self._street.spot(mover.z, mover.offset),
                     (size[0] * tall, size[1] * tall), BICYCLIST if on_bike else PEDESTRIAN,
                     self._weather.light((0.0, 0.7, -0.7)), mover.mirror)  # fmt: skip

    def _sensor(self, image: np.ndarray, index: int) -> np.ndarray:
        """Add the slight blur of a lens, the exposure, and the noise of the sensor."""
        if self.height >= 200:
            image = cv2.GaussianBlur(image, (3, 3), 0.6)
        x, y = index * 7919 % NOISE, index * 104729 % NOISE
        noise = self._noise[y : y + self.height, x : x + self.width]
        return cv2.addWeighted(image, self._gain, noise, 1.0, -16.0)
