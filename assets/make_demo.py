"""Make the demo scene: a small space station, modelled with signed distance functions.

Run from the root of the repository: python assets/make_demo.py

It writes assets/demo, and takes about a minute. The station is meant to be hard in the ways real
objects are: windows between spokes, thin panels, parts that hide each other, sharp and smooth
edges, no symmetry, and no axis of its own along an axis of the lattice.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import fast_simplification
import torch
import trimesh
from torch import Tensor

from sdfrender.commands.render_config import RenderConfig
from sdfrender.commands.render_scene import render_scene
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.geometry.primitives import (
    SDF,
    box,
    capsule,
    difference,
    intersection,
    smooth_union,
    sphere,
    torus,
    union,
)
from sdfrender.meshes.extraction import extract_mesh

DEMO = Path(__file__).parent / "demo"
RESOLUTION = 192
FACES = 16_000
ALBEDO = (0.88, 0.78, 0.62)


def station() -> SDF:
    """The station: ring and spokes, hub with a dome, solar panels, dish, and a visiting ship."""
    ring = torus(0.62, 0.105)
    spokes = union(*(capsule((0.0, 0.0, 0.0), around(0.6, a), 0.05) for a in (0.3, 1.55, 2.8, 4.1)))
    habitat = smooth_union(ring, spokes, 0.08)
    cabins = union(*(box((0.13, 0.15, 0.13), around(0.62, a)) for a in (0.9, 3.5)))

    trunk = capsule((0.0, -0.52, 0.0), (0.0, 0.34, 0.0), 0.15)
    dome = smooth_union(sphere(0.235, (0.0, 0.36, 0.0)), trunk, 0.06)
    collar = torus(0.25, 0.045, (0.0, 0.3, 0.0))
    # A cut through the collar and the dome: a lit window that only some views see into.
    window = capsule((0.0, 0.42, 0.1), (0.05, 0.46, 0.6), 0.1)
    hub = difference(union(dome, collar), window)

    boom = capsule((-0.5, -0.46, 0.0), (0.5, -0.46, 0.0), 0.045)
    panels = union(*(box((0.17, 0.035, 0.3), (x, -0.46, 0.0)) for x in (-0.52, 0.6)))
    slots = union(*(box((0.02, 0.2, 0.24), (x, -0.46, 0.0)) for x in (-0.52, 0.6)))
    power = union(boom, difference(panels, slots))

    shell = difference(sphere(0.26), sphere(0.2))
    cup = intersection(shell, box((0.3, 0.3, 0.3), (0.0, -0.36, 0.0)))
    feed = capsule((0.0, -0.25, 0.0), (0.0, 0.02, 0.0), 0.045)
    aim = rotation(0.75, 0.0, 0.35)
    pivot = torch.tensor([-0.12, 0.86, -0.06], dtype=torch.float64)
    back = (pivot + aim @ torch.tensor([0.0, -0.23, 0.0], dtype=torch.float64)).tolist()
    mast = capsule((0.0, 0.4, 0.0), back, 0.05)
    dish = union(moved(union(cup, feed), aim, pivot.tolist()), mast)

    body = capsule((0.0, 0.0, -0.16), (0.0, 0.0, 0.12), 0.085)
    wings = box((0.2, 0.03, 0.07), (0.0, 0.0, -0.15))
    dock = capsule((0.0, 0.0, 0.1), (0.0, 0.0, 0.3), 0.045)
    ship = moved(union(body, wings, dock), rotation(0.0, -1.9, 0.4), (0.4, 0.28, -0.08))

    parts = union(habitat, cabins, hub, power, dish, ship)
    return moved(parts, rotation(0.32, 0.45, -0.22), (0.0, -0.03, 0.0))


def around(radius: float, angle: float) -> tuple[float, float, float]:
    """A point of the ring, `angle` in radians."""
    return radius * math.sin(angle), 0.0, radius * math.cos(angle)


def moved(solid: SDF, R: Tensor, offset: Sequence[float]) -> SDF:
    """`solid` turned by `R` `[3, 3]` about its origin and then shifted."""
    return lambda p: solid((p - torch.tensor(offset).to(p)) @ R.to(p))


def rotation(x: float, y: float, z: float) -> Tensor:
    """`[3, 3]` turns about the x, y and then z axis, radians."""
    R = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate((x, y, z)):
        c, s = math.cos(angle), math.sin(angle)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3, dtype=torch.float64)
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        R = turn @ R
    return R


def make_mesh() -> trimesh.Trimesh:
    """The station as a closed mesh of about `FACES` triangles."""
    box_size = 1.15
    bounds = [[-box_size] * 3, [box_size] * 3]
    fine = extract_mesh(Lattice.from_function(station(), RESOLUTION, bounds))
    # A slow rate (`agg`) keeps the mesh closed.
    verts, faces = fast_simplification.simplify(fine.vertices, fine.faces, None, FACES, agg=3)
    mesh = trimesh.Trimesh(verts, faces)
    if not mesh.is_watertight or mesh.body_count != 1:
        raise RuntimeError("the station is not one closed body: choose another number of faces")
    return mesh


def main() -> None:
    """Model, mesh and photograph the station."""
    mesh = make_mesh()
    print(f"{len(mesh.faces)} triangles, box {mesh.bounds.round(2).tolist()}")
    with tempfile.TemporaryDirectory() as folder:
        shape = Path(folder) / "station.ply"
        save_mesh(shape, mesh)
        render_scene(
            RenderConfig(shape, DEMO, width=192, height=160, albedo=ALBEDO, held_out=6, force=True)
        )


if __name__ == "__main__":
    main()
