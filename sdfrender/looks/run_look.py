"""Colour and light of a finished run: what new views of it are rendered with."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.files.tensors import expect, load_tensors, need_file, need_tensor, stored_shape
from sdfrender.geometry.lattice import Lattice
from sdfrender.looks.view_dependence import ViewDependence, need_few
from sdfrender.rendering.render import Rendering, render
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting, turned_sh

log = logging.getLogger("sdfrender")

LATTICE, TENSORS, TOLD = "lattice.safetensors", "appearance.safetensors", "appearance.json"


@dataclass(frozen=True, eq=False)
class RunLook:
    """What a run found beside the shape.

    Args:
        albedo: `[C]`, or a lattice of colours `[X, Y, Z, C]`.
        sh: `[9, C]` the light's coefficients; None where colours are seen without a light.
        with_camera: whether the light turns with the camera.
        beyond: what depends on the view, or None.
    """

    albedo: Tensor
    sh: Tensor | None
    with_camera: bool
    beyond: ViewDependence | None

    @classmethod
    def load(cls, run: Path) -> RunLook:
        """Read what a run wrote.

        Raises:
            InputError: no finished run, or one under a light that was stated.
        """
        need_file(run / TOLD, "a run that multiview fit has finished")
        what = "the appearance of a run"
        with expect(run / TOLD, what):
            told = dict(json.loads(read_bytes(run / TOLD)))
            model, lighting = str(told["model"]), dict(told.get("lighting") or {})
        vertices = math.prod(stored_shape(run / LATTICE, "values", "the lattice of a run"))
        tensors, _ = load_tensors(run / TENSORS, what)
        with expect(run / TENSORS, what):
            albedo, rest = unpacked(tensors, vertices)
            C = len(rest)
            if C not in (1, 3):
                raise ValueError(f"colours of {C} channels")
            sh = need_tensor(tensors, "sh", (9, C), ("N", 9, C))
            beyond = ViewDependence.unpacked(tensors, vertices)
            if beyond is not None and beyond.layers[0].values.shape[2] != C:
                raise ValueError(f"layers of other channels than the {C} of its colours")
        if model == "radiance":
            return cls(albedo, None, False, beyond)
        if not lighting:
            raise InputError(
                f"{run}: its light was stated, not found; render {run / LATTICE} with --light"
            )
        if sh.ndim == 3:
            log.warning("%s: each photograph had a light of its own: views have their mean", run)
            sh = sh.mean(0)
        return cls(albedo, sh, lighting.get("fixed_to") == "camera", beyond)

    def render(self, lattice: Lattice, cameras: Cameras) -> Rendering:
        """Images of the run's surface from new cameras, over black. Not differentiable."""
        light = Lighting(ambient=1.0, headlight=None)
        if self.sh is not None:
            sh = turned_sh(self.sh, cameras.c2w[:, :3, :3]) if self.with_camera else self.sh
            light = Lighting(headlight=None, sh=sh.to(lattice.values))
        with torch.no_grad():
            out = render(lattice, cameras, lighting=light, albedo=self.albedo)
        if self.beyond is None:
            return out
        return self.beyond.seen(out, cameras, lattice)


def packed(albedo: Tensor, rest: Tensor) -> dict[str, Tensor]:
    """One colour, or of a lattice the vertices that have a colour of their own.

    Args:
        albedo: `[C]`, or a lattice `[X, Y, Z, C]`.
        rest: `[C]` the colour of all other vertices.
    """
    if albedo.ndim == 1:
        return {"albedo": albedo}
    flat = albedo.reshape(-1, albedo.shape[-1])
    ids = (flat != rest).any(-1).nonzero()[:, 0].int()
    shape = torch.tensor(albedo.shape)
    return {"albedo": rest, "shape": shape, "ids": ids, "colors": flat[ids]}


def unpacked(tensors: Mapping[str, Tensor], vertices: int) -> tuple[Tensor, Tensor]:
    """What `packed` was given: the albedo, `[C]` or `[X, Y, Z, C]`, and the rest, `[C]`.

    Args:
        tensors: of a file.
        vertices: of the shape's lattice.

    Raises:
        ValueError: tensors that are not those of colours on such a shape.
    """
    rest = need_tensor(tensors, "albedo", ("C",))
    if "shape" not in tensors:
        return rest, rest
    *size, C = need_tensor(tensors, "shape", (4,), whole=True).tolist()
    need_few(size, vertices)
    colors = need_tensor(tensors, "colors", ("M", len(rest)), (0, len(rest)))
    ids = need_tensor(tensors, "ids", (len(colors),), whole=True).long()
    if len(rest) != C or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < math.prod(size)):
        raise ValueError("'shape' or 'ids' that do not fit its colours")
    albedo = rest.expand(*size, C).clone()
    albedo.view(-1, C)[ids] = colors.to(albedo)
    return albedo, rest
