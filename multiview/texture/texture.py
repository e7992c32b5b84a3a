"""Textures: a run's mesh with its photographs on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from fast_simplification import simplify
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from multiview.photo.targets import Targets
from multiview.scenes import Scene
from multiview.texture.surface_colors import SURE, SurfacePoints, surface_colors, vertex_colors
from multiview.texture.texture_fit import fit_texture
from sdfrender import Cameras, InputError, metrics
from sdfrender.geometry.mesh_files import drop_unused, mesh_arrays
from sdfrender.meshes.atlas import Atlas, pad, sample_image, unwrap
from sdfrender.meshes.rasterize import Fragments, rasterize_mesh

Floats = NDArray[np.float64]
Look = Callable[[Fragments], Floats]  # colours [P, C] of the P pixels that see a mesh

SMALLEST, LARGEST = 256, 4096  # size of a texture unless told, texels
FILLED = 0.55  # share of a texture that charts fill
FACES = 20_000  # cutting more into charts takes minutes
SUPERSAMPLING = 3  # rays per pixel side of a measurement
MEASURED = 16  # views of a group that a measurement renders, at most


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """A mesh and its texture `[H, W, C]`, in the values of the scene's images."""

    atlas: Atlas
    texture: Tensor

    def colors(self, fragments: Fragments) -> Floats:
        """Bilinear colours `[P, C]` where a camera sees `atlas.mesh`."""
        pixels = torch.from_numpy(fragments.interpolate(self.atlas.pixel_corners()))
        found: Floats = sample_image(self.texture, pixels).double().numpy()
        return found


def bake(
    mesh: trimesh.Trimesh,
    targets: Targets,
    size: int | None = None,
    faces: int = FACES,
    quiet: bool = True,
) -> TexturedMesh:
    """Lay the photographs onto a mesh.

    Each texel takes the colour of the views that see its place (`surface_colors`), or smoothly that
    of its surroundings where none does; then all texels together are fitted to the photographs
    (`fit_texture`).

    Args:
        mesh: closed, outward, the scene's frame and units.
        targets: the photographs.
        size: texels along the longer side; None: `texture_size`.
        faces: the mesh is simplified to so many triangles first.
        quiet: no progress bar.

    Raises:
        InputError: a size that is not from 16 to 8192, fewer than 100 faces, or xatlas is not
            installed.
    """
    if size is not None and not 16 <= size <= 8192:
        raise InputError(f"--size: need 16 to 8192 texels, got {size}")
    if faces < 100:
        raise InputError(f"--faces: need at least 100 triangles, got {faces}")
    bar = tqdm(total=4 + 2 * len(targets.cameras), desc="texture: charts", disable=quiet)
    with bar:
        light = lighter(mesh, faces)
        atlas = unwrap(light, size or texture_size(light, targets))
        bar.update(4)
        bar.set_description("texture: views")
        texture = _blend(atlas, targets, lambda: bar.update(0.5))
        bar.set_description("texture: fit")
        return TexturedMesh(atlas, fit_texture(atlas, texture, targets, lambda: bar.update(1)))


def texture_size(mesh: trimesh.Trimesh, targets: Targets) -> int:
    """A power of two at which a texel is at most about as large as a pixel at the object."""
    middle = torch.from_numpy(mesh.bounds.mean(0)).to(targets.cameras.c2w)
    _, depths = targets.cameras.project(middle[None])
    focal = targets.cameras.Ks[:, (0, 1), (0, 1)].prod(-1).sqrt()
    pixels = float(mesh.area) / float((depths[:, 0] / focal).median()) ** 2
    needed = math.sqrt(pixels / FILLED)
    return int(min(max(2 ** math.ceil(math.log2(needed)), SMALLEST), LARGEST))


