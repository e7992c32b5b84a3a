"""From a name or a mesh to a shape of DeepSDF's family: known codes, and codes that are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor

from sdfrender import InputError, Lattice, save_lattice, save_mesh
from sdfrender.files.atomic import write_json
from sdfrender.files.extensions import MESHES
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.latent.field import LONGEST_SIDE, LatentField
from sdfrender.meshes.mise import mise
from sdfrender.meshes.refine import refine_mesh, simplify_mesh
from singleview.data.samples import PADDED_BOX
from singleview.from_meshes.sample_distances import points_around
from singleview.models.latent import BALL, find_code, in_a_ball
from singleview.settings.prediction import PredictConfig

POINTS = 8192  # around a mesh, that its code is found from
COARSE = 48  # cells of the grid that surfaces are extracted from, before they are halved


@dataclass(frozen=True, eq=False)
class Named:
    """A shape: a name for its folder, the code, and the way back to its own frame."""

    name: str
    code: Tensor
    scale: float = 1.0
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
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
    shapes = [(path, read_shape(field, path, clamp, config.seed)) for path in config.images]
    done = []
    for path, shape in shapes:
        try:
            found = mise(field.field(shape.code), box, COARSE, config.levels)
        except InputError as error:
            raise InputError(f"{path}: the network sees no object in it ({error})") from None
        mesh = simplify_mesh(found.mesh(), config.faces)
        if config.refine:
            mesh = refine_mesh(mesh, field.field(shape.code))
        lattice = mise(field.field(shape.code), box, COARSE, 1).lattice.redistance()
        folder = config.out / shape.name
        folder.mkdir(parents=True, exist_ok=True)
        mesh.vertices = mesh.vertices * shape.scale + np.array(shape.center)
        save_mesh(folder / "mesh.ply", mesh)
        save_lattice(folder / "lattice.safetensors", lattice)
        write_json(folder / "code.json", {"code": shape.code.tolist(), "energy": shape.energy})
        draw(lattice, folder)
        done.append((path, folder, lattice))
    return done


def read_shape(field: LatentField, path: Path, clamp: float, seed: int) -> Named:
    """The code of a known shape by its name, or of a mesh by Levenberg-Marquardt.

    Raises:
        InputError: no such name and no such mesh.
    """
    if path.as_posix() in field.names:
        return Named(path.as_posix().replace("/", "-"), field.code_of(path.as_posix()))
    if path.suffix.lower() not in MESHES:
        known = ", ".join(field.names[:5])
        raise InputError(f"{path}: need a mesh ({' '.join(MESHES)}) or the name of a known "
                         f"shape ({known}, …)")  # fmt: skip
    mesh = load_mesh(path)
    low, high = mesh.bounds
    center = (low + high) / 2
    scale = float((high - low).max()) / LONGEST_SIDE
    if in_a_ball(field):
        scale = float(np.linalg.norm(mesh.vertices - center, axis=1).max()) / BALL
    mesh = trimesh.Trimesh((mesh.vertices - center) / scale, mesh.faces, process=False)
    points = points_around(mesh, POINTS, np.random.default_rng(seed))
    values = torch.from_numpy(signed_distances(mesh, points)).float()
    found = find_code(field, torch.from_numpy(points).float(), values, clamp)
    x, y, z = (float(c) for c in center)
    return Named(path.stem, found.code, scale, (x, y, z), found.energies[-1])
