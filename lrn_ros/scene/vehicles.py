# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cars, vans and buses: a side profile swept across the width, with lamps, plate and wheels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lrn_ros.scene.canvas import NEAR, Canvas, clip_near

CAR = 8
PAINTS = (
    (38, 40, 44), (168, 172, 176), (212, 214, 214), (96, 100, 106), (120, 22, 26), (28, 44, 88),
    (24, 60, 54), (54, 78, 112), (150, 140, 118), (140, 30, 30), (60, 62, 66), (190, 194, 198),
)  # fmt: skip
# Metres from the middle (forward, up), rear bumper over the roof to front bumper, and the width.
PROFILES: dict[str, tuple[float, list[tuple[float, float]]]] = {
    "hatchback": (1.72, [(-1.88, 0.3), (-1.95, 0.78), (-1.84, 0.95), (-1.42, 1.42), (0.2, 1.47),
                         (0.98, 0.98), (1.75, 0.8), (1.95, 0.62), (1.9, 0.28)]),
    "saloon": (1.78, [(-2.2, 0.3), (-2.28, 0.88), (-1.62, 0.98), (-0.98, 1.4), (0.25, 1.43),
                      (1.1, 0.95), (2.05, 0.78), (2.25, 0.6), (2.2, 0.28)]),
    "estate": (1.84, [(-2.15, 0.36), (-2.2, 0.85), (-2.12, 1.0), (-1.85, 1.58), (0.2, 1.63),
                      (0.95, 1.06), (1.95, 0.92), (2.15, 0.7), (2.1, 0.34)]),
    "van": (1.96, [(-2.4, 0.36), (-2.45, 1.0), (-2.43, 1.2), (-2.36, 2.0), (1.1, 2.05),
                   (1.75, 1.22), (2.3, 1.02), (2.46, 0.75), (2.42, 0.32)]),
    "bus": (2.4, [(-4.9, 0.4), (-4.95, 1.1), (-4.95, 1.4), (-4.85, 3.0), (4.75, 3.05),
                  (4.95, 1.35), (4.97, 1.2), (5.0, 0.8), (4.95, 0.35)]),
}  # fmt: skip
MODELS = ("hatchback", "saloon", "hatchback", "estate", "saloon", "van", "hatchback", "bus")
TAPER = (0.96, 1.0, 0.97, 0.76, 0.76, 0.95, 0.96, 0.97, 0.95)  # share of the width, by profile


@dataclass(frozen=True)
class Face:
    """A convex piece: vertices (N, 3) metres, outward normal, surface, whether it is outline."""

    points: np.ndarray
    normal: np.ndarray
    surface: str
    outline: bool


@dataclass(frozen=True)
class Mesh:
    """F faces in drawing order as arrays, and half the length and width in metres."""

    points: np.ndarray  # (P, 3) corners of all faces, metres
    starts: np.ndarray  # (F + 1,) where each face's corners start
    normals: np.ndarray  # (F, 3)
    colours: np.ndarray  # (F, 3) RGB of what is not painted
    painted: np.ndarray  # (F,) bool: in the car's own colour
    tones: np.ndarray  # (F,) brightness of the surface
    lamps: np.ndarray  # (F,) bool: as bright in any light
    outlines: np.ndarray  # (F,) bool: part of the outline, hence of the label
    half: tuple[float, float]


def _mesh(faces: list[Face], half: tuple[float, float]) -> Mesh:
    names = [f.surface for f in faces]
    return Mesh(
        np.concatenate([f.points for f in faces]),
        np.cumsum([0, *(len(f.points) for f in faces)]),
        np.array([f.normal for f in faces]),
        np.array([COLOURS.get(n, (0, 0, 0)) for n in names], float),
        np.array([n in ("body", "shade") for n in names]),
        np.array([0.8 if n == "shade" else 1.0 for n in names]),
        np.array([n in ("tail", "lamp") for n in names]),
        np.array([f.outline for f in faces]),
        half,
    )


COLOURS = {
    "glass": (58, 66, 74), "pane": (34, 38, 42), "dark": (28, 28, 30), "tyre": (24, 24, 25),
    "hub": (128, 130, 132), "tail": (176, 24, 28), "lamp": (226, 228, 220),
    "front plate": (226, 226, 220), "rear plate": (214, 186, 60), "sky": (82, 92, 100),
}  # fmt: skip


