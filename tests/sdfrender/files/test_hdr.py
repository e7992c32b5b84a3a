"""Radiance's pictures: written and read again, runs of others, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdfrender import InputError
from sdfrender.files.formats.hdr import read_hdr, write_hdr

HEAD = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n"


@pytest.mark.parametrize("size", [(3, 5), (4, 8), (2, 300)])
def test_written_and_read(size: tuple[int, int], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    image = np.exp(random.normal(0, 4, (*size, 3))).astype(np.float32)
    image[0, 0] = 0
    write_hdr(tmp_path / "a.hdr", image)
    back = read_hdr(tmp_path / "a.hdr")
    assert back.shape == image.shape
    assert (np.abs(back - image) <= image.max(-1, keepdims=True) / 256).all()
    assert not back[0, 0].any()


def test_runs_and_exposures_of_others(tmp_path: Path) -> None:
    line = b"\x02\x02\x00\x08" + b"".join(bytes((128 + 8, n)) for n in (128, 64, 32, 129))
    file = tmp_path / "runs.hdr"
    file.write_bytes(HEAD + b"EXPOSURE=2\n\n-Y 2 +X 8\n" + 2 * line)
    expected = np.broadcast_to(np.array([0.5, 0.25, 0.125], np.float32), (2, 8, 3))
    np.testing.assert_array_equal(read_hdr(file), expected)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x89PNG", "does not begin as one"),
        (HEAD + b"\n+X 8 -Y 2\n", "rows from the top"),
        (HEAD + b"\n-Y 2 +X 8\n\x02\x02\x00\x08\x88", "damaged or cut off"),
        (HEAD + b"\n-Y 2 +X 8\n\x02\x02\x00\x08\xff\x01", "damaged or cut off"),
        (HEAD + b"\n-Y 99999999 +X 99999999\n", "pixels, got 99999999×99999999"),
        (HEAD + b"EXPOSURE=0\n\n-Y 1 +X 1\nabcd", "EXPOSURE from 1e-20"),
        (HEAD + b"EXPOSURE=..\n\n-Y 1 +X 1\nabcd", "EXPOSURE"),
        (HEAD + b"EXPOSURE=1e-300\n\n-Y 1 +X 1\nabcd", "EXPOSURE from 1e-20"),
        (HEAD + b"EXPOSURE=1e-20\n\n-Y 1 +X 1\n\xff\xff\xff\xff", "makes it infinite"),
        (HEAD + b"\n-Y 8000 +X 8000\n\x02\x02\x1f\x40\xff\x01", "damaged or cut off"),
        (HEAD.replace(b"rgbe", b"xyze") + b"\n-Y 1 +X 1\nabcd", "it has XYZE"),
        (HEAD, "no size"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "bad.hdr").write_bytes(data)
    with pytest.raises(InputError, match=f"bad.hdr: .*{told}"):
        read_hdr(tmp_path / "bad.hdr")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"need \[H, W, 3\]"):
        write_hdr(tmp_path / "a.hdr", np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match="at least 0"):
        write_hdr(tmp_path / "a.hdr", np.full((3, 3, 3), -1, np.float32))
