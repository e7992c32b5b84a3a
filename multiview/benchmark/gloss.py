"""Ground truth of shiny meshes: images of them under a sky with lamps, light by light.

A point of base colour a shows, towards the eye v,

    L = ∫ Lᵢ(l) V(l) (a/π + D(h) F(v·h) G₁(v) G₁(l) / (4 (n·l)(n·v))) (n·l) dl

with GGX's D and Smith's G₁ at α = roughness² (Walter et al. 2007), Schlick's F with F₀ = .04, and V
what the mesh leaves of the sky. Light goes from a source to the surface to the eye: nothing lights
anything else. What the sky does to a diffuse surface is a sum over `SKY_DIRECTIONS` at the vertices
of small triangles; its reflection is sampled by visible normals (Heitz 2018), lamps are sums over
their discs. V is traced through a lattice of the mesh. None of this is the shading model of
`sdfrender.materials`, which splits the sum and filters the light in advance.

Checked against Mitsuba 3.9 (`direct` integrator, the same mesh, light as an environment map): the
mean brightness agrees to 1.1% for paint, 1.4% for lobes of roughness .2 to .6; see docs/results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from multiview.benchmark.gloss_kernel import shine
from multiview.benchmark.gloss_lights import GlossLight, lamp_directions
from multiview.benchmark.paint import FINE, FINER, fine_texture, solid_texture
from sdfrender import Cameras, Lattice
from sdfrender.kernels.threads import run_all
from sdfrender.materials.visibility import LIFT, visibility
from sdfrender.meshes.rasterize import rasterize_mesh
from sdfrender.system import processors
from sdfrender.view.lighting import spread

Floats = NDArray[np.float64]

SPECULAR = 0.04  # F₀, of whatever does not conduct
ROUGHNESS = (0.2, 0.6)  # from, to
ROUGHNESS_WAVE = 0.9  # world units
ROUGHNESS_SEED = 6  # half of most meshes is smooth, half rough
SHADOW_RESOLUTION = 96  # samples of the lattice that shadows are traced in
SKY_DIRECTIONS = 512
RAYS = 3  # from the eye per pixel side
BRIGHTEST = 0.998  # share of the pixels that an exposure keeps below full scale


@dataclass(frozen=True, eq=False)
class GlossyMesh:
    """What is looked at: small triangles with what their V vertices are like.

    Args:
        mesh: the surface, cut into small triangles.
        normals: `[F, 3, 3]` at the corners: of the mesh's own vertices, interpolated.
        base_color: `[V, 3]`.
        roughness: `[V]`.
        lattice: of the same surface, for shadows.
        specular: F₀.
    """

    mesh: trimesh.Trimesh
    normals: Floats
    base_color: Floats
    roughness: Floats
    lattice: Lattice
    specular: float = SPECULAR


def glossy(mesh: trimesh.Trimesh, bounds: Tensor, fine: bool = False) -> GlossyMesh:
    """Paint a mesh and polish it.

    Args:
        mesh: the surface; seen with normals interpolated between its vertices, for a facet has
            a highlight of its own.
        bounds: `[2, 3]` a box that holds it.
        fine: see `paint.painted`.
    """
    cut: Any = mesh.subdivide_to_size(FINER if fine else FINE, max_iter=12, return_index=True)
    small, owners = cut
    corners = small.triangles.reshape(-1, 3)
    triangles = np.repeat(mesh.triangles[owners], 3, axis=0)
    weights = trimesh.triangles.points_to_barycentric(  # type: ignore[no-untyped-call]
        triangles, corners
    )
    at_corners = np.repeat(np.asarray(mesh.vertex_normals)[mesh.faces[owners]], 3, axis=0)
    normals = np.einsum("pk,pkc->pc", weights, at_corners)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = np.asarray(small.vertices)
    return GlossyMesh(
        small,
        normals.reshape(-1, 3, 3),
        fine_texture(points) if fine else solid_texture(points),
        polish(points),
        Lattice.from_mesh(mesh, SHADOW_RESOLUTION, bounds),
    )


def polish(points: Floats) -> Floats:
    """Roughness at points in space: `[P, 3]` world units to `[P]`."""
    random = np.random.default_rng(ROUGHNESS_SEED)
    total = np.zeros(len(points))
    for _ in range(3):
        direction = random.normal(size=3)
        direction *= 2 * math.pi / ROUGHNESS_WAVE / np.linalg.norm(direction)
        total += np.sin(points @ direction + random.uniform(0, 2 * math.pi))
    low, high = ROUGHNESS
    rough: Floats = low + (high - low) * (0.5 + 0.5 * np.tanh(total))
    return rough


# ---------------------------------------------------------------------- pictures


def photograph(
    glossy: GlossyMesh, cameras: Cameras, light: GlossLight, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """What N cameras see: images `[N, H, W, 3]`, premultiplied, and silhouettes `[N, H, W]`.

    Linear in light, not cut at full scale.
    """
    diffuse = _sky_on(glossy, light)[glossy.mesh.faces]  # [F, 3, 3]

    def one(n: int) -> tuple[Tensor, Tensor]:
        return _picture(glossy, cameras[n], light, diffuse, seed + n)

    seen = run_all(one, range(len(cameras)), processors())
    return torch.stack([x for x, _ in seen]), torch.stack([x for _, x in seen])


def exposure(images: Tensor, silhouettes: Tensor) -> float:
    """The factor at which nearly all of the pixels inside are below full scale."""
    brightest = images.amax(-1)[silhouettes > 0.999].numpy()
    return 1 / float(np.quantile(brightest, BRIGHTEST))


def _sky_on(glossy: GlossyMesh, light: GlossLight) -> Floats:
    """`[V, 3]` the sky's irradiance over π, without lamps, at the vertices."""
    verts = torch.from_numpy(np.array(glossy.mesh.vertices))
    normals = np.zeros((len(verts), 3))
    np.add.at(normals, glossy.mesh.faces, glossy.normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    to_sky = spread(SKY_DIRECTIONS)
    seen = visibility(glossy.lattice, verts, torch.from_numpy(normals), to_sky).double().numpy()
    facing = np.maximum(normals @ to_sky.numpy().T, 0) * seen
    result: Floats = facing @ light.sky(to_sky.numpy()) * (4 / SKY_DIRECTIONS)
    return result


def _picture(
    glossy: GlossyMesh, camera: Cameras, light: GlossLight, diffuse: Floats, seed: int
) -> tuple[Tensor, Tensor]:
    H, W = camera.height, camera.width
    seen = rasterize_mesh(glossy.mesh, camera.resized(RAYS * W, RAYS * H))
    faces = glossy.mesh.faces
    at = [
        glossy.mesh.triangles,
        glossy.normals,
        glossy.base_color[faces],
        glossy.roughness[faces][..., None],
        diffuse,
    ]
    points, normals, base, rough, sky = map(seen.interpolate, at)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    to_eye = camera.centers[0].double().numpy() - points
    to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True)
    lattice, spacing = glossy.lattice, glossy.lattice.spacing.double().numpy()
    lifted = points + LIFT * spacing.max() * normals
    starts = (lifted - lattice.bounds[0].double().numpy()) / spacing
    shown = base * sky
    shine(
        starts, normals, to_eye, base, rough[:, 0], light.lobes, *lamp_directions(light),
        lattice.values.float().numpy(), 1 / spacing, float(spacing.min()), glossy.specular,
        seed, shown,
    )  # fmt: skip
    image = np.zeros((H * RAYS, W * RAYS, 3))
    image[seen.covered] = shown
    blocks = image.reshape(H, RAYS, W, RAYS, 3).mean((1, 3))
    coverage = seen.covered.reshape(H, RAYS, W, RAYS).mean((1, 3))
    return torch.from_numpy(blocks).float(), torch.from_numpy(coverage).float()