def build(model: str) -> Mesh:
    """The mesh of one of PROFILES, facing forward, standing on y = 0."""
    width, profile = PROFILES[model]
    half = [t * width / 2 for t in TAPER]
    if model in ("van", "bus"):
        half = [max(h, 0.46 * width) for h in half]
    left, right = (
        np.array([(s * h, y, z) for h, (z, y) in zip(half, profile, strict=True)]) for s in (-1, 1)
    )
    faces: list[Face] = []
    for side, points in ((-1, left), (1, right)):
        faces += _side(model, side, points, np.array(profile))
    order = [(1, "body"), (0, "body"), (3, "body"), (2, "glass"), (4, "glass"), (5, "body"),
             (6, "body"), (7, "body")]  # fmt: skip
    for k, surface in order:
        surface = "body" if model == "van" and k == 2 else surface
        faces.append(_face([left[k], right[k], right[k + 1], left[k + 1]], surface, (0, 0.6, 0)))
        if surface == "glass":
            faces += _panes(faces[-1])
    rear, front = profile[1][0] - 0.02, profile[7][0] + 0.02
    h, low, high = width / 2, profile[0][1], profile[1][1]
    nose = profile[7][1]
    faces = _underneath(h, low, profile[0][0], profile[8][0]) + faces
    faces.append(_end(rear, -0.95 * h, 0.95 * h, low, 0.5 * (low + high), "shade"))
    faces.append(_end(rear, -0.6 * h, 0.6 * h, high - 0.03, high - 0.01, "dark"))
    for s in (-1, 1):
        faces.append(_end(rear, s * 0.97 * h, s * 0.74 * h, high - 0.24, high - 0.04, "tail"))
        faces.append(_end(front, s * 0.94 * h, s * 0.62 * h, nose - 0.1, nose + 0.05, "lamp"))
    faces.append(_end(rear, -0.9 * h, 0.9 * h, low, low + 0.14, "dark"))
    faces.append(_end(rear, -0.26, 0.26, high - 0.34, high - 0.22, "rear plate"))
    faces.append(_end(front, -0.5 * h, 0.5 * h, nose - 0.12, nose + 0.04, "dark"))
    faces.append(_end(front, -0.86 * h, 0.86 * h, profile[8][1], profile[8][1] + 0.16, "dark"))
    faces.append(_end(front, -0.26, 0.26, nose - 0.24, nose - 0.13, "front plate"))
    return _mesh(faces, (profile[7][0], h))


def _face(points: list[np.ndarray], surface: str, inside: tuple[float, float, float],
          outline: bool = True) -> Face:  # fmt: skip
    corners = np.array(points, float)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    if normal @ (corners.mean(axis=0) - inside) < 0:
        normal = -normal
    return Face(corners, normal, surface, outline)


def _panes(face: Face) -> list[Face]:
    """The pane inside a window's frame, and the bright sky mirrored in its upper part."""
    middle = face.points.mean(axis=0)
    pane = middle + 0.88 * (face.points - middle) + 0.01 * face.normal
    low, high = (pane[:2], pane[2:]) if pane[0, 1] < pane[2, 1] else (pane[2:], pane[:2])
    cut = np.concatenate([0.4 * high[::-1] + 0.6 * low, high])
    return [Face(pane, face.normal, "pane", False), Face(cut, face.normal, "sky", False)]


def _underneath(h: float, low: float, rear: float, front: float) -> list[Face]:
    """The dark below the bumpers and the tyres that stand in it."""
    faces = []
    for z in (0.96 * rear, 0.96 * front):
        faces.append(_end(z, -0.85 * h, 0.85 * h, 0.12, low + 0.02, "tyre", True))
        for s in (-1, 1):
            faces.append(_end(0.7 * z, s * 0.97 * h, s * 0.72 * h, 0.0, low + 0.02, "tyre", True))
    return faces


def _end(z: float, x0: float, x1: float, y0: float, y1: float, surface: str,
         outline: bool = False) -> Face:  # fmt: skip
    points = np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)])
    return Face(points, np.array([0.0, 0.0, math.copysign(1, z)]), surface, outline)


