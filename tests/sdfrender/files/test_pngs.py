"""PNG files: what is written is what is read, in 8 and in 16 bits."""

from pathlib import Path

import hypothesis.strategies as st
import imageio.v3 as iio
import numpy as np
import png
import pytest
from hypothesis import given, settings

from sdfrender.errors import InputError
from sdfrender.files.formats.pngs import read_png, write_png


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 1000),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int, int],
    dtype: type[np.uint8] | type[np.uint16],
    seed: int,
) -> None:
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, size, dtype, True)
    path = tmp_path_factory.mktemp("png") / "a.png"
    write_png(path, pixels)
    back = read_png(path)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, pixels)
    # Any other reader agrees, in the 8 bits that it offers.
    other = iio.imread(path).reshape(size) if dtype == np.uint8 else None
    assert other is None or np.array_equal(other, pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_scaled_to_the_full_range(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    with (tmp_path / "a.png").open("wb") as file:
        png.Writer(3, 1, greyscale=True, bitdepth=bits).write(file, [[0, top, top // 2]])
    half = round(255 * (top // 2) / top)
    assert read_png(tmp_path / "a.png").tolist() == [[[0], [255], [half]]]


def test_palettes_become_colours(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        palette = [(1, 2, 3), (40, 50, 60)]
        png.Writer(2, 1, palette=palette, bitdepth=1).write(file, [[1, 0]])
    assert read_png(tmp_path / "a.png").tolist() == [[[40, 50, 60], [1, 2, 3]]]


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((0, 2, 3), np.uint16)],
)
def test_shapes_that_png_does_not_have(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"need \[H, W, C\]"):
        write_png(tmp_path / "a.png", pixels)


def test_other_dtypes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need uint8 or uint16, got float64"):
        write_png(tmp_path / "a.png", np.zeros((2, 2, 3)))  # type: ignore[arg-type]


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, np.arange(60000, dtype=np.uint16).reshape(100, 200, 3))
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "empty": b"",
        "another kind": b"P6 1 1 255 abc",
        "signature alone": whole[:8],
        "header alone": whole[:33],
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "zeros": whole[:100] + bytes(len(whole) - 100),
    }
    for kind, data in damaged.items():
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.png: not a readable PNG file"):
            pytest.fail(f"{kind}: read as {read_png(path).shape}")
    with pytest.raises(FileNotFoundError):
        read_png(tmp_path / "none.png")
