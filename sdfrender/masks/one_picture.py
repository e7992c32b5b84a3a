"""The object in one photograph: it differs from what the picture's rim shows, shadows do not.

What a pixel may be explained by, without an object:

    background  the smooth colour behind it (`background`), or a colour of the rim
    shadow      a colour of the rim, darker: in linear light `s · rim`, s < 1

What may be a shadow is object where no way leads there from the rim but over a sharp step of
colour. A minimum cut then divides the picture, and histograms of what it found on both sides help
the next one. Nothing here is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.morphology import reconstruction

from sdfrender.files.images import Image, area_average, srgb_to_linear
from sdfrender.masks.background import Background, find_background, rim
from sdfrender.masks.colors import colour_bins, histogram
from sdfrender.masks.cut import cut
from sdfrender.masks.silhouettes import NOISE_SIDE, Floats, Mask

LONGEST = 200  # pixels that are looked at
TOLERANCE = 0.04  # difference from a colour of the rim that is none
PLAIN = 0.05  # a smooth background with a larger tolerance is a guess inside of the picture
NEAR = 0.2  # a colour of the rim as far away as the picture is long differs by that
DEEPEST = 0.25  # of the light is left in the deepest shadow
TINTED = 0.04  # sine of the angle between a colour and that of the ground in shadow
SURE = 4.0  # log-odds of the object at most, of one kind of evidence
STEP = 0.08  # of colour, between neighbours, at which a shadow is as likely as an outline
STEEP = 2.0  # how fast the log-odds grow with it
IN_SHADOW = (-0.5, 2.0)  # log-odds of what may be a shadow, least and most
CALM = 0.6  # pixels, over which noise is averaged
GROUND_COLORS = 24  # of the rim that may lie in shadow, of all its brightnesses
ROUNDS = 3  # of cuts
SMOOTHNESS = 1.5  # of the cut
LEARNED = 0.5  # of the histograms' log-odds counts
LEAST_SHARE = 0.002  # of the picture, that an object is
BUSY = 0.3  # of the rim at most is like no other part of it
MOST_RIM = 0.4  # of the rim at most looks like the object
SPECK = 0.02  # of the largest part, that other parts are
MAIN_PART = 0.5  # of the object at least hangs together


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in a picture.

    Args:
        coverage: `[H, W]` in [0, 1].
        doubt: why that cannot be the object, a clause; empty where it can.
    """

    coverage: Image
    doubt: str = ""


def object_in_picture(photo: Image, linear: bool = False) -> Found:
    """Where the object is in a photograph.

    Args:
        photo: `[H, W, C]` in [0, 1], C = 1 or 3.
        linear: the numbers are linear in light, not sRGB.
    """
    H, W, C = photo.shape
    scale = min(1.0, LONGEST / max(H, W))
    small = area_average(photo, max(1, round(W * scale)), max(1, round(H * scale)))
    small = np.repeat(small, 3, -1) if C == 1 else small
    unlike = unlike_rim(small, linear)
    mask = without_specks(divided(small, unlike))
    busy = f"{unlike.busy:.0%} of its rim is like no other part of it" * (unlike.busy > BUSY)
    return Found(enlarged(mask.astype(np.float32), (H, W)), busy or doubt_of(mask))


def doubt_of(mask: Mask) -> str:
    """Why a mask `[H, W]` cannot be that of one object; empty where it can."""
    if mask.mean() < LEAST_SHARE:
        return "nothing in it does"
    edge = rim(np.ones_like(mask))
    if mask[edge].mean() > MOST_RIM:
        return f"{mask[edge].mean():.0%} of its rim do"
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())[1:]
    if areas.max() < MAIN_PART * areas.sum():
        return f"{len(areas)} parts of it do, all of them small"
    return ""


@dataclass(frozen=True, eq=False)
class Unlike:
    """How little a picture's rim explains its pixels.

    Args:
        difference: `[H, W]` from the rim's colours, in tolerances.
        shadow: `[H, W]` whether it may be one of these colours in shadow.
        barrier: `[H, W]` the steepest step on the easiest way from the rim to a pixel, in
            differences of colour between neighbours: soft shadows have small ones all the way.
        busy: how much of the rim is not explained by the rest of it, in [0, 1].
    """

    difference: Floats
    shadow: Mask
    barrier: Floats
    busy: float


