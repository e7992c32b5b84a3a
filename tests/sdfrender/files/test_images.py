"""Pictures as cameras, phones and other programs write them, told by their contents."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from sdfrender.errors import InputError
from sdfrender.files.formats.pngs import write_png
from sdfrender.files.images import area_average, find_image, find_images, image_mode, read_image
from sdfrender.files.pictures import turned

W, H = 6, 4


def rgb(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3)).astype(np.uint8)


def smooth() -> np.ndarray:
    """What lossy kinds keep nearly: `[48, 64, 3]`, darker to the left and upwards."""
    y, x = np.mgrid[:48, :64]
    return np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8) + 20


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("name", ["photo.jpg", "photo"])
def test_contents_tell_the_kind(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(smooth()).save(path, kind)
    assert image_mode(path) == ("RGB", (64, 48))
    color, alpha = read_image(path)
    assert alpha is None
    lossy = kind in ("GIF", "JPEG", "WEBP", "AVIF")
    worst = np.abs(color - smooth() / 255).mean()
    assert worst < (0.03 if lossy else 1e-6)


def test_heic_in_the_clothes_of_jpeg(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra photos")
    heif.from_pillow(Image.fromarray(smooth())).save(tmp_path / "a.heic")
    (tmp_path / "a.heic").rename(tmp_path / "a.jpg")
    color, _ = read_image(tmp_path / "a.jpg")
    assert np.abs(color - smooth() / 255).mean() < 0.03


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_turns_pictures_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    from PIL import ImageOps

    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth()).save(path, kind, exif=exif)
    with Image.open(path) as image:
        told = np.asarray(ImageOps.exif_transpose(image))
    color, _ = read_image(path)
    assert np.array_equal((color * 255).round(), told)
    assert image_mode(path)[1] == color.shape[1::-1]
    stored, _ = read_image(path, upright=False)
    assert stored.shape == (48, 64, 3)
    assert np.array_equal((turned(stored, orientation) * 255).round(), told)


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_turns_avif_upright(tmp_path: Path, orientation: int) -> None:
    """Pillow leaves it as it is stored, unlike HEIC."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth()).save(tmp_path / "a.avif", exif=exif, quality=95)
    color, _ = read_image(tmp_path / "a.avif")
    assert image_mode(tmp_path / "a.avif")[1] == color.shape[1::-1]
    assert np.abs(color - turned(smooth(), orientation) / 255).mean() < 0.03


@pytest.mark.parametrize("white", [255, 65535])
@pytest.mark.parametrize("name", ["a.tif", "a.exr"])
def test_numbers_that_are_not_fractions_of_white_are_refused(
    tmp_path: Path, white: int, name: str
) -> None:
    path, pixels = tmp_path / name, rgb().astype(np.float32) / 255
    _write_floats(path, pixels * white)
    with pytest.raises(InputError, match=r"need numbers from 0 to 1, most are above, up to "):
        read_image(path)
    _write_floats(path, pixels * 1.5)  # highlights above white are cut
    color, _ = read_image(path)
    np.testing.assert_allclose(color, (pixels * 1.5).clip(max=1), atol=1e-6)


def _write_floats(path: Path, pixels: np.ndarray) -> None:
    if path.suffix == ".tif":
        import tifffile

        tifffile.imwrite(path, pixels, photometric="rgb")
        return
    exr = pytest.importorskip("OpenEXR", reason="needs the extra exr")
    header = {"compression": exr.NO_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {"RGB": pixels}) as file:
        file.write(str(path))


@pytest.mark.parametrize("deep", [False, True])
def test_colours_that_are_not_rgb_are_refused(tmp_path: Path, deep: bool) -> None:
    if deep:
        import tifffile

        ink = np.zeros((H, W, 4), np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", ink, photometric="separated")
    else:
        Image.fromarray(rgb(), "LAB").save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"grey or RGB.*(SEPARATED|LAB)|SEPARATED.*grey or RGB"):
        read_image(tmp_path / "a.tif")


