"""Files of depths and of normals to arrays; each error names the file, the rule and the value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files.formats.exr import read_exr
from sdfrender.files.formats.pngs import read_png
from sdfrender.files.images import MAX_PIXELS, Image, check_pixels, image_mode, read_image
from sdfrender.io.cameras import read_array, read_arrays

DEPTHS = (".npz", ".npy", ".exr", ".png")
NORMALS = (".npz", ".exr", ".png")
UNIT = (0.7, 1.3)  # lengths of what is a normal: 8 bits, and means, leave them about 1

Numbers = NDArray[Any]


def read_depths(path: Path, unit: float) -> tuple[Image, Image]:
    """Depths `[H, W]`, 0 where unknown, and their weights `[H, W]`, 0 there too.

    .npz has `depths`, or its only array, and may have `weights`; .exr the channel Z, or its only
    one: both in world units. A 16-bit .png, and .npy as nerfstudio writes it, are times `unit`.
    0, infinity and NaN are unknown.

    Raises:
        InputError: a file of another kind, damaged, or with negative depths or weights.
    """
    weights: Numbers | None = None
    kind = path.suffix.lower()
    if kind == ".npz":
        depths, weights = _from_npz(path, "depths")
    elif kind == ".npy":
        with np.errstate(all="ignore"):  # NaN and infinity are unknown
            depths = read_array(path) * unit
    elif kind == ".exr":
        depths = _one_channel(path)
    elif kind == ".png":
        depths = _from_png(path) * unit
    else:
        raise InputError(f"{path}: need depths as {', '.join(DEPTHS)}, got '{path.suffix}'")
    if depths.ndim == 3 and depths.shape[-1] == 1:
        depths = depths[..., 0]
    if depths.ndim != 2 or depths.dtype.kind not in "fiu" or not depths.size:
        raise InputError(f"{path}: need depths [H, W], got {depths.dtype} {list(depths.shape)}")
    known = np.isfinite(depths) & (depths != 0)
    with np.errstate(over="ignore"):
        z: Image = np.where(known, depths, 0).astype(np.float32)
    known &= np.isfinite(z)  # farther than float32 holds is unknown, too
    z = np.where(known, z, 0)
    if (z < 0).any():
        raise InputError(
            f"{path}: need depths in front of the camera, {int((z < 0).sum())} are negative "
            f"(the least is {z.min():g}; 0, inf and NaN mean unknown)"
        )
    return z, _checked(path, weights, z.shape) * known


def read_normals(path: Path) -> tuple[Image, Image]:
    """Normals `[H, W, 3]` as the file has them, of length 1, and their weights `[H, W]`.

    .png of 8 or 16 bits holds `n / 2 + 1/2`, .exr the channels R, G, B or X, Y, Z, .npz `normals`,
    or its only array, and maybe `weights`. What has no length of about 1 is unknown.

    Raises:
        InputError: a file of another kind, or damaged.
    """
    weights: Numbers | None = None
    kind = path.suffix.lower()
    if kind == ".npz":
        normals, weights = _from_npz(path, "normals")
    elif kind == ".exr":
        normals = _three_channels(path)
    elif kind == ".png":
        color, alpha = read_image(path)
        normals, weights = 2 * color - 1, alpha
    else:
        raise InputError(f"{path}: need normals as {', '.join(NORMALS)}, got '{path.suffix}'")
    if normals.ndim != 3 or normals.shape[-1] != 3 or normals.dtype.kind != "f":
        raise InputError(
            f"{path}: need normals [H, W, 3], got {normals.dtype} {list(normals.shape)}"
        )
    with np.errstate(over="ignore"):
        n: Image = np.nan_to_num(normals.astype(np.float32), nan=0, posinf=0, neginf=0)
    n = np.where(np.abs(n) <= UNIT[1], n, 0)
    length = np.linalg.norm(n, axis=-1)
    known = (length > UNIT[0]) & (length < UNIT[1])
    unit: Image = np.where(known[..., None], n / np.maximum(length, UNIT[0])[..., None], 0)
    return unit, _checked(path, weights, known.shape) * known


def _from_npz(path: Path, name: str) -> tuple[Numbers, Numbers | None]:
    arrays = read_arrays(path)
    others = [key for key in arrays if key != "weights"]
    if name not in arrays and len(others) != 1:
        have = ", ".join(arrays) or "nothing"
        raise InputError(f"{path}: need the array '{name}', it has {have}")
    found = arrays[name] if name in arrays else arrays[others[0]]
    return found, arrays.get("weights")


def _from_png(path: Path) -> Numbers:
    check_pixels(path, image_mode(path)[1], MAX_PIXELS)
    pixels = read_png(path)
    if pixels.dtype != np.uint16 or pixels.shape[-1] != 1:
        bits, channels = 8 * pixels.dtype.itemsize, pixels.shape[-1]
        raise InputError(
            f"{path}: need depths as grey of 16 bits, got {bits} bits and {channels} channel"
            f"{'s' if channels > 1 else ''}"
        )
    return pixels[..., 0].astype(np.float64)


def _one_channel(path: Path) -> Numbers:
    channels = read_exr(path)
    for name in ("Z", "depth.Z", "Y", "R"):
        if name in channels:
            return channels[name]
    if len(channels) > 1:
        raise InputError(f"{path}: need a channel Z, it has {', '.join(channels)}")
    return next(iter(channels.values()))


def _three_channels(path: Path) -> Numbers:
    channels = read_exr(path)
    for names in ("RGB", "XYZ", "xyz"):
        if set(names) <= set(channels):
            return np.stack([channels[name] for name in names], -1)
    raise InputError(f"{path}: need channels R, G, B or X, Y, Z, it has {', '.join(channels)}")


def _checked(path: Path, weights: Numbers | None, shape: tuple[int, ...]) -> Image:
    """Weights, or ones where a file has none."""
    if weights is None:
        return np.ones(shape, np.float32)
    if weights.shape != shape or weights.dtype.kind not in "fiub":
        raise InputError(f"{path}: need 'weights' {list(shape)}, got {list(weights.shape)}")
    with np.errstate(over="ignore"):
        w: Image = weights.astype(np.float32)
    if not (np.isfinite(w) & (w >= 0)).all():
        raise InputError(f"{path}: need 'weights' of at least 0, some are not")
    return w