def _side(model: str, side: int, points: np.ndarray, profile: np.ndarray) -> list[Face]:
    inside = (0.0, 0.6, 0.0)
    body = _face([points[k] for k in (0, 1, 2, 5, 6, 7, 8)], "body", inside)
    cabin = _face([points[k] for k in (2, 3, 4, 5)], "body", inside)
    normal = np.array([side, 0.0, 0.0])
    body, cabin = (Face(f.points, normal, f.surface, True) for f in (body, cabin))
    x = points[1][0]
    z0, z8 = profile[0][0], profile[8][0]
    low = profile[0][1]
    sill = np.array([(x, low, z0), (x, low + 0.12, z0), (x, low + 0.12, z8), (x, low, z8)])
    waist, mid = profile[1][1], 0.55 * profile[1][1] + 0.45 * low
    lower = np.array([(x, low, z0), (x, mid, z0), (x, mid - 0.06, z8), (x, low, z8)])
    shine = np.array([(x, waist - 0.1, z0), (x, waist - 0.06, z0), (x, waist - 0.16, 0.9 * z8),
                      (x, waist - 0.2, 0.9 * z8)])  # fmt: skip
    under = np.array([(0.8 * x, 0.1, 0.75 * z0), (0.8 * x, low, 0.75 * z0),
                      (0.8 * x, low, 0.75 * z8), (0.8 * x, 0.1, 0.75 * z8)])  # fmt: skip
    faces = [Face(under, normal, "tyre", True), body]
    faces += [Face(lower, normal, "shade", False), Face(shine, normal, "shade", False)]
    faces += [Face(sill, normal, "dark", False), cabin]
    base_rear, roof_rear, roof_front, base_front = cabin.points
    spans = {"van": [(0.72, 0.96)], "bus": [(k / 6 + 0.01, k / 6 + 0.155) for k in range(6)]}
    for a, b in spans.get(model, [(0.06, 0.47), (0.51, 0.94)]):
        corner = []
        for t, up in ((a, 0.1), (a, 0.86), (b, 0.86), (b, 0.1)):
            bottom = base_rear + t * (base_front - base_rear)
            top = roof_rear + t * (roof_front - roof_rear)
            corner.append(bottom + up * (top - bottom) + 0.01 * normal)
        faces.append(Face(np.array(corner), normal, "pane", False))
    radius = 0.48 if model == "bus" else 0.32
    for z in (0.62 * z0, 0.64 * z8):
        for r, surface, out in ((radius * 1.15, "dark", 0.0), (radius, "tyre", 0.01),
                                (0.6 * radius, "hub", 0.02)):  # fmt: skip
            ring = [(x + side * out, radius + r * math.sin(a), z + r * math.cos(a))
                    for a in np.linspace(0, 2 * math.pi, 13)[:-1]]  # fmt: skip
            faces.append(Face(np.array(ring), normal, surface, surface == "tyre"))
    return faces


MESHES = {model: build(model) for model in PROFILES}


def draw_car(
    canvas: Canvas, model: str, place: tuple[float, float, float], heading: float,
    paint: tuple[float, float, float], sun: np.ndarray, ambient: float,
) -> None:  # fmt: skip
    """Draw a car at place (x, y, z) metres; heading in radians, 0 forward, right positive."""
    mesh, camera = MESHES[model], canvas.camera
    c, s = math.cos(heading), math.sin(heading)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    u, _, depth = camera.point(*place)
    reach = mesh.half[0] + mesh.half[1]
    if depth < -reach:
        return
    scale = camera.focal / max(depth, 1.0)
    if depth > reach and abs(u - camera.centre[0]) > camera.width / 2 + reach * scale:
        return
    eye = turn.T @ (np.array([camera.x, camera.y, camera.z]) - place)
    seen = ((eye - mesh.points[mesh.starts[:-1]]) * mesh.normals).sum(axis=1) > 0
    light = ambient + (1.15 - ambient) * np.maximum(mesh.normals @ (turn.T @ sun), 0.0)
    light = np.where(mesh.lamps, 1.0, light * mesh.tones)
    base = np.where(mesh.painted[:, None], paint, mesh.colours) * light[:, None]
    haze = canvas.air.amount(depth)
    colours = ((1 - haze) * np.minimum(base, 255) + haze * np.array(canvas.air.colour)).tolist()
    view = camera.view(mesh.points @ turn.T + place)
    near = depth < reach + NEAR
    pixels = view if near else camera.pixels(view)
    small = 1.5 * scale < 16
    for k in np.flatnonzero(seen & mesh.outlines if small else seen).tolist():
        part = pixels[mesh.starts[k] : mesh.starts[k + 1]]
        if near:
            part = clip_near(part)
            if len(part) < 3:
                continue
            part = camera.pixels(part)
        canvas.fill(part, colours[k], CAR if mesh.outlines[k] else None)
