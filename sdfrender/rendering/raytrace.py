"""Images of a triangle mesh by ray tracing: ground truth that shares no code with the renderer.

Embree finds the triangle a ray meets first, in single precision; distance, normal and colour
follow from that triangle's barycentric coordinates in double precision. Rays start where they enter
the sphere around the mesh, which is scaled to 1, so the error does not depend on the units of the
mesh or on how far away the camera stands: about 1e-7 of the mesh's size.

Nothing here is differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import trimesh
from igl.embree import EmbreeIntersector
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Slack of the bounding sphere: a ray that touches it must not be lost to rounding.
SPHERE_MARGIN = 1e-6
# Normals shorter than this, of triangles without an area, stay unnormalised.
SMALLEST_AREA = 1e-300


@dataclass(frozen=True, eq=False)
class MeshImages:
    """What N cameras see of a mesh.

    Args:
        images: `[N, H, W, C]` float32, linear, premultiplied by coverage over black.
        silhouettes: `[N, H, W]` float32 coverage, the share of a pixel's rays that hit.
        depths: `[N, H, W]` float32 camera z at the pixel centre, world units; inf on a miss.
        normals: `[N, H, W, 3]` float32 at the pixel centre, unit, world frame; zero on a miss.
    """

    images: Tensor
    silhouettes: Tensor
    depths: Tensor
    normals: Tensor


@torch.no_grad()
def raytrace(
    mesh: trimesh.Trimesh,
    cameras: Cameras,
    *,
    lighting: Lighting | None = None,
    albedo: float | Sequence[float] | Tensor = 0.8,
    smooth: bool = False,
    supersampling: int = 3,
) -> MeshImages:
    """Render a mesh with `supersampling` × `supersampling` rays a pixel, of equal weights.

    Args:
        mesh: triangles, counter-clockwise from outside, world frame and units. Not changed.
        cameras: N views.
        lighting: default `Lighting()`, a headlight.
        albedo: one number, `[C]`, or `[V, C]` per vertex (interpolated over each triangle).
        smooth: shade with interpolated vertex normals instead of the normals of the triangles.
        supersampling: rays per pixel side; odd, so that one ray goes through the pixel centre.

    Returns:
        Images, silhouettes, depths and normals. C is the number of channels of `albedo` times
        `lighting`.

    Raises:
        ValueError: no camera, an empty mesh, vertices that are not finite, an even
            `supersampling`, or an albedo or a light of the wrong shape.

    Worked value: a sphere seen under a headlight is `albedo` at its centre and 0 at its rim.
    """
    s = supersampling
    if s < 1 or s % 2 == 0:
        raise ValueError(f"supersampling: need an odd number of rays per pixel side, got {s}")
    if len(cameras) == 0:
        raise ValueError("cameras: need at least one, got none")
    colors = _vertex_colors(mesh, albedo)
    lighting = lighting or Lighting()
    lighting.check_views(len(cameras))
    tracer = MeshTracer(mesh)
    double = cameras.to(torch.zeros(0, dtype=torch.float64))
    fine = double.resized(s * cameras.width, s * cameras.height)

    views = []
    for camera in range(len(cameras)):
        rays_o, rays_d = (x.reshape(-1, 3) for x in fine[camera].rays())  # (sH·sW, 3)
        hits = tracer.first_hits(rays_o.numpy(), rays_d.numpy())
        normals = hits.interpolate(mesh.vertex_normals) if smooth else tracer.face_normals(hits)
        n = normalize(torch.from_numpy(normals), dim=1, eps=SMALLEST_AREA)
        t = torch.from_numpy(hits.t)
        irradiance = lighting.for_view(camera).shade(n, -rays_d[hits.rays], t)
        radiance = irradiance * torch.from_numpy(hits.interpolate(colors))  # (P, C)

        forward = fine.c2w[camera, :3, 2]
        z = t * (rays_d[hits.rays] @ forward)
        scatter = partial(_scatter, hits.rays, fine.height, fine.width)
        centers = slice(s // 2, None, s)
        views.append(
            (
                _box_filter(scatter(radiance), s),
                _box_filter(scatter(torch.ones(len(hits.rays), 1).double()), s)[..., 0],
                scatter(z[:, None], empty=torch.inf)[centers, centers, 0],
                scatter(n)[centers, centers],
            )
        )
    planes = [torch.stack(parts).float() for parts in zip(*views, strict=True)]
    return MeshImages(*planes)


@dataclass(frozen=True, eq=False)
class MeshHits:
    """The P rays that hit, and where.

    Args:
        rays: `[P]` which rays, ascending.
        faces: `[P]` the triangle each meets first.
        corners: `[P, 3]` the vertices of that triangle.
        weights: `[P, 3]` barycentric coordinates, in the order of `corners`.
        t: `[P]` distance from the origin of the ray, world units.
    """

    rays: Ints
    faces: Ints
    corners: Ints
    weights: Floats
    t: Floats

    def interpolate(self, per_vertex: Floats) -> Floats:
        """Values `[V, C]` at the vertices, interpolated at the hits: `[P, C]`."""
        return np.asarray(np.einsum("pk,pkc->pc", self.weights, per_vertex[self.corners]))


class MeshTracer:
    """Finds the first triangle that a ray meets.

    Args:
        mesh: at least one triangle, finite vertices.

    Raises:
        ValueError: the mesh is empty or has a vertex that is not finite.
    """

    def __init__(self, mesh: trimesh.Trimesh) -> None:
        self.verts = np.array(mesh.vertices, dtype=np.float64)
        self.faces = np.array(mesh.faces, dtype=np.int64)
        if len(self.faces) == 0:
            raise ValueError("mesh: need at least one triangle, got none")
        if not np.isfinite(self.verts).all():
            raise ValueError("mesh: need finite vertices, got NaN or infinity")
        used = self.verts[np.unique(self.faces)]
        self.center = 0.5 * (used.min(0) + used.max(0))
        with np.errstate(over="ignore"):
            self.radius = float(np.linalg.norm(used - self.center, axis=1).max()) or 1.0
        if not np.isfinite(self.radius):
            raise ValueError("mesh: need vertices whose squares are finite, got larger ones")
        unit = (self.verts - self.center) / self.radius
        self.embree = EmbreeIntersector()
        self.embree.init(np.asfortranarray(unit, np.float32), np.asfortranarray(self.faces, "i4"))

    def first_hits(self, rays_o: Floats, rays_d: Floats) -> MeshHits:
        """Trace R rays.

        Args:
            rays_o: `[R, 3]` world units; may lie inside the mesh.
            rays_d: `[R, 3]` unit.

        Returns:
            The hits in front of the origins.
        """
        # Enter the unit sphere around the mesh in double precision: o' = o + t d, with t ≥ 0.
        o = (rays_o - self.center) / self.radius
        b = (o * rays_d).sum(1)
        discriminant = b * b - (o * o).sum(1) + (1 + SPHERE_MARGIN) ** 2
        root = np.sqrt(np.maximum(discriminant, 0))
        rays = np.flatnonzero((discriminant >= 0) & (root >= b))
        t_enter = np.maximum(-b - root, 0)[rays]
        start = o[rays] + t_enter[:, None] * rays_d[rays]

        first = self.embree.intersectRay_first
        found = [
            first(a, d)
            for a, d in zip(start.astype(np.float32), rays_d[rays].astype(np.float32), strict=True)
        ]
        face, _, u, v = np.array(found, dtype=np.float64).reshape(-1, 4).T
        hit = face >= 0
        rays, faces = rays[hit], face[hit].astype(np.int64)
        weights = np.stack((1 - u - v, u, v), 1)[hit]

        # The distance again, in double precision, from the point on the triangle.
        corners = self.faces[faces]
        points = np.einsum("pk,pkc->pc", weights, self.verts[corners])
        t = ((points - rays_o[rays]) * rays_d[rays]).sum(1)
        return MeshHits(rays, faces, corners, weights, t)

    def face_normals(self, hits: MeshHits) -> Floats:
        """`[P, 3]` outward normals of the triangles hit, not normalised."""
        a, b, c = self.verts[hits.corners].transpose(1, 0, 2)
        return np.asarray(np.cross(b - a, c - a))


def _vertex_colors(mesh: trimesh.Trimesh, albedo: float | Sequence[float] | Tensor) -> Floats:
    """`[V, C]` albedo at each vertex."""
    V = len(mesh.vertices)
    colors = torch.as_tensor(albedo, dtype=torch.float64).cpu()
    if colors.ndim > 2 or (colors.ndim == 2 and len(colors) != V) or colors.shape[-1:] == (0,):
        raise ValueError(
            f"albedo: need a number, [C] or [V, C] with V = {V}, got {tuple(colors.shape)}"
        )
    return colors.reshape(-1, colors.shape[-1] if colors.ndim else 1).expand(V, -1).numpy()


def _scatter(rays: Ints, height: int, width: int, values: Tensor, empty: float = 0.0) -> Tensor:
    """Values `[P, C]` of the rays that hit as an image `[height, width, C]`."""
    image = torch.full((height * width, values.shape[-1]), empty, dtype=values.dtype)
    image[torch.from_numpy(rays)] = values
    return image.reshape(height, width, -1)


def _box_filter(image: Tensor, s: int) -> Tensor:
    """Mean over s × s blocks: `[sH, sW, C]` to `[H, W, C]`."""
    H, W, C = image.shape[0] // s, image.shape[1] // s, image.shape[2]
    filtered: Tensor = image.reshape(H, s, W, s, C).mean((1, 3))
    return filtered
