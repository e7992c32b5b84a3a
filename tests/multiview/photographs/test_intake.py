"""Which pictures there are, upright; pictures of a video; pairs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.TiffImagePlugin import IFDRational

from multiview.photographs.intake import take_pictures
from multiview.photographs.pairs import alike, in_order
from multiview.photographs.video import sharpest, sharpness
from sdfrender.errors import InputError

UPRIGHT = np.zeros((30, 50, 3), np.uint8)
UPRIGHT[:10] = (200, 0, 0)  # red above, its left end white
UPRIGHT[:10, :10] = 255


def stored(orientation: int) -> Pillow.Image:
    """As a camera stores the upright picture under an EXIF orientation."""
    back = {1: None, 3: Pillow.Transpose.ROTATE_180, 6: Pillow.Transpose.ROTATE_90,
            8: Pillow.Transpose.ROTATE_270}[orientation]  # fmt: skip
    picture = Pillow.fromarray(UPRIGHT)
    return picture if back is None else picture.transpose(back)


def exif(orientation: int, focal_35: int | None = 28) -> Pillow.Exif:
    tags = Pillow.Exif()
    tags[0x0112], tags[0x010F], tags[0x0110] = orientation, "Maker", "Phone"
    if focal_35 is not None:
        tags.get_ifd(0x8769)[0xA405] = focal_35
    return tags


def close(file: Path) -> bool:
    """Whether it is the upright picture, up to JPEG."""
    pixels = np.asarray(Pillow.open(file).convert("RGB")).astype(int)
    return pixels.shape == UPRIGHT.shape and bool(np.abs(pixels - UPRIGHT).mean() < 12)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_photographs_are_upright(tmp_path: Path, orientation: int) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a b.jpg"
    stored(orientation).save(file, quality=95, exif=exif(orientation))
    picture = take_pictures(tmp_path / "in", tmp_path / "images", 4)[0]
    assert picture.name == "a b.jpg"
    assert picture.size == (50, 30)
    assert close(tmp_path / "images" / "a b.jpg")
    with Pillow.open(tmp_path / "images" / "a b.jpg") as written:
        assert written.getexif().get(0x0112, 1) == 1
    # 28 mm on film of 43.3 mm across, on pictures of 58.3 pixels across
    assert picture.focal == pytest.approx(28 / 43.2666 * np.hypot(50, 30))
    assert picture.camera[2:4] == ("Maker", "Phone")


def test_upright_files_are_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Pillow.fromarray(UPRIGHT).save(tmp_path / "in" / "a.png")
    take_pictures(tmp_path / "in", tmp_path / "images", 4)
    assert os.path.samefile(tmp_path / "in" / "a.png", tmp_path / "images" / "a.png")


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_formats_of_phones(tmp_path: Path, kind: str) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra photos")
    heif.register_heif_opener()
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / f"a.{'heic' if kind == 'HEIF' else 'avif'}"
    try:
        Pillow.fromarray(UPRIGHT.repeat(4, 0).repeat(4, 1)).save(file, format=kind, quality=95)
    except (OSError, KeyError, ValueError) as error:
        pytest.skip(f"no encoder of {kind} here: {error}")
    picture = take_pictures(tmp_path / "in", tmp_path / "images", 4)[0]
    assert picture.name == "a.jpg"
    assert picture.size == (200, 120)
    assert picture.focal is None


def test_a_heic_file_with_the_name_of_a_jpeg(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra photos")
    heif.register_heif_opener()
    (tmp_path / "in").mkdir()
    picture = Pillow.fromarray(UPRIGHT.repeat(4, 0).repeat(4, 1))
    with (tmp_path / "in" / "a.jpg").open("wb") as file:
        picture.save(file, format="HEIF")
    assert take_pictures(tmp_path / "in", tmp_path / "images", 4)[0].name == "a.jpg"
    with Pillow.open(tmp_path / "images" / "a.jpg") as written:
        assert written.format == "JPEG"


def test_nonsense_in_exif(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tags = exif(1, 0)
    tags.get_ifd(0x8769)[0x920A] = IFDRational(0, 0)
    stored(1).save(tmp_path / "in" / "a.jpg", exif=tags)
    picture = take_pictures(tmp_path / "in", tmp_path / "images", 4)[0]
    assert picture.focal is None
    assert picture.camera == (50, 30, "Maker", "Phone", None)


def test_folders_hidden_files_and_masks(tmp_path: Path) -> None:
    for name in ("in/10.jpg", "in/9.jpg", "in/.x.jpg", "in/masks/9.png", "in/side/9.jpg",
                 "in/scene/images/9.jpg"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(UPRIGHT).save(tmp_path / name)
    (tmp_path / "in" / "notes.txt").write_text("x")
    taken = take_pictures(tmp_path / "in", tmp_path / "in" / "scene" / "images", 4)
    names = [picture.name for picture in taken]
    assert set(names) == {"9.jpg", "10.jpg", "side/9.jpg"}
    assert names.index("9.jpg") < names.index("10.jpg")


def test_photographs_that_are_in_place_stay(tmp_path: Path) -> None:
    images = tmp_path / "scene" / "images"
    images.mkdir(parents=True)
    stored(1).save(images / "a.jpg", quality=95)
    before = (images / "a.jpg").read_bytes()
    assert [picture.name for picture in take_pictures(images, images, 4)] == ["a.jpg"]
    assert (images / "a.jpg").read_bytes() == before
    stored(6).save(images / "b.jpg", exif=exif(6))
    with pytest.raises(InputError, match="--out another folder"):
        take_pictures(images, images, 4)


def test_portrait_and_landscape_are_different_cameras(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stored(1).save(tmp_path / "in" / "a.jpg", exif=exif(1))
    Pillow.fromarray(UPRIGHT.swapaxes(0, 1)).save(tmp_path / "in" / "b.jpg", exif=exif(1))
    one, other = take_pictures(tmp_path / "in", tmp_path / "images", 4)
    assert one.camera != other.camera
    assert one.focal == other.focal


def test_what_is_no_photograph(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is neither"):
        take_pictures(tmp_path / "no", tmp_path / "images", 4)
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="it has none"):
        take_pictures(tmp_path / "in", tmp_path / "images", 4)
    (tmp_path / "in" / "a.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(InputError, match=r"a\.jpg: need a complete image"):
        take_pictures(tmp_path / "in", tmp_path / "images", 4)


def test_implausible_focal_lengths_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stored(1).save(tmp_path / "in" / "a.jpg", exif=exif(1, 9000))
    assert take_pictures(tmp_path / "in", tmp_path / "images", 4)[0].focal is None


def test_the_sharpest_pictures_of_a_video(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs the extra photos")
    random = np.random.default_rng(0)
    detail = random.integers(0, 255, (24, 40, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    writer = ffmpeg.write_frames(str(tmp_path / "walk.mp4"), (160, 96), fps=10, quality=9,
                                 macro_block_size=1)  # fmt: skip
    writer.send(None)
    for n in range(20):
        blurred = np.full_like(detail, 128) if n % 5 != 3 else detail
        writer.send(np.ascontiguousarray(blurred))
    writer.close()
    taken = take_pictures(tmp_path / "walk.mp4", tmp_path / "images", 4)
    assert [picture.name for picture in taken] == [f"walk_{n:06d}.jpg" for n in (3, 8, 13, 18)]
    for picture in taken:
        pixels = np.asarray(Pillow.open(tmp_path / "images" / picture.name)).astype(int)
        assert picture.size == (160, 96)
        assert np.abs(pixels - detail).mean() < 30
    with pytest.raises(InputError, match="video of 50 pictures, got 20"):
        take_pictures(tmp_path / "walk.mp4", tmp_path / "more", 50)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot decode"):
        take_pictures(tmp_path / "text.mp4", tmp_path / "other", 4)


def test_sharpness() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (20, 30)).astype(np.uint8)
    assert sharpness(noise) > 100 * sharpness(noise // 20 + 100)
    assert sharpest(np.array((1.0, 3, 2, 9, 8, 7)), 2) == [1, 3]


def test_pairs_of_a_video() -> None:
    names = [f"{n:03d}" for n in range(100)]
    pairs = in_order(names)
    assert len(set(pairs)) == len(pairs)
    assert all(a < b for a, b in pairs)
    assert ("000", "010") in pairs
    assert ("000", "011") not in pairs
    assert ("000", "040") in pairs
    assert ("000", "099") in pairs  # where a walk around ends
    assert len(pairs) < 100 * 99 / 2 / 3


def test_pairs_of_alike_pictures() -> None:
    names = [str(n) for n in range(200)]
    angles = np.arange(200) * 2 * np.pi / 200
    pairs = set(alike(names, np.stack((np.cos(angles), np.sin(angles)), 1)))
    assert ("0", "1") in pairs
    assert ("0", "195") in pairs  # around the corner
    assert ("0", "100") not in pairs
