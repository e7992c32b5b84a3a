"""Which training shape a mesh is most like: objects, and the warped copies that were learned.

Candidates are chosen by few points near each surface, as they are stored with their distances; the
meshes of the best are made again and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.spatial import KDTree

from sdfrender.geometry.mesh_files import Doubles
from sdfrender.meshes.metrics import squared_chamfer
from singleview.data.distances import Distances, is_warped
from singleview.measures.surfaces import surface_cloud

CLOUD = 600  # points of each shape that candidates are chosen by
CANDIDATES = 5  # whose meshes are compared
SAMPLES = 5000  # of each of these


@dataclass(frozen=True, eq=False)
class Bank:
    """N training shapes.

    Args:
        names: of objects and of warped copies.
        clouds: `[≤ CLOUD, 3]` of each, points nearest to its surface; canonical frame.
        trees: of the clouds.
        mesh: makes the mesh of a name, canonical frame.
    """

    names: tuple[str, ...]
    clouds: Sequence[Doubles]
    trees: Sequence[KDTree]
    mesh: Callable[[str], trimesh.Trimesh]

    @classmethod
    def of(cls, train: Distances, mesh: Callable[[str], trimesh.Trimesh]) -> Bank:
        """All shapes of a training set."""
        clouds = [
            surface_cloud(train.points[i], train.values[i], CLOUD) for i in range(len(train.names))
        ]
        return cls(train.names, clouds, [KDTree(cloud) for cloud in clouds], mesh)

    def nearest(
        self, mesh: trimesh.Trimesh, seed: int, without: str = "", warped: bool = True
    ) -> trimesh.Trimesh | None:
        """The shape with the least Chamfer distance to a mesh, canonical frame.

        Args:
            mesh: to compare with.
            seed: of the samples.
            without: an object that does not count, nor do its copies.
            warped: whether warped copies count.
        """
        ids = [
            n
            for n, name in enumerate(self.names)
            if (warped or not is_warped(name)) and not self._is(name, without)
        ]
        if not ids:
            return None
        points: Doubles = np.asarray(mesh.sample(CLOUD, seed=seed), dtype=np.float64)
        tree = KDTree(points)
        far = [
            (tree.query(self.clouds[n])[0] ** 2).mean()
            + (self.trees[n].query(points)[0] ** 2).mean()
            for n in ids
        ]
        tried = [self.mesh(self.names[ids[k]]) for k in np.argsort(far)[:CANDIDATES]]
        return min(tried, key=lambda other: squared_chamfer(mesh, other, SAMPLES, seed))

    @staticmethod
    def _is(name: str, other: str) -> bool:
        return bool(other) and name.partition("~")[0] == other
