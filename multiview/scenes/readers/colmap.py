"""COLMAP models: `cameras` and `images`, as text or binary.

The model lies in `sparse`, in a folder of `sparse` (of several the one with the most images), or in
the scene's folder itself; the pictures lie in `images` and are found by name. Poses are world to
camera, a unit quaternion (w, x, y, z) and a translation; OpenCV axes, pixel centres at +0.5. Masks
are `masks/NAME.png` or COLMAP's own `masks/NAME.jpg.png`.

https://colmap.github.io/format.html
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.spatial.transform import Rotation

from multiview.scenes.distortion import Lens
from multiview.scenes.readers.absent import present
from multiview.scenes.readers.points import points_file, read_sparse_points
from multiview.scenes.scene import Array, Description, View, short_names
from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.files.find import existing
from sdfrender.files.images import find_image
from sdfrender.files.pictures import read_header
from sdfrender.files.tables import numbers, read_text, shown

FOLDERS = ("sparse", "colmap/sparse", "dense/sparse", "dense/0/sparse", ".")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)")
POINT_BYTES = 24  # of a 2D point in images.bin: x, y and the number of its 3D point


@dataclass(frozen=True)
class _Model:
    """A camera model: its number in binary files, its parameters, and its lens from those."""

    id: int
    parameters: int
    focals: int  # 1: f, cx, cy, …; 2: fx, fy, cx, cy, …
    lens: Callable[[list[float]], Lens]


MODELS = {
    "SIMPLE_PINHOLE": _Model(0, 3, 1, lambda k: Lens()),
    "PINHOLE": _Model(1, 4, 2, lambda k: Lens()),
    "SIMPLE_RADIAL": _Model(2, 4, 1, lambda k: Lens((k[0],))),
    "RADIAL": _Model(3, 5, 1, lambda k: Lens((k[0], k[1]))),
    "OPENCV": _Model(4, 8, 2, lambda k: Lens((k[0], k[1]), (), (k[2], k[3]))),
    "OPENCV_FISHEYE": _Model(5, 8, 2, lambda k: Lens(tuple(k), fisheye=True)),
    "FULL_OPENCV": _Model(6, 12, 2, lambda k: Lens((k[0], k[1], k[4]), tuple(k[5:]), (k[2], k[3]))),
    "SIMPLE_RADIAL_FISHEYE": _Model(8, 4, 1, lambda k: Lens(tuple(k), fisheye=True)),
    "RADIAL_FISHEYE": _Model(9, 5, 1, lambda k: Lens(tuple(k), fisheye=True)),
}
REFUSED = {7: "FOV", 10: "THIN_PRISM_FISHEYE", 11: "RAD_TAN_THIN_PRISM_FISHEYE"}


@dataclass(frozen=True, eq=False)
class _Camera:
    size: tuple[int, int]
    K: Array
    lens: Lens | None


@dataclass(frozen=True, eq=False)
class _Image:
    name: str
    camera: int
    quaternion: Array
    translation: Array


def colmap_file(folder: Path) -> Path | None:
    """The file of cameras of a COLMAP scene, or None if the folder is none."""
    for place in FOLDERS:
        models = _models(folder / place)
        if models:
            return max(models, key=lambda model: model[1])[0]
    return None


def _models(sparse: Path) -> list[tuple[Path, int]]:
    """The models in a folder, or in its folders: their files of cameras and counts of images."""
    if not sparse.is_dir():
        return []
    own = _model(sparse)
    below = (_model(f) for f in sorted(sparse.iterdir()) if f.is_dir()) if not own else ()
    return [model for model in (own, *below) if model]


def _model(folder: Path) -> tuple[Path, int] | None:
    """A model's file of cameras, and how many images it has as far as that can be told."""
    file = folder / "images.bin"
    if file.is_file():
        head = file.read_bytes()[:8]
        return folder / "cameras.bin", int.from_bytes(head, "little")
    file = folder / "images.txt"
    if file.is_file():
        try:
            return folder / "cameras.txt", len(_text_images(file))
        except InputError:  # told if it is this one that is read
            return folder / "cameras.txt", 0
    return None


def _other_models(file: Path, count: int) -> list[str]:
    """A note if there are models beside the one that is read."""
    if _model(file.parent.parent):
        return []
    models = [
        model for model in _models(file.parent.parent)
        if model[0].parent.resolve() != file.parent.resolve()
    ]  # fmt: skip
    if not models:
        return []
    others = ", ".join(f"{path.parent.name} ({images})" for path, images in models[:5])
    return [
        f"{file.parent}: this COLMAP model with {count} images is read, others with theirs are "
        f"not: {others}; give another one's cameras file instead of the folder to take it"
    ]


