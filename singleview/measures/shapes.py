"""How good a predicted shape is.

Definitions, the same for every method and every table:
    IoU at R³: the prediction is resampled trilinearly to R samples along each side of the dataset's
    box, the truth was sampled there from the mesh (at 32³ by data sets that do not hold that, it is
    resampled too); a sample is inside where the signed distance is below 0; intersection over union
    of the samples inside. Two empty shapes have an IoU of 1.
    Chamfer and normal consistency: `sdfrender.metrics` between the meshes of the two lattices as
    they are, Chamfer-L1 as a fraction of the longest side of the true mesh.
    Silhouette IoU: the prediction rendered from the cameras whose pictures it was not made from.
"""

from __future__ import annotations

import torch
import trimesh
from torch import Tensor

from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.extraction import extract_mesh
from sdfrender.meshes.metrics import chamfer, normal_consistency, silhouette_iou
from sdfrender.rendering.render import render
from sdfrender.view.cameras import Cameras
from singleview.data.dataset import Dataset, Item

RESOLUTIONS = (32, 64)  # at which IoU is reported


# ---------------------------------------------------------------------- volumes


def inside(lattice: Lattice, resolution: int) -> Tensor:
    """`[(B,) R, R, R]` bool: where the lattice, resampled, is below 0."""
    return lattice.resample((resolution,) * 3).values < 0


def true_inside(dataset: Dataset, resolution: int) -> Tensor | None:
    """`[N, R, R, R]` bool of all objects, or None where the dataset cannot say.

    Voxels serve only the resolution that they have.
    """
    if dataset.occupancy is not None and dataset.occupancy.shape[-1] == resolution:
        return dataset.occupancy
    if dataset.values is not None:
        return torch.stack(
            [inside(Lattice(v.float(), dataset.bounds), resolution) for v in dataset.values]
        )
    return None


# ---------------------------------------------------------------------- surfaces and silhouettes


def true_mesh(item: Item, bounds: Tensor) -> trimesh.Trimesh | None:
    """The surface of an object's true distances in the box `bounds` `[2, 3]`; None without one."""
    if item.values is None or not bool((item.values < 0).any()):
        return None
    return extract_mesh(Lattice(item.values, bounds))


def surface_measures(
    lattice: Lattice, truth: trimesh.Trimesh, samples: int, seed: int
) -> dict[str, float]:
    """`chamfer` and `normal_consistency` of the surface of one predicted lattice.

    Args:
        lattice: one prediction `[R, R, R]`, negative somewhere; world units.
        truth: the true surface, in the same frame.
        samples: points on each of the two.
        seed: of the points.
    """
    mesh = extract_mesh(lattice)
    size = float(truth.extents.max())
    return {
        "chamfer": chamfer(mesh, truth, samples, seed) / size,
        "normal_consistency": normal_consistency(mesh, truth, samples, seed),
    }


@torch.no_grad()
def rendered_silhouette_iou(lattice: Lattice, silhouettes: Tensor, cameras: Cameras) -> float:
    """Silhouette IoU of one predicted lattice, mean over V cameras.

    Args:
        lattice: one prediction `[R, R, R]`, world units.
        silhouettes: `[V, H, W]` true coverage in [0, 1].
        cameras: V views, in the lattice's frame.
    """
    return silhouette_iou(render(lattice, cameras).silhouettes, silhouettes)
