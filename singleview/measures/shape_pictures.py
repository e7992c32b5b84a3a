"""Pictures of fields: a row of views each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from sdfrender import Cameras, InputError, Lattice, render
from sdfrender.meshes.mise import Field, mise
from sdfrender.view.lighting import STUDIO
from singleview.data.samples import PADDED_BOX
from singleview.pictures.contact_sheet import write_picture

SHOWN, SHOWN_VIEWS, SHOWN_SIZE = 3, 4, 96  # shapes, pictures of each, and pixels on a side
COARSE = 24  # cells of the first grid; halved once


def draw_fields(path: Path, fields: Sequence[Field]) -> None:
    """Draw some of the fields, negative inside, in the padded box; black where nothing is."""
    lattices: list[Lattice | None] = []
    for field in fields[:: max(1, len(fields) // SHOWN)][:SHOWN]:
        try:
            lattices.append(mise(field, PADDED_BOX, COARSE, 1).lattice.redistance())
        except InputError:
            lattices.append(None)
    draw_lattices(path, lattices)


@torch.no_grad()
def draw_lattices(path: Path, lattices: Sequence[Lattice | None]) -> None:
    """A picture with a row of views for each lattice, black for None."""
    cameras = Cameras.orbit(SHOWN_VIEWS, width=SHOWN_SIZE)
    rows = []
    for lattice in lattices:
        if lattice is None:
            rows.append(torch.zeros(SHOWN_SIZE, SHOWN_SIZE * SHOWN_VIEWS, 1))
            continue
        images = render(lattice, cameras, lighting=STUDIO).images
        rows.append(torch.cat(list(images[..., :1]), 1))
    write_picture(path, torch.cat(rows))
