"""Pictures of a mesh with materials, in any light. Nothing here is differentiable."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sdfrender.kernels.threads import run_all
from sdfrender.materials.environment import HEIGHT, Environment
from sdfrender.materials.shading import irradiance, lookup, mirrored, open_at, shade
from sdfrender.materials.surface import MaterialMesh
from sdfrender.meshes.rasterize import Fragments, rasterize_mesh
from sdfrender.system import processors
from sdfrender.view.cameras import Cameras

RAYS = 3  # per pixel side


@torch.no_grad()
def relit(
    surface: MaterialMesh, cameras: Cameras, environment: Environment, rays: int = RAYS
) -> tuple[Tensor, Tensor]:
    """What N cameras see of a mesh in an environment.

    Args:
        surface: mesh and materials, in the frame of the cameras.
        cameras: N views.
        environment: averaged down to `HEIGHT` rows if it is finer.
        rays: per pixel side.

    Returns:
        Images `[N, H, W, 3]`, linear, premultiplied over black, not cut at full scale, and
        silhouettes `[N, H, W]`.
    """
    light = environment.resized(HEIGHT)
    even = irradiance(surface.normals, surface.seen, light)
    filtered = light.filtered().to(surface.normals)

    def one(n: int) -> tuple[Tensor, Tensor]:
        camera = cameras[n]
        H, W = camera.height, camera.width
        at = rasterize_mesh(surface.mesh, camera.resized(rays * W, rays * H))
        image = torch.zeros(rays * H, rays * W, 3)
        image[torch.from_numpy(at.covered)] = _colors(surface, camera, at, even, filtered)
        coverage = torch.from_numpy(at.covered).float()
        return (
            image.reshape(H, rays, W, rays, 3).mean((1, 3)),
            coverage.reshape(H, rays, W, rays).mean((1, 3)),
        )

    pictures = run_all(one, range(len(cameras)), processors())
    return torch.stack([x for x, _ in pictures]), torch.stack([x for _, x in pictures])


def _colors(
    surface: MaterialMesh, camera: Cameras, at: Fragments, even: Tensor, filtered: Tensor
) -> Tensor:
    """`[P, 3]` of the covered pixels."""
    covered = at.covered
    vertices = torch.from_numpy(np.asarray(surface.mesh.faces, np.int64)[at.faces[covered]])
    weights = torch.from_numpy(at.weights[covered]).float()

    def between(values: Tensor) -> Tensor:
        return torch.einsum("pk,pkc->pc", weights.to(values), values[vertices])

    points = between(torch.from_numpy(np.array(surface.mesh.vertices)))  # far away, too
    normals = normalize(between(surface.normals), dim=-1)
    to_eye = normalize(camera.centers[0].double() - points, dim=-1).float()
    directions, cosine = mirrored(normals, to_eye)
    roughness = between(surface.roughness[:, None])[:, 0]
    corners = [(vertices[:, k], weights[:, k]) for k in range(3)]
    mirror = lookup(filtered, directions, roughness)
    mirror = mirror * open_at(directions, normals, surface.seen, corners)[:, None]
    return shade(
        between(surface.base_color),
        roughness,
        surface.specular,
        surface.metallic,
        between(even),
        mirror,
        cosine,
    )
