"""Which triangle each pixel sees: a depth buffer, for images of meshes and for texture atlases.

One ray per pixel, through its centre. It answers what `raytrace.MeshTracer` answers, for all the
pixels of a regular grid and many times as fast. Nothing here is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray

from sdfrender.kernels.compiled import kernel
from sdfrender.view.cameras import Cameras

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# A triangle with a corner nearer than this fraction of the farthest corner is not drawn: it may
# reach behind the camera, where a projection means nothing.
NEAREST = 1e-6


@dataclass(frozen=True, eq=False)
class Fragments:
    """What the pixels of one image see first.

    Args:
        faces: `[H, W]` the triangle, −1 where there is none.
        weights: `[H, W, 3]` barycentric coordinates of the point seen on it; zero where none.
        depths: `[H, W]` camera z, world units; infinity where there is none.
    """

    faces: NDArray[np.int32]
    weights: Floats
    depths: Floats

    @property
    def covered(self) -> NDArray[np.bool_]:
        """`[H, W]` whether there is a triangle."""
        covered: NDArray[np.bool_] = self.faces >= 0
        return covered

    def interpolate(self, corner_values: Floats) -> Floats:
        """Values `[F, 3, C]` at the corners of the triangles, at the P covered pixels: `[P, C]`."""
        at = self.covered
        values: Floats = np.einsum("pk,pkc->pc", self.weights[at], corner_values[self.faces[at]])
        return values


def rasterize_mesh(mesh: trimesh.Trimesh, camera: Cameras) -> Fragments:
    """What one camera sees of a mesh, from either side of its triangles.

    Args:
        mesh: triangles, world frame and units.
        camera: one view. Triangles that reach the plane of its eye are left out.

    Raises:
        ValueError: not exactly one camera.

    Source: perspective-correct interpolation as in Heckbert and Moreton 1991: 1/z is linear in the
    image.
    """
    if len(camera) != 1:
        raise ValueError(f"camera: need one, got {len(camera)}")
    c2w, K = camera.c2w[0].double().cpu().numpy(), camera.Ks[0].double().cpu().numpy()
    local = (np.asarray(mesh.vertices, np.float64) - c2w[:3, 3]) @ c2w[:3, :3]
    z = local[:, 2]
    in_front = z > NEAREST * max(float(np.abs(z).max(initial=0)), np.finfo(float).tiny)
    inverse = 1 / np.where(in_front, z, 1.0)
    pixels = (local @ K.T)[:, :2] * inverse[:, None]
    corners = np.column_stack((pixels, np.where(in_front, inverse, -1.0)))  # (V, 3)
    return _fragments(corners[mesh.faces], camera.height, camera.width)


def rasterize_flat(triangles: Floats, height: int, width: int) -> Fragments:
    """What lies at the pixels of a flat drawing; depths are 1.

    Args:
        triangles: `[F, 3, 2]` corners in pixels, either way round; pixel centres at +0.5.
        height: rows.
        width: columns.
    """
    ones = np.ones((*triangles.shape[:2], 1))
    return _fragments(np.concatenate((triangles, ones), -1), height, width)


def _fragments(corners: Floats, height: int, width: int) -> Fragments:
    """Draw triangles `[F, 3, 3]` of x, y and 1/z; those with a negative 1/z are left out."""
    faces = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 3))
    nearness = np.zeros((height, width))
    _draw(np.ascontiguousarray(corners, np.float64), faces, weights, nearness)
    with np.errstate(divide="ignore"):
        return Fragments(faces, weights, 1 / nearness)


@kernel
def _draw(corners: Floats, faces: NDArray[np.int32], weights: Floats, nearness: Floats) -> None:
    """The depth buffer. Where two triangles are equally near, the first stays."""
    H, W = faces.shape
    for f in range(len(corners)):
        x0, y0, w0 = corners[f, 0]
        x1, y1, w1 = corners[f, 1]
        x2, y2, w2 = corners[f, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if min(w0, w1, w2) <= 0 or area == 0:
            continue
        # Rows and columns whose centres may lie inside, clamped before they become integers.
        left = int(min(max(min(x0, x1, x2) - 0.5, 0.0), W + 1.0))
        right = int(min(max(max(x0, x1, x2) + 0.5, 0.0), W + 0.0))
        top = int(min(max(min(y0, y1, y2) - 0.5, 0.0), H + 1.0))
        bottom = int(min(max(max(y0, y1, y2) + 0.5, 0.0), H + 0.0))
        for row in range(top, bottom):
            y = row + 0.5
            for column in range(left, right):
                x = column + 0.5
                a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
                b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
                c = ((x0 - x) * (y1 - y) - (x1 - x) * (y0 - y)) / area
                if min(a, b, c) < 0:
                    continue
                a, b, c = a * w0, b * w1, c * w2
                near = a + b + c
                if near > nearness[row, column]:
                    nearness[row, column] = near
                    faces[row, column] = f
                    weights[row, column, 0] = a / near
                    weights[row, column, 1] = b / near
                    weights[row, column, 2] = c / near
