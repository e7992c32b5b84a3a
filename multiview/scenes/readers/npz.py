"""Scenes whose cameras are numbered matrices in an npz file: IDR and NeuS, DVR and ONet.

    cameras_sphere.npz or cameras.npz    one camera per picture, in the order of their names
    image/  mask/                        pictures, and masks with the object in white; images/
                                         and masks/ where those are not there

IDR and NeuS: `world_mat_i` = K [R | t], world to pixels, OpenCV axes. `scale_mat_i` maps the unit
sphere to the world, which states the box; the scene stays in the world's frame. Their
`camera_mat_i`, if there is one, is not looked at.

DVR and Occupancy Networks: `world_mat_i` = [R | t] and `camera_mat_i`, from there to the square
[-1, 1]² over the picture, y down. In `img_choy2016` the pictures lie beside the file, have no
masks, and `camera_mat_i` states pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.linalg import rq
from torch import Tensor

from multiview.scenes.scene import Array, Description, View
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.files.images import find_images, image_mode
from sdfrender.io.cameras import (
    camera_matrices,
    camera_to_world,
    ndc_to_pixels,
    read_arrays,
    with_translation,
)

WHOLE = "img_choy2016"
PLACES = ("cameras_sphere.npz", "cameras.npz", f"{WHOLE}/cameras.npz")


def npz_file(folder: Path) -> Path | None:
    """The npz file of cameras in a folder, or None."""
    return next((folder / name for name in PLACES if (folder / name).is_file()), None)


def read_npz(file: Path) -> Description:
    """Read the cameras of an IDR, NeuS, DVR or ONet scene.

    Raises:
        InputError: a damaged or pickled file, another number of cameras than of pictures, a matrix
            that is missing, not finite or no camera.
    """
    keys = read_arrays(file)
    folder = file.parent
    beside = file.parent.name == WHOLE
    images = find_images(folder if beside else _either(folder, "image", "images"))
    images.sort(key=lambda image: natural_key(image.stem))
    sizes = [image_mode(image)[1] for image in images]
    bounds = None
    if any(key.startswith("scale_mat") for key in keys):
        c2w, Ks, bounds = _idr_cameras(file, len(images))
    else:
        c2w, Ks = _dvr_cameras(file, sizes, pixels=beside)
    masks = [None] * len(images) if beside else _masks(_either(folder, "mask", "masks"), images)
    views = [
        View(image.stem, image, c2w[n], Ks[n], sizes[n], mask=masks[n])
        for n, image in enumerate(images)
    ]
    return Description(file, folder, views, bounds=bounds, loose=bounds is not None)


def _either(folder: Path, name: str, other: str) -> Path:
    """The folder of that name, or of the other one where only that is there."""
    use_other = not (folder / name).is_dir() and (folder / other).is_dir()
    return folder / (other if use_other else name)


def _masks(folder: Path, images: list[Path]) -> list[Path | None]:
    """Each picture's mask, by name; by order where no name fits and there are as many."""
    if not folder.is_dir():
        return [None] * len(images)
    files = sorted(find_images(folder), key=lambda mask: natural_key(mask.stem))
    by_name = {mask.stem: mask for mask in files}
    if len(files) == len(images) and not any(image.stem in by_name for image in images):
        return list(files)
    return [by_name.get(image.stem) for image in images]


def _idr_cameras(file: Path, count: int) -> tuple[Array, Array, Tensor | None]:
    """`[V, 4, 4]` poses and `[V, 3, 3]` intrinsics from projections, and the stated box."""
    matrices = camera_matrices(file, ("world_mat", "scale_mat"), count)
    cameras = [
        _decompose(f"{file}: 'world_mat_{i}'", P) for i, P in enumerate(matrices["world_mat"])
    ]
    bounds = _box(file, matrices["scale_mat"])
    return np.stack([c2w for c2w, _ in cameras]), np.stack([K for _, K in cameras]), bounds


def _box(file: Path, matrices: list[Array]) -> Tensor | None:
    """`[2, 3]` box of the sphere that `scale_mat` makes of the unit sphere, in the world.

    None where views state spheres that are not one: they then say how each view was normalised.
    """
    first = matrices[0]
    if first.shape[1] < 4:
        raise InputError(f"{file}: 'scale_mat_0' needs 4×4 numbers, got {list(first.shape)}")
    for matrix in matrices[1:]:
        if matrix.shape != first.shape or not np.allclose(matrix, first, rtol=1e-4, atol=1e-9):
            return None
    # Along axis k the image of the unit sphere under A x + c reaches c_k ± |row k of A|.
    middle, reach = first[:3, 3], np.linalg.norm(first[:3, :3], axis=1)
    if not (reach > 0).all():
        raise InputError(f"{file}: 'scale_mat_0' needs a sphere with an extent, got radius 0")
    box: Tensor = torch.tensor(np.stack((middle - reach, middle + reach)), dtype=torch.float32)
    return box


def _decompose(where: str, projection: Array) -> tuple[Array, Array]:
    """Pose and intrinsics of a projection K [R | t], known up to a factor."""
    if projection.shape[1] < 4:
        raise InputError(f"{where} needs 3×4 or 4×4 numbers, got {list(projection.shape)}")
    P = projection[:3, :4]
    lengths = np.linalg.norm(P[:, :3], axis=1)
    with np.errstate(all="ignore"):
        determinant = float(np.linalg.det(P[:, :3] / np.where(lengths > 0, lengths, 1)[:, None]))
    if not abs(determinant) > 1e-12:
        raise InputError(f"{where} needs K [R | t] of a camera, got a singular matrix")
    try:
        with np.errstate(all="ignore"):
            K, R = rq(P[:, :3] * np.sign(determinant))
            if not (np.isfinite(K).all() and abs(K[2, 2]) > 1e-30):
                raise ValueError
    except (ValueError, np.linalg.LinAlgError):
        raise InputError(f"{where} needs K [R | t] of a camera, got a singular matrix") from None
    signs = np.where(np.diag(K) < 0, -1.0, 1.0)
    K, R = K * signs, R * signs[:, None]
    K = K / K[2, 2]
    fx, fy, skew = K[0, 0], K[1, 1], K[0, 1]
    if not (0.2 < fx / fy < 5 and abs(skew) < 0.1 * fx):
        got = f"focal lengths {fx:.4g} and {fy:.4g}, skew {skew:.4g}"
        raise InputError(f"{where} needs K [R | t] of a camera, got {got}")
    c2w = np.eye(4)
    c2w[:3, :3] = R.T
    with np.errstate(all="ignore"):  # what is not finite is refused as a camera
        c2w[:3, 3] = -np.linalg.solve(P[:, :3], P[:, 3])
    return c2w, K


def _dvr_cameras(file: Path, sizes: list[tuple[int, int]], pixels: bool) -> tuple[Array, Array]:
    """`[V, 4, 4]` poses and `[V, 3, 3]` intrinsics from two matrices per camera."""
    matrices = camera_matrices(file, ("world_mat", "camera_mat"), len(sizes))
    world = np.stack(with_translation(file, matrices["world_mat"]))
    Ks = np.stack([matrix[:3, :3] for matrix in matrices["camera_mat"]])
    if not pixels:
        Ks = np.stack([ndc_to_pixels(*size) for size in sizes]) @ Ks
    return camera_to_world(file, world[:, :, :3], world[:, :, 3]), Ks
