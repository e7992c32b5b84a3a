"""The film of a fit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from multiview.results import film
from multiview.results.report.forming import Stage
from sdfrender import Lattice

SMALL = Stage(Lattice.sphere(0.3, resolution=12), "start")
STAGES = [
    SMALL,
    Stage(Lattice.sphere(0.4, resolution=12), "", 3, "12×12×12", 8.0),
    Stage(Lattice.sphere(0.5, resolution=16), "", 7, "16×16×16", 2.0),
    Stage(Lattice.sphere(0.6, resolution=16), "result"),
]
UPRIGHT = torch.eye(3, dtype=torch.float64)


def solid(frame: np.ndarray) -> int:
    """Pixels of the picture that the shape covers."""
    apart = np.abs(frame[: film.SIZE].astype(int) - film.PAPER).max(-1)
    return int((apart > 40).sum())


@pytest.mark.parametrize("codec", ["mp4", "webp"])
def test_the_shape_grows_in_it(tmp_path: Path, codec: str) -> None:
    if codec == "mp4":
        pytest.importorskip("imageio_ffmpeg")
    with patch.object(film, "find_spec", lambda name: codec == "mp4" or None):
        file = film.write_film(tmp_path, STAGES, UPRIGHT)
    assert file == tmp_path / f"progress.{codec}"
    assert list(tmp_path.iterdir()) == [file]
    frames = list(read(file))
    seconds = film.FORMING + film.RESULT
    assert len(frames) == pytest.approx(seconds * film.RATE, abs=1)
    assert frames[0].shape == (film.SIZE + film.FOOT, film.SIZE, 3)
    sizes = [solid(frame) for frame in frames]
    forming = round(film.FORMING * film.RATE)
    steps = [sizes[0], sizes[forming // 4 + 1], sizes[forming // 2 + 1], sizes[-1]]
    assert steps == sorted(steps)
    assert steps[-1] > 3 * steps[0]


@pytest.mark.parametrize("name", ["12:30", "tcp:127.0.0.1:9", "-y", "pipe:1", "%d", "concat:a|b"])
def test_a_folder_may_have_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.chdir(tmp_path)
    folder = Path(name)
    folder.mkdir()
    file = film.write_film(folder, STAGES[:2], UPRIGHT)
    assert file.stat().st_size > 1000
    assert [str(path) for path in tmp_path.rglob("*.mp4")] == [str(file.absolute())]


def test_what_ends_ffmpeg_is_told_in_one_line(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")

    def ended(*_: object, **__: object) -> Iterator[None]:
        yield
        raise OSError("[Errno 32] Broken pipe\n\nFFMPEG COMMAND:\n…\n\nFFMPEG STDERR OUTPUT:\n")

    with (
        patch.object(ffmpeg, "write_frames", ended),
        pytest.raises(OSError, match=r"progress.*mp4: ffmpeg cannot write the film: ") as caught,
    ):
        film.write_film(tmp_path, STAGES[:2], UPRIGHT)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def read(file: Path) -> np.ndarray:
    if file.suffix == ".webp":
        return np.stack([frame[..., :3] for frame in iio.imiter(file, plugin="pillow")])
    from imageio_ffmpeg import get_ffmpeg_exe

    decode = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        file,
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    raw = subprocess.run(decode, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, film.SIZE + film.FOOT, film.SIZE, 3)


def test_words_and_curve_go_along() -> None:
    feet = [frame[film.SIZE :] for frame in film.draw(STAGES, UPRIGHT)]
    different = sum(not np.array_equal(a, b) for a, b in pairwise(feet))
    assert different == len(STAGES) - 1
    marks = [(foot == film.MARK).all(-1) for foot in feet]
    assert not marks[0].any()  # no energy is known yet
    assert marks[-1].sum() > marks[len(marks) // 4 + 1].sum() > 0


def test_a_fit_without_updates_has_a_film(tmp_path: Path) -> None:
    file = film.write_film(tmp_path, [SMALL, Stage(SMALL.lattice, "result")], UPRIGHT)
    assert file.suffix == (".mp4" if find_spec("imageio_ffmpeg") else ".webp")
    assert file.stat().st_size > 1000
