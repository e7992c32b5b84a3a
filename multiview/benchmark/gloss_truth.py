"""What a scene of a shiny mesh should give: lights, pictures in them, materials; how near one is.

All figures are of linear values in [0, 1]. Light and paint are known up to a common factor only, so
base colours are compared after one factor for the whole mesh, and pictures are made with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multiview.benchmark.gloss import GlossyMesh, photograph, polish
from multiview.benchmark.gloss_lights import HELD_OUT_LIGHTS, LIGHT
from multiview.benchmark.paint import fine_texture, solid_texture
from sdfrender import Cameras, metrics
from sdfrender.files.formats.pngs import read_png, write_png
from sdfrender.io.scene_writer import straight_rgba
from sdfrender.materials.environment import Environment
from sdfrender.materials.relight import relit
from sdfrender.materials.surface import MaterialMesh

SCENE = "scene"  # the name of the light that the scene was taken in
BRIGHTNESS = 0.45  # mean of the pictures in held-out lights, where they show the mesh


def lights_of(scene: Path) -> Path:
    """Where the lights of a scene are: beside it."""
    return scene.with_name(f"{scene.name}-lights")


def save_lights(
    scene: Path, glossy: GlossyMesh, cameras: Cameras, numbers: range, exposure: float
) -> None:
    """Write the lights of a scene, and what its held-out cameras see in the others.

    Args:
        scene: the folder of the scene.
        glossy: what is looked at.
        cameras: the held-out ones.
        numbers: theirs in the scene.
        exposure: of the photographs.
    """
    folder = lights_of(scene)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _picture(LIGHT.scaled(exposure).picture()).save(folder / f"{SCENE}.hdr")
    for name, light in HELD_OUT_LIGHTS.items():
        images, silhouettes = photograph(glossy, cameras, light)
        factor = BRIGHTNESS / float(images[silhouettes > 0.999].mean())
        _picture(light.scaled(factor).picture()).save(folder / f"{name}.hdr")
        (folder / name).mkdir()
        for number, image, silhouette in zip(numbers, images, silhouettes, strict=True):
            rgba, _ = straight_rgba(image * factor, silhouette, 16)
            write_png(folder / name / f"view_{number:03d}.png", rgba)


def _picture(radiance: NDArray[np.float64]) -> Environment:
    return Environment(torch.from_numpy(radiance).float())


def compare(
    surface: MaterialMesh, scene: Path, cameras: Cameras, numbers: Sequence[int], fine: bool
) -> dict[str, Any]:
    """How near materials are to those of the benchmark.

    Args:
        surface: what was solved for.
        scene: the folder of the scene.
        cameras: those that were held out.
        numbers: theirs in the scene.
        fine: see `paint.painted`.

    Returns:
        `base_color_psnr` in dB over the vertices, `roughness_error` the median of its absolute
        error, `roughness_error_of_one` that of the best roughness for all vertices; `relit_psnr`
        in dB by light, and the mean of all: of straight colours where both meshes cover a pixel by
        half, for outlines are the shape's matter.
    """
    points = np.asarray(surface.mesh.vertices)
    truth = torch.from_numpy(fine_texture(points) if fine else solid_texture(points)).float()
    factor = float((truth * surface.base_color).sum() / (surface.base_color**2).sum())
    scaled = (factor * surface.base_color).clamp(0, 1)
    rough = torch.from_numpy(polish(points)).float()
    error = (surface.roughness - rough).abs().median()
    named = {
        name: _relit_psnr(surface, factor, lights_of(scene) / name, cameras, numbers)
        for name in HELD_OUT_LIGHTS
    }
    return {
        "base_color_psnr": metrics.psnr(scaled, truth),
        "factor": factor,
        "roughness_error": float(error),
        "roughness_error_of_one": float((rough - rough.median()).abs().median()),
        "relit_psnr": sum(named.values()) / len(named),
        "relit": named,
    }


def _relit_psnr(
    surface: MaterialMesh, factor: float, folder: Path, cameras: Cameras, numbers: Sequence[int]
) -> float:
    """Mean over views, dB."""
    painted = MaterialMesh(**{**vars(surface), "base_color": factor * surface.base_color})
    images, silhouettes = relit(painted, cameras, Environment.load(folder.with_suffix(".hdr")))
    found = []
    for number, image, covered in zip(numbers, images, silhouettes, strict=True):
        rgba = torch.from_numpy(read_png(folder / f"view_{number:03d}.png").astype(np.float32))
        rgba = rgba / 65535
        inside = (rgba[..., 3] > 0.5) & (covered > 0.5)
        straight = (image / covered[..., None].clamp(min=0.5)).clamp(0, 1)
        found.append(metrics.psnr(straight, rgba[..., :3], inside))
    return sum(found) / len(found)
