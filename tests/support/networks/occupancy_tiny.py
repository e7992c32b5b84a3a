"""Samples of a few balls and bricks, small enough to make many times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trimesh

from sdfrender.geometry.mesh_files import save_mesh
from singleview.config import OccupancyConfig, SamplePointsConfig, TrainConfig
from singleview.from_meshes.sample_points import sample_points
from singleview.train import train

COUNT = 3  # objects of each category: one is for validation, by the split of the protocol


def write_solids(folder: Path) -> Path:
    """Two categories of closed meshes: ellipsoids and bricks."""
    for category in ("ball", "brick"):
        (folder / category).mkdir(parents=True)
    for i in range(COUNT):
        ball = trimesh.creation.icosphere(subdivisions=2)
        ball.apply_scale((1.0 + 0.2 * i, 1.0, 1.5))
        brick = trimesh.creation.box((1.0, 2.0, 1.5 + 0.3 * i))
        save_mesh(folder / "ball" / f"{i}.ply", ball)
        save_mesh(folder / "brick" / f"{i}.ply", brick)
    return folder


def write_samples(folder: Path, **changes: Any) -> Path:
    """Samples of `write_solids`; the meshes lie in `folder/meshes`."""
    meshes = folder / "meshes"
    if not meshes.exists():
        write_solids(meshes)
    settings: dict[str, Any] = {"points": 3000, "near": 600, "surface": 800, **changes}
    sample_points(SamplePointsConfig(meshes, folder / "samples", **settings), quiet=True)
    return folder / "samples"


def train_occupancy(dataset: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """A training of a few steps; settings of both configurations by their names."""
    own = {k: changes.pop(k) for k in list(changes) if k in OccupancyConfig.__dataclass_fields__}
    settings: dict[str, Any] = {
        "model": "occupancy",
        "size": "small",
        "steps": 4,
        "batch": 2,
        "evaluate_every": 2,
        "made_up": 16,
        **changes,
    }
    occupancy = OccupancyConfig(**{"decoded": 64, "cloud": 50, "voxels": 8, **own})
    return train(TrainConfig(dataset, out, occupancy=occupancy, **settings), quiet=True)
