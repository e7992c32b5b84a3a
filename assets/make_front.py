"""The picture at the top of README.md: surfaces of finished runs, in clay, beside each other.

python assets/make_front.py runs/dino runs/dino,-60 runs/scan65 runs/demo,35

A number after a run turns it about its upward axis, degrees. The commands that made the runs are in
docs/results/index.md. Photographs are not shown, only surfaces.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from make_gallery import ASSETS, cropped, save
from torch import Tensor
from torch.nn.functional import interpolate

from multiview.run_folder import read_config
from multiview.scenes.run_scene import scene_of
from sdfrender import load_lattice
from sdfrender.report.turntable import around, display_frame, in_clay

SIZE, HEIGHT = 900, 380  # rendered, shown; pixels
PAPER = torch.tensor([0.16, 0.18, 0.2])  # behind the surfaces


def main(shown: list[str]) -> None:
    """Write assets/front.png."""
    pictures = []
    for name in shown:
        run, _, turned = name.partition(",")
        pictures.append(surface(Path(run), math.radians(float(turned or 0))))
    save(ASSETS / "front.png", torch.cat(pictures, 1))


def surface(run: Path, azimuth: float) -> Tensor:
    """`[HEIGHT, W, 3]`: the surface of a run, cut to where it is."""
    frame = display_frame(scene_of(read_config(run)).cameras)
    lattice = load_lattice(run / "lattice.safetensors")
    camera = around(lattice, frame, torch.tensor([azimuth]), SIZE)
    picture = cropped(in_clay(lattice, camera)[None])[0]
    alpha = picture[..., 3:]
    seen = alpha * picture[..., :3] + (1 - alpha) * PAPER
    width = round(seen.shape[1] * HEIGHT / seen.shape[0])
    return interpolate(seen.permute(2, 0, 1)[None], (HEIGHT, width), mode="area")[0].permute(
        1, 2, 0
    )


if __name__ == "__main__":
    main(sys.argv[1:])
