"""A mesh with a material at each vertex and what it sees of the sky: `materials.safetensors`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.tensors import expect, load_tensors, save_tensors
from sdfrender.materials.environment import Environment
from sdfrender.materials.shading import SKY

FILE = "materials.safetensors"
WHAT = "the materials of a run (multiview materials RUN makes them)"


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
        if not path.is_file():
            raise InputError(f"{path}: need {WHAT}, there is no such file")
        tensors, _ = load_tensors(path, WHAT)
        with expect(path, WHAT):
            verts, faces = tensors["verts"].numpy(), tensors["faces"].numpy()
            V = len(verts)
            shapes = {"normals": (V, 3), "base_color": (V, 3), "roughness": (V,)}
            shapes["seen"] = (V, 2 * SKY * SKY // 8)
            for name, shape in shapes.items():
                if tensors[name].shape != shape:
                    raise ValueError(f"{name}: need {shape}, got {tuple(tensors[name].shape)}")
            if len(faces) and not 0 <= faces.min() <= faces.max() < V:
                raise ValueError("faces: a vertex that does not exist")
            return cls(
                trimesh.Trimesh(verts, faces, process=False),
                tensors["normals"],
                tensors["base_color"],
                tensors["roughness"],
                torch.from_numpy(np.unpackbits(tensors["seen"].numpy(), axis=1)),
                float(tensors["specular"]),
                float(tensors["metallic"]),
                Environment(tensors["environment"]),
            )