def unlike_rim(photo: Image, linear: bool = False) -> Unlike:
    """Compare a picture `[H, W, 3]` in [0, 1], sRGB or `linear` in light, with its rim."""
    H, W, _ = photo.shape
    whole = np.ones((H, W), bool)
    edge = rim(whole)
    v, u = (np.mgrid[:H, :W] * NEAR / max(H, W)).astype(np.float32)
    places = np.dstack((photo, v, u)).reshape(-1, 5)
    known = places[edge.ravel()]
    difference = (KDTree(known).query(places)[0] / TOLERANCE).reshape(H, W)
    busy = float((KDTree(known[::2]).query(known[1::2])[0] > 2 * TOLERANCE).mean())
    smooth = find_background(photo, None, whole)
    if isinstance(smooth, Background) and smooth.tolerance <= PLAIN:
        difference = np.minimum(difference, smooth.difference / smooth.tolerance)
    light = (photo if linear else srgb_to_linear(photo)).reshape(-1, 3)
    shadow = in_shadow(light, light[edge.ravel()]).reshape(H, W)
    return Unlike(difference.astype(np.float32), shadow, barriers(photo, edge), busy)


def in_shadow(light: Floats, rim_light: Floats) -> Mask:
    """`[P]` which colours `[P, 3]` are colours of the rim `[Q, 3]`, darker; linear in light."""
    order = np.argsort(rim_light.sum(-1))
    chosen = order[np.linspace(0, len(order) - 1, GROUND_COLORS).round().astype(int)]
    ground = rim_light[chosen].clip(1e-4)
    size = np.linalg.norm(ground, axis=-1)
    along = light @ (ground / size[:, None]).T  # (P, K)
    own = np.linalg.norm(light, axis=-1).clip(1e-6)[:, None]
    sine = np.sqrt((1 - (along / own) ** 2).clip(0))
    left = along / size
    dark: Mask = ((sine < TINTED) & (left > DEEPEST) & (left < 1)).any(-1)
    return dark


def barriers(photo: Image, edge: Mask) -> Floats:
    """`[H, W]` the least, over ways from the rim `edge`, of the largest step of colour on the way.

    A morphological reconstruction of the picture's steps (L. Vincent 1993).
    """
    calm = ndimage.gaussian_filter(photo, (CALM, CALM, 0))
    steps = np.zeros(photo.shape[:2], np.float32)
    for axis in (0, 1):
        change = np.abs(np.diff(calm, axis=axis)).max(-1)
        before, after = (np.pad(change, [p if k == axis else (0, 0) for k in (0, 1)])
                         for p in ((1, 0), (0, 1)))  # fmt: skip
        steps = np.maximum(steps, np.maximum(before, after))
    start = np.where(edge, steps, steps.max())
    found = reconstruction(start, steps, method="erosion")  # type: ignore[no-untyped-call]
    return np.asarray(found, np.float32)


def divided(photo: Image, unlike: Unlike) -> Mask:
    """`[H, W]` the object of a photograph `[H, W, 3]`, from what `unlike_rim` says of it."""
    own = (2 * (unlike.difference - 1.5)).clip(-2, SURE)
    sharp = (STEEP * (unlike.barrier / STEP - 1)).clip(*IN_SHADOW)
    own = np.where(unlike.shadow, np.minimum(own, sharp), own).astype(np.float32)
    edge = rim(np.ones_like(unlike.shadow))
    bins = colour_bins(photo)
    evidence = own
    mask = own > 0
    for _ in range(ROUNDS):
        mask = cut(evidence, photo, SMOOTHNESS)
        if not mask.any() or mask.all():
            break
        inside, outside = (histogram([bins], [x.astype(np.float32)]) for x in (mask, ~mask | edge))
        learned = np.log(inside[bins] / outside[bins]).clip(-SURE, SURE)
        evidence = (own + LEARNED * learned).astype(np.float32)
    return mask


def enlarged(mask: Image, shape: tuple[int, int]) -> Image:
    """A mask at a larger size `[H, W]`, its outline smooth."""
    if mask.shape == shape:
        return mask
    factor = shape[0] / mask.shape[0], shape[1] / mask.shape[1]
    smooth = ndimage.gaussian_filter(mask, 0.7)
    large = ndimage.zoom(smooth, factor, order=1, grid_mode=True, mode="nearest")
    soft: Image = (0.5 + (large - 0.5) * max(factor)).clip(0, 1).astype(np.float32)
    return soft


def without_specks(mask: Mask) -> Mask:
    """A mask `[H, W]` without parts that are very small beside the largest."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 0:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    least = max(SPECK * areas.max(), (NOISE_SIDE * max(mask.shape)) ** 2)
    kept: Mask = (areas >= least)[labels]
    return kept
