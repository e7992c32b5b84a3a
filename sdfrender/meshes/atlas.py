"""Texture atlases: a mesh cut into charts that lie flat in one image.

Texture coordinates are glTF's: `(0, 0)` is the outer corner of the first pixel of the first row,
`(1, 1)` that of the last one. The centre of pixel `(row, column)` is at `((column + ½) / W,
(row + ½) / H)`. Nothing here is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.mesh_files import mesh_arrays
from sdfrender.meshes.rasterize import Fragments, rasterize_flat

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GAP = 4  # texels between charts, for filters that look beyond a chart's edge


@dataclass(frozen=True, eq=False)
class Atlas:
    """Where the triangles of a mesh lie in a texture.

    Args:
        mesh: the mesh that was cut.
        faces: `[F, 3]` its triangles; a vertex on a seam is there once for each chart.
        origins: `[T]` the vertex of `mesh` that each vertex of the atlas is.
        uvs: `[T, 2]` texture coordinates of the vertices of the atlas.
        height: texels.
        width: texels.
    """

    mesh: trimesh.Trimesh
    faces: Ints
    origins: Ints
    uvs: Floats
    height: int
    width: int

    def at_corners(self, per_vertex: Floats) -> Floats:
        """Values `[V, C]` at the vertices of the mesh, by triangle and corner: `[F, 3, C]`."""
        corners: Floats = np.asarray(per_vertex, np.float64)[self.origins[self.faces]]
        return corners

    def pixel_corners(self) -> Floats:
        """`[F, 3, 2]` the corners of the triangles, texels."""
        corners: Floats = (self.uvs * (self.width, self.height))[self.faces]
        return corners

    def fragments(self) -> Fragments:
        """The triangle at the centre of each texel."""
        return rasterize_flat(self.pixel_corners(), self.height, self.width)


def need_xatlas() -> None:
    """Check that charts can be made.

    Raises:
        InputError: the library is not installed; says how to install it.
    """
    try:
        import xatlas  # noqa: F401
    except ImportError:
        raise InputError(
            'textures need xatlas, which is not installed: pip install "sdfrender[texture]" '
            "(or pip install xatlas)"
        ) from None


def unwrap(mesh: trimesh.Trimesh, size: int = 2048) -> Atlas:
    """Cut a mesh into charts and lay them out (xatlas).

    It takes about 5 s for 20 000 triangles and four times as long for twice as many.

    Args:
        mesh: triangles.
        size: texels along the longer side of the texture.

    Raises:
        InputError: a mesh without triangles, or xatlas is not installed.
    """
    need_xatlas()
    import xatlas

    verts, faces = mesh_arrays(mesh)
    extent = float(np.ptp(verts, 0).max()) or 1.0
    unit = (verts - verts.min(0)) / extent  # for float32, whatever the units
    charts = xatlas.Atlas()
    charts.add_mesh(unit.astype(np.float32), faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.resolution, options.padding, options.bilinear = size, GAP, True
    charts.generate(pack_options=options)
    origins, cut, uvs = charts[0]
    # The layout comes out a little larger or smaller than it was asked for.
    scale = size / max(charts.width, charts.height)
    height, width = (max(1, round(scale * n)) for n in (charts.height, charts.width))
    return Atlas(mesh, cut.astype(np.int64), origins.astype(np.int64), uvs.astype(np.float64),
                 height, width)  # fmt: skip


def pad(texture: Tensor, covered: NDArray[np.bool_]) -> Tensor:
    """Give every texel outside the charts the colour of the nearest one inside.

    Filters and smaller versions of the texture then mix charts with their own colours only.

    Args:
        texture: `[H, W, C]`.
        covered: `[H, W]` the texels inside.

    Raises:
        ValueError: no texel is inside.
    """
    if not covered.any():
        raise ValueError("covered: need at least one texel inside a chart, got none")
    rows, columns = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return texture[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def sample_image(image: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear values `[P, C]` of an image `[H, W, C]`; outside, its border goes on.

    Args:
        image: a texture or a photograph.
        pixels: `[P, 2]` column and row; pixel centres at +0.5.
    """
    H, W = image.shape[:2]
    grid = 2 * pixels.to(image) / torch.tensor([W, H]).to(image) - 1
    sampled = torch.nn.functional.grid_sample(
        image.permute(2, 0, 1)[None], grid[None, None], padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T
