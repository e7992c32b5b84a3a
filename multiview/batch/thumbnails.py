"""A small picture of a run: a photograph, and the shape from the same place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from sdfrender import Lattice, load_lattice
from sdfrender.files.atomic import atomic_write
from sdfrender.report.turntable import in_clay
from sdfrender.viewer.exhibit import VIEWS, load_views

QUALITY = 80  # of WebP, in percent


def make_thumbnail(run: Path, file: Path) -> None:
    """Write the small picture of a finished run: photograph and shape beside each other.

    Raises:
        InputError: not the folder of a finished run.
    """
    lattice = load_lattice(run / "lattice.safetensors")
    views, _ = load_views(run / VIEWS)
    view = views.fitted.index(True)
    middle = lattice.bounds.double().mean(0)  # float32 holds what is about it
    near = Lattice(lattice.values, (lattice.bounds.double() - middle).float())
    camera = views.cameras[[view]]
    c2w = camera.c2w.double().clone()
    c2w[:, :3, 3] -= middle
    clay = in_clay(near, replace(camera, c2w=c2w.float()))
    shape = (clay[..., :3] * clay[..., 3:] * 255).round().byte()
    both = torch.cat((views.pictures[view], shape), 1).numpy()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        Image.fromarray(both).save(partial, "WEBP", quality=QUALITY)
