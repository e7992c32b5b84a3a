"""What a scene is: posed images and silhouettes; and what its camera file says before that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from multiview.scenes.distortion import Lens
from multiview.scenes.maps.maps import Maps
from sdfrender.cluster.ranks import ALONE, Ranks
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting

Array = NDArray[np.float64]
ColorSpace = Literal["linear", "srgb", "as stored"]
Silhouettes = Literal["auto", "files", "none"]


@dataclass(frozen=True, eq=False)
class Scene:
    """N posed views of one object; tensors are float32 on the CPU.

    Args:
        name: the scene's folder.
        names: N view names in natural order (`r_2` before `r_10`).
        images: `[N, H, W, C]` in [0, 1], C = 3, or 1 where all is grey, premultiplied by
            `silhouettes` over black. Values are those of the files, except that a scene
            which states `"srgb"` is decoded to linear.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        silhouette_weights: `[N, H, W]` the fraction of the pixel where the silhouette is known.
            Where it is 0 nothing may be concluded from `silhouettes`: nothing is carved there.
            A view without any mask has 0 throughout.
        image_weights: `[N, H, W]` the fraction of the pixel whose colour counts: 0 where an
            ignore-mask of the scene says so or a lens showed nothing, else 1.
        cameras: N views, OpenCV axes, pixel centres at +0.5, the scene's own world units, about
            `offset`.
        train: positions of the views to fit.
        held_out: positions of the views to evaluate on; none of them is in `train`.
        bounds: `[2, 3]` world box about `offset`, if the scene states it.
        loose: whether the object is only somewhere in that box, which may be larger than it.
        points: `[P, 3]` float64 about `offset`, what the cameras were found by, if the scene has
            them.
        lighting: the light, if the scene states it.
        color_space: what the scene states about its files.
        mesh: ground truth beside the scene, if the scene states it.
        masks: of how many views the silhouettes are from a file, the alpha channel, a threshold,
            the background or nowhere, and the parameters of the recipe that made them (radii as
            fractions of the longest side of the image).
        warnings: what is doubtful about the scene, a sentence each.
        offset: `[3]` float64, what was taken from all positions so that float32 holds them; added
            again to whatever is written. Zero unless the scene is far from the origin.
        maps: depths and normals of the N views, if the scene has any.
        exposures: of the N views in units of their geometric mean, as light and not as values,
            where EXIF tells that they differ.
    """

    name: str
    names: tuple[str, ...]
    images: Tensor
    silhouettes: Tensor
    silhouette_weights: Tensor
    image_weights: Tensor
    cameras: Cameras
    train: tuple[int, ...]
    held_out: tuple[int, ...]
    bounds: Tensor | None = None
    loose: bool = False
    lighting: Lighting | None = None
    color_space: ColorSpace = "as stored"
    mesh: Path | None = None
    masks: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    offset: Array = field(default_factory=lambda: np.zeros(3))
    maps: Maps | None = None
    points: Array | None = None
    exposures: tuple[float, ...] | None = None

    @property
    def here(self) -> tuple[int, ...]:
        """Positions of the views whose pixels this process has, in their order: all of them."""
        return tuple(range(len(self.names)))

    @property
    def has_silhouettes(self) -> bool:
        """Whether anything says where the object is; else it is whatever is in the box."""
        return bool((self.silhouette_weights > 0).any())

    @property
    def is_far(self) -> bool:
        """Whether there is an offset."""
        return bool(self.offset.any())


@dataclass(frozen=True, eq=False)
class SharedScene(Scene):
    """A scene whose photographs are shared out over the processes of a job.

    All that is not per pixel is of all N views. Pixels `[n, H, W, ...]` are of the `own` ones, none
    of which another process has; `Targets` finds those of others.

    Args:
        own: positions of this process's views, ascending.
        ranks: of the job.
        told: whether any view of all has a silhouette.
    """

    own: tuple[int, ...] = ()
    ranks: Ranks = ALONE
    told: bool = True

    @property
    def here(self) -> tuple[int, ...]:
        """Positions of the views whose pixels this process has, in their order."""
        return self.own

    @property
    def has_silhouettes(self) -> bool:
        """As in `Scene`, of all views."""
        return self.told


@dataclass(frozen=True, eq=False)
class View:
    """One view as its camera file gives it, converted to our conventions.

    Args:
        name: unique in the scene.
        image: file.
        c2w: `[4, 4]` camera-to-world, OpenCV axes, world units.
        K: `[3, 3]` pixels, pixel centres at +0.5.
        size: width and height that the camera is for, pixels.
        ignore: mask file whose black pixels are to be ignored.
        test: whether the scene's own split keeps this view for testing.
        mask: mask file whose white pixels are the object.
        mask_weights: file whose black pixels say where the mask is not known.
        lens: that the picture, its masks and its maps were taken with, if not a pinhole.
        depth: file of depths.
        depth_unit: world units of a step of it, if the scene states that.
        normal: file of normals.
        frame: width and height, in pixels of the picture, that it is padded to on the right and
            below, where pictures of one scene have several sizes.
        upright: whether the picture is turned as its EXIF orientation says; `size` and `K` are
            those of the picture as it is turned, or not.
        ignore_white: whether `ignore` means its white pixels, as instant-ngp's masks do.
        framed: whether the alpha channel is a frame around the picture, not an object.
    """

    name: str
    image: Path
    c2w: Array
    K: Array
    size: tuple[int, int]
    ignore: Path | None = None
    test: bool = False
    mask: Path | None = None
    mask_weights: Path | None = None
    lens: Lens | None = None
    depth: Path | None = None
    depth_unit: float | None = None
    normal: Path | None = None
    frame: tuple[int, int] | None = None
    upright: bool = True
    ignore_white: bool = False
    framed: bool = False


@dataclass(frozen=True, eq=False)
class Description:
    """All that a scene's files state beside the pixels.

    Args:
        file: the camera file, which errors name.
        folder: of the scene, in which masks may be.
        views: in the file's order.
        mask_threshold: fraction of full scale above which a pixel is object, when nothing else
            says where the object is.
        bounds, loose, lighting, color_space, mesh: as in `Scene`, the box in float64.
        points: `[P, 3]` of a sparse reconstruction, world units, if there is one.
        notes: what was found, guessed or not used, a sentence each.
    """

    file: Path
    folder: Path
    views: list[View]
    mask_threshold: float | None = None
    bounds: Tensor | None = None
    loose: bool = False
    lighting: Lighting | None = None
    color_space: ColorSpace = "as stored"
    mesh: Path | None = None
    notes: tuple[str, ...] = ()
    points: Array | None = None

    @property
    def has_place(self) -> bool:
        """Whether it says where to look, with a box or points."""
        return self.bounds is not None or self.points is not None


def short_names(views: list[View]) -> list[View]:
    """Views under their file's stem where that tells them apart, else with its folder."""
    stems = [PurePosixPath(view.name).name for view in views]
    if len(set(stems)) < len(stems):
        return views
    return [replace(view, name=stem) for stem, view in zip(stems, views, strict=True)]
