"""What photographs show at the vertices of a mesh: linear colours, from where, how sure."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
import trimesh
from torch import Tensor
from torch.nn.functional import normalize

from multiview.photo.targets import TOP, Targets
from multiview.texture.surface_colors import SurfacePoints, look
from sdfrender.files.images import srgb_to_linear

LEAST = 0.02  # weight below which a view's colour at a point is not looked at


@dataclass(frozen=True, eq=False)
class Observations:
    """P colours of vertices in single views.

    Args:
        vertices: `[P]` which vertex.
        colors: `[P, 3]` linear.
        to_eye: `[P, 3]` unit, world frame.
        weights: `[P]` 1 where a view faces the vertex at its middle distance.
        capped: `[P, 3]` bool, channels at full scale: the truth is at least that.
    """

    vertices: Tensor
    colors: Tensor
    to_eye: Tensor
    weights: Tensor
    capped: Tensor

    def __len__(self) -> int:
        return len(self.vertices)


def observe(
    mesh: trimesh.Trimesh, normals: Tensor, targets: Targets, encoded: bool
) -> Observations:
    """Look at all vertices from all views that see them.

    Args:
        mesh: closed, outward, about the scene's offset.
        normals: `[V, 3]` of the surface.
        targets: the photographs.
        encoded: whether their numbers are sRGB, which are decoded here.
    """
    positions = torch.from_numpy(np.array(mesh.vertices, np.float32))
    points = SurfacePoints(positions, normals.float())
    parts = []
    for view in range(len(targets.cameras)):
        seen, colors, weights = look(mesh, points, targets[[view]])
        sure = weights > LEAST
        seen, colors, weights = seen[sure], colors[sure].expand(-1, 3).clamp(0, 1), weights[sure]
        to_eye = normalize(targets.cameras.centers[view].float() - positions[seen], dim=-1)
        capped = colors >= TOP
        if encoded:
            colors = torch.from_numpy(srgb_to_linear(colors.numpy()))
        parts.append(Observations(seen, colors, to_eye, weights, capped))
    return Observations(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(parts[0])))
