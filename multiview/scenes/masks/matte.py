"""How much of each pixel at an outline is object, for a bright object before a dark stage.

A threshold puts the outline where a pixel is just bright enough, which is outside the true one: a
lens spreads a contour over a few pixels. Between the stage's brightness and that of the object
beside it, brightness itself tells the coverage.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sdfrender.files.images import Image

OUTSIDE, INSIDE = 3, 3  # pixels on both sides of a hard outline that may be covered in part
BESIDE = 4  # pixels over which the object's brightness beside the outline is taken
CONTRAST = 0.1  # least difference of object and stage, a fraction of full scale, that tells


def soften(luminance: Image, silhouette: Image, known: Image) -> tuple[Image, Image]:
    """A soft silhouette from a hard one.

    Args:
        luminance: `[H, W]` in [0, 1].
        silhouette: `[H, W]`, 0 or 1.
        known: `[H, W]` 0 where the silhouette is a guess; it stays hard around there.

    Returns:
        `[H, W]` coverage in [0, 1], and `[H, W]` what to multiply a photograph with for colours
        premultiplied by it: 1 at a soft outline, where a photograph of a dark stage is just that.
    """
    inside = silhouette > 0.5
    depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    beyond = depth < -2 * OUTSIDE
    if not beyond.any():
        return silhouette, silhouette
    stage = np.median(luminance[beyond])
    object_ = ndimage.maximum_filter(np.where(depth > INSIDE, luminance, 0), 2 * BESIDE + 1)
    contrast = object_ - stage
    guess = ndimage.binary_dilation(known < 0.5, iterations=OUTSIDE)
    soft = (depth >= -OUTSIDE) & (depth <= INSIDE) & (contrast > CONTRAST) & ~guess
    coverage = np.clip((luminance - stage) / np.maximum(contrast, CONTRAST), 0, 1)
    coverage = np.where(soft, coverage, silhouette).astype(np.float32)
    taken = np.where(soft, coverage > 0, silhouette).astype(np.float32)
    return coverage, taken
