"""Posed images as a scene folder: `transforms.json`, RGBA pictures, masks and the true mesh.

    DIR/transforms.json         cameras (OpenGL axes), splits, and what the scene says of itself
    DIR/images/view_000.png     RGBA with straight alpha; alpha is coverage
    DIR/masks/view_000.png      coverage alone, white = object
    DIR/mesh.ply                the surface, in world frame and units
    DIR/depth/view_000.npz      if there are: `depths` [H, W] camera z, infinite where nothing is
    DIR/normal/view_000.png     if there are: 16 bits, n / 2 + 1/2 in OpenGL camera axes

The form is that of nerfstudio and instant-ngp, so other programs read it too. The key "sdfrender"
adds the colour space, the box to reconstruct in, the mesh and the light.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.far import moved
from sdfrender.files.formats.pngs import Pixels, write_png
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Intensity, Lighting

# OpenCV camera axes (right, down, forward) to OpenGL's (right, up, back), and back again.
FLIP_YZ = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """N views of a known surface.

    Args:
        images: `[N, H, W, C]` in [0, 1], C = 1 or 3, premultiplied by coverage over black.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        cameras: the N cameras, OpenCV axes.
        lighting: the light they were rendered under; None if the scene should not state it.
        bounds: `[2, 3]` box that holds the surface, world units.
        mesh: the surface.
        color_space: the space that `images` are in. Recorded; nothing is converted.
        held_out: numbers of the views kept for testing; the others are for training.
        offset: `[3]` what takes cameras, box and mesh to where the scene says that they are.
        depths: `[N, H, W]` camera z, world units, or None.
        normals: `[N, H, W, 3]` unit, world frame, zero where nothing is, or None.

    Raises:
        ValueError: shapes that do not belong together, or a held-out view that does not exist.
    """

    images: Tensor
    silhouettes: Tensor
    cameras: Cameras
    lighting: Lighting | None
    bounds: Tensor
    mesh: trimesh.Trimesh
    color_space: Literal["linear", "srgb"] = "linear"
    held_out: Sequence[int] = ()
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    depths: Tensor | None = None
    normals: Tensor | None = None

    def __post_init__(self) -> None:
        size = (len(self.cameras), self.cameras.height, self.cameras.width)
        if self.silhouettes.shape != size:
            raise ValueError(f"silhouettes: need {size}, got {tuple(self.silhouettes.shape)}")
        if self.images.shape[:-1] != size or self.images.shape[-1] not in (1, 3):
            raise ValueError(f"images: need {size} × 1 or 3, got {tuple(self.images.shape)}")
        for name, plane, need in (
            ("depths", self.depths, size),
            ("normals", self.normals, (*size, 3)),
        ):
            if plane is not None and plane.shape != need:
                raise ValueError(f"{name}: need {need}, got {tuple(plane.shape)}")
        if self.bounds.shape != (2, 3):
            raise ValueError(f"bounds: need [2, 3], got {tuple(self.bounds.shape)}")
        missing = sorted(set(self.held_out) - set(range(size[0])))
        if missing:
            raise ValueError(f"held_out: views {missing} of {size[0]} do not exist")


def write_scene(
    folder: Path, scene: RenderedScene, *, bits: Literal[8, 16] = 8, force: bool = False
) -> None:
    """Write a scene folder, all of it or nothing.

    Everything is written into a folder beside, which takes its place at the end.

    Args:
        folder: where the scene goes; parents are created.
        scene: what to write. Values of the images outside [0, 1] are clipped.
        bits: per channel of the PNG files.
        force: replace a scene that is already there.

    Raises:
        InputError: `folder` exists and is not empty, and `force` is not given or it holds
            something other than a scene.
        ValueError: cameras with skewed pixels, which the format cannot express.
    """
    folder = folder.resolve()
    check_replaceable(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    try:
        (staging / "images").mkdir(parents=True)
        (staging / "masks").mkdir()
        for n, name in enumerate(_names(scene)):
            rgba, mask = straight_rgba(scene.images[n], scene.silhouettes[n], bits)
            write_png(staging / "images" / name, rgba)
            write_png(staging / "masks" / name, mask)
        _write_maps(staging, scene)
        save_mesh(staging / "mesh.ply", moved(scene.mesh, scene.offset))
        text = json.dumps(transforms(scene), indent=1, allow_nan=False)
        (staging / "transforms.json").write_text(text + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_maps(folder: Path, scene: RenderedScene) -> None:
    """Depths and normals, those that there are."""
    stems = [Path(name).stem for name in _names(scene)]
    if scene.depths is not None:
        (folder / "depth").mkdir()
        for stem, depths in zip(stems, scene.depths.detach().cpu().float().numpy(), strict=True):
            np.savez_compressed(folder / "depth" / f"{stem}.npz", depths=depths)
    if scene.normals is not None:
        (folder / "normal").mkdir()
        w2c = (scene.cameras.c2w.double() @ FLIP_YZ)[:, :3, :3].mT.cpu()
        for n, stem in enumerate(stems):
            normals = scene.normals[n].detach().cpu().double()
            seen = (normals != 0).any(-1, keepdim=True)
            pixels = ((normals @ w2c[n].mT + 1) / 2 * 65535).round().clamp(0, 65535) * seen
            write_png(folder / "normal" / f"{stem}.png", pixels.numpy().astype(np.uint16))


def check_replaceable(folder: Path, force: bool) -> None:
    """Raise `InputError` unless a scene may be written to `folder`.

    Only a scene is ever replaced: `force` on a folder of anything else is a mistake.
    """
    if folder.is_dir():
        if not any(folder.iterdir()):
            return
        if not force:
            raise InputError(f"{folder}: exists and is not empty (--force replaces a scene)")
        if not (folder / "transforms.json").is_file():
            raise InputError(f"{folder}: not replaced, it is not a scene (no transforms.json)")
    elif folder.exists():
        raise InputError(f"{folder}: exists and is not a folder")


def straight_rgba(image: Tensor, silhouette: Tensor, bits: Literal[8, 16]) -> tuple[Pixels, Pixels]:
    """Premultiplied colour as straight-alpha pixels, and the alpha alone.

    Colour is divided by alpha as it is stored, so that the product of the two, which a reader
    forms, is off by no more than half a step.

    Args:
        image: `[H, W, C]` premultiplied over black, C = 1 or 3.
        silhouette: `[H, W]` coverage.
        bits: 8 or 16.

    Returns:
        `[H, W, 4]` and `[H, W, 1]`, uint8 or uint16.
    """
    top = 255 if bits == 8 else 65535
    alpha = (silhouette.detach().cpu().double()[..., None].clamp(0, 1) * top).round() / top
    straight = image.detach().cpu().double().expand(-1, -1, 3) / alpha.clamp(min=1 / top)
    rgba = torch.cat((straight.clamp(0, 1) * (alpha > 0), alpha), -1)
    steps = (rgba * top).round().numpy()
    pixels: Pixels = steps.astype(np.uint8) if bits == 8 else steps.astype(np.uint16)
    return pixels, pixels[..., 3:]


def transforms(scene: RenderedScene) -> dict[str, Any]:
    """The content of `transforms.json`."""
    cameras = scene.cameras
    Ks = cameras.Ks.detach().cpu().double()
    if float(Ks[:, 0, 1].abs().max()) > 1e-6 * float(Ks[:, 0, 0].min()):
        raise ValueError(
            "Ks: transforms.json has no place for skewed pixels (Ks[:, 0, 1] is not 0)"
        )
    intrinsics = [
        {"fl_x": K[0][0], "fl_y": K[1][1], "cx": K[0][2], "cy": K[1][2]} for K in Ks.tolist()
    ]
    shared = all(k == intrinsics[0] for k in intrinsics)
    placed = cameras.c2w.detach().cpu().double().clone()
    placed[:, :3, 3] += torch.from_numpy(scene.offset)
    c2w = (placed @ FLIP_YZ + 0.0).tolist()  # + 0.0: no "-0.0"
    paths = [f"images/{name}" for name in _names(scene)]
    frames = [
        {"file_path": path, **({} if shared else k), "transform_matrix": matrix}
        for path, k, matrix in zip(paths, intrinsics, c2w, strict=True)
    ]
    held_out = [paths[n] for n in sorted(set(scene.held_out))]
    train = [path for path in paths if path not in held_out]
    splits = {"train_filenames": train, "val_filenames": held_out, "test_filenames": held_out}
    return {
        "camera_model": "PINHOLE",
        "w": cameras.width,
        "h": cameras.height,
        **(intrinsics[0] if shared else {}),
        "sdfrender": {
            "color_space": scene.color_space,
            "bounds": _placed_box(scene).tolist(),
            "mesh": "mesh.ply",
            **({"lighting": lighting_to_dict(scene.lighting)} if scene.lighting else {}),
        },
        **(splits if held_out else {}),
        "frames": frames,
    }


def _placed_box(scene: RenderedScene) -> Tensor:
    """`[2, 3]` where the scene says that it is."""
    box = scene.bounds.detach().cpu()
    return box.double() + torch.from_numpy(scene.offset) if scene.offset.any() else box


def lighting_to_dict(lighting: Lighting) -> dict[str, object]:
    """A light as plain numbers for JSON; a light that is absent has no key."""
    if lighting.varies:
        raise ValueError("lighting: need one light for all views, each has its own")
    result: dict[str, object] = {"ambient": _numbers(lighting.ambient)}
    if lighting.headlight is not None:
        result["headlight"] = {
            "intensity": _numbers(lighting.headlight.intensity),
            "falloff": lighting.headlight.falloff,
        }
    if lighting.directional:
        result["directional"] = [
            {
                "to_light": [float(x) for x in light.to_light],
                "intensity": _numbers(light.intensity),
            }
            for light in lighting.directional
        ]
    if lighting.sh is not None:
        result["sh"] = lighting.sh.tolist()
    return result


def _numbers(intensity: Intensity) -> object:
    """A number, or a list of one per channel."""
    return intensity.tolist() if isinstance(intensity, Tensor) else intensity


def _names(scene: RenderedScene) -> list[str]:
    """File names whose alphabetical order is the order of the views."""
    N = len(scene.cameras)
    digits = max(3, len(str(N - 1)))
    return [f"view_{n:0{digits}d}.png" for n in range(N)]
