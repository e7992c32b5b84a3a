"""Make the picture that `singleview demo` looks at: a mug.

Run from the root of the repository: python assets/make_singleview_demo.py

It writes assets/singleview/mug.png, ray traced from a mesh in the pose and light of the training
pictures, in sRGB with coverage as alpha. The weights beside it are trained: see assets/README.md.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor

from sdfrender import Cameras, Lattice, extract_mesh
from sdfrender.files.formats.pngs import write_png
from sdfrender.geometry.primitives import SDF, capsule, difference, union
from sdfrender.rendering.raytrace import raytrace
from sdfrender.view.lighting import STUDIO
from singleview.pictures.contact_sheet import encode_srgb

PICTURE = Path(__file__).parent / "singleview" / "mug.png"
SIZE = 192
AZIMUTH, ELEVATION, FOV = (math.radians(x) for x in (30.0, 35.0, 40.0))
DISTANCE = 3.2


def mug() -> SDF:
    """A round wall that widens upwards, a floor, and a handle; 1.5 wide with the handle."""

    def cylinder(low: float, high: float, radius: float, widening: float) -> SDF:
        def distance(p: Tensor) -> Tensor:
            x, y, z = p.unbind(-1)
            side = torch.hypot(x + 0.2, z) - radius - widening * y
            return torch.maximum(side, torch.maximum(low - y, y - high))

        return distance

    body = difference(cylinder(-0.55, 0.55, 0.5, 0.06), cylinder(-0.46, 0.6, 0.42, 0.06))
    bow = [(0.28, -0.28), (0.62, -0.2), (0.68, 0.15), (0.3, 0.32)]
    handle = [capsule((a[0], a[1], 0.0), (b[0], b[1], 0.0), 0.06) for a, b in pairwise(bow)]
    return union(body, *handle)


def make_mesh() -> trimesh.Trimesh:
    """The mug as a mesh, in the middle of the box [-1, 1]³."""
    return extract_mesh(Lattice.from_function(mug(), 160))


def main() -> None:
    """Photograph the mug."""
    around, height = DISTANCE * math.cos(ELEVATION), DISTANCE * math.sin(ELEVATION)
    eye = [around * math.sin(AZIMUTH), height, around * math.cos(AZIMUTH)]
    camera = Cameras.look_at([eye], width=SIZE, fov=FOV)
    seen = raytrace(make_mesh(), camera, lighting=STUDIO, albedo=[1.0], supersampling=5)
    alpha = seen.silhouettes[0].numpy()
    color = seen.images[0, ..., 0].numpy() / np.maximum(alpha, 1e-6)
    pixels = [(x.clip(0, 1) * 255).round().astype(np.uint8) for x in (color, alpha)]
    PICTURE.parent.mkdir(exist_ok=True)
    write_png(PICTURE, np.stack((encode_srgb(pixels[0]), pixels[1]), -1))
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
