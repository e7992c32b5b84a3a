"""The contact sheet: all masks over their photographs, on one page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from multiview.segmentation.find_masks import FoundMasks
from multiview.segmentation.photograph import Mask, Photograph
from sdfrender.files.atomic import write_bytes
from sdfrender.report.page import fill

FOLDER = Path(__file__).parent
WIDTH = 360  # pixels of a picture on the page


def write_sheet(
    file: Path, photographs: list[Photograph], found: FoundMasks, given: set[int]
) -> None:
    """Write a page with all photographs, what is not object dimmed, what is not known in green.

    Args:
        file: to write.
        photographs: N of them.
        found: their masks.
        given: positions of the views whose masks a person gave.
    """
    cards = [
        {
            "name": photo.view.name,
            "picture": _address(marked(photo, found.masks[n], found.known[n])),
            "given": n in given,
            "share": float(found.masks[n].mean()),
            "unknown": float((~found.known[n]).mean()),
        }
        for n, photo in enumerate(photographs)
    ]
    page = fill(FOLDER, cards=cards, agreement=found.agreement, width=WIDTH)
    write_bytes(file, page.encode())


def marked(photo: Photograph, mask: Mask, known: Mask) -> NDArray[np.uint8]:
    """`[H, W, 3]` a photograph with its mask."""
    picture = (photo.image * 255).astype(np.uint8)
    picture[~mask] = picture[~mask] // 4 + np.array([60, 0, 60], np.uint8)
    picture[~known] = picture[~known] // 2 + np.array([0, 100, 0], np.uint8)
    return picture


def _address(picture: NDArray[np.uint8]) -> str:
    image = Pillow.fromarray(picture)
    image.thumbnail((WIDTH, 4 * WIDTH))
    data = io.BytesIO()
    image.save(data, "webp", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
