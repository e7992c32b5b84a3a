"""Datasets small enough to make many times: boxes and capsules, 16 pixels, 4 views."""

from __future__ import annotations

from pathlib import Path

import torch
import trimesh

from sdfrender import Lattice, render
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.geometry.primitives import SDF, box, capsule
from sdfrender.view.lighting import STUDIO
from singleview.augment.augment import made_up_dataset, make_up_group, view_groups
from singleview.data.dataset import Dataset, to_bytes
from singleview.from_meshes.rigs import rig_cameras
from singleview.settings.choices import Split

SIZE, VIEWS, RESOLUTION = 16, 4, 16


def tiny_dataset(size: int = SIZE, resolution: int = RESOLUTION) -> Dataset:
    """Six objects of two categories: four to train on, one for validation, one for testing."""
    shapes: dict[str, tuple[Split, SDF]] = {
        "box/0": ("train", box((0.75, 0.4, 0.4))),
        "box/1": ("train", box((0.3, 0.75, 0.4))),
        "box/2": ("val", box((0.5, 0.75, 0.5))),
        "box/3": ("test", box((0.7, 0.4, 0.4))),
        "capsule/0": ("train", capsule((0, -0.45, 0), (0, 0.45, 0), 0.3)),
        "capsule/1": ("train", capsule((-0.35, 0, 0), (0.35, 0, 0), 0.4)),
    }
    lattices = [Lattice.from_function(sdf, resolution) for _, sdf in shapes.values()]
    cameras = rig_cameras("elevations", VIEWS, size)
    values = torch.stack([lattice.values for lattice in lattices])
    seen = render(Lattice(values, lattices[0].bounds), cameras, lighting=STUDIO)
    return Dataset(
        tuple(shapes),
        tuple(split for split, _ in shapes.values()),
        to_bytes(seen.images),
        to_bytes(seen.silhouettes),
        cameras.c2w[None],
        cameras.Ks[None],
        lighting=STUDIO,
        values=values.half(),
    )


def write_meshes(folder: Path, count: int = 3) -> Path:
    """A folder of two categories of meshes; the last ball has a hole."""
    for category in ("ball", "brick"):
        (folder / category).mkdir(parents=True)
    for i in range(count):
        ball = trimesh.creation.icosphere(subdivisions=2, radius=1.0 + i)
        if i == count - 1:
            ball.update_faces([*[True] * (len(ball.faces) - 4), *[False] * 4])
        save_mesh(folder / "ball" / f"{i}.ply", ball)
        brick = trimesh.creation.box((1.0, 2.0, 4.0 + i))
        brick.apply_translation((5.0, 0.0, 1.0))
        save_mesh(folder / "brick" / f"{i}.ply", brick)
    return folder


def make_up(dataset: Dataset, count: int, resolution: int, seed: int) -> list[Dataset]:
    """About `count` made-up objects, as datasets of those that are seen from the same cameras."""
    assert dataset.values is not None
    generator = torch.Generator().manual_seed(seed)
    groups, shapes = view_groups(dataset.views, generator), dataset.values.float()
    made = []
    for views in groups:
        size = max(1, round(count / len(groups)))
        parts = make_up_group(dataset, shapes, views, size, resolution, generator)
        made.append(made_up_dataset(dataset, parts, views))
    return made
