"""A mesh with glTF's metallic-roughness material, baked into textures: one `.glb` file.

Base colours are stored as sRGB; roughness in green and metalness in blue of a second texture;
normals in the frame of each triangle's texture, for which tangents are written, so that all viewers
agree. glTF's specular is fixed at F₀ = .04; another one is stated by `KHR_materials_specular`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import write_bytes
from sdfrender.files.previews import for_display
from sdfrender.materials.surface import MaterialMesh
from sdfrender.meshes.atlas import Atlas, pad
from sdfrender.meshes.colors import glb_bytes

Floats = NDArray[np.float64]

TANGENT = "_TANGENT"  # trimesh takes any attribute whose name starts with a line
GLTF_SPECULAR = 0.04  # F₀ of glTF where nothing else is stated


def save_material_glb(
    path: Path, atlas: Atlas, base_color: Tensor, roughness: Tensor, normals: Tensor,
    surface: MaterialMesh,
) -> None:  # fmt: skip
    """Write it; a file is replaced whole.

    Args:
        path: ends in `.glb`.
        atlas: the mesh and where its triangles lie.
        base_color: `[P, 3]` linear, at the P texels that `atlas.fragments` covers.
        roughness: `[P]`.
        normals: `[P, 3]` unit, world frame.
        surface: metalness and specular.

    Raises:
        InputError: another extension.
    """
    if path.suffix.lower() != ".glb":
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need .glb")
    at = atlas.fragments()
    verts = np.asarray(atlas.mesh.vertices)[atlas.origins]
    outward = np.asarray(atlas.mesh.vertex_normals)[atlas.origins]
    tangents = vertex_tangents(verts, atlas.faces, atlas.uvs, outward)
    frame = [at.interpolate(x[atlas.faces]) for x in (outward, tangents)]
    local = in_tangent_frame(normals.double().numpy(), *frame)
    metal = torch.full_like(roughness, surface.metallic)
    planes = {
        "baseColorTexture": for_display(base_color.clamp(0, 1)),
        "metallicRoughnessTexture": torch.stack((torch.ones_like(metal), roughness, metal), -1),
        "normalTexture": torch.from_numpy(local / 2 + 0.5).float(),
    }
    images = {name: _image(values, at.covered) for name, values in planes.items()}
    material = trimesh.visual.material.PBRMaterial(  # type: ignore[no-untyped-call]
        metallicFactor=1.0, roughnessFactor=1.0, **images
    )
    upward = np.column_stack((atlas.uvs[:, 0], 1 - atlas.uvs[:, 1]))  # trimesh has v upwards
    visual = trimesh.visual.TextureVisuals(  # type: ignore[no-untyped-call]
        uv=upward, material=material
    )
    cut = trimesh.Trimesh(verts, atlas.faces, vertex_normals=outward, visual=visual, process=False)
    cut.vertex_attributes[TANGENT] = tangents.astype(np.float32)

    def finish(tree: dict[str, Any]) -> None:
        for mesh in tree["meshes"]:
            for primitive in mesh["primitives"]:
                primitive["attributes"]["TANGENT"] = primitive["attributes"].pop(TANGENT)
        if abs(surface.specular - GLTF_SPECULAR) > 1e-6:
            tree["extensionsUsed"] = ["KHR_materials_specular"]
            factor = [surface.specular / GLTF_SPECULAR] * 3
            for made in tree["materials"]:
                made["extensions"] = {"KHR_materials_specular": {"specularColorFactor": factor}}

    write_bytes(path, glb_bytes(cut, finish))


def vertex_tangents(
    verts: Floats, faces: NDArray[np.int64], uvs: Floats, normals: Floats
) -> Floats:
    """`[T, 4]` glTF's tangents: unit, along growing u, and the sign of their frame.

    The third axis, `cross(normal, tangent) · sign`, goes up the texture, where v falls.

    Args:
        verts: `[T, 3]`.
        faces: `[F, 3]`.
        uvs: `[T, 2]` glTF's, v downwards.
        normals: `[T, 3]` unit.
    """
    a, b, c = verts[faces].transpose(1, 0, 2)
    ua, ub, uc = uvs[faces].transpose(1, 0, 2)
    e, f, s, t = b - a, c - a, ub - ua, uc - ua
    area = s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]
    sign = np.where(area < 0, -1.0, 1.0)[:, None]  # areas weigh: no division
    along = sign * (e * t[:, 1:] - f * s[:, 1:])
    down = sign * (f * s[:, :1] - e * t[:, :1])
    tangents, bitangents = np.zeros_like(verts), np.zeros_like(verts)
    for corner in faces.T:
        np.add.at(tangents, corner, along)
        np.add.at(bitangents, corner, down)
    tangents -= normals * (normals * tangents).sum(1, keepdims=True)
    length = np.linalg.norm(tangents, axis=1, keepdims=True)
    spare = np.cross(normals, np.where(np.abs(normals[:, :1]) < 0.7, (1.0, 0, 0), (0, 1.0, 0)))
    spare /= np.maximum(np.linalg.norm(spare, axis=1, keepdims=True), 1e-12)
    unit = np.where(length > 1e-12, tangents / np.maximum(length, 1e-12), spare)
    turn = (np.cross(normals, unit) * -bitangents).sum(1, keepdims=True)
    return np.concatenate((unit, np.where(turn < 0, -1.0, 1.0)), 1)


def in_tangent_frame(normals: Floats, outward: Floats, tangents: Floats) -> Floats:
    """`[P, 3]` world normals in the frames of points between vertices, as viewers make them.

    Args:
        normals: `[P, 3]` unit.
        outward: `[P, 3]` interpolated vertex normals.
        tangents: `[P, 4]` interpolated.
    """
    n = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    t = tangents[:, :3] / np.maximum(np.linalg.norm(tangents[:, :3], axis=1, keepdims=True), 1e-12)
    b = np.cross(n, t) * np.where(tangents[:, 3:] < 0, -1.0, 1.0)
    # n = x t + y b + z n', as a viewer multiplies it out; the three are nearly orthogonal.
    frames = np.stack((t, b, n), -1) + 1e-9 * np.eye(3)
    local = np.linalg.solve(frames, normals[..., None])[..., 0]
    local[:, 2] = np.maximum(local[:, 2], 0.05)  # a texture has no place for what looks inwards
    unit: Floats = local / np.linalg.norm(local, axis=1, keepdims=True)
    return unit


def _image(values: Tensor, covered: NDArray[np.bool_]) -> Image.Image:
    """8 bits a channel; outside the charts the colour of the nearest texel inside."""
    texture = torch.zeros(*covered.shape, 3)
    texture[torch.from_numpy(covered)] = values.float()
    padded = pad(texture, covered).clamp(0, 1).mul(255).round().byte().numpy()
    return Image.fromarray(padded)
