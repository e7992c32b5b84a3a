"""A small renderer: sphere tracing, a lamp with soft shadows, sky, ground and wall, noise, sRGB.

It shares no code with the project, and its light is not that of any training picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photographs.shapes import Floats, Shape

STEPS, FAR, NEAR = 70, 9.0, 2e-3
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """An object, its paint, and what is around it.

    Args:
        name: of the picture.
        category: of the object.
        shape: of the object.
        paint: colour, linear.
        stripes: a second colour in rings along y, or None.
        ground: colour of the ground under the object, or None without a ground.
        wall: colour of what is behind, above the horizon.
        horizon: how sharply the ground ends: 0 a sweep, 1 an edge.
        lamp: direction to the lamp.
        light: its colour.
        sky: what comes from everywhere.
        softness: of the shadow; smaller is softer.
        azimuth_deg, elevation_deg: where the camera stands.
        size: width and height, pixels.
        shift: of the object's middle from the picture's, in pictures.
        noise: standard deviation, of full scale.
    """

    name: str
    category: str
    shape: Shape
    paint: RGB
    stripes: RGB | None = None
    ground: RGB | None = (0.6, 0.6, 0.6)
    wall: RGB = (0.7, 0.7, 0.7)
    horizon: float = 0.0
    lamp: RGB = (0.5, 1.0, 0.6)
    light: RGB = (1.0, 1.0, 1.0)
    sky: float = 0.4
    softness: float = 5.0
    azimuth_deg: float = 35.0
    elevation_deg: float = 30.0
    size: tuple[int, int] = (160, 120)
    shift: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.006


def photograph(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`[H, W, 3]` sRGB bytes of a scene, and `[H, W]` which pixels show the object."""
    width, height = scene.size
    eye, rays = _camera(scene)
    t, hit = _trace(scene.shape, eye, rays)
    points = eye + rays * t[:, None]
    lamp = np.array(scene.lamp) / np.linalg.norm(scene.lamp)
    floor = _lowest(scene.shape)
    color = _surroundings(scene, eye, rays, floor, lamp)
    normals = _normals(scene.shape, points[hit])
    color[hit] = _lit(scene, points[hit], normals, _paint(scene, points[hit], floor), lamp)
    image = color.reshape(height, width, 3)
    rng = np.random.default_rng(len(scene.name) + width)
    image = _srgb(image.clip(0, 1)) + scene.noise * rng.standard_normal(image.shape)
    return (image.clip(0, 1) * 255).round().astype(np.uint8), hit.reshape(height, width)


def _camera(scene: Scene) -> tuple[Floats, Floats]:
    """The eye `[3]`, and a ray `[H W, 3]` for each pixel."""
    width, height = scene.size
    a, e = np.radians([scene.azimuth_deg, scene.elevation_deg])
    eye = 3.4 * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    v, u = (np.mgrid[:height, :width] + 0.5).reshape(2, -1)
    focal = min(width, height) / (2 * np.tan(np.radians(20)))
    x = (u - width / 2) / focal - scene.shift[0]
    y = (height / 2 - v) / focal - scene.shift[1]
    rays = forward + x[:, None] * right + y[:, None] * up
    return eye, rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def _trace(shape: Shape, origin: Floats, rays: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """How far along each ray its surface is, and whether it has one."""
    t = np.zeros(len(rays))
    origins = np.broadcast_to(origin, rays.shape)
    alive = np.arange(len(rays))
    hit = np.zeros(len(rays), bool)
    for _ in range(STEPS):
        d = shape(origins[alive] + rays[alive] * t[alive, None])
        hit[alive[d < NEAR]] = True
        t[alive] += np.maximum(d, 0)
        alive = alive[(d >= NEAR) & (t[alive] < FAR)]
        if not len(alive):
            break
    return t, hit


def _shadow(scene: Scene, points: Floats, lamp: Floats) -> Floats:
    """How much of the lamp `[P]` points see: the penumbra by how near their rays pass."""
    t = np.full(len(points), 0.03)
    seen = np.ones(len(points))
    for _ in range(32):
        d = scene.shape(points + lamp * t[:, None])
        seen = np.minimum(seen, 0.5 + 0.5 * scene.softness * d / t)
        t += np.clip(d, 0.02, 0.2)
    x = seen.clip(0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def _lit(scene: Scene, points: Floats, normals: Floats, paint: Floats, lamp: Floats) -> Floats:
    """What leaves `[P]` points towards the eye."""
    facing = (normals @ lamp).clip(0, None) * _shadow(scene, points + 0.01 * normals, lamp)
    near = scene.shape(points + 0.15 * normals) / 0.15  # little where something is close above
    sky = scene.sky * (0.75 + 0.25 * normals[:, 1]) * (0.5 + 0.5 * near.clip(0, 1))
    return np.asarray(paint * (sky[:, None] + facing[:, None] * np.array(scene.light)))


def _surroundings(scene: Scene, eye: Floats, rays: Floats, floor: float, lamp: Floats) -> Floats:
    """Ground and wall."""
    wall = np.array(scene.wall) * (0.9 + 0.25 * rays[:, 1:2])
    if scene.ground is None:
        return np.asarray(wall)
    down = rays[:, 1] < -1e-3
    t = np.where(down, (floor - eye[1]) / np.where(down, rays[:, 1], -1), FAR)
    points = eye + rays * t[:, None]
    far = np.hypot(points[:, 0], points[:, 2])
    up = np.broadcast_to([0.0, 1.0, 0.0], points.shape)
    ground = _lit(scene, points, up, np.broadcast_to(scene.ground, points.shape), lamp)
    width = 1.5 * (1 - scene.horizon) + 0.02
    share = ((2.6 - far) / width + 0.5).clip(0, 1) * down
    return np.asarray(share[:, None] * ground + (1 - share[:, None]) * wall)


def _paint(scene: Scene, points: Floats, floor: float) -> Floats:
    paint = np.broadcast_to(np.array(scene.paint), points.shape)
    if scene.stripes is None:
        return paint
    ring = (np.floor((points[:, 1] - floor) / 0.22) % 2 == 1)[:, None]
    return np.asarray(np.where(ring, np.array(scene.stripes), paint))


def _normals(shape: Shape, points: Floats) -> Floats:
    h = 1e-3
    slopes = [shape(points + h * axis) - shape(points - h * axis) for axis in np.eye(3)]
    n = np.stack(slopes, -1)
    return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True).clip(1e-9))


def _lowest(shape: Shape) -> float:
    steps = np.linspace(-1, 1, 61)
    p = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    return float(p[shape(p) < 0][:, 1].min()) - 0.01


def _srgb(x: Floats) -> Floats:
    return np.asarray(np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055))
