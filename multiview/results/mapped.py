"""How the depth maps of a run lie beside its surface: `depth_maps.json`, and what is doubtful."""

from __future__ import annotations

from typing import Any

import torch

from multiview.optimize.maps.term import MapTerm, map_outputs
from multiview.photo.targets import Targets
from multiview.scenes import Scene
from sdfrender import Lattice, render

FAR = 2.0  # cells, by which half of a map's pixels are off: it is not of this surface


def depth_maps(lattice: Lattice, scene: Scene) -> dict[str, dict[str, float]]:
    """Per training view with depths: scale, shift (world units), and the median difference.

    `off_cells` is the median of `|a d + b − z| / h` over the pixels that show the surface, of
    depths z and spacing h; with depths in world units a is 1 and b 0.
    """
    found: dict[str, dict[str, float]] = {}
    h = float(lattice.spacing.max())
    for view in scene.train:
        one = Targets.of(scene, [view])
        maps = one.maps
        if "depths" not in map_outputs(one):
            break
        assert maps is not None
        assert maps.depths is not None
        with torch.no_grad():
            out = render(lattice, one.cameras)
        term = MapTerm(lattice, one, out, 1.0)
        used = term.weights["depths"][0] > 0
        if not used.any():
            continue
        a, b = term.scales[0].tolist()
        off = (a * maps.depths[0][used] + b - out.depths[0][used]).abs().median()
        found[scene.names[view]] = {"scale": a, "shift": b, "off_cells": float(off) / h}
    return found


def doubtful(found: dict[str, dict[str, Any]]) -> list[str]:
    """Warnings of maps that are of another surface."""
    far = [name for name, told in found.items() if told["off_cells"] > FAR]
    if not far:
        return []
    named = ", ".join(far[:5]) + (", …" if len(far) > 5 else "")
    return [
        f"the surface does not follow the depth maps of {len(far)} of {len(found)} views "
        f"({named}): half of their pixels are more than {FAR:g} cells off; are they camera z, not "
        "along the ray, and of these cameras? --depth-scale fit finds a scale and a shift of each"
    ]
