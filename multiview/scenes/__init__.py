"""Readers of posed images: every format to one `Scene` in our conventions.

Axes, pixel centres, mask polarity and colour depth are converted here and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from multiview.map_settings import MapSettings
from multiview.scenes.exif import exposures_told, orientation_notes
from multiview.scenes.frames import in_common, with_frames
from multiview.scenes.maps.read import read_maps, with_maps
from multiview.scenes.masks.find import with_masks
from multiview.scenes.masks.found import read_box, with_weights
from multiview.scenes.masks.missing import NoMasks, doubtful_masks, make_masks
from multiview.scenes.outside import outside
from multiview.scenes.pixels import (
    SOURCES,
    Pixels,
    is_frame,
    read_pixels,
    read_view,
    without_copies,
)
from multiview.scenes.readers import mvsnet, strecha
from multiview.scenes.readers.colmap import colmap_file, read_colmap
from multiview.scenes.readers.llff import llff_file, read_llff
from multiview.scenes.readers.middlebury import read_middlebury
from multiview.scenes.readers.npz import npz_file, read_npz
from multiview.scenes.readers.transforms import read_transforms
from multiview.scenes.rotations import check_camera, orthonormal
from multiview.scenes.scene import Array, Description, Scene, Silhouettes, View
from multiview.scenes.selection import split_views
from multiview.scenes.shared import read_share
from sdfrender.cluster.ranks import ALONE, Ranks
from sdfrender.errors import InputError
from sdfrender.far import far_offset
from sdfrender.files.images import MAX_PIXELS, check_pixels
from sdfrender.masks.silhouettes import CLOSING_RADIUS, POCKET_RADIUS
from sdfrender.view.cameras import Cameras

__all__ = ["Scene", "describe_scene", "has_camera_file", "load_scene"]

FILES = (
    "transforms.json, transforms_train.json, NAME_par.txt, sparse/0/cameras.bin or .txt, "
    "cameras_sphere.npz, cameras.npz, poses_bounds.npy, cams/NAME_cam.txt, NAME.camera"
)


class _NoCameraFile(InputError):
    """A folder is no scene."""


def load_scene(
    path: str | PathLike[str],
    train_views: str | None = None,
    max_size: int | None = None,
    mask_threshold: float | None = None,
    least_views: int = 2,
    maps: MapSettings | None = None,
    silhouettes: Silhouettes = "auto",
    boxed: bool = False,
    max_pixels: int = MAX_PIXELS,
    ranks: Ranks = ALONE,
) -> Scene:
    """Read posed images and silhouettes.

    Formats: `transforms.json` (nerfstudio, instant-ngp, `sdfrender render`), NeRF-synthetic
    (`transforms_train.json` and `transforms_test.json`), Middlebury (`*_par.txt`), COLMAP (text or
    binary, in `sparse/0`, `sparse` or the folder itself, pictures in `images`), IDR and NeuS
    (`cameras_sphere.npz` or `cameras.npz`, with `image` and `mask`), DVR and ONet (`cameras.npz`,
    likewise), LLFF (`poses_bounds.npy`), MVSNet (`cams/NAME_cam.txt`), Strecha (`NAME.camera`).
    Pictures of lenses that distort are undistorted, with the same intrinsics; what the lens did not
    show has weights of 0. Pictures of several sizes are brought to one longer side and padded to
    one frame, with weights of 0 there. Pictures that the camera file names and that are not there
    are left out with a warning, if at least half are there.

    Where the object is comes from the first of these that there is: `mask_threshold`;
    the mask file of the view, `masks/NAME.png` or another usual name (see
    `multiview.scenes.masks.find`), white = object (not known where `mask_weights/NAME.png` of
    `multiview mask` is black); its alpha channel, unless it is only a frame;
    for Middlebury without mask files a threshold of 0.14; the colour of a plain or
    smoothly shaded background, seen where no other view allows the object or along the picture's
    rim. A view of which none of these says anything is neither trained on nor held out, with a
    warning. A `mask_path` in `transforms.json` is nerfstudio's: black pixels are ignored (weight
    0).

    Args:
        path: the scene's folder, or its camera file.
        train_views: comma-separated names, globs, or slices over the name-sorted views (`2::3`).
            The other views are held out; in a scene with a test split of its own that split is
            held out, and training views that are not selected are not loaded.
        max_size: longest side of the loaded images in pixels; larger ones are averaged down by
            area, premultiplied, and the cameras with them.
        mask_threshold: fraction of full scale above which a pixel is object; before a dark
            background only.
        least_views: to fit, with masks.
        maps: units and frames of depth and normal maps: `depth/NAME` and `normal/NAME`, or what
            `depth_file_path` in `transforms.json` names.
        silhouettes: `"files"`: masks and alpha channels alone say where the object is. `"none"`:
            nothing does; silhouettes are 1 with weights of 0, and masks are not read. `"auto"`: as
            above, and none where there is neither a mask nor a plain background, but a box.
        boxed: whether a box is known that the scene does not state.
        max_pixels: of a picture; larger ones are refused.
        ranks: processes among which the photographs are shared out, each view to one of them.

    Returns:
        The scene, float32 on the CPU. One that is far from the origin, as in the metres of a map,
        comes about an offset of its own.

    Raises:
        InputError: whatever is wrong with the input; see the readers.
    """
    if max_size is not None and max_size < 1:
        raise InputError(f"max size: need at least 1 pixel, got {max_size}")
    if mask_threshold is not None and not 0 < mask_threshold < 1:
        raise InputError(f"mask threshold: need a fraction between 0 and 1, got {mask_threshold}")
    scene = with_maps(describe_scene(path, silhouettes))
    _check_names(scene)
    for view in scene.views:
        check_camera(scene.file, view)
        check_pixels(view.image, view.size, max_pixels)
    rotated, rounded = orthonormal(scene.views)
    scene = replace(scene, views=rotated)
    scene, offset = _near_the_origin(scene)
    has_test_split = any(view.test for view in scene.views)
    views, train, held_out = split_views(scene.views, train_views, has_test_split, least_views)
    views = with_frames(views)
    cameras = _cameras(scene, views)
    longest = max(cameras.width, cameras.height)
    scale = min(1.0, (max_size or longest) / longest)
    width, height = max(1, round(cameras.width * scale)), max(1, round(cameras.height * scale))
    cameras = cameras.resized(width, height)
    threshold = mask_threshold
    if threshold is None and not any(view.mask for view in views):
        threshold = scene.mask_threshold
    without = silhouettes == "none"
    if ranks.size > 1:
        split = train, held_out
        return read_share(
            scene, views, cameras, split, threshold, offset, ranks,
            (*scene.notes, *rounded, *orientation_notes(views)), least_views,
        )  # fmt: skip
    pixels = read_pixels(scene, views, (width, height), threshold, without)
    frames: list[str] = []
    if not without:
        views, frames = _without_frames(scene, views, pixels, (width, height))
    recipe: dict[str, float] = {}
    warnings: list[str] = []
    if not without:
        try:
            recipe, warnings = make_masks(scene, views, cameras, pixels, silhouettes == "auto")
        except NoMasks as error:
            if silhouettes != "auto" or not (boxed or scene.has_place):
                raise NoMasks(". ".join((str(error), *scene.notes))) from None
            without = True
            pixels = read_pixels(scene, views, (width, height), threshold, without)
            warnings = [f"without silhouettes, as with --silhouettes none: {error}"]
    warnings = [*scene.notes, *rounded, *orientation_notes(views), *frames, *warnings]
    warnings += outside(scene.folder, views)
    if not without:
        warnings += doubtful_masks(scene, views, cameras, pixels)
    told = {n for n, source in enumerate(pixels.sources) if source != "none" or without}
    if len(told.intersection(train)) < least_views:
        views_needed = f"{least_views} view{'s' if least_views > 1 else ''}"
        raise InputError(
            f"{scene.file}: need {views_needed} with masks to fit: {'; '.join(warnings)}"
        )
    return Scene(
        name=scene.folder.resolve().name,
        names=tuple(view.name for view in views),
        images=without_copies(pixels.images),
        silhouettes=pixels.silhouettes,
        silhouette_weights=pixels.silhouette_weights,
        image_weights=pixels.image_weights,
        cameras=cameras,
        train=tuple(n for n in train if n in told),
        held_out=tuple(n for n in held_out if n in told),
        bounds=scene.bounds,
        loose=scene.loose,
        points=scene.points,
        lighting=scene.lighting,
        color_space=scene.color_space,
        mesh=scene.mesh,
        masks=_masks_told(pixels, threshold, recipe),
        warnings=tuple(warnings),
        offset=offset,
        maps=read_maps(views, cameras, pixels.silhouettes, maps or MapSettings()),
        exposures=exposures_told(views),
    )


def describe_scene(path: str | PathLike[str], silhouettes: Silhouettes = "auto") -> Description:
    """What a scene's files state beside the pixels: cameras, masks, box.

    Args:
        path: the scene's folder, or its camera file.
        silhouettes: as in `load_scene`.

    Raises:
        InputError: whatever is wrong with these files; see the readers.
    """
    scene = _with_box(_describe(Path(path)))
    return scene if silhouettes == "none" else with_weights(with_masks(scene))


def has_camera_file(folder: Path) -> bool:
    """Whether a folder is a scene: whether any reader finds its camera file there."""
    try:
        _camera_file(folder)
    except _NoCameraFile:
        return False
    except InputError:
        return True  # too many: a scene, if a damaged one
    return True


def _describe(path: Path) -> Description:
    """Detect the format and read the camera file."""
    if path.is_dir():
        path = _camera_file(path)
    elif not path.exists():
        raise InputError(f"{path}: need a scene's folder or its camera file, there is neither")
    if path.suffix.lower() == ".json":
        return read_transforms(path)
    if path.name.endswith("_par.txt"):
        return read_middlebury(path)
    if path.name in ("cameras.bin", "cameras.txt"):
        return read_colmap(path)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.name == "poses_bounds.npy":
        return read_llff(path)
    if path.name.endswith(mvsnet.ENDING):
        return mvsnet.read_mvsnet(path)
    if path.suffix == strecha.ENDING:
        return strecha.read_strecha(path)
    raise InputError(f"{path}: need a camera file, one of {FILES}")


def _camera_file(folder: Path) -> Path:
    """The one camera file in a folder."""
    par_files = sorted(folder.glob("*_par.txt"))
    if len(par_files) > 1:
        listed = ", ".join(file.name for file in par_files[:3])
        raise InputError(f"{folder}: need one *_par.txt, got {len(par_files)}: {listed}")
    for file in (*par_files, folder / "transforms.json", folder / "transforms_train.json"):
        if file.is_file():
            return file
    found = npz_file(folder) or colmap_file(folder) or llff_file(folder)
    found = found or mvsnet.mvsnet_file(folder) or strecha.strecha_file(folder)
    if found is None:
        raise _NoCameraFile(
            f"{folder}: need a camera file, there is none of {FILES}. Of photographs alone, "
            f"multiview cameras {folder} --out SCENE finds cameras"
        )
    return found


def _without_frames(
    scene: Description, views: list[View], pixels: Pixels, size: tuple[int, int]
) -> tuple[list[View], list[str]]:
    """Views whose alpha channels are all frames read again without a silhouette, and a note."""
    alphas = [n for n, source in enumerate(pixels.sources) if source == "alpha"]
    if not alphas or not all(is_frame(pixels.silhouettes[n]) for n in alphas):
        return views, []
    views = [replace(view, framed=n in alphas) for n, view in enumerate(views)]
    for n in alphas:
        pixels.put(n, *read_view(scene, views[n], size, None))
    return views, [
        f"the alpha channel of {len(alphas)} of {len(views)} pictures is transparent along the rim "
        "only, as undistortion leaves it: it does not say where the object is, the rim is ignored"
    ]


def _with_box(scene: Description) -> Description:
    """The scene with the box of `box.json`, where its own files state none."""
    box = read_box(scene.folder) if scene.bounds is None else None
    return scene if box is None else replace(scene, bounds=box, loose=True)


def _masks_told(
    pixels: Pixels, threshold: float | None, recipe: Mapping[str, float]
) -> dict[str, float]:
    """How many views have their silhouette from where, and the parameters that made them."""
    counts = Counter(pixels.sources)
    told: dict[str, float] = {source: counts[source] for source in SOURCES if counts[source]}
    if "threshold" in told or "background" in told:
        told |= {"threshold_level": threshold} if threshold is not None else dict(recipe)
        told |= {"closing_radius": CLOSING_RADIUS, "pocket_radius": POCKET_RADIUS}
    return told


def _near_the_origin(scene: Description) -> tuple[Description, Array]:
    """The scene about an offset `[3]`, so that float32 holds its cameras; the box in float32."""
    places = np.stack([view.c2w[:3, 3] for view in scene.views])
    if scene.bounds is not None:
        places = np.concatenate((places, scene.bounds.numpy()))
    offset = far_offset(places) if np.isfinite(places).all() else np.zeros(3)
    bounds = None
    if scene.bounds is not None:
        bounds = (scene.bounds - torch.from_numpy(offset)).float()
    points = None if scene.points is None else scene.points - offset
    views = []
    for view in scene.views:
        c2w = view.c2w.copy()
        c2w[:3, 3] -= offset
        views.append(replace(view, c2w=c2w))
    return replace(scene, views=views, bounds=bounds, points=points), offset


def _check_names(scene: Description) -> None:
    name, times = Counter(view.name for view in scene.views).most_common(1)[0]
    if times > 1:
        raise InputError(f"{scene.file}: need each view once, '{name}' is there {times} times")


def _cameras(scene: Description, views: list[View]) -> Cameras:
    """The cameras of `views`, float32, each checked under its own name."""
    for view in views:
        try:
            Cameras(torch.tensor(view.c2w)[None], torch.tensor(view.K)[None], *view.size)
        except ValueError as error:
            rule = str(error).replace(", camera 0", ", this one")
            raise InputError(f"{scene.file}: view '{view.name}': {rule}") from None
    c2w = torch.tensor(np.stack([view.c2w for view in views]), dtype=torch.float32)
    Ks, size = in_common(views)
    return Cameras(c2w, torch.tensor(np.stack(Ks), dtype=torch.float32), *size)