def test_exif_of_a_deep_png_and_of_tiff(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (H, W, 3)).astype(np.uint16)
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb",
                     extratags=[(0x0112, "H", 1, 6, True)])  # fmt: skip
    color, _ = read_image(tmp_path / "a.tif")
    assert np.array_equal((color * 65535).round(), turned(pixels, 6))
    plain = Image.fromarray(rgb())
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[0x0112] = 6
    plain.save(tmp_path / "b.tif", tiffinfo=info)
    color, _ = read_image(tmp_path / "b.tif")
    assert np.array_equal((color * 255).round(), turned(rgb(), 6))
    assert image_mode(tmp_path / "b.tif")[1] == (H, W)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_tiff(tmp_path: Path, channels: int, dtype: type) -> None:
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 65536, (H, W, channels)).astype(np.uint16)
    stored = pixels if dtype == np.uint16 else (pixels / 65535).astype(np.float32)
    path = tmp_path / "a.tiff"
    options: dict[str, Any] = {"photometric": "rgb" if channels > 2 else "minisblack"}
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(path, stored[..., 0] if channels == 1 else stored, **options)
    color, alpha = read_image(path)
    told = pixels / 65535
    if channels in (2, 4):
        assert alpha is not None
        np.testing.assert_allclose(alpha, told[..., -1], atol=1e-6)
        told = told[..., :-1]
    np.testing.assert_allclose(color, told, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_one_colour_may_stand_for_nothing(tmp_path: Path, mode: str) -> None:
    pixels = np.zeros((H, W), np.uint8)
    pixels[1:3, 2:5] = 255
    path = tmp_path / "a.png"
    transparent = (0, 0, 0) if mode == "RGB" else 0
    image = Image.fromarray(np.dstack([pixels] * 3))
    Image.Image.convert(image, mode).save(path, transparency=transparent)
    color, alpha = read_image(path)
    assert alpha is not None
    assert np.array_equal(alpha > 0.5, pixels > 0)
    assert image_mode(path)[0] in ("LA", "RGBA")
    assert color.shape[-1] in (1, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_the_first_of_several_frames(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.png"
    first, second = (Image.fromarray(np.full((H, W, 3), v, np.uint8)) for v in (200, 30))
    first.save(path, kind, save_all=True, append_images=[second])
    with caplog.at_level(logging.INFO, "sdfrender"):
        color, _ = read_image(path)
    assert np.abs(color * 255 - 200).max() < 4
    assert color.shape == (H, W, 3)
    assert "has 2 frames, the first is read" in caplog.text


@pytest.mark.parametrize("names", ["RGB", "RGBA", "Y"])
def test_exr_photographs(tmp_path: Path, names: str) -> None:
    exr = pytest.importorskip("OpenEXR", reason="needs the extra exr")
    rng = np.random.default_rng(0)
    channels = {name: rng.uniform(0, 1.5, (H, W)).astype(np.float32) for name in names}
    if "A" in channels:
        channels["A"] = rng.uniform(0.1, 1, (H, W)).astype(np.float32)
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, dict(channels)) as file:
        file.write(str(tmp_path / "a.exr"))
    (tmp_path / "a.exr").rename(tmp_path / "a.png")
    color, alpha = read_image(tmp_path / "a.png")
    told = np.stack([channels[name] for name in names if name != "A"], -1)
    if alpha is not None:
        np.testing.assert_allclose(alpha, channels["A"])
        told = told / channels["A"][..., None]
    np.testing.assert_allclose(color, told.clip(0, 1), rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_averaging_in_strips(
    tmp_path: Path, channels: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdfrender.files.images.STRIP", 200)
    full = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, full, (45, 61, channels)).astype(dtype)
    path = tmp_path / "a.png"
    write_png(path, pixels)
    color, alpha = read_image(path, (13, 7))
    whole, coverage = read_image(path)
    told = area_average(whole if coverage is None else whole * coverage[..., None], 13, 7)
    if coverage is not None:
        assert alpha is not None
        np.testing.assert_allclose(alpha, area_average(coverage, 13, 7), atol=1e-5)
        color = color * alpha[..., None]
    np.testing.assert_allclose(color, told, atol=1e-5)


def test_large_pictures_are_read_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone's 200 megapixels are more than Pillow allows; here it allows a twentieth of that."""
    path = tmp_path / "large.png"
    assert Image.MAX_IMAGE_PIXELS is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS // 20)
    Image.new("1", (5000, 2000), 1).save(path)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    color, _ = read_image(path, (200, 80))
    assert color.shape == (80, 200, 1)
    assert color.min() > 1 - 1e-5
    with pytest.raises(InputError, match=r"at most 1,000 pixels, got 5000×2000: --max-pixels"):
        read_image(path, max_pixels=1000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ", "AppleDouble"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 8, "cannot decode|complete image"),
        (b"hello", "cannot decode"),
        (b"", "0 bytes"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "image"),
        (b"II*\0\x08\x00\x00\x00", "image"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_pictures_in_folders_of_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        Image.fromarray(rgb()).save(tmp_path / name / "1.png")
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a/1.png", "b/1.png"]


def test_litter_beside_pictures_is_passed_over(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.webp"):
        Image.fromarray(rgb()).save(tmp_path / name)
    for name in ("._a.webp", ".hidden.png", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    assert [path.name for path in find_images(tmp_path)] == ["a.webp", "b.PNG"]


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ("Größe.png", unicodedata.normalize("NFD", "Größe.png")),
        (unicodedata.normalize("NFD", "Größe.png"), "Größe.png"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("IMG_1.JPG", "IMG_1"),
        ("r_0.png", "r_0"),
        ("r_0.webp", "r_0"),
    ],
)
def test_names_in_another_spelling(tmp_path: Path, stored: str, named: str) -> None:
    folder = tmp_path / unicodedata.normalize("NFD", "Übung")
    folder.mkdir()
    Image.fromarray(rgb()).save(folder / stored)
    assert find_image(tmp_path / "Übung" / named, "a test") == folder / stored
    assert find_image(Path(f"{tmp_path}\\Übung\\{named}"), "a test") == folder / stored


def test_two_names_that_differ_in_case_only_are_not_confused(tmp_path: Path) -> None:
    for name in ("a.png", "A.png"):
        Image.fromarray(rgb()).save(tmp_path / name)
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system does not tell them apart")
    with pytest.raises(InputError, match="there is no such file"):
        find_image(tmp_path / "a.PNG", "a test")
