"""Masks of real photographs against six that were marked by hand.

`kitchen_masks.json` has polygons in pixels of the photographs: the object's outlines, gaps in it,
parts that one cannot tell, and the black tracks and wheels.
Run by hand: `pytest -m release tests/soak` takes some minutes.
"""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import places
import pytest
from PIL import Image, ImageDraw

from multiview.scenes import describe_scene
from multiview.segmentation.mask_scene import mask_scene
from multiview.segmentation.settings import MaskSettings

PHOTOGRAPHS = places.DATA / "photographs" / "kitchen" / "images"
MARKED = json.loads((Path(__file__).parent / "kitchen_masks.json").read_text())


def drawn(size: tuple[int, int], *layers: tuple[list[list[list[int]]], int]) -> np.ndarray:
    image = Image.new("L", size, 0)
    for polygons, value in layers:
        for polygon in polygons:
            ImageDraw.Draw(image).polygon([tuple(corner) for corner in polygon], fill=value)
    return np.array(image) > 0


def scores(scene: Path) -> dict[str, tuple[float, float, float]]:
    """By view: IoU at known pixels, tracks that are carved away, and what is not known of it."""
    found = {}
    for name, parts in MARKED.items():
        file = scene / "masks" / f"{name}.png"
        if not file.is_file():
            continue  # the photograph was not placed
        mask, known = iio.imread(file) > 127, iio.imread(scene / "mask_weights" / file.name) > 127
        size = mask.shape[1], mask.shape[0]
        truth = drawn(size, (parts["outer"], 1), (parts["holes"], 0))
        counted = known & ~drawn(size, (parts["ambiguous"], 1))
        tracks = drawn(size, (parts["tracks"], 1)) & truth
        iou = (mask & truth & counted).sum() / ((mask | truth) & counted).sum()
        carved = (tracks & counted & ~mask).sum() / tracks.sum()
        found[name] = float(iou), float(carved), float((truth & ~known).sum() / truth.sum())
    return found


@pytest.mark.release
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="../shared/data is not there")
def test_the_excavator_on_the_kitchen_table(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="needs the extra photos")
    find = pytest.importorskip("multiview.photographs.find")
    settings = pytest.importorskip("multiview.photographs.settings")
    find.find_cameras(settings.CameraSettings(PHOTOGRAPHS, tmp_path / "kitchen"), quiet=True)
    mask_scene(MaskSettings(tmp_path / "kitchen"))
    assert len(describe_scene(tmp_path / "kitchen").views) >= 23
    found = scores(tmp_path / "kitchen")
    assert len(found) >= 5
    iou, carved, unknown = np.array(list(found.values())).T
    assert iou.mean() >= 0.9, found
    assert carved.mean() < 0.05, found
    assert unknown.mean() < 0.3, found
