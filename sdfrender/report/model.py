"""The mesh of a run as the page's own script draws it, and still pictures in its place."""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from trimesh.visual.color import ColorVisuals

from sdfrender import Lattice
from sdfrender.files.expect import readable
from sdfrender.meshes.refine import simplify_mesh
from sdfrender.report.pictures import data_address
from sdfrender.report.turntable import all_in_clay, around

MOST_FACES = 40_000  # of the mesh to turn; one of more is simplified
STILLS = 6  # pictures, from all sides
STILL_SIZE = 240  # pixels
STEPS = 65535  # of a quantised coordinate


@dataclass(frozen=True)
class Model:
    """A packed mesh.

    `data` is base64 of deflate of `indices` [faces, 3] as uint32, `positions` [verts, 3] as uint16
    and, if `colored`, `colors` [verts, 3] as uint8 (sRGB), all little-endian. A position p of the
    display frame, in units of the mesh's radius, is `2 p / 65535 − 1`.
    """

    verts: int
    faces: int
    colored: bool
    data: str


def pack_model(mesh: trimesh.Trimesh, frame: Tensor) -> Model:
    """A mesh, simplified, centred and turned, small enough for a page.

    Args:
        mesh: closed, outward, world units; with or without a colour at each vertex.
        frame: `[3, 3]` rotation from the world to right, up and towards the viewer.
    """
    simple = simplify_mesh(mesh, MOST_FACES)
    turned = simple.vertices @ frame.double().numpy().T
    middle = (turned.max(0) + turned.min(0)) / 2
    radius = np.linalg.norm(turned - middle, axis=1).max()
    positions = np.rint(((turned - middle) / radius + 1) / 2 * STEPS).astype("<u2")
    colors = vertex_colors(mesh)
    data = simple.faces.astype("<u4").tobytes() + positions.tobytes()
    if colors is not None:
        _, nearest = cKDTree(mesh.vertices).query(simple.vertices)
        data += colors[nearest].tobytes()
    return Model(
        len(positions),
        len(simple.faces),
        colors is not None,
        base64.b64encode(zlib.compress(data, 9)).decode(),
    )


def vertex_colors(mesh: trimesh.Trimesh) -> NDArray[np.uint8] | None:
    """`[V, 3]`, if the mesh has a colour at each vertex."""
    if not isinstance(mesh.visual, ColorVisuals) or mesh.visual.kind != "vertex":
        return None
    colors: NDArray[np.uint8] = np.ascontiguousarray(mesh.visual.vertex_colors[:, :3])
    return colors


def load_colored(file: Path) -> trimesh.Trimesh:
    """A run's own `mesh.ply`, with its colours.

    Raises:
        InputError: damaged.
    """
    with readable(file, ".ply mesh"):
        mesh = trimesh.load_mesh(file, process=False)
        if not isinstance(mesh, trimesh.Trimesh):
            raise ValueError(f"it is a {type(mesh).__name__}")
    return mesh


def stills(lattice: Lattice, frame: Tensor) -> list[tuple[str, str]]:
    """The shape from all sides in clay: `data:` addresses and what they show.

    `frame` `[3, 3]` says what is up and where the front is, see `turntable.around`.
    """
    azimuths = torch.arange(STILLS) * (2 * math.pi / STILLS)
    cameras = around(lattice, frame, azimuths, STILL_SIZE)
    return [
        (data_address(picture), f"the shape from {360 // STILLS * k} degrees")
        for k, picture in enumerate(all_in_clay(lattice, cameras))
    ]
