"""Pictures of a video: the sharpest of each of equal intervals.

The video is decoded twice: small, to tell how sharp each picture is, and then those that were
chosen, at full size.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage
from tqdm import tqdm

from multiview.photographs.extra import load_extra
from sdfrender.errors import InputError
from sdfrender.files.atomic import atomic_write, one_line

SMALL = 640  # columns, at which sharpness is told
QUALITY = 95  # of JPEG, percent
AS_THEY_ARE = ["-fps_mode", "passthrough"]  # no picture twice, none left out


def take_frames(video: Path, images: Path, count: int) -> list[tuple[str, tuple[int, int]]]:
    """Write the sharpest picture of each of `count` equal intervals of a video.

    Returns:
        Names in `images` and sizes, in the order of time.

    Raises:
        InputError: not a video, or one of fewer pictures.
    """
    sharp = np.array([sharpness(frame) for frame in _frames(video, ["-vf", f"scale={SMALL}:-2"])])
    if len(sharp) < count:
        raise InputError(f"{video}: need a video of {count} pictures, got {len(sharp)}")
    chosen = sharpest(sharp, count)
    wanted = "+".join(f"eq(n\\,{n})" for n in chosen)
    taken = []
    images.mkdir(parents=True, exist_ok=True)
    for n, frame in zip(chosen, _frames(video, ["-vf", f"select={wanted}"]), strict=True):
        name = f"{video.stem}_{n:06d}.jpg"
        picture = Pillow.fromarray(frame)
        with atomic_write(images / name) as partial:
            picture.save(partial, "JPEG", quality=QUALITY)
        taken.append((name, picture.size))
    return taken


def sharpest(sharp: NDArray[np.float64], count: int) -> list[int]:
    """The position of the largest number in each of `count` equal parts of a list."""
    edges = np.linspace(0, len(sharp), count + 1).round().astype(int)
    return [int(start + np.argmax(sharp[start:end])) for start, end in pairwise(edges)]


def sharpness(frame: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian of the green channel of `[H, W, 3]`."""
    return float(ndimage.laplace(frame[..., 1].astype(np.float32)).var())


def _frames(video: Path, options: list[str]) -> Iterator[NDArray[np.uint8]]:
    """The pictures `[H, W, 3]` of a video, upright, through a filter of ffmpeg."""
    ffmpeg: Any = load_extra("imageio_ffmpeg", f"{video}")
    reader = ffmpeg.read_frames(str(video), output_params=[*options, *AS_THEY_ARE])
    try:
        width, height = next(reader)["size"]
        for data in tqdm(reader, desc="video", disable=None, leave=False):
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{video}: need a video, cannot decode it: {one_line(error)}") from None
    finally:
        reader.close()
