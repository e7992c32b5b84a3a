"""Materials as a `.glb` file that other programs light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from multiview.texture.texture import FACES, lighter
from sdfrender import Lattice
from sdfrender.far import Doubles, moved
from sdfrender.materials.glb import save_material_glb
from sdfrender.materials.surface import MaterialMesh
from sdfrender.meshes.atlas import Atlas, unwrap

SIZE = 2048  # texels along the longer side
NEAREST = 9  # vertices that a texel takes its values from, the last with weight 0


def export(path: Path, surface: MaterialMesh, lattice: Lattice, offset: Doubles) -> None:
    """Bake materials and normals into textures.

    Args:
        path: ends in `.glb`.
        surface: about the scene's offset.
        lattice: the surface, likewise.
        offset: `[3]` what takes both to where the scene is.

    Raises:
        InputError: xatlas is not installed.
    """
    atlas = unwrap(lighter(surface.mesh, FACES), SIZE)
    at = atlas.fragments()
    points = at.interpolate(atlas.at_corners(atlas.mesh.vertices))
    verts = np.array(surface.mesh.vertices)
    # The lattice's normals are finer than the vertices, turned as materials turned those there.
    turned = surface.normals - _normals(lattice, verts)
    values = torch.cat((surface.base_color, surface.roughness[:, None], turned), 1)
    found = _near(verts, values, points)
    normals = normalize(_normals(lattice, points) + found[:, 4:], dim=-1)
    mesh = moved(atlas.mesh, offset)
    placed = Atlas(mesh, atlas.faces, atlas.origins, atlas.uvs, atlas.height, atlas.width)
    save_material_glb(path, placed, found[:, :3], found[:, 3], normals, surface)


def _normals(lattice: Lattice, points: Doubles) -> Tensor:
    """`[P, 3]` unit normals of the lattice."""
    return normalize(lattice.gradient(torch.from_numpy(points).float()).float(), dim=-1)


def _near(verts: Doubles, values: Tensor, points: Doubles) -> Tensor:
    """`[P, C]` of the values `[V, C]` of the nearest vertices, without steps where they change.

    Source: Franke and Nielson's weights (1980), ((R − d) / R d)².
    """
    distance, nearest = cKDTree(verts).query(points, k=NEAREST)
    far = distance[:, -1:] + 1e-9 * np.ptp(verts, axis=0).max()
    weight = ((far - distance) / np.maximum(distance, 1e-6 * far)) ** 2
    shares = torch.from_numpy(weight / weight.sum(1, keepdims=True)).float()
    found: Tensor = (shares[..., None] * values.float()[torch.from_numpy(nearest)]).sum(1)
    return found
