"""Where masks are written: in the folder of the scene, whatever it calls its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiview.scenes.scene import Description, View
from multiview.segmentation.mask_files import mask_name
from sdfrender.errors import InputError


def named(folder: Path, image: str, name: str) -> Path:
    view = View(name, folder / image, np.eye(4), np.eye(3), (8, 6))
    return mask_name(Description(folder / "transforms.json", folder, [view]), view)


def test_masks_are_called_after_their_pictures(tmp_path: Path) -> None:
    assert named(tmp_path, "images/a/b.c.jpg", "b") == Path("a/b.c.png")
    assert named(tmp_path, "../images/0001.png", "0001") == Path("0001.png")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("images/../../holiday/photo.png", "photo"),
        ("../holiday/photo.png", "../holiday/photo"),
        ("a.png", "/etc/photo"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(image: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{Path(image).name}: need pictures in the scene's"):
        named(tmp_path, image, name)
