"""Where the cameras of `sdfrender render` stand, and the box that scenes state."""

from __future__ import annotations

import math

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sdfrender.commands.render_config import RenderConfig
from sdfrender.view.cameras import Cameras

# How much of the field of view the ball around the shape takes.
FILL = 0.95
# Margin of the stated box around a mesh, as a fraction of its longest side.
PADDING = 0.1

Doubles = NDArray[np.float64]


def place_cameras(config: RenderConfig, verts: Doubles) -> Cameras:
    """The rig's cameras around the middle of the shape, then the held-out ones.

    Args:
        config: rig, image size, field of view and distance.
        verts: `[V, 3]` of the shape, world units.
    """
    target = 0.5 * (verts.min(0) + verts.max(0))
    radius = float(np.linalg.norm(verts - target, axis=1).max())
    fov = math.radians(config.fov_deg)
    # The ball around the shape fits into the picture from wherever it is seen; the narrower of the
    # two fields of view decides.
    narrow = 2 * math.atan(math.tan(fov / 2) * min(1.0, config.width / config.height))
    distance = config.distance or radius / (FILL * math.sin(narrow / 2))
    eyes = torch.cat((_rig(config).centers.double(), _random_directions(config)))
    center = torch.from_numpy(target)
    return Cameras.look_at(
        center + distance * eyes, center, width=config.width, height=config.height, fov=fov
    )


def _rig(config: RenderConfig) -> Cameras:
    """The cameras to train on, at distance 1 from the origin."""
    if config.rig == "cube":
        return Cameras.cube(1.0)
    return Cameras.orbit(config.views, 1.0, math.radians(config.elevation_deg))


def _random_directions(config: RenderConfig) -> Tensor:
    """`[held_out, 3]` unit vectors, uniform on the sphere."""
    generator = torch.Generator().manual_seed(config.seed)
    directions = torch.randn(config.held_out, 3, generator=generator, dtype=torch.float64)
    return normalize(directions, dim=1)


def padded_bounds(mesh: trimesh.Trimesh) -> Tensor:
    """`[2, 3]` the box of the mesh, grown on every side."""
    margin = PADDING * float(mesh.extents.max())
    low, high = mesh.bounds
    bounds: Tensor = torch.tensor(np.stack((low - margin, high + margin)))
    return bounds
