"""From a name or a mesh to a shape of DeepSDF's family: known codes, and codes that are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender import InputError, Lattice, save_lattice, save_mesh
from sdfrender.files.atomic import write_json
from sdfrender.files.extensions import MESHES
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.geometry.mesh_files import Doubles, load_mesh
from sdfrender.latent.field import LONGEST_SIDE, LatentField
from sdfrender.meshes.mise import mise
from sdfrender.meshes.refine import refine_mesh, simplify_mesh
from singleview.data.meshes import canonical_mesh, source_of
from singleview.data.samples import PADDED_BOX
from singleview.from_meshes.sample_distances import points_around
from singleview.models.latent import BALL, find_code, in_a_ball
from singleview.predict.inputs import distinct, each_input
from singleview.settings.prediction import PredictConfig

POINTS = 8192  # around a mesh, that its code is found from
COARSE = 48  # cells of the grid that surfaces are extracted from, before they are halved


@dataclass(frozen=True, eq=False)
class Placed:
    """A shape: the code, and the way back to its own frame: `x = Rᵀ (scale · p + center)`."""

    code: Tensor
    scale: float = 1.0
    center: Doubles = field(default_factory=lambda: np.zeros(3))
    rotation: Doubles = field(default_factory=lambda: np.eye(3))
    energy: float | None = None


def predict_deepsdf(
    field: LatentField,
    about: dict[str, Any],
    config: PredictConfig,
    draw: Callable[[Lattice, Path], None],
) -> list[tuple[Path, Path, Lattice]]:
    """Write `OUT/NAME/` of each input: mesh.ply, lattice.safetensors, code.json, views.

    Args:
        field: the network.
        about: what is stored beside its weights.
        config: the settings; an input is the name of a known shape, or a mesh, y up.
        draw: writes pictures of a lattice into a folder.

    Returns:
        Input, folder and lattice of each; the lattice in the canonical frame, the mesh in the
        frame of the input.

    Raises:
        InputError: an input that is neither, or in whose code the network sees no surface.
    """
    if not config.images:
        known = ", ".join(field.names[:5])
        raise InputError(f"INPUT: need a mesh or the name of a known shape ({known}, …), got none")
    clamp = float(about.get("clamp", 0.1))
    box = UNIT_BOX if in_a_ball(field) else PADDED_BOX

    def write(path: Path, name: str) -> tuple[Path, Path, Lattice]:
        shape = read_shape(field, path, clamp, config.seed)
        try:
            found = mise(field.field(shape.code), box, COARSE, config.levels)
        except InputError as error:
            raise InputError(f"{path}: the network sees no object in it ({error})") from None
        mesh = simplify_mesh(found.mesh(), config.faces)
        if config.refine:
            mesh = refine_mesh(mesh, field.field(shape.code))
        lattice = mise(field.field(shape.code), box, COARSE, 1).lattice.redistance()
        folder = config.out / name
        folder.mkdir(parents=True, exist_ok=True)
        mesh.vertices = (mesh.vertices * shape.scale + shape.center) @ shape.rotation
        save_mesh(folder / "mesh.ply", mesh)
        save_lattice(folder / "lattice.safetensors", lattice)
        write_json(folder / "code.json", {"code": shape.code.tolist(), "energy": shape.energy})
        draw(lattice, folder)
        return path, folder, lattice

    names = distinct(
        [
            path.as_posix().replace("/", "-") if path.as_posix() in field.names else path.stem
            for path in config.images
        ]
    )
    pairs = zip(config.images, names, strict=True)
    return each_input([(path, partial(write, path, name)) for path, name in pairs])


def read_shape(field: LatentField, path: Path, clamp: float, seed: int) -> Placed:
    """The code of a known shape by its name, or of a mesh by Levenberg-Marquardt.

    A mesh is taken for upright, or turned as the `alignment.json` says that lies beside it.

    Raises:
        InputError: no such name and no such mesh.
    """
    if path.as_posix() in field.names:
        return Placed(field.code_of(path.as_posix()))
    if path.suffix.lower() not in MESHES:
        known = ", ".join(field.names[:5])
        raise InputError(f"{path}: need a mesh ({' '.join(MESHES)}) or the name of a known "
                         f"shape ({known}, …)")  # fmt: skip
    source = source_of(path)
    upright = load_mesh(path).vertices @ source.rotation.T
    low, high = upright.min(0), upright.max(0)
    mesh = canonical_mesh(source)
    scale = float((high - low).max()) / LONGEST_SIDE
    if in_a_ball(field):
        reach = float(np.linalg.norm(mesh.vertices, axis=1).max()) / BALL
        mesh.vertices = mesh.vertices / reach
        scale *= reach
    points = points_around(mesh, POINTS, np.random.default_rng(seed))
    values = torch.from_numpy(signed_distances(mesh, points)).float()
    found = find_code(field, torch.from_numpy(points).float(), values, clamp)
    return Placed(found.code, scale, (low + high) / 2, source.rotation, found.energies[-1])
