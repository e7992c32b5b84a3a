"""A set of objects, each seen from V known cameras, held in memory.

Every object lives in its canonical frame, the box [-1, 1]³, y up. N objects, V views each, images
H × W with C channels (1 or 3), linear in light and premultiplied by coverage over black.

Pictures are kept as uint8 and distances as float16; `__getitem__` and `batch` give float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting
from singleview.data.objects import Objects, category_of
from singleview.settings.choices import Split


@dataclass(frozen=True, eq=False)
class ObjectViews:
    """What an object shows.

    Args:
        images: `[V, H, W, C]` float32, linear, premultiplied by coverage over black, C = 1 or 3.
        silhouettes: `[V, H, W]` float32 coverage in [0, 1].
        cameras: the V cameras; their world is the object's canonical box [-1, 1]³.
    """

    images: Tensor
    silhouettes: Tensor
    cameras: Cameras


@dataclass(frozen=True, eq=False)
class Item:
    """One object.

    Args:
        name: `CATEGORY/OBJECT`, as `chair/101`.
        category: the first part of the name.
        views: what it shows.
        values: `[R, R, R]` float32 true signed distances over the dataset's bounds, for evaluation
            and for the baseline with 3D supervision only; None where the layout has none.
        occupancy: `[n, n, n]` bool, True inside, of layouts that have voxels, or have sampled the
            mesh at another resolution too; placed as `values` would be, sample (0, 0, 0) on the
            corner of the bounds; None elsewhere.
    """

    name: str
    category: str
    views: ObjectViews
    values: Tensor | None
    occupancy: Tensor | None


@dataclass(frozen=True, eq=False)
class Batch:
    """k views of each of B objects, for a training step.

    `sdfrender.render` renders each of B lattices from *all* cameras it is given, not in pairs. So
    where all objects share their cameras and show the same k views, `shared_cameras` is the k
    cameras to render B lattices with in one call, and the result is shaped as `images`. Otherwise
    it is None, and object b is rendered from `cameras[b * k : (b + 1) * k]`.

    Args:
        images: `[B, k, H, W, C]` float32.
        silhouettes: `[B, k, H, W]` float32.
        cameras: B·k views, those of object 0 first.
        shared_cameras: the k cameras, if they are the same for all objects of the batch.
    """

    images: Tensor
    silhouettes: Tensor
    cameras: Cameras
    shared_cameras: Cameras | None


@dataclass(frozen=True, eq=False)
class Dataset(Objects):
    """N objects with V views each.

    Args:
        names: of the objects, `CATEGORY/OBJECT`.
        splits: of each object, `"train"`, `"val"` or `"test"`.
        images: `[N, V, H, W, C]` uint8, linear, premultiplied over black.
        silhouettes: `[N, V, H, W]` uint8 coverage, 255 = covered.
        c2w: `[N, V, 4, 4]` camera-to-world, or `[1, V, 4, 4]` if all objects share their cameras.
        Ks: `[N, V, 3, 3]` or `[1, V, 3, 3]` intrinsics in pixels.
        bounds: `[2, 3]` the box of the lattices, world units.
        lighting: the light that made the images with albedo 1, or None where it is not known.
        values: `[N, R, R, R]` float16 true signed distances over `bounds`, or None.
        occupancy: `[N, n, n, n]` bool samples over `bounds`, vertex-centred, or None.
        sides: `[N]` axis along which left and right lie, see
            `singleview.augment.symmetry`; None: x.

    Raises:
        InputError: no objects.
        ValueError: tensors that do not belong together.
    """

    names: tuple[str, ...]
    splits: tuple[Split, ...]
    images: Tensor
    silhouettes: Tensor
    c2w: Tensor
    Ks: Tensor
    bounds: Tensor = field(default_factory=lambda: torch.tensor(UNIT_BOX))
    lighting: Lighting | None = None
    values: Tensor | None = None
    occupancy: Tensor | None = None
    sides: Tensor | None = None

    def __post_init__(self) -> None:
        N, V = len(self.names), self.views
        if N == 0:
            raise InputError("dataset: need at least one object, got none")
        shapes = {
            "splits": (len(self.splits) == N, "N"),
            "images": (self.images.ndim == 5 and len(self.images) == N, "[N, V, H, W, C]"),
            "silhouettes": (self.silhouettes.shape == self.images.shape[:-1], "[N, V, H, W]"),
            "c2w": (self.c2w.shape in ((N, V, 4, 4), (1, V, 4, 4)), "[N or 1, V, 4, 4]"),
            "Ks": (self.Ks.shape == (*self.c2w.shape[:2], 3, 3), "as many as c2w"),
            "values": (self.values is None or len(self.values) == N, "N"),
            "occupancy": (self.occupancy is None or len(self.occupancy) == N, "N"),
            "sides": (self.sides is None or len(self.sides) == N, "N"),
        }
        for name, (holds, need) in shapes.items():
            if not holds:
                raise ValueError(f"dataset: {name} need shape {need} with N = {N}, V = {V}")

    # ------------------------------------------------------------------ what there is

    @property
    def views(self) -> int:
        """V, the number of views of each object."""
        return self.images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """H and W in pixels."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def channels(self) -> int:
        """C, 1 for grey or 3 for colour."""
        return self.images.shape[4]

    @property
    def shared_cameras(self) -> Cameras | None:
        """The V cameras if all objects share them, else None."""
        shared = len(self.c2w) == 1
        return self._cameras(self.c2w[0], self.Ks[0]) if shared else None

    @property
    def side_axes(self) -> Tensor:
        """`[N]` axis along which left and right lie; x where nobody said."""
        return torch.zeros(len(self), dtype=torch.long) if self.sides is None else self.sides

    def cameras(self, i: int) -> Cameras:
        """The V cameras of object i."""
        own = i if len(self.c2w) > 1 else 0
        return self._cameras(self.c2w[own], self.Ks[own])

    def _cameras(self, c2w: Tensor, Ks: Tensor) -> Cameras:
        H, W = self.image_size
        return Cameras(c2w, Ks, W, H)

    # ------------------------------------------------------------------ parts of it

    def __getitem__(self, i: int) -> Item:
        views = ObjectViews(unit(self.images[i]), unit(self.silhouettes[i]), self.cameras(i))
        return Item(
            self.names[i],
            category_of(self.names[i]),
            views,
            None if self.values is None else self.values[i].float(),
            None if self.occupancy is None else self.occupancy[i],
        )

    def _rows(self, name: str, ids: list[int]) -> Any:
        shared = name == "bounds" or (name in ("c2w", "Ks") and len(self.c2w) == 1)
        return getattr(self, name) if shared else super()._rows(name, ids)

    def batch(self, objects: Sequence[int], views: Sequence[Sequence[int]]) -> Batch:
        """Some views of some objects.

        Args:
            objects: B numbers of objects.
            views: B lists of k numbers of views. One list alone serves all objects.

        Raises:
            ValueError: lists of unequal length, or not as many as objects.
        """
        lists = [list(v) for v in views]
        if len(lists) == 1:
            lists = lists * len(objects)
        if len(lists) != len(objects) or len({len(v) for v in lists}) != 1:
            raise ValueError(
                f"views: need {len(objects)} lists of one length, got lengths "
                f"{[len(v) for v in lists]}"
            )
        b, v = torch.tensor(list(objects))[:, None], torch.tensor(lists)  # (B, 1), (B, k)
        own = b if len(self.c2w) > 1 else torch.zeros_like(b)
        cameras = self._cameras(self.c2w[own, v].flatten(0, 1), self.Ks[own, v].flatten(0, 1))
        same = len(self.c2w) == 1 and all(x == lists[0] for x in lists)
        return Batch(
            unit(self.images[b, v]),
            unit(self.silhouettes[b, v]),
            cameras,
            cameras[: len(lists[0])] if same else None,
        )


def to_bytes(x: Tensor) -> Tensor:
    """Numbers `[...]` in [0, 1] as uint8 `[...]`, rounded."""
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


def unit(pixels: Tensor) -> Tensor:
    """Uint8 `[...]` as float32 `[...]` in [0, 1]."""
    return pixels.float() / 255


def spread_views(views: int, count: int) -> list[int]:
    """`count` of the views: with 24 and 4: 0, 7, 14, 21, which differ in azimuth and elevation."""
    step = views // count + 1 if count < views else 1
    return sorted({k * step % views for k in range(min(count, views))})
