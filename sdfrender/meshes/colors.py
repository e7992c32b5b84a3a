"""Files of meshes in colour: per vertex (.ply, .glb) or from a texture (.glb).

Colours are sRGB, as photographs store them, and show what was photographed, light and shadow
included. So glTF files ask not to be lit once more (`KHR_materials_unlit`); a viewer that lights
them anyway finds a rough material without reflections. Far from the origin positions are stored as
`sdfrender.save_mesh` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import write_bytes
from sdfrender.files.images import srgb_to_linear
from sdfrender.geometry.mesh_files import mesh_arrays, placed_scene, ply_bytes
from sdfrender.meshes.atlas import Atlas

StrPath = str | os.PathLike[str]
COLOR = "_COLOR_0"  # trimesh takes any attribute whose name starts with a line


def save_colored_mesh(path: StrPath, mesh: trimesh.Trimesh, colors: Tensor) -> None:
    """Write a mesh with a colour at each vertex. A file is replaced whole.

    Args:
        path: `.ply` (8 bits a channel, as given) or `.glb` (linear floats, as glTF defines them).
        mesh: V vertices.
        colors: `[V, C]` sRGB in [0, 1], C = 1 or 3.

    Raises:
        InputError: another extension, a missing folder, or a mesh without triangles.
        ValueError: colours of another shape.
    """
    path = Path(path)
    verts, faces = mesh_arrays(mesh)
    rgb = _rgb(colors)
    if rgb.shape != (len(verts), 3):
        raise ValueError(f"colors: need [{len(verts)}, 1 or 3], got {tuple(colors.shape)}")
    if path.suffix.lower() == ".ply":
        write_bytes(path, ply_bytes(verts, faces, _bytes(rgb)))
    elif path.suffix.lower() == ".glb":
        write_bytes(path, colored_glb(mesh, colors))
    else:
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need .ply or .glb")


def colored_glb(mesh: trimesh.Trimesh, colors: Tensor, lit: bool = False) -> bytes:
    """A mesh with a colour at each vertex as the contents of a `.glb` file.

    Args:
        mesh: V vertices.
        colors: `[V, C]` sRGB in [0, 1], C = 1 or 3.
        lit: the colours are paint that a viewer is to light, not what was photographed.
    """
    plain = trimesh.Trimesh(*mesh_arrays(mesh), process=False)
    plain.vertex_attributes[COLOR] = srgb_to_linear(_rgb(colors).astype(np.float32))
    return glb_bytes(plain, _vertex_colors if lit else _unlit_vertex_colors)


def save_textured_mesh(path: StrPath, atlas: Atlas, texture: Tensor) -> None:
    """Write a mesh and its texture as one `.glb` file with a PNG inside.

    Args:
        path: ends in `.glb`. A file is replaced whole.
        atlas: the mesh and where its triangles lie.
        texture: `[H, W, C]` sRGB in [0, 1], C = 1 or 3, of the atlas's size.

    Raises:
        InputError: another extension, or a missing folder.
        ValueError: a texture of another size.
    """
    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need .glb")
    rgb = _rgb(texture)
    if rgb.shape != (atlas.height, atlas.width, 3):
        raise ValueError(
            f"texture: need [{atlas.height}, {atlas.width}, 1 or 3], got {tuple(texture.shape)}"
        )
    material = trimesh.visual.material.PBRMaterial(  # type: ignore[no-untyped-call]
        baseColorTexture=Image.fromarray(_bytes(rgb)), metallicFactor=0.0, roughnessFactor=1.0
    )
    upward = np.column_stack((atlas.uvs[:, 0], 1 - atlas.uvs[:, 1]))  # trimesh has v upwards
    visual = trimesh.visual.TextureVisuals(  # type: ignore[no-untyped-call]
        uv=upward, material=material
    )
    verts = np.asarray(atlas.mesh.vertices)[atlas.origins]
    cut = trimesh.Trimesh(verts, atlas.faces, visual=visual, process=False)
    write_bytes(path, glb_bytes(cut, _unlit))


def glb_bytes(mesh: trimesh.Trimesh, finish: Callable[[dict[str, Any]], None]) -> bytes:
    """A mesh as the contents of a `.glb` file; `finish` changes its JSON in place."""
    data: bytes = trimesh.exchange.gltf.export_glb(  # type: ignore[no-untyped-call]
        placed_scene(mesh), include_normals=True, tree_postprocessor=finish
    )
    return data


def _unlit(tree: dict[str, Any]) -> None:
    """Let a viewer show the colours as they are."""
    tree["extensionsUsed"] = ["KHR_materials_unlit"]
    for material in tree["materials"]:
        material["extensions"] = {"KHR_materials_unlit": {}}


def _vertex_colors(tree: dict[str, Any]) -> None:
    """Name the colours as glTF does, and give the mesh a material to show them with."""
    tree["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop(COLOR)
            primitive["material"] = 0


def _unlit_vertex_colors(tree: dict[str, Any]) -> None:
    _vertex_colors(tree)
    _unlit(tree)


def _rgb(colors: Tensor) -> NDArray[np.float64]:
    """`[..., 3]` in [0, 1] of grey or colour."""
    values: NDArray[np.float64] = colors.detach().cpu().double().clamp(0, 1).numpy()
    return np.repeat(values, 3, -1) if values.shape[-1] == 1 else values


def _bytes(colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (colors * 255).round().astype(np.uint8)
