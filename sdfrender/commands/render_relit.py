"""`sdfrender render RUN --light other.hdr`: a run with materials in another light."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sdfrender.commands.render_config import RenderConfig
from sdfrender.commands.rig import padded_bounds, place_cameras
from sdfrender.errors import InputError
from sdfrender.far import far_offset, moved
from sdfrender.io.scene_writer import RenderedScene
from sdfrender.materials.environment import Environment
from sdfrender.materials.relight import relit
from sdfrender.materials.surface import FILE, MaterialMesh

log = logging.getLogger("sdfrender")

CUT = 0.01  # share of the pixels at full scale that is worth a word


def is_environment(light: str) -> bool:
    """Whether `--light` names a picture of light all around."""
    return Path(light).suffix.lower() == ".hdr"


def relit_scene(config: RenderConfig, quiet: bool) -> RenderedScene:
    """Pictures of a run's materials in the light of a `.hdr` file.

    Raises:
        InputError: no such run or light, no materials, or options that belong to plain shapes.
    """
    run = config.shape
    if not run.is_dir():
        raise InputError(
            f"--light {config.light}: lights the materials of a run (multiview materials RUN), and "
            f"{run} is no run folder"
        )
    for name, value in (
        ("size", config.size),
        ("depth", config.depth),
        ("normals", config.normals),
    ):
        if value:
            raise InputError(f"--{name}: belongs to meshes and lattices, {run} is a run folder")
    surface = MaterialMesh.load(run / FILE)
    environment = Environment.load(Path(config.light))
    offset = far_offset(np.asarray(surface.mesh.vertices))
    surface = replace(surface, mesh=moved(surface.mesh, -offset))
    cameras = place_cameras(config, surface.mesh.vertices)
    seen = [
        relit(surface, cameras[n], environment, config.supersampling)
        for n in tqdm(range(len(cameras)), desc="rendering", unit="view", disable=quiet)
    ]
    images, silhouettes = (torch.cat(parts) for parts in zip(*seen, strict=True))
    images = images * config.exposure
    cut = float((images > 1).any(-1)[silhouettes > 0.5].float().mean())
    if cut > CUT:
        log.warning(
            "%.0f%% of the pixels are brighter than full scale and are cut: a smaller --exposure "
            "shows them",
            100 * cut,
        )
    return RenderedScene(
        images.clamp(0, 1),
        silhouettes,
        cameras,
        None,
        padded_bounds(surface.mesh),
        surface.mesh,
        held_out=range(config.views, len(cameras)),
        offset=offset,
    )