def read_colmap(file: Path) -> Description:
    """Read a model by its `cameras.bin` or `cameras.txt`; `images` lies beside.

    Lens distortion is kept in `View.lens`; the pictures are undistorted when they are read.

    Raises:
        InputError: a damaged file, a camera model that is not known, an image without a camera, a
            quaternion that is not one, a picture of another size, or under half of the pictures.
    """
    binary = file.suffix == ".bin"
    cameras = _binary_cameras(file) if binary else _text_cameras(file)
    images_file = file.with_name(f"images{file.suffix}")
    images = _binary_images(images_file) if binary else _text_images(images_file)
    if not images:
        raise InputError(f"{images_file}: need images with poses, there is none")
    folder = _scene_folder(file)
    there, absent = present(images_file, images, lambda image: folder / "images" / image.name)
    views = [_view(images_file, folder, cameras, image) for image in there]
    points, damage = _points(file)
    notes = (*_other_models(file, len(images)), *absent, *damage)
    return Description(file, folder, short_names(views), notes=notes, points=points)


def _points(file: Path) -> tuple[Array | None, list[str]]:
    """`[P, 3]` the points beside a file of cameras, if there are any, and what is wrong with them.

    Masks do without points, so what is wrong is only said.
    """
    found = points_file(file)
    if found is None:
        return None, []
    try:
        points = read_sparse_points(found).positions
    except InputError as error:
        return None, [f"{error}. These points are not used"]
    return points if len(points) else None, []


def _scene_folder(file: Path) -> Path:
    """The nearest folder above the model that holds `images`."""
    model = file.resolve().parent
    for folder in (model, *model.parents[:3]):
        pictures = existing(folder / "images")
        if pictures is not None and pictures.is_dir():
            return folder
    raise InputError(
        f"{file}: need the pictures in a folder 'images' beside the model or the folder 'sparse' "
        "that holds it, there is none"
    )


def _view(file: Path, folder: Path, cameras: dict[int, _Camera], image: _Image) -> View:
    where = f"{file}: image '{image.name}'"
    if image.camera not in cameras:
        known = ", ".join(map(str, sorted(cameras)[:5])) or "none"
        raise InputError(f"{where}: need one of the cameras {known}, got {image.camera}")
    camera = cameras[image.camera]
    path = find_image(folder / "images" / image.name, where)
    header = read_header(path)
    # COLMAP itself does not look at EXIF.
    upright = header.stored != camera.size
    size = header.size if upright else header.stored
    if size != camera.size:
        need, got = ("×".join(map(str, s)) for s in (camera.size, size))
        raise InputError(f"{path}: need {need} pixels as camera {image.camera} has, got {got}")
    length = math.hypot(*image.quaternion.tolist())
    if not abs(length - 1) < 1e-3:
        raise InputError(f"{where}: need a rotation, its quaternion has length {length:.4g}, not 1")
    c2w = np.eye(4)
    c2w[:3, :3] = Rotation.from_quat(image.quaternion[[1, 2, 3, 0]]).as_matrix().T
    with np.errstate(all="ignore"):  # what is not finite is refused as a camera
        c2w[:3, 3] = -c2w[:3, :3] @ image.translation
    name = str(PurePosixPath(image.name).with_suffix(""))
    return View(name, path, c2w, camera.K, size, lens=camera.lens, upright=upright)


def _camera(where: str, name: str, size: tuple[int, int], parameters: Array) -> _Camera:
    model = MODELS[name]
    numbers(parameters, [(model.parameters,)], f"{where}: {name}")
    if min(size) < 1:
        raise InputError(f"{where}: need a positive size, got {size[0]}×{size[1]}")
    focals, rest = parameters[: model.focals], parameters[model.focals :]
    if not (focals > 0).all():
        raise InputError(f"{where}: need positive focal lengths, got {shown(focals.tolist())}")
    K = np.array([[focals[0], 0, rest[0]], [0, focals[-1], rest[1]], [0, 0, 1]])
    lens = model.lens(rest[2:].tolist())
    return _Camera(size, K, None if lens.is_pinhole else lens)


def _unknown_model(where: str, got: object) -> InputError:
    return InputError(
        f"{where}: need a camera model of {', '.join(MODELS)}, got {shown(got)}: undistort the "
        "images first (colmap image_undistorter)"
    )


