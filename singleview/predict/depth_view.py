"""One depth image with its camera: what a sensor saw of an object.

    FILE.npz                    `depths` [H, W] camera z, `K` [3, 3] pixels, `c2w` [4, 4], in the
                                canonical frame or, with `scale` and `center`, in another
    OBJECT/depth/NNN.exr        camera z, with OBJECT/cameras.npz: the layout of DVR

A depth that is infinite says that nothing is there; 0 or NaN, that nothing is known. In the files
of DVR the background is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender import Cameras, InputError
from sdfrender.files.arrays import need_numbers
from sdfrender.files.formats.exr import read_exr
from sdfrender.io.cameras import (
    camera_matrices,
    camera_to_world,
    ndc_to_pixels,
    read_arrays,
    with_translation,
)
from singleview.data.objects import LONGEST_SIDE

FAR = 1e6  # a depth beyond which nothing is there
EXTENSIONS = (".npz", ".exr")


@dataclass(frozen=True, eq=False)
class DepthView:
    """A depth image in the canonical frame.

    Args:
        depths: `[H, W]` camera z; infinite where nothing is, NaN where nothing is known.
        camera: its one camera.
        scale: units of the input's frame per canonical unit.
        center: the canonical origin in the input's frame.
    """

    depths: Tensor
    camera: Cameras
    scale: float = 1.0
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def seen(self) -> Tensor:
        """`[H, W]` pixels that show the object."""
        return self.depths.isfinite()

    @property
    def empty(self) -> Tensor:
        """`[H, W]` pixels in which nothing is."""
        return self.depths.isinf()

    def points(self) -> Tensor:
        """`[P, 3]` the points seen, in the order of the pixels."""
        return self.camera.unproject(self.depths[None], self.seen[None])

    def noisy(self, sigma: float, generator: torch.Generator) -> DepthView:
        """With Gaussian noise of standard deviation `sigma`, canonical units, on each depth."""
        noise = sigma * torch.randn(self.depths.shape, generator=generator).to(self.depths)
        return DepthView(self.depths + noise, self.camera, self.scale, self.center)


def load_depth(path: Path) -> DepthView:
    """Read a depth image.

    Raises:
        InputError: not such a file, without its camera, or with no object in it.
    """
    readers = {".npz": _read_npz, ".exr": _read_dvr}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: need a depth image, one of {', '.join(EXTENSIONS)}")
    view = readers[path.suffix.lower()](path)
    if not bool((view.depths[view.seen] > 0).all()):
        raise InputError(f"{path}: need depths in front of the camera, got some below 0")
    if int(view.seen.sum()) < 16:
        raise InputError(f"{path}: need an object, {int(view.seen.sum())} pixels have a depth")
    return view


def _read_npz(path: Path) -> DepthView:
    arrays = read_arrays(path)
    missing = sorted({"depths", "K", "c2w"} - set(arrays))
    if missing:
        raise InputError(f"{path}: need the array '{missing[0]}', got {sorted(arrays)}")
    depths = arrays["depths"]
    if depths.ndim != 2 or depths.dtype.kind not in "fiu":
        raise InputError(f"{path}: 'depths' needs numbers [H, W], got {list(depths.shape)}")
    stated = need_numbers(path, "scale", arrays.get("scale", np.array(1.0)), (), (1,))
    scale = float(stated.item())
    center = need_numbers(path, "center", arrays.get("center", np.zeros(3)), (3,))
    K = need_numbers(path, "K", arrays["K"], (3, 3))
    c2w = need_numbers(path, "c2w", arrays["c2w"], (4, 4))
    if not scale > 0:
        raise InputError(f"{path}: need 'scale' above 0 and 'center' [3], got {scale}, {center}")
    return _view(path, depths, K, c2w, scale, center)


def _read_dvr(path: Path) -> DepthView:
    depths = next(iter(read_exr(path).values()))
    file = path.parent.parent / "cameras.npz"
    names = sorted(p.name for p in path.parent.glob("*.exr"))
    matrices = camera_matrices(file, ("world_mat", "camera_mat"), len(names))
    n = names.index(path.name)
    world = with_translation(file, matrices["world_mat"])[n][None]
    c2w = camera_to_world(file, world[:, :3, :3], world[:, :3, 3])[0]
    K = ndc_to_pixels(depths.shape[1], depths.shape[0]) @ matrices["camera_mat"][n][:3, :3]
    return _view(path, depths, K, c2w, 1 / LONGEST_SIDE, np.zeros(3))


def _view(
    path: Path,
    depths: NDArray[Any],
    K: NDArray[Any],
    c2w: NDArray[Any],
    scale: float,
    center: NDArray[np.float64],
) -> DepthView:
    """A view from numbers in the input's frame."""
    z = torch.from_numpy(depths.astype(np.float32))
    unknown = z.isnan() | (z == 0)
    z = torch.where(z.abs() > FAR, torch.inf, z / scale)
    z = torch.where(unknown, torch.nan, z)
    pose = torch.from_numpy(np.array(c2w, dtype=np.float64))
    try:
        pose[:3, 3] = (pose[:3, 3] - torch.from_numpy(center)) / scale
        height, width = depths.shape
        intrinsics = torch.from_numpy(np.array(K, dtype=np.float64))
        camera = Cameras(pose[None].float(), intrinsics[None].float(), width, height)
    except (ValueError, IndexError, RuntimeError) as error:
        raise InputError(f"{path}: {error}") from None
    return DepthView(z, camera, scale, (float(center[0]), float(center[1]), float(center[2])))
