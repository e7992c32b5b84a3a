"""A fit that starts from a shape of a learned family, and is held to it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiview.levels.state import Fit
from multiview.optimize.hold import Hold
from multiview.photo.targets import Targets
from multiview.prior.placed_shape import PlacedShape, Placement
from multiview.prior.search import SearchResult, search
from multiview.run_folder import RunFolder
from sdfrender import extract_mesh, save_mesh
from sdfrender.far import Doubles, moved
from sdfrender.files.atomic import read_bytes, write_json
from sdfrender.files.tensors import expect
from sdfrender.geometry.grid import samples_per_axis
from sdfrender.latent.field import LatentField
from sdfrender.meshes.extraction import keep_bodies

MESH = "prior.ply"


def start_from_prior(
    state: Fit, family: LatentField, targets: Targets, run: RunFolder, quiet: bool
) -> None:
    """Look for the shape of the family that explains the views; `state` starts from it.

    Writes `prior.json`, the code and where it was placed, and `prior.ply`, the shape. A run that
    goes on takes up what it found before.

    Raises:
        InputError: no shape of the family can be seen in the views.
    """
    config, bounds, offset = run.config, state.lattice.bounds, state.scene.offset
    file = run.path / "prior.json"
    if config.resume and file.exists():
        shape = read_shape(file, family, offset)
    else:
        found = search(family, targets, state.appearance, bounds, config.prior_up, quiet=quiet)
        shape = found.shape
        write_json(file, description(found, offset))
    grid = samples_per_axis(config.resolution, bounds)
    likely = shape.lattice(bounds, grid).redistance()
    save_mesh(run.path / MESH, moved(keep_bodies(extract_mesh(likely)), offset))
    state.lattice, state.hold = likely, Hold(likely, config.prior_hold)


def description(found: SearchResult, offset: Doubles) -> dict[str, Any]:
    """As JSON, in the scene's own frame: `offset` `[3]` is added to the place."""
    placement = found.shape.placement.description()
    placement["center"] = (np.array(placement["center"], np.float64) + offset).tolist()
    return {
        "start": found.start,
        "heading_deg": math.degrees(found.heading),
        "energy": found.energy,
        "code": found.shape.code.tolist(),
        "placement": placement,
    }


def read_shape(file: Path, family: LatentField, offset: Doubles) -> PlacedShape:
    """The shape that a run's `prior.json` tells, about `offset`.

    Raises:
        InputError: not such a file, or of another family.
    """
    with expect(file, "the prior's shape of a run"):
        return from_description(json.loads(read_bytes(file)), family, offset)


def from_description(found: dict[str, Any], family: LatentField, offset: Doubles) -> PlacedShape:
    """The shape that `description` was made of, about `offset`."""
    code = torch.tensor(found["code"])
    if code.shape != (family.shape.code,) or not bool(code.isfinite().all()):
        raise ValueError(f"need a code of {family.shape.code} numbers, got {found['code']}")
    placement = dict(found["placement"])
    placement["center"] = (np.array(placement["center"], np.float64) - offset).tolist()
    return PlacedShape(family, code, Placement.from_description(placement))
