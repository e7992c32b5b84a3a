"""The world that a model is in: which way is up, and how long a unit is.

Mapping leaves both as they fall.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from multiview.photographs.extra import load_extra, load_pycolmap
from multiview.photographs.trust import poses
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.view.upright import up_direction, upright_frame

Array = NDArray[np.float64]

FEWEST = 2  # pictures that a place must be seen in
OFF = 0.01  # of the longer side: rays of one place that miss it by more are of several
SIDES_DIFFER = 0.05  # of a tag's side, that its four may differ by


def turn_upright(model: Any) -> str | None:
    """Turn a model so that +y is up and the first of its cameras looks from +z, in place.

    Returns:
        The axis that is up, "y"; None where the cameras do not tell, as when pictures lie on their
        sides. The model is left alone then.
    """
    placed = poses(model)
    if not placed:
        return None
    c2w = torch.from_numpy(np.stack([placed[name] for name in sorted(placed, key=natural_key)]))
    if up_direction(c2w) is None:
        return None
    pycolmap = load_pycolmap()
    turn = pycolmap.Rotation3d(upright_frame(c2w).numpy())
    model.transform(pycolmap.Sim3d(1.0, turn, np.zeros(3)))
    return "y"


def scale_model(model: Any, images: Path, bar: tuple[str, str, float]) -> dict[str, Any]:
    """Scale a model by two things whose distance is known, in place.

    Args:
        model: of cameras and points.
        images: folder of its pictures.
        bar: two things, as `CameraSettings.scale_bar` says, and their distance.

    Returns:
        What to tell of the unit.

    Raises:
        InputError: a thing that is not there, or that pictures do not agree on; no distance.
    """
    first, second, length = bar
    tags = _find_tags(model, images) if "tag:" in first + second else {}
    if first == second and first.startswith("tag:"):
        distance = _side(first, _corners(model, first, tags))
    else:
        distance = float(np.linalg.norm(_place(model, first, tags) - _place(model, second, tags)))
    if not distance > 0:
        raise InputError(f"--scale-bar: need two places, '{first}' and '{second}' are one")
    factor = length / distance
    model.transform(load_pycolmap().Sim3d(factor, load_pycolmap().Rotation3d(), np.zeros(3)))
    return {"kind": "scale bar", "between": [first, second], "length": length}


def _place(model: Any, thing: str, tags: Mapping[int, Mapping[str, Array]]) -> Array:
    """`[3]` where a thing is."""
    if thing.isdecimal():
        if int(thing) not in model.points3D:
            raise InputError(
                f"--scale-bar: need the number of a point of cameras.html, got {thing}"
            )
        return np.array(model.points3D[int(thing)].xyz)
    if thing.startswith("tag:"):
        # The middle of a square is where its diagonals meet, in pictures too; of corners in space
        # it is the mean.
        middle: Array = _corners(model, thing, tags).mean(0)
        return middle
    clicks = {}
    for part in thing.split("+"):
        found = re.fullmatch(r"(.+):([-\d.]+),([-\d.]+)", part)
        if found is None:
            raise InputError(
                "--scale-bar: need the number of a point, PICTURE:X,Y+PICTURE:X,Y or tag:ID, "
                f"got '{thing}'"
            )
        clicks[found[1]] = np.array((float(found[2]), float(found[3])))
    return triangulate(model, clicks, f"--scale-bar: '{thing}'")


def triangulate(model: Any, places: Mapping[str, Array], where: str) -> Array:
    """`[3]` the point whose images are nearest to what was seen, by least squares of directions.

    Args:
        model: of cameras.
        places: `[2]` pixels in pictures, by their names.
        where: opens an error's message.

    Raises:
        InputError: seen in fewer than two placed pictures, or rays that do not meet.
    """
    images = {image.name: image for image in model.images.values() if image.has_pose}
    strays = [name for name in places if name not in images]
    if strays:
        raise InputError(f"{where}: need placed pictures, got '{strays[0]}'")
    if len(places) < FEWEST:
        raise InputError(f"{where}: need a place in {FEWEST} placed pictures, got {len(places)}")
    rows, seen = [], []
    for name, pixel in places.items():
        image = images[name]
        x, y = model.cameras[image.camera_id].cam_from_img(pixel)[:2]
        matrix = image.cam_from_world().matrix()
        rows += [x * matrix[2] - matrix[0], y * matrix[2] - matrix[1]]
        seen.append((image, pixel))
    point = np.linalg.svd(np.array(rows))[2][-1]
    if abs(point[3]) < 1e-12:
        raise InputError(f"{where}: need rays that meet, they are parallel")
    place: Array = point[:3] / point[3]
    for image, pixel in seen:
        camera = model.cameras[image.camera_id]
        back = image.project_point(place)
        miss = np.inf if back is None else float(np.linalg.norm(back - pixel))
        if miss > OFF * max(camera.width, camera.height):
            raise InputError(
                f"{where}: need one point in all pictures, in '{image.name}' it is {miss:.0f} "
                "pixels off"
            )
    return place


def _corners(model: Any, thing: str, tags: Mapping[int, Mapping[str, Array]]) -> Array:
    """`[4, 3]` the corners of a tag."""
    identity = thing.removeprefix("tag:")
    if not identity.isdecimal():
        raise InputError(f"--scale-bar: need tag:ID with a number, got '{thing}'")
    seen = tags.get(int(identity), {})
    if len(seen) < FEWEST:
        known = ", ".join(str(tag) for tag, where in tags.items() if len(where) >= FEWEST)
        raise InputError(
            f"--scale-bar: need {thing} in {FEWEST} placed pictures, it is in {len(seen)}; "
            f"seen in so many: {known or 'none'}"
        )
    return np.stack(
        [
            triangulate(
                model,
                {name: corners[k] for name, corners in seen.items()},
                f"--scale-bar: a corner of {thing}",
            )
            for k in range(4)
        ]
    )


def _side(thing: str, corners: Array) -> float:
    """The mean side of a square."""
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    if np.ptp(sides) > SIDES_DIFFER * sides.mean():
        raise InputError(
            f"--scale-bar: need a square, the sides of {thing} came out {sides.round(4).tolist()}"
        )
    return float(sides.mean())


def _find_tags(model: Any, images: Path) -> dict[int, dict[str, Array]]:
    """`[4, 2]` pixels of the corners of each AprilTag, by its number and the pictures' names."""
    aruco = load_extra("cv2", "--scale-bar with tags").aruco
    how = aruco.DetectorParameters()
    how.cornerRefinementMethod = aruco.CORNER_REFINE_SUBPIX
    detector = aruco.ArucoDetector(aruco.getPredefinedDictionary(aruco.DICT_APRILTAG_36h11), how)
    found: dict[int, dict[str, Array]] = {}
    for image in sorted(model.images.values(), key=lambda image: str(image.name)):
        if not image.has_pose:
            continue
        with Pillow.open(images / image.name) as picture:
            grey = np.asarray(picture.convert("L"))
        squares, numbers, _ = detector.detectMarkers(grey)
        for corners, number in zip(squares, np.ravel(numbers if squares else ()), strict=True):
            # OpenCV has pixel centres on whole numbers
            found.setdefault(int(number), {})[image.name] = corners.reshape(4, 2) + 0.5
    return found
