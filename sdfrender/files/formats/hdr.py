"""Radiance's `.hdr` pictures: three mantissas and a common exponent of 8 bits each (RGBE).

Source: Ward, "Real Pixels", Graphics Gems II, 1991; scan lines in runs as Radiance writes them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes, write_bytes

Image = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MAGIC = (b"#?RADIANCE", b"#?RGBE")
MOST_PIXELS = 2**26
EXPOSURES = 1e-20, 1e20
LONGEST = 128  # numbers of a literal run
RUNS = (8, 0x7FFF)  # widths of scan lines that may be stored in runs


def write_hdr(path: Path, radiance: Image) -> None:
    """Write `[H, W, 3]` linear radiance, at least 0; a file is replaced whole.

    A channel is off by at most 1/256 of the pixel's brightest one.

    Raises:
        ValueError: another shape, or numbers that are negative or not finite.
    """
    if radiance.ndim != 3 or radiance.shape[2] != 3 or 0 in radiance.shape:
        raise ValueError(f"radiance: need [H, W, 3], got {radiance.shape}")
    if not (np.isfinite(radiance).all() and radiance.min() >= 0):
        raise ValueError("radiance: need finite numbers of at least 0")
    H, W = radiance.shape[:2]
    head = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {H} +X {W}\n".encode()
    pixels = to_rgbe(radiance)
    lines = [_stored(line) for line in pixels]
    write_bytes(path, head + b"".join(lines))


def read_hdr(path: Path) -> Image:
    """Read `[H, W, 3]` linear radiance, the first row on top.

    Raises:
        InputError: missing, not such a picture, damaged, too large, or stored in another direction.
    """
    data = read_bytes(path)
    if not data.startswith(MAGIC):
        raise InputError(f"{path}: need a Radiance picture (.hdr), it does not begin as one")
    found = re.search(rb"\n\r?\n([^\n]*)\n", data)
    size = re.fullmatch(rb"-Y\s+(\d{1,9})\s+\+X\s+(\d{1,9})\s*", found[1]) if found else None
    if found is None or size is None:
        raise InputError(
            f"{path}: need rows from the top and columns from the left ('-Y HEIGHT +X WIDTH'), "
            f"got {found[1].decode('ascii', 'replace')[:40] if found else 'no size'!r}"
        )
    if b"FORMAT=32-bit_rle_xyze" in data[: found.start()]:
        raise InputError(f"{path}: need colours as RGBE, it has XYZE")
    H, W = int(size[1]), int(size[2])
    if not 0 < H * W <= MOST_PIXELS:
        raise InputError(f"{path}: need 1 to {MOST_PIXELS} pixels, got {W}×{H}")
    exposure = _exposure(data[: found.start()], path)
    try:
        image = from_rgbe(_pixels(np.frombuffer(data, np.uint8, offset=found.end()), H, W))
    except (IndexError, ValueError):
        raise InputError(f"{path}: the picture is damaged or cut off") from None
    with np.errstate(over="ignore"):
        image = image / np.float32(exposure)
    if not np.isfinite(image).all():
        raise InputError(f"{path}: need finite radiance, EXPOSURE {exposure:g} makes it infinite")
    return image


def _exposure(head: bytes, path: Path) -> float:
    """What all numbers of a picture were multiplied by."""
    told = re.findall(rb"\nEXPOSURE=\s*([^\s]+)", head)
    try:
        exposure = math.prod(float(x) for x in told)
    except ValueError:
        exposure = math.nan
    if not EXPOSURES[0] <= exposure <= EXPOSURES[1]:
        got = b" ".join(told).decode("latin")
        raise InputError(f"{path}: need an EXPOSURE from 1e-20 to 1e20, got {got}")
    return exposure


def to_rgbe(radiance: Image) -> Bytes:
    """`[..., 3]` radiance to `[..., 4]` bytes."""
    brightest = radiance.max(-1).astype(np.float64)
    _, exponent = np.frexp(brightest)
    exponent = np.clip(exponent, -127, 127)
    scaled = np.ldexp(radiance.astype(np.float64), (8 - exponent)[..., None])
    rgb = np.clip(np.round(scaled), 0, 255)
    dark = brightest < 1e-32
    out = np.concatenate((rgb, (exponent + 128)[..., None]), -1).astype(np.uint8)
    out[dark] = 0
    return out


def from_rgbe(pixels: Bytes) -> Image:
    """`[..., 4]` bytes to `[..., 3]` radiance; exact in float32."""
    exponent = pixels[..., 3:].astype(np.int32)
    values = np.ldexp(pixels[..., :3].astype(np.float32), exponent - 136)
    radiance: Image = values * (exponent != 0)
    return radiance


def _stored(line: Bytes) -> bytes:
    """A scan line `[W, 4]`: channel by channel, in literal runs."""
    W = len(line)
    if not RUNS[0] <= W <= RUNS[1]:
        return line.tobytes()
    parts = [bytes((2, 2, W >> 8, W & 255))]
    for channel in line.T:
        for first in range(0, W, LONGEST):
            run = channel[first : first + LONGEST]
            parts.append(bytes((len(run),)) + run.tobytes())
    return b"".join(parts)


def _pixels(data: Bytes, H: int, W: int) -> Bytes:
    """Pixels `[H, W, 4]` of scan lines in runs, or as they are."""
    in_runs = RUNS[0] <= W <= RUNS[1] and data[0] == 2 and data[1] == 2 and data[2] < 128
    if not in_runs:
        flat = data[: 4 * H * W].reshape(H, W, 4)
        if ((flat[..., :3] == 1).all(-1)).any():
            raise ValueError("runs of the old kind")
        return flat
    if len(data) * LONGEST / 2 < H * W * 4:  # two bytes are a run of so many numbers at most
        raise ValueError("more pixels than runs")
    out = np.zeros((H, 4, W), np.uint8)
    at = 0
    for row in out:
        if data[at] != 2 or data[at + 1] != 2 or int(data[at + 2]) * 256 + int(data[at + 3]) != W:
            raise ValueError("another width")
        at += 4
        for channel in row:
            at = _read_channel(data, at, channel)
    return out.transpose(0, 2, 1)


def _read_channel(data: Bytes, at: int, channel: Bytes) -> int:
    """Fill one channel of a scan line from runs; returns where they end."""
    done = 0
    while done < len(channel):
        count = int(data[at])
        same = count > LONGEST
        count = count - LONGEST if same else count
        source = data[at + 1 : at + 2] if same else data[at + 1 : at + 1 + count]
        channel[done : done + count] = source
        if count == 0 or done + count > len(channel) or len(source) != (1 if same else count):
            raise ValueError("a run that does not fit")
        done += count
        at += 2 if same else 1 + count
    return at
