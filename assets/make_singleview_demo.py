"""Make the picture that `singleview demo` looks at: a chair of boxes and capsules.

Run from the root of the repository: python assets/make_singleview_demo.py

It writes assets/singleview/chair.png, ray traced from a mesh in the pose and light of the training
pictures, in sRGB with coverage as alpha. The weights beside it are trained: see assets/README.md.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import trimesh

from sdfrender import Cameras, Directional, Headlight, Lattice, Lighting, extract_mesh
from sdfrender.pngs import write_png
from sdfrender.primitives import SDF, box, capsule, union
from sdfrender.raytrace import raytrace
from singleview.data.contact_sheet import encode_srgb

PICTURE = Path(__file__).parent / "singleview" / "chair.png"
SIZE = 192
LIGHT = Lighting(headlight=Headlight(0.7), directional=(Directional((0.3, 0.8, 0.5), 0.3),))
AZIMUTH, ELEVATION, FOV = (math.radians(x) for x in (30.0, 35.0, 40.0))
DISTANCE = 3.2


def chair() -> SDF:
    """Seat, back with a gap, and four legs; 1.5 tall."""
    seat = box((0.36, 0.05, 0.36), (0.0, -0.08, 0.0))
    legs = [capsule((x, -0.71, z), (x, -0.1, z), 0.04) for x in (-0.3, 0.3) for z in (-0.3, 0.3)]
    posts = [capsule((x, -0.1, -0.32), (x, 0.7, -0.38), 0.04) for x in (-0.3, 0.3)]
    back = box((0.3, 0.17, 0.035), (0.0, 0.5, -0.36))
    return union(seat, back, *legs, *posts)


def make_mesh() -> trimesh.Trimesh:
    """The chair as a mesh, in the middle of the box [-1, 1]³."""
    return extract_mesh(Lattice.from_function(chair(), 160))


def main() -> None:
    """Photograph the chair."""
    around, height = DISTANCE * math.cos(ELEVATION), DISTANCE * math.sin(ELEVATION)
    eye = [around * math.sin(AZIMUTH), height, around * math.cos(AZIMUTH)]
    camera = Cameras.look_at([eye], width=SIZE, fov=FOV)
    seen = raytrace(make_mesh(), camera, lighting=LIGHT, albedo=[1.0], supersampling=5)
    alpha = seen.silhouettes[0].numpy()
    color = seen.images[0, ..., 0].numpy() / np.maximum(alpha, 1e-6)
    pixels = [(x.clip(0, 1) * 255).round().astype(np.uint8) for x in (color, alpha)]
    PICTURE.parent.mkdir(exist_ok=True)
    write_png(PICTURE, np.stack((encode_srgb(pixels[0]), pixels[1]), -1))
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
