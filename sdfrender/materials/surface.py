"""A mesh with a material at each vertex and what it sees of the sky: `materials.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor

from sdfrender.files.tensors import (
    expect,
    load_tensors,
    need_file,
    need_tensor,
    save_tensors,
)
from sdfrender.geometry.mesh_files import Doubles, Indices
from sdfrender.magnitude import LARGEST, usable_array
from sdfrender.materials.environment import Environment
from sdfrender.materials.shading import SKY

FILE = "materials.safetensors"
WHAT = "the materials of a run (multiview materials RUN makes them)"

ROUNDED = 1e-3  # what numbers may be beyond their limits


@dataclass(frozen=True, eq=False)
class MaterialMesh:
    """V vertices, each with a material.

    Args:
        mesh: closed, outward, world units.
        normals: `[V, 3]` unit, of the surface that the mesh stands for.
        base_color: `[V, 3]` linear, 0 to 1.
        roughness: `[V]` 0 to 1; α of GGX is its square.
        seen: `[V, K]` uint8, which directions of `shading.sky_directions` each vertex sees.
        specular: F₀ where it does not conduct.
        metallic: 0 to 1, of all of it.
        environment: the light that it was seen in.
    """

    mesh: trimesh.Trimesh
    normals: Tensor
    base_color: Tensor
    roughness: Tensor
    seen: Tensor
    specular: float
    metallic: float
    environment: Environment

    def save(self, path: Path) -> None:
        """Write it; a file is replaced whole."""
        tensors = {
            "verts": torch.from_numpy(np.array(self.mesh.vertices)),
            "faces": torch.from_numpy(np.array(self.mesh.faces, np.int64)),
            "normals": self.normals.float(),
            "base_color": self.base_color.float(),
            "roughness": self.roughness.float(),
            "seen": torch.from_numpy(np.packbits(self.seen.numpy(), axis=1)),
            "specular": torch.tensor(self.specular, dtype=torch.float64),
            "metallic": torch.tensor(self.metallic, dtype=torch.float64),
            "environment": self.environment.radiance.float(),
        }
        save_tensors(path, {k: v.contiguous() for k, v in tensors.items()}, {})

    @classmethod
    def load(cls, path: Path) -> MaterialMesh:
        """Read it.

        Raises:
            InputError: missing, or not such a file.
        """
        need_file(path, WHAT)
        tensors, _ = load_tensors(path, WHAT)
        with expect(path, WHAT):
            verts, faces = _triangles(tensors)
            V = len(verts)
            seen = need_tensor(tensors, "seen", (V, 2 * SKY * SKY // 8), whole=True)
            light = need_tensor(tensors, "environment", ("H", "W", 3))
            if float(light.min()) < 0:
                raise ValueError("'environment' with radiance below 0")
            return cls(
                trimesh.Trimesh(verts, faces, process=False),
                _within(tensors, "normals", (V, 3), -1),
                _within(tensors, "base_color", (V, 3)),
                _within(tensors, "roughness", (V,)),
                torch.from_numpy(np.unpackbits(seen.numpy(), axis=1)),
                float(_within(tensors, "specular", ())),
                float(_within(tensors, "metallic", ())),
                Environment(light),
            )


def _triangles(tensors: Mapping[str, Tensor]) -> tuple[Doubles, Indices]:
    """Vertices `[V, 3]` and faces `[F, 3]` of a file."""
    verts = need_tensor(tensors, "verts", ("V", 3)).double().numpy()
    faces = need_tensor(tensors, "faces", ("F", 3), whole=True).long().numpy()
    if not usable_array(verts):
        raise ValueError(f"'verts' beyond {LARGEST:g}")
    if not 0 <= faces.min() <= faces.max() < len(verts):
        raise ValueError("'faces' with a vertex that does not exist")
    return verts, faces


def _within(
    tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...], least: float = 0
) -> Tensor:
    """A tensor of a file, of numbers from `least` to 1."""
    x = need_tensor(tensors, name, shape)
    if not (least - ROUNDED <= float(x.min()) and float(x.max()) <= 1 + ROUNDED):
        raise ValueError(f"'{name}' with numbers beyond {least:g} to 1")
    return x
