"""Pictures of a video: the sharpest of each of equal intervals.

The video is decoded twice: small and grey, to tell how sharp each picture is, and then those that
were chosen, at full size.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage
from tqdm import tqdm

from multiview.photographs.extra import load_extra
from sdfrender.errors import InputError

SIDE = 480  # rows and columns, at which sharpness is told whatever the video's shape
FINE = "2"  # of JPEG, in ffmpeg's steps from 1 to 31
AS_THEY_ARE = ("-fps_mode", "passthrough")  # no picture twice, none left out


def take_frames(video: Path, images: Path, count: int) -> list[tuple[str, tuple[int, int]]]:
    """Write the sharpest picture of each of `count` equal intervals of a video.

    Returns:
        Names in `images` and sizes, in the order of time.

    Raises:
        InputError: not a video, or one of fewer pictures.
    """
    sharp = np.array([sharpness(grey) for grey in tqdm(
        _small_pictures(video), desc="video", disable=None, leave=False
    )])  # fmt: skip
    if len(sharp) < count:
        raise InputError(f"{video}: need a video of {count} pictures, got {len(sharp)}")
    chosen = sharpest(sharp, count)
    wanted = "+".join(f"eq(n\\,{n})" for n in chosen)
    images.mkdir(parents=True, exist_ok=True)
    taken = []
    with TemporaryDirectory(prefix=".video-", dir=images.parent) as folder:
        pattern = str(Path(folder) / "%06d.jpg")
        options = ("-vf", f"select={wanted}", *AS_THEY_ARE, "-q:v", FINE, pattern)
        done = subprocess.run(_ffmpeg(video, *options), capture_output=True, check=False)
        files = sorted(Path(folder).iterdir())
        if done.returncode or len(files) != count:
            raise _undecodable(video, done.stderr)
        for n, file in zip(chosen, files, strict=True):
            name = f"{video.stem}_{n:06d}.jpg"
            with Pillow.open(file) as picture:
                taken.append((name, picture.size))
            file.replace(images / name)
    return taken


def sharpest(sharp: NDArray[np.float64], count: int) -> list[int]:
    """The position of the largest number in each of `count` equal parts of a list."""
    edges = np.linspace(0, len(sharp), count + 1).round().astype(int)
    return [int(start + np.argmax(sharp[start:end])) for start, end in pairwise(edges)]


def sharpness(grey: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian of a picture `[H, W]`."""
    return float(ndimage.laplace(grey.astype(np.float32)).var())


def _small_pictures(video: Path) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a video, grey, `[SIDE, SIDE]`."""
    options = ("-vf", f"scale={SIDE}:{SIDE},format=gray", *AS_THEY_ARE, "-f", "rawvideo", "-")
    with TemporaryDirectory() as folder, (Path(folder) / "said").open("w+b") as said:
        with subprocess.Popen(
            _ffmpeg(video, *options), stdout=subprocess.PIPE, stderr=said
        ) as process:
            assert process.stdout is not None
            while len(data := process.stdout.read(SIDE * SIDE)) == SIDE * SIDE:
                yield np.frombuffer(data, np.uint8).reshape(SIDE, SIDE)
        if process.returncode:
            said.seek(0)
            raise _undecodable(video, said.read())


def _ffmpeg(video: Path, *options: str) -> list[str]:
    """The command line that does something with a video."""
    program = load_extra("imageio_ffmpeg", f"{video}").get_ffmpeg_exe()
    return [program, "-v", "error", "-nostdin", "-i", str(video), *options]


def _undecodable(video: Path, said: bytes) -> InputError:
    """With the last line that ffmpeg said."""
    lines = said.decode(errors="replace").strip().splitlines() or ["no picture in it"]
    return InputError(f"{video}: need a video, cannot decode it: {lines[-1]}")
