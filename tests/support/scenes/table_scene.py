"""Photographs of a ball that stands on a patterned table, by formula, as a COLMAP scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from scipy.spatial.transform import Rotation

from sdfrender import Cameras

WIDTH, HEIGHT = 132, 98
CENTER, RADIUS = np.array([0.12, -0.07, 0.34]), 0.34
FOCAL, MIDDLE = 150.0, (61.0, 52.0)  # off-centre
TABLE = 2.2  # half side; beyond it is a grey room


@dataclass(frozen=True, eq=False)
class TableScene:
    """What was written: `[N, H, W]` silhouettes, and where they show the dark part of the ball."""

    folder: Path
    silhouettes: np.ndarray
    dark: np.ndarray


def write_table_scene(folder: Path, views: int = 12, noise: float = 0.01) -> TableScene:
    """A ball, yellow above and nearly black below, on a brown table with a black stripe."""
    random = np.random.default_rng(0)
    angles = np.arange(views) * (2 * np.pi / views)
    heights = 1.1 + 0.5 * np.sin(3 * angles)
    eyes = np.stack((2.4 * np.cos(angles), 2.4 * np.sin(angles), heights), -1)
    cameras = Cameras.look_at(
        eyes.tolist(), CENTER.tolist(), up=(0, 0, 1), width=WIDTH, height=HEIGHT
    )
    (folder / "images").mkdir(parents=True)
    (folder / "sparse" / "0").mkdir(parents=True)
    poses = cameras.c2w.double().numpy()
    drawn = [_photograph(pose) for pose in poses]
    for n, (color, _, _) in enumerate(drawn):
        noisy = (color + noise * random.standard_normal(color.shape)).clip(0, 1)
        iio.imwrite(folder / "images" / f"p{n:02d}.png", (noisy * 255).round().astype(np.uint8))
    _write_model(folder / "sparse" / "0", poses, random)
    return TableScene(folder, np.stack([s for _, s, _ in drawn]), np.stack([d for *_, d in drawn]))


def _photograph(c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[H, W, 3]` colours, `[H, W]` silhouette, `[H, W]` where its dark part is."""
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    local = np.stack(((u - MIDDLE[0]) / FOCAL, (v - MIDDLE[1]) / FOCAL, np.ones_like(u)), -1)
    d = local @ c2w[:3, :3].T
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    o = c2w[:3, 3]
    b, c = d @ (o - CENTER), (o - CENTER) @ (o - CENTER) - RADIUS**2
    hit = b * b - c > 0
    ball = o + d * (-b - np.sqrt(np.where(hit, b * b - c, 0)))[..., None]
    down = d[..., 2] < -1e-3
    table = o + d * (-o[2] / np.where(down, d[..., 2], -1))[..., None]
    on_table = down & (np.abs(table[..., :2]) < TABLE).all(-1)
    color = np.full((HEIGHT, WIDTH, 3), 0.45) + 0.1 * np.sin(9 * d[..., :1])
    color = np.where(on_table[..., None], _table_color(table), color)
    dark = hit & (ball[..., 2] < 0.24)
    bricks = 0.12 * np.sin(25 * ball[..., :1]) * np.sin(25 * ball[..., 1:2])
    yellow = np.array([0.85, 0.7, 0.1]) + bricks
    color = np.where(hit[..., None], np.where(dark[..., None], 0.06 + bricks / 4, yellow), color)
    return color.clip(0, 1), hit, dark


def _table_color(points: np.ndarray) -> np.ndarray:
    x, y = points[..., :1], points[..., 1:2]
    wood = np.array([0.5, 0.33, 0.2]) + 0.06 * np.sin(14 * x + 3 * np.sin(2 * y))
    shadow = 1 - 0.5 * np.exp(-((x - 0.25) ** 2 + (y + 0.1) ** 2) / 0.15)
    stripe = np.abs(y - 0.7 - 0.2 * x) < 0.08
    color: np.ndarray = np.where(stripe, 0.06, wood) * shadow
    return color


def _write_model(model: Path, poses: np.ndarray, random: np.random.Generator) -> None:
    """Cameras, and points on ball and table with a little noise."""
    lines = [f"1 PINHOLE {WIDTH} {HEIGHT} {FOCAL} {FOCAL} {MIDDLE[0]} {MIDDLE[1]}"]
    (model / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = []
    for n, c2w in enumerate(poses):
        x, y, z, w = Rotation.from_matrix(c2w[:3, :3].T).as_quat()
        t = -c2w[:3, :3].T @ c2w[:3, 3]
        lines += [f"{n + 1} {w} {x} {y} {z} {t[0]} {t[1]} {t[2]} 1 p{n:02d}.png", ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    around = random.standard_normal((160, 3))
    ball = CENTER + RADIUS * around / np.linalg.norm(around, axis=-1, keepdims=True)
    table = np.column_stack((random.uniform(-1.6, 1.6, (500, 2)), np.zeros(500)))
    points = np.concatenate((ball[ball[:, 2] > 0.05], table))
    points += 0.003 * random.standard_normal(points.shape)
    lines = [f"{n} {p[0]} {p[1]} {p[2]} 90 90 90 0.5 1 1 2 1 3 1 4 1" for n, p in enumerate(points)]
    (model / "points3D.txt").write_text("\n".join(lines) + "\n")
