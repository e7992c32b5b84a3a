"""A picture of a category as it was aligned: each mesh from the same side, with its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdfrender.files.atomic import atomic_write
from sdfrender.rendering.raytrace import raytrace
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import STUDIO
from singleview.data.meshes import Source, canonical_mesh
from singleview.pictures.contact_sheet import screen_pixels

SIZE, LINE = 96, 24  # pixels: of a picture, and of the two lines under it
COLUMNS = 10
DOUBTFUL = 0.8  # of the median overlap: one below that is marked
EYE = (1.5, 1.6, 2.4)  # from the front, the right and above: z towards the eye, y up
WHITE, GREY, ORANGE = (235, 235, 235), (150, 150, 150), (255, 160, 60)


class Shown(Protocol):
    """What a sheet shows of a mesh."""

    @property
    def source(self) -> Source:
        """The mesh with its rotation."""

    @property
    def overlap(self) -> float:
        """With the others of its category."""

    @property
    def kept(self) -> bool:
        """Whether its rotation was told."""


def write_sheet(path: Path, shown: Sequence[Shown]) -> None:
    """Write a PNG file, least overlap first: its name and its overlap, in orange where doubtful."""
    order = sorted(shown, key=lambda one: one.overlap)
    rows = math.ceil(len(order) / COLUMNS)
    width = min(len(order), COLUMNS) * SIZE
    sheet = Image.new("RGB", (width, rows * (SIZE + LINE)))
    draw = ImageDraw.Draw(sheet)
    middle = float(np.median([one.overlap for one in order]))
    for n, one in enumerate(order):
        row, column = divmod(n, COLUMNS)
        at = column * SIZE, row * (SIZE + LINE)
        sheet.paste(Image.fromarray(_picture(one.source)), at)
        name = one.source.path.name
        short = (
            name
            if len(name) <= 15
            else f"{name[:7]}…{name[-7:]}".encode("ascii", "replace").decode()
        )
        draw.text((at[0] + 3, at[1] + SIZE), short, WHITE)
        color = GREY if one.kept else ORANGE if one.overlap < DOUBTFUL * middle else WHITE
        told = "told" if one.kept else f"{one.overlap:.2f}"
        draw.text((at[0] + 3, at[1] + SIZE + 11), told, color)
    with atomic_write(path) as partial:
        sheet.save(partial)


def _picture(source: Source) -> NDArray[np.uint8]:
    """`[SIZE, SIZE, 3]`."""
    camera = Cameras.look_at([list(EYE)], width=SIZE)
    seen = raytrace(canonical_mesh(source), camera, lighting=STUDIO, albedo=[1.0], supersampling=1)
    return np.repeat(screen_pixels(seen.images[0]), 3, -1)
