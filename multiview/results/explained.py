"""Whether photographs are explained: what a user is told when they are not, and what to try."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

from multiview.config import FitConfig
from sdfrender import Lattice

LEAST_PSNR = 24.0  # dB inside the masks
CRINKLED = 11.0  # degrees a cell by which normals turn; sharp-edged machine parts have 8
COARSE = 40  # samples: on lattices below, the normals of a body turn as much by its shape alone
MISSED = 0.05  # of the pixels that agree: a matte figure in a studio has .03
SHORT = 0.5  # cells; edges of triangles shorter than this say nothing


def unexplained(config: FitConfig, stereo: bool, summary: dict[str, Any]) -> list[str]:
    """A sentence if no model of colour and light explains the photographs.

    Args:
        config: the settings.
        stereo: whether photographs were compared with each other.
        summary: with the group `train`, and `held_out` if there is one.
    """
    group, name = ("held_out", "held-out") if "held_out" in summary else ("train", "training")
    psnr = summary[group]["psnr"]
    if psnr >= LEAST_PSNR:
        return []
    if stereo:
        rest = (
            "the surface comes from where photographs agree, judge it by zncc; its colours do not"
        )
        return [f"{_below(psnr, name)}: {rest} tell much. {_advice(config, stereo)}"]
    rest = "what they cannot explain may be carved into the surface"
    return [f"{_below(psnr, name)}: {rest}. {_advice(config, stereo)}"]


def moving_light(config: FitConfig, missed: float) -> list[str]:
    """A sentence if shadows or highlights move over the surface of a fit to colours.

    Args:
        config: the settings.
        missed: of the pixels at which photographs agree, see `multiview.stereo.prediction`.
    """
    if missed <= MISSED:
        return []
    return [
        f"shadows or highlights move: where photographs agree with each other, {missed:.0%} of the "
        "pixels have colours that are off by far more than elsewhere, and the surface may be "
        f"wrong there. {_advice(config, False)}"
    ]


def _below(psnr: float, group: str) -> str:
    return (
        f"no model of colour and light explains the photographs: {psnr:.1f} dB inside the masks "
        f"of {group} views, less than {LEAST_PSNR:g}"
    )


def crinkled(config: FitConfig, stereo: bool, mesh: trimesh.Trimesh, lattice: Lattice) -> list[str]:
    """A sentence if the surface is crinkled beyond what shapes are; not of coarse lattices."""
    turn = crinkles(mesh, float(lattice.spacing.max()))
    if turn <= CRINKLED or max(lattice.resolution) < COARSE:
        return []
    return [
        f"the surface is crinkled: its normals turn by {turn:.0f} degrees a cell, as those of "
        f"shapes hardly do. {_advice(config, stereo)}"
    ]


def crinkles(mesh: trimesh.Trimesh, cell: float) -> float:
    """By how many degrees the normals of neighbouring vertices differ, per cell: the median.

    A ball of radius R cells has 57.3 / R, plane and sharp-edged parts 0.

    Args:
        mesh: of a lattice, world units.
        cell: its spacing, world units.
    """
    if not len(mesh.faces):
        return 0.0
    edges, lengths = mesh.edges_unique, mesh.edges_unique_length / cell
    long = lengths > SHORT
    if not long.any():
        return 0.0
    first, second = (mesh.vertex_normals[edges[long, k]] for k in (0, 1))
    angles = np.degrees(np.arccos((first * second).sum(1).clip(-1, 1)))
    return float(np.median(angles / lengths[long]))


def _advice(config: FitConfig, stereo: bool) -> str:
    """What to try."""
    tries = []
    if not stereo:
        tries.append("--stereo on (needs texture, and neighbouring views within 30 degrees)")
    if config.light != "per-view" and config.exposure != "per-view":
        tries.append("--light per-view")
    tries.append("--loss huber")
    tries.append("a lower --resolution")
    return f"Look at masks and cameras; try {', '.join(tries)}"