def lighter(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """A mesh with at most about `faces` triangles, by quadric edge collapse.

    It may touch itself along an edge: it is to be looked at.
    """
    verts, triangles = mesh_arrays(mesh)
    if len(triangles) > faces:
        v, f = simplify(verts, triangles, target_count=faces)
        verts, triangles = drop_unused(v.astype(np.float64), f.astype(np.int64))
    return trimesh.Trimesh(verts, triangles, process=False)


def _blend(atlas: Atlas, targets: Targets, on_view: Callable[[], object]) -> Tensor:
    """`[H, W, C]` colours of the views that see each texel; smooth where none does."""
    fragments = atlas.fragments()
    covered = torch.from_numpy(fragments.covered)
    points = SurfacePoints(
        *(
            torch.from_numpy(fragments.interpolate(atlas.at_corners(x))).float()
            for x in (atlas.mesh.vertices, atlas.mesh.vertex_normals)
        )
    )
    coarse = vertex_colors(atlas.mesh, targets, on_view).numpy()
    surroundings = torch.from_numpy(fragments.interpolate(atlas.at_corners(coarse))).float()
    colors, weights = surface_colors(atlas.mesh, points, targets, on_view)
    share = (weights / (weights + SURE))[:, None]
    texture = torch.zeros(*covered.shape, colors.shape[-1])
    texture[covered] = share * colors + (1 - share) * surroundings
    return pad(texture, fragments.covered)


# ---------------------------------------------------------------------- measurement


def compare_with_vertex_colors(
    textured: TexturedMesh, mesh: trimesh.Trimesh, scene: Scene, quiet: bool = True
) -> dict[str, Any]:
    """PSNR in dB inside the masks of renderings, means over views.

    Args:
        textured: mesh and texture.
        mesh: the run's mesh, before it was made lighter for the texture.
        scene: the photographs; at most `MEASURED` views of each group are rendered.
        quiet: no progress bar.

    Returns:
        By group of views, `train` and `held_out`: `GROUP_psnr` of the texture,
        `GROUP_psnr_vertex_colors` of the same triangles with a colour at each vertex, and
        `GROUP_psnr_mesh` of `mesh` with a colour at each vertex.
    """
    light = textured.atlas.mesh
    pairs: list[tuple[str, trimesh.Trimesh, Look]] = [
        ("psnr", light, textured.colors),
        ("psnr_vertex_colors", light, colored_vertices(light, Targets.of(scene, scene.train))),
        ("psnr_mesh", mesh, colored_vertices(mesh, Targets.of(scene, scene.train))),
    ]
    figures: dict[str, Any] = {}
    for group, views in (("train", scene.train), ("held_out", scene.held_out)):
        if views:
            some = views[:: -(-len(views) // MEASURED)]
            targets = Targets.of(scene, some)
            for name, shape, look in tqdm(pairs, desc=f"measure: {group}", disable=quiet):
                figures[f"{group}_{name}"] = view_psnr(shape, look, targets)
    return figures


def colored_vertices(mesh: trimesh.Trimesh, targets: Targets) -> Look:
    """Colours of a mesh that has the photographs' at its vertices."""
    at_corners = vertex_colors(mesh, targets).double().numpy()[mesh.faces]
    return lambda seen: seen.interpolate(at_corners)


def view_psnr(mesh: trimesh.Trimesh, look: Look, targets: Targets) -> float:
    """Mean over views of the PSNR inside the photograph's mask, dB.

    Args:
        mesh: what is seen.
        look: colours `[P, C]` of the P pixels that see it.
        targets: the photographs.
    """
    scores = []
    for view in range(len(targets.cameras)):
        one = targets[[view]]
        mask = one.silhouettes[0] > 0.5
        if mask.any():
            image = draw(mesh, look, one.cameras).clamp(0, 1)
            scores.append(metrics.psnr(image, one.images[0], mask=mask))
    return sum(scores) / len(scores) if scores else float("nan")


def draw(
    mesh: trimesh.Trimesh,
    look: Look,
    camera: Cameras,
    supersampling: int = SUPERSAMPLING,
) -> Tensor:
    """`[H, W, C]` what one camera sees, premultiplied by coverage over black."""
    s = supersampling
    H, W = camera.height, camera.width
    seen = rasterize_mesh(mesh, camera.resized(s * W, s * H))
    colors = look(seen)
    image = np.zeros((s * H, s * W, colors.shape[1]))
    image[seen.covered] = colors
    return torch.from_numpy(image.reshape(H, s, W, s, -1).mean((1, 3))).float()
