"""The depth and normal maps of a scene's views: found, read, straightened, in world axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multiview.map_settings import FRAMES, MILLIMETRE, Frame, MapSettings
from multiview.scenes.distortion import undistort
from multiview.scenes.frames import in_frame
from multiview.scenes.maps.files import DEPTHS, NORMALS, read_depths, read_normals
from multiview.scenes.maps.maps import Maps, mean_of_known, median_of_known, scattered
from multiview.scenes.scene import Description, View
from sdfrender.errors import InputError
from sdfrender.files.images import Image
from sdfrender.view.cameras import Cameras

SHAPES = 0.02  # by which the sides' ratio of a map may differ from its picture's
FACING = 0.6  # of the normals inside the masks, at least, face their camera
OPENGL = torch.tensor([1.0, -1.0, -1.0])  # of camera axes, to OpenCV's


def with_maps(scene: Description) -> Description:
    """The scene with the maps in `depth` and `normal`, for views whose reader found none."""
    views = []
    for view in scene.views:
        names = (view.name, view.image.name)
        depth = view.depth or find_map(scene.folder / "depth", DEPTHS, names)
        normal = view.normal or find_map(scene.folder / "normal", NORMALS, names)
        views.append(replace(view, depth=depth, normal=normal))
    return replace(scene, views=views)


def find_map(folder: Path, kinds: Sequence[str], names: Sequence[str]) -> Path | None:
    """The map of a view: the first of its names, with an extension that is read."""
    files = (folder / f"{name}{kind}" for name in names for kind in kinds)
    return next((file for file in files if file.is_file()), None)


def read_maps(
    views: Sequence[View], cameras: Cameras, silhouettes: Tensor, settings: MapSettings
) -> Maps | None:
    """All maps of N views, or None where there is none.

    Args:
        views: N views.
        cameras: theirs, at the size wanted.
        silhouettes: `[N, H, W]` at that size.
        settings: units and frames.

    Raises:
        InputError: a map that cannot be read, of another shape than its picture, or normals that
            face away from their cameras.
    """
    size = cameras.width, cameras.height
    depths = normals = None
    if any(view.depth for view in views):
        depths = _read(views, lambda view: _depth(view, settings, size), (*size[::-1],))
    if any(view.normal for view in views):
        normals = _read(views, lambda view: _normal(view, size), (*size[::-1], 3))
    if depths is None and normals is None:
        return None
    if normals is not None:
        known = (normals[1] > 0) & (silhouettes > 0.5)
        check_frame(views, normals[0], known, cameras, settings.normal_frame)
        normals = to_world(normals[0], cameras, settings.normal_frame), normals[1]
    scaled = settings.depth_scale == "fit"
    z, depth_weights = depths or (None, None)
    n, normal_weights = normals or (None, None)
    return Maps(z, depth_weights, n, normal_weights, scaled)


Plane = tuple[Tensor, Tensor]  # a map's values and their weights


def _read(
    views: Sequence[View], read: Callable[[View], Plane | None], shape: tuple[int, ...]
) -> Plane:
    """Of all views; zeros for those that have none."""
    values, weights = torch.zeros(len(views), *shape), torch.zeros(len(views), *shape[:2])
    for n, view in enumerate(views):
        found = read(view)
        if found is not None:
            values[n], weights[n] = found
    return values, weights


def _depth(view: View, settings: MapSettings, size: tuple[int, int]) -> Plane | None:
    if view.depth is None:
        return None
    unit = settings.depth_unit or view.depth_unit or MILLIMETRE
    return _at_size(view, view.depth, *read_depths(view.depth, unit), size)


def _normal(view: View, size: tuple[int, int]) -> Plane | None:
    if view.normal is None:
        return None
    return _at_size(view, view.normal, *read_normals(view.normal), size)


def _at_size(view: View, path: Path, values: Image, weights: Image, size: tuple[int, int]) -> Plane:
    """Without the lens's distortion, at `(width, height)`; a smaller map only where its pixels are.

    A map may have another number of pixels than its picture, as those of phones do. It is padded
    like its picture where those of the scene have several sizes; nothing is known there.
    """
    H, W = weights.shape
    ratio = (W / H) / (view.size[0] / view.size[1])
    if abs(ratio - 1) > SHAPES:
        raise InputError(
            f"{path}: need a map of the same sides' ratio as its picture, {view.size[0]}×"
            f"{view.size[1]}, got {W}×{H}"
        )
    if view.lens is not None:
        K = view.K.copy()
        K[:2] *= np.array([[W / view.size[0]], [H / view.size[1]]])
        planes = np.dstack((values, weights))
        planes = undistort(planes, view.lens, K, nearest=True)[0]
        values, weights = planes[..., :-1].reshape(values.shape), planes[..., -1]
    values, weights = (in_frame(x, view) for x in (values, weights))
    H, W = weights.shape
    plane = torch.from_numpy(values), torch.from_numpy(weights)
    if size == (W, H):
        return plane
    if size[0] > W or size[1] > H:
        plane = scattered(*plane, max(size[0], W), max(size[1], H))
    resize = median_of_known if values.ndim == 2 else mean_of_known
    return resize(*plane, *size)


def to_world(normals: Tensor, cameras: Cameras, frame: Frame) -> Tensor:
    """Normals `[N, H, W, 3]` of a frame in world axes."""
    if frame == "world":
        return normals
    axes = normals * OPENGL if frame == "opengl" else normals
    return torch.einsum("nij,nhwj->nhwi", cameras.c2w[:, :3, :3], axes)


def check_frame(
    views: Sequence[View], normals: Tensor, known: Tensor, cameras: Cameras, frame: Frame
) -> None:
    """Refuse normals that look away from their cameras: they are in another frame.

    Args:
        views: N views.
        normals: `[N, H, W, 3]` as the files have them.
        known: `[N, H, W]` which of them count.
        cameras: of the views.
        frame: what they are said to be in.
    """
    if not known.any():
        return
    away = cameras.rays()[1]
    facing = {
        each: float(((to_world(normals, cameras, each) * away).sum(-1) < 0)[known].float().mean())
        for each in FRAMES
    }
    if facing[frame] < FACING:
        best = max(facing, key=lambda each: facing[each])
        first = next(view.normal for view in views if view.normal)
        hint = f" (in {best} {facing[best]:.0%} do: --normal-frame {best})" if best != frame else ""
        raise InputError(
            f"{first}: need normals that face their cameras, in the frame {frame} only "
            f"{facing[frame]:.0%} of all maps do{hint}"
        )