# ---------------------------------------------------------------------- text


def _text_cameras(file: Path) -> dict[int, _Camera]:
    """Lines of `CAMERA_ID MODEL WIDTH HEIGHT PARAMS…`."""
    cameras = {}
    for line, text in enumerate(read_text(file).splitlines(), 1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{file}: line {line}"
        if len(words) < 4:
            raise InputError(f"{where}: need CAMERA_ID MODEL WIDTH HEIGHT PARAMS, got {text!r}")
        if words[1] not in MODELS:
            raise _unknown_model(where, words[1])
        identity, width, height = _integers([words[0], *words[2:4]], where)
        parameters = numbers(words[4:], [(len(words) - 4,)], where)
        cameras[identity] = _camera(where, words[1], (width, height), parameters)
    return cameras


def _text_images(file: Path) -> list[_Image]:
    """Pairs of lines: `IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME`, then 2D points or nothing."""
    images = []
    lines: Iterator[tuple[int, str]] = iter(enumerate(read_text(file).splitlines(), 1))
    while (entry := next(lines, None)) is not None:
        line, text = entry
        words = text.split(maxsplit=9)
        if not words or words[0].startswith("#"):
            continue
        where = f"{file}: line {line}"
        if len(words) != 10:
            need = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
            raise InputError(f"{where}: need {need}, got {shown(text)}")
        pose = numbers(words[1:8], [(7,)], where)
        camera = _integers([words[8]], where)[0]
        images.append(_Image(words[9].strip(), camera, pose[:4], pose[4:]))
        following = next(lines, None)
        if following is not None and not _is_points(following[1]):
            lines = chain([following], lines)
    return images


def _is_points(text: str) -> bool:
    """Whether a line after a pose holds 2D points; some programs write poses only."""
    words = text.split()
    if words and words[0].startswith("#"):
        return False
    return len(words) % 3 == 0 and all(_NUMBER.fullmatch(word) for word in words)


def _integers(words: list[str], where: str) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise InputError(f"{where}: need whole numbers, got {shown(' '.join(words))}") from None


# ---------------------------------------------------------------------- binary


class _Bytes:
    """A binary file read from its start; every number little-endian."""

    def __init__(self, file: Path) -> None:
        self.file, self.data, self.at = file, read_bytes(file), 0

    def take(self, layout: str) -> tuple[int | float, ...]:
        """The next values, as `struct` spells them."""
        start, size = self.skip(struct.calcsize(f"<{layout}")), f"<{layout}"
        return struct.unpack_from(size, self.data, start)

    def text(self) -> str:
        """Characters up to the next zero byte."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise self._ends()
        raw = self.data[self.skip(end + 1 - self.at) : end]
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise InputError(f"{self.file}: need names in UTF-8, got {shown(raw)}") from None

    def skip(self, count: int) -> int:
        """Moves on; returns where it was."""
        start = self.at
        if count > len(self.data) - start:
            raise self._ends()
        self.at += count
        return start

    def finish(self) -> None:
        """Nothing may follow."""
        if self.at != len(self.data):
            left = len(self.data) - self.at
            raise InputError(f"{self.file}: need the file to end after the last entry, {left} more")

    def _ends(self) -> InputError:
        size = len(self.data)
        return InputError(f"{self.file}: need more than its {size} bytes, the file is cut short")


def _binary_cameras(file: Path) -> dict[int, _Camera]:
    data, names = _Bytes(file), {model.id: name for name, model in MODELS.items()}
    cameras = {}
    for _ in range(int(data.take("Q")[0])):
        identity, model, width, height = (int(x) for x in data.take("IiQQ"))
        where = f"{file}: camera {identity}"
        if model not in names:
            raise _unknown_model(where, REFUSED.get(model, model))
        parameters = np.array(data.take(f"{MODELS[names[model]].parameters}d"), np.float64)
        cameras[identity] = _camera(where, names[model], (width, height), parameters)
    data.finish()
    return cameras


def _binary_images(file: Path) -> list[_Image]:
    data = _Bytes(file)
    images = []
    for _ in range(int(data.take("Q")[0])):
        data.take("I")
        pose = np.array(data.take("7d"), np.float64)
        camera, name = int(data.take("I")[0]), data.text()
        numbers(pose, [(7,)], f"{file}: image '{name}'")
        images.append(_Image(name, camera, pose[:4], pose[4:]))
        data.skip(POINT_BYTES * int(data.take("Q")[0]))
    data.finish()
    return images
