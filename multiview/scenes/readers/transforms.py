"""nerfstudio / instant-ngp `transforms.json` and NeRF-synthetic `transforms_train.json`.

`transform_matrix` is camera-to-world with OpenGL axes (x right, y up, z back); pixel centres are at
+0.5. Intrinsics and lens distortion (k1 k2 k3 k4 p1 p2, as nerfstudio means them: k3 and k4 go with
r⁶ and r⁸) stand at the top or in each frame. What the top-level key `"sdfrender"` may hold is in
`multiview.scenes.readers.stated`.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath

import numpy as np

from multiview.scenes.distortion import Lens
from multiview.scenes.exif import check_size
from multiview.scenes.readers.absent import is_there, present
from multiview.scenes.readers.stated import read_stated
from multiview.scenes.scene import Array, Description, View, short_names
from sdfrender.errors import InputError
from sdfrender.files.images import find_image, image_mode
from sdfrender.files.tables import Table, number, numbers, read_table, shown

DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")


def read_transforms(file: Path) -> Description:
    """Read a `transforms.json`, or all splits of a `transforms_train.json`.

    Beside a `transforms_train.json`, `transforms_test.json` holds the test views and
    `transforms_val.json` is ignored. In a `transforms.json`, nerfstudio's `test_filenames` names
    them. `mask_path` is nerfstudio's: its black pixels are ignored, it does not say where the
    object is. `depth_file_path` names a depth map; `depth_unit_scale_factor`, at the top or in a
    frame, is the world units of a step of it.

    Raises:
        InputError: malformed JSON, a key that is missing or of the wrong kind, lens distortion, an
            image that is not of the stated size, or under half of the images.
    """
    table = read_table(file)
    views, notes = _read_frames(file, table, test=False)
    beside = file.with_name("transforms_test.json")
    if file.name == "transforms_train.json" and beside.is_file():
        tests = read_table(beside)
        if _no_pictures(beside, tests):  # BlenderNeRF writes the list, and renders it elsewhere
            notes = (*notes, f"{beside}: none of its pictures is there: no view is held out")
        else:
            more, absent = _read_frames(beside, tests, test=True)
            views, notes = views + more, (*notes, *absent)
    return Description(
        file, file.parent, short_names(views), notes=tuple(notes), **read_stated(file, table)
    )


def _no_pictures(file: Path, table: Table) -> bool:
    """Whether a list of frames names pictures of which none exists."""
    frames = table.get("frames")
    if not isinstance(frames, list) or not frames:
        return False
    for frame in frames:
        path = frame.get("file_path") if isinstance(frame, dict) else None
        if not isinstance(path, str):
            return False
        if is_there(file.parent / path):
            return False
    return True


def _read_frames(file: Path, table: Table, test: bool) -> tuple[list[View], tuple[str, ...]]:
    """The views of a file whose pictures are there, and a note of the others."""
    frames = table.get("frames")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{file}: need a list 'frames' of at least one, got {shown(frames)}")
    for i, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise InputError(f"{file}: frame {i} needs a 'file_path', got {shown(frame)}")
    named_tests = table.get("test_filenames", [])
    paths = [frame["file_path"] for frame in frames]
    is_list = isinstance(named_tests, list)
    strays = [name for name in named_tests if name not in paths] if is_list else [named_tests]
    if strays:
        got = shown(strays[0])
        raise InputError(f"{file}: 'test_filenames' needs a list of frames' paths, got {got}")
    there, notes = present(file, frames, lambda frame: file.parent / frame["file_path"])
    views = [
        _view(file, {**table, **frame}, test or frame["file_path"] in named_tests)
        for frame in there
    ]
    return views, notes


def _view(file: Path, frame: Table, test: bool) -> View:
    """One frame; `frame` also has the keys of the top level, which it overrides."""
    path = frame["file_path"]
    where = f"{file}: frame '{path}'"
    image = find_image(file.parent / path, where)
    stated = [number(frame, key, where) if key in frame else None for key in "wh"]
    check_size(image, (stated[0], stated[1]), where)
    size = image_mode(image)[1]
    name = str(PurePosixPath(path.removesuffix(image.suffix)))
    ignore = file.parent / str(frame["mask_path"]) if frame.get("mask_path") else None
    if ignore is not None and not ignore.is_file():
        raise InputError(f"{ignore}: need the mask that {where} names, there is no such file")
    c2w, K, lens = _c2w(frame, where), _K(frame, size, where), _lens(frame, where)
    depth, unit = _depth(file.parent, frame, where)
    return View(name, image, c2w, K, size, ignore, test, lens=lens, depth=depth, depth_unit=unit)


def _depth(folder: Path, frame: Table, where: str) -> tuple[Path | None, float | None]:
    """The depth map that a frame names, and what a step of it is in world units."""
    unit = None
    if "depth_unit_scale_factor" in frame:
        unit = number(frame, "depth_unit_scale_factor", where)
        if not unit > 0:
            raise InputError(f"{where}: 'depth_unit_scale_factor' needs a positive number: {unit}")
    if not frame.get("depth_file_path"):
        return None, unit
    file = folder / str(frame["depth_file_path"])
    if not file.is_file():
        raise InputError(f"{file}: need the depth map that {where} names, there is no such file")
    return file, unit


def _c2w(frame: Table, where: str) -> Array:
    """`[4, 4]` OpenCV camera-to-world: y and z change sign."""
    if "transform_matrix" not in frame:
        raise InputError(f"{where}: need the key 'transform_matrix', it is missing")
    matrix = numbers(frame["transform_matrix"], [(4, 4), (3, 4)], f"{where}: 'transform_matrix'")
    if len(matrix) == 4 and not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise InputError(
            f"{where}: 'transform_matrix' needs 0 0 0 1 as its last row, got {matrix[3].tolist()}"
        )
    c2w = np.eye(4)
    c2w[:3] = matrix[:3]
    c2w[:3, 1:3] *= -1
    return c2w


def _K(frame: Table, size: tuple[int, int], where: str) -> Array:
    """`[3, 3]` intrinsics in pixels of the image."""
    width, height = size
    if "fl_x" in frame:
        fl_x = number(frame, "fl_x", where)
    elif "camera_angle_x" in frame:
        fl_x = _focal(frame, "camera_angle_x", width, where)
    else:
        raise InputError(f"{where}: need 'fl_x' or 'camera_angle_x', both are missing")
    fl_y = fl_x
    if "fl_y" in frame:
        fl_y = number(frame, "fl_y", where)
    elif "fl_x" not in frame and "camera_angle_y" in frame:
        fl_y = _focal(frame, "camera_angle_y", height, where)
    cx = number(frame, "cx", where) if "cx" in frame else width / 2
    cy = number(frame, "cy", where) if "cy" in frame else height / 2
    return np.array([[fl_x, 0, cx], [0, fl_y, cy], [0, 0, 1]])


def _focal(frame: Table, key: str, pixels: int, where: str) -> float:
    """Focal length in pixels from a full field of view in radians."""
    angle = number(frame, key, where)
    if not 0 < angle < math.pi:
        raise InputError(f"{where}: '{key}' needs radians between 0 and π, got {angle}")
    return 0.5 * pixels / math.tan(0.5 * angle)


def _lens(frame: Table, where: str) -> Lens | None:
    """The lens of a frame, None for a pinhole."""
    model = frame.get("camera_model", "PINHOLE")
    if model not in (*PERSPECTIVE, *FISHEYE):
        raise InputError(
            f"{where}: need a camera model of {', '.join((*PERSPECTIVE, *FISHEYE))}, got "
            f"{shown(model)}: undistort the images first"
        )
    k1, k2, k3, k4, k5, k6, p1, p2 = (
        number(frame, key, where) if key in frame else 0.0 for key in DISTORTION
    )
    fisheye = model in FISHEYE or bool(frame.get("is_fisheye"))
    if k5 or k6 or (fisheye and (p1 or p2)):
        keys = "'p1' or 'p2' of a fisheye" if fisheye and (p1 or p2) else "'k5' or 'k6'"
        raise InputError(f"{where}: {keys} is not 0, which is not modelled: undistort the images")
    lens = Lens((k1, k2, k3, k4), (), (p1, p2), fisheye)
    return None if lens.is_pinhole else lens
