"""`progress.mp4`: the surface as it formed, turning once, with level and energy written in.

An animated WebP, `progress.webp`, where the package imageio-ffmpeg (extra `video`) is missing.
"""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from multiview.results.report.forming import Stage
from sdfrender.files.atomic import atomic_write, one_line, write_bytes
from sdfrender.report.turntable import all_in_clay, around

Frame = NDArray[np.uint8]  # [H, W, 3]

SIZE = 384  # pixels of the picture
FOOT = 96  # and of the words and the curve below it; in all a multiple of 16, as codecs want
RATE = 12  # frames a second
FORMING = 6.0  # seconds
RESULT = 3.0  # and of the result, seconds
PAPER, INK, FAINT, MARK = (22, 24, 27), (232, 232, 232), (110, 110, 110), (230, 159, 0)
QUALITY = 7  # of imageio-ffmpeg, 0 to 10


def write_film(folder: Path, stages: list[Stage], frame: torch.Tensor) -> Path:
    """Write the film of a run into its folder.

    Args:
        folder: of the run.
        stages: S moments of the fit, the result last.
        frame: `[3, 3]` rotation from the world to right, up and towards the viewer.

    Returns:
        The file: `progress.mp4`, or `progress.webp` without imageio-ffmpeg.
    """
    frames = draw(stages, frame)
    if find_spec("imageio_ffmpeg"):
        file = folder / "progress.mp4"
        with atomic_write(file) as temporary:
            _write_mp4(temporary, frames)
    else:
        file = folder / "progress.webp"
        _write_webp(file, frames)
    return file


def draw(stages: list[Stage], frame: torch.Tensor) -> Iterator[Frame]:
    """The frames: each stage for equally long, then the result; one turn in all.

    `frame` `[3, 3]` says what is up and where the front is, see `turntable.around`.
    """
    forming = max(len(stages), round(FORMING * RATE))
    total, last = forming + round(RESULT * RATE), len(stages) - 1
    words = _words(stages)
    cameras = around(stages[-1].lattice, frame, torch.arange(total) * (2 * math.pi / total), SIZE)
    paper = torch.tensor(PAPER) / 255
    for at, frames in groupby(range(total), lambda k: min(k * len(stages) // forming, last)):
        for picture in all_in_clay(stages[at].lattice, cameras[list(frames)]):
            alpha = picture[..., 3:]
            color = alpha * picture[..., :3] + (1 - alpha) * paper
            canvas = Image.new("RGB", (SIZE, SIZE + FOOT), PAPER)
            canvas.paste(Image.fromarray((color * 255).round().byte().numpy()))
            words(ImageDraw.Draw(canvas), at)
            yield np.asarray(canvas)


def _words(stages: list[Stage]) -> Callable[[ImageDraw.ImageDraw, int], None]:
    """What writes level and energy below the picture, and draws the energy up to there."""
    font = _font()
    large, small = ImageFont.truetype(font, 16), ImageFont.truetype(font, 12)
    energies = np.array([math.nan if s.energy is None else s.energy for s in stages])
    known = np.isfinite(energies) & (energies > 0)
    left, right, top, bottom = 16, SIZE - 16, SIZE + 54, SIZE + FOOT - 10
    points: list[tuple[int, float, float]] = []  # stage, column, row
    if known.sum() > 1:
        logs = np.log(energies[known])
        low, high = logs.min(), max(logs.max(), logs.min() + 1e-6)
        rows = bottom - (bottom - top) * (logs - low) / (high - low)
        columns = left + (right - left) * np.flatnonzero(known) / max(1, len(stages) - 1)
        points = list(zip(np.flatnonzero(known).tolist(), columns, rows, strict=True))

    def write(canvas: ImageDraw.ImageDraw, at: int) -> None:
        stage = stages[at]
        grid = "×".join(str(n) for n in stage.lattice.resolution)
        name = stage.name or f"level {stage.level}"
        canvas.text((left, SIZE + 2), name, INK, large)
        if stage.energy is not None:
            canvas.text((right, SIZE + 2), f"energy {stage.energy:.4g}", INK, large, anchor="ra")
            canvas.text((left, SIZE + 26), f"update {stage.update}", FAINT, small)
        else:
            canvas.text((left, SIZE + 26), f"lattice {grid}", FAINT, small)
        if len(points) > 1:
            canvas.line([(x, y) for _, x, y in points], FAINT, 1)
            gone = [(x, y) for k, x, y in points if k <= at]
            if len(gone) > 1:
                canvas.line(gone, MARK, 3)
            if gone:
                x, y = gone[-1]
                canvas.ellipse((x - 4, y - 4, x + 4, y + 4), MARK)

    return write


def _font() -> Path:
    """DejaVu Sans, which matplotlib brings along; importing that takes longer than the film."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def _write_mp4(file: Path, frames: Iterator[Frame]) -> None:
    from imageio_ffmpeg import write_frames

    writer = write_frames(
        str(file.absolute()),  # or ffmpeg takes what is before a colon for a protocol
        (SIZE, SIZE + FOOT),
        fps=RATE,
        codec="libx264",
        quality=QUALITY,
        macro_block_size=16,
        output_params=["-preset", "veryfast", "-f", "mp4", "-movflags", "+faststart"],
        ffmpeg_log_level="error",
    )
    writer.send(None)
    try:
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
    except OSError as error:  # ffmpeg has ended: its log, which does not name the file
        raise OSError(f"{file}: ffmpeg cannot write the film: {one_line(error)}") from None
    finally:
        writer.close()


def _write_webp(file: Path, frames: Iterator[Frame]) -> None:
    first, *others = (Image.fromarray(frame) for frame in frames)
    data = io.BytesIO()
    first.save(
        data, "WEBP", save_all=True, append_images=others, duration=1000 // RATE, loop=0,
        quality=75, method=0,
    )  # fmt: skip
    write_bytes(file, data.getvalue())
