"""What is rendered: one shape as lattices of three sizes, seen from the views of a cube."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import trimesh

from sdfrender import primitives
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.geometry.primitives import smooth_union
from sdfrender.meshes.extraction import extract_mesh
from sdfrender.view.cameras import Cameras

BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))  # world units
FILL = 0.85  # longest side of the shape, as a fraction of the box's
DISTANCE = 3.2  # of the cameras from the middle
FOV = math.radians(32)  # about half of the rays meet a shape that is not thin
COARSE = 64  # up to this many samples along an axis, every distance is exact


@dataclass(frozen=True)
class Workload:
    """How much is rendered in one call.

    Args:
        name: on the command line.
        resolution: samples along each axis.
        views: evenly chosen from the 26 of the cube.
        size: pixels along each side of a view.
    """

    name: str
    resolution: int
    views: int
    size: int

    @property
    def rays(self) -> int:
        """One through each pixel."""
        return self.views * self.size**2

    def __str__(self) -> str:
        return f"{self.name}: {self.resolution}³, {self.views} × {self.size}²"


WORKLOADS = {
    work.name: work
    for work in (
        Workload("W1", 64, 26, 256),
        Workload("W2", 128, 26, 512),
        Workload("W3", 256, 8, 1024),
    )
}


@dataclass(frozen=True)
class BenchScene:
    """A lattice and the cameras that see it, in float32."""

    lattice: Lattice
    cameras: Cameras


def make_scene(work: Workload, mesh: trimesh.Trimesh) -> BenchScene:
    """The scene of a workload; `mesh` lies in the box, as from `fit_into_box`."""
    return BenchScene(lattice_near(mesh, work.resolution), place_cameras(work))


def place_cameras(work: Workload) -> Cameras:
    """The views of a workload."""
    cameras = Cameras.cube(DISTANCE, width=work.size, fov=FOV)
    return cameras[torch.linspace(0, len(cameras) - 1, work.views).round().long()]


def fit_into_box(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh moved to the middle of the box, and scaled to fill it."""
    middle = mesh.bounds.mean(0)
    scale = FILL * (BOX[1][0] - BOX[0][0]) / float(mesh.extents.max())
    return trimesh.Trimesh((mesh.vertices - middle) * scale, mesh.faces, process=False)


def creature() -> trimesh.Trimesh:
    """The default shape: round parts and thin ones, joined smoothly; about 50,000 triangles."""
    body = primitives.sphere(0.6, (0.0, -0.25, -0.1))
    head = primitives.sphere(0.4, (0.0, 0.4, 0.3))
    solid = smooth_union(body, head, 0.3)
    for side in (-1.0, 1.0):
        ear = primitives.capsule((side * 0.2, 0.65, 0.2), (side * 0.38, 0.88, -0.05), 0.09)
        foot = primitives.capsule((side * 0.35, -0.75, 0.1), (side * 0.4, -0.78, 0.5), 0.14)
        arm = primitives.capsule((side * 0.45, 0.0, 0.15), (side * 0.72, -0.2, 0.4), 0.11)
        for part in (ear, foot, arm):
            solid = smooth_union(solid, part, 0.12)
    tail = primitives.torus(0.17, 0.06, (0.0, -0.4, -0.72))
    return extract_mesh(Lattice.from_function(smooth_union(solid, tail, 0.1), 96, BOX))


def lattice_near(mesh: trimesh.Trimesh, resolution: int) -> Lattice:
    """Distances to a mesh in `BOX`: exact around the surface, interpolated far from it.

    A lattice of half the resolution gives the far ones. It also says where the surface may be: in a
    cell with a part of the surface no distance exceeds the cell's diagonal. Sampling 256³ takes
    seconds this way, where exact distances everywhere take minutes.
    """
    if resolution <= COARSE:
        return Lattice.from_mesh(mesh, resolution, BOX)
    coarse = lattice_near(mesh, (resolution + 1) // 2)
    lattice = coarse.resample(resolution)
    diagonal = math.sqrt(3) * float(coarse.spacing.max())
    band = lattice.values.abs() <= diagonal
    points = lattice.vertices[band].double().numpy()
    values = lattice.values.clone()
    values[band] = torch.from_numpy(signed_distances(mesh, points)).float()
    return lattice.with_values(values)
