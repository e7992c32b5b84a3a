"""Surfaces of learned fields beside what is stored of a true one: points near it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.mesh_files import Doubles
from sdfrender.meshes.mise import Field, mise
from singleview.data.objects import LONGEST_SIDE
from singleview.data.samples import PADDED_BOX

COARSE, LEVELS = 32, 1  # of the extraction: 64³
CLOUD = 2000  # points of each surface


def surface_cloud(points: Tensor, values: Tensor, count: int = CLOUD) -> Doubles:
    """`[≤ count, 3]` those of the points `[P, 3]` with the smallest distances `[P]`."""
    return points[values.float().abs().argsort()[:count]].double().numpy()


def chamfer_to_cloud(field: Field, cloud: Doubles) -> float:
    """Mean squared distance of a field's surface to a cloud `[Q, 3]`, there plus back.

    Canonical frame and units. A field without a surface is as far away as an object is long.
    """
    try:
        mesh = mise(field, PADDED_BOX, COARSE, LEVELS).mesh()
    except InputError:
        return 2 * LONGEST_SIDE**2
    points = np.asarray(mesh.sample(CLOUD, seed=0))
    there, back = KDTree(cloud).query(points)[0], KDTree(points).query(cloud)[0]
    return float((there**2).mean() + (back**2).mean())


@torch.no_grad()
def closeness(fields: list[Field], clouds: list[Doubles]) -> float:
    """The mean of −10³ Chamfer distances over fields: 0 is best. A score that says what one sees.

    Differences of distances at points do not: a shape in pieces has nearly all of them right.
    """
    found = [chamfer_to_cloud(field, cloud) for field, cloud in zip(fields, clouds, strict=True)]
    return -1000 * float(np.mean(found))
