"""Features, matches and a model of cameras and points, by pycolmap on the CPU.

Schönberger and Frahm, "Structure-from-Motion Revisited" (CVPR 2016), incremental. Mapping all at
once is quicker, but returned models that were wrong by tens of degrees at a small reprojection
error, which so certifies nothing.

Features are kept in the order of their size. All pairs are matched by the largest ones first;
pictures that could not be placed are matched again by all they have.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from multiview.photographs.extra import load_pycolmap
from multiview.photographs.settings import CameraSettings

T = TypeVar("T")
Pairs = Sequence[tuple[str, str]]

FEATURES = 8192  # of a picture, that are matched at first
GUESS = 1.2  # focal length over the longer side, where nothing is known
LEAST_SEEN = 20  # points that place a picture; 30, the library's default, left out right ones
LEAST_MODEL = 3  # cameras of a model that is worth to be told of
PER_CALL = 4  # pictures a thread, in one call of the library
PAIRS_PER_CALL = 100


@dataclass(frozen=True)
class Work:
    """Where a search for cameras works: a folder of its own, that is removed in the end.

    Pictures have numbers for names here, since the library's files have no room for spaces.

    Args:
        folder: it.
        settings: of the user.
        quiet: show no bars.
    """

    folder: Path
    settings: CameraSettings
    quiet: bool = False

    @property
    def images(self) -> Path:
        """Folder of the pictures."""
        return self.folder / "images"

    @property
    def masks(self) -> Path:
        """Folder of NAME.EXT.png: features are kept where they are not black. It may be missing."""
        return self.folder / "masks"

    @property
    def database(self) -> Path:
        """Of the library: features and matches."""
        return self.folder / "database.db"

    @property
    def all_features(self) -> Path:
        """The database with all features, before any matches."""
        return self.folder / "features.db"


@dataclass(frozen=True)
class Group:
    """Pictures that one camera took.

    Args:
        names: of the files in `Work.images`.
        size: width and height, pixels.
        focal: pixels, if known beforehand.
    """

    names: Sequence[str]
    size: tuple[int, int]
    focal: float | None = None


def find_features(work: Work, groups: Sequence[Group]) -> dict[str, int]:
    """Write cameras (SIMPLE_RADIAL), pictures and their SIFT features to the database.

    Returns:
        How many features each picture has; the largest `FEATURES` of them are in the database.
    """
    pycolmap = load_pycolmap()
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads = False, work.settings.num_threads
    options.max_image_size = work.settings.image_size
    options.sift.max_num_features = FEATURES
    pycolmap.Database.open(work.database).close()
    for group in groups:
        own = pycolmap.ImageReaderOptions()
        own.camera_model, own.default_focal_length_factor = "SIMPLE_RADIAL", GUESS
        if group.focal is not None:
            own.camera_params = f"{group.focal},{group.size[0] / 2},{group.size[1] / 2},0"
        # In their order, whichever thread comes first with features later: the same result twice.
        pycolmap.import_images(
            work.database, work.images, pycolmap.CameraMode.SINGLE, list(group.names), own
        )
    reader = pycolmap.ImageReaderOptions()
    if work.masks.is_dir():
        reader.mask_path = work.masks
    names = [name for group in groups for name in group.names]
    with tqdm(desc="features", total=len(names), disable=_hidden(work), leave=False) as bar:
        for part in _parts(names, PER_CALL * work.settings.num_threads):
            _run(
                pycolmap.extract_features, work.database, work.images, image_names=list(part),
                camera_mode=pycolmap.CameraMode.AUTO, reader_options=reader,
                extraction_options=options, device=pycolmap.Device.cpu,
            )  # fmt: skip
            bar.update(len(part))
    shutil.copyfile(work.database, work.all_features)
    return _take_features(work, FEATURES)


def _take_features(work: Work, most: int | None) -> dict[str, int]:
    """Fill the database with the features of `all_features`, the largest first, at most so many.

    Returns:
        How many each picture has in all.
    """
    pycolmap = load_pycolmap()
    counts = {}
    with (
        pycolmap.Database.open(work.all_features) as whole,
        pycolmap.Database.open(work.database) as database,
    ):
        database.clear_keypoints()
        database.clear_descriptors()
        for image in whole.read_all_images():
            if not whole.exists_keypoints(image.image_id):
                counts[image.name] = 0
                continue
            points = whole.read_keypoints(image.image_id)
            counts[image.name] = len(points)
            if len(points):
                descriptors = whole.read_descriptors(image.image_id)
                # A keypoint is x, y and an affine shape; its determinant is the size squared.
                size = np.abs(points[:, 2] * points[:, 5] - points[:, 3] * points[:, 4])
                order = np.argsort(-size, kind="stable")[:most]
                points = points[order]
                descriptors.data = np.ascontiguousarray(descriptors.data[order])
                database.write_keypoints(image.image_id, points)
                database.write_descriptors(image.image_id, descriptors)
    return counts


def match(work: Work, pairs: Pairs) -> None:
    """Match the features of pairs of pictures and verify them by two-view geometry."""
    pycolmap = load_pycolmap()
    options = pycolmap.FeatureMatchingOptions()
    options.use_gpu, options.num_threads = False, work.settings.num_threads
    verify = pycolmap.TwoViewGeometryOptions()
    verify.ransac.random_seed = work.settings.seed
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = work.folder / "pairs.txt"
    with tqdm(desc="matches", total=len(pairs), disable=_hidden(work), leave=False) as bar:
        for part in _parts(pairs, PAIRS_PER_CALL):
            text = "".join(f"{one} {other}\n" for one, other in part)
            pairing.match_list_path.write_text(text, encoding="utf-8")
            _run(
                pycolmap.match_image_pairs, work.database, pairing_options=pairing,
                matching_options=options, verification_options=verify, device=pycolmap.Device.cpu,
            )  # fmt: skip
            bar.update(len(part))


def match_again(work: Work, pairs: Pairs) -> None:
    """The same by all features, not the largest only; other pairs keep their matches.

    Features are in the same order as before, so that those matches mean what they meant.
    """
    pycolmap = load_pycolmap()
    _take_features(work, None)
    with pycolmap.Database.open(work.database) as database:
        ids = {image.name: image.image_id for image in database.read_all_images()}
        for one, other in pairs:
            database.delete_matches(ids[one], ids[other])
            database.delete_two_view_geometry(ids[one], ids[other])
    match(work, pairs)


def map_cameras(
    work: Work, seed: int, short_tracks: bool = False, straight: bool = False
) -> list[Any]:
    """Models of cameras and points, the one with the most cameras first.

    Args:
        work: with features and matches.
        seed: of random choices.
        short_tracks: also make points of what only two pictures see.
        straight: of a lens without distortion.
    """
    pycolmap = load_pycolmap()
    pycolmap.set_random_seed(seed)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1  # more threads add in another order each time
    options.random_seed = seed
    options.min_model_size = LEAST_MODEL
    options.extract_colors = False
    options.mapper.abs_pose_min_num_inliers = LEAST_SEEN
    options.triangulation.ignore_two_view_tracks = not short_tracks
    options.ba_refine_extra_params = not straight
    options.mapper.abs_pose_refine_extra_params = not straight
    out = work.folder / "models"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with tqdm(desc="cameras", disable=_hidden(work), leave=False) as bar:
        found = _run(
            pycolmap.incremental_mapping, work.database, work.images, out, options,
            next_image_callback=lambda: _count(bar),
        )  # fmt: skip
    return sorted(found.values(), key=lambda model: -model.num_reg_images())


def _run(work: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a function of the library returns; it runs in a thread, so that Ctrl-C can stop it."""
    token = load_pycolmap().CancellationToken()
    with ThreadPoolExecutor(1, "pycolmap") as pool:
        done = pool.submit(work, *args, cancellation_token=token, **options)
        try:
            while not done.done():
                with suppress(TimeoutError):
                    done.result(0.2)
        except KeyboardInterrupt:
            token.cancel()
            raise
    return done.result()


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, at most `size` at a time."""
    return (items[i : i + size] for i in range(0, len(items), size))


def _count(bar: Any) -> None:
    """One step of a bar."""
    bar.update()


def _hidden(work: Work) -> bool | None:
    """Whether a bar is not shown; None leaves it to whether there is a terminal."""
    return True if work.quiet else None
