"""Features, matches and a model of cameras and points, by pycolmap on the CPU.

Schönberger and Frahm, "Structure-from-Motion Revisited" (CVPR 2016), incremental. Mapping all at
once is quicker, but returned models that were wrong by tens of degrees at a small reprojection
error, which so certifies nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from tqdm import tqdm

from multiview.photographs.extra import load_pycolmap
from multiview.photographs.intake import Picture
from multiview.photographs.settings import CameraSettings

log = logging.getLogger("multiview")

T = TypeVar("T")

FEATURES = 8192  # at most, of a picture
ALL_PAIRS = 150  # pictures, up to which all pairs are matched
OVERLAP = 10  # pictures of a video that each is matched with, and as many farther off
RETRIEVED = 40  # pictures that each is matched with where there are too many for all pairs
GUESS = 1.2  # focal length over the longer side, where nothing is known
PER_CALL = 4  # pictures a thread, in one call of the library
PAIRS_PER_CALL = 100
LEAST_MODEL = 3  # cameras of a model that is worth to be told of


def find_features(
    images: Path,
    pictures: Sequence[Picture],
    masks: Path | None,
    database: Path,
    settings: CameraSettings,
    quiet: bool = False,
) -> None:
    """Write cameras, pictures and their SIFT features to a database.

    Pictures of one size, make, model and focal length share a camera (SIMPLE_RADIAL).

    Args:
        images: the folder that the pictures' names are in.
        pictures: whose features are wanted.
        masks: folder of NAME.EXT.png; features are kept where they are not black.
        database: file to write.
        settings: of the user.
        quiet: show no progress.
    """
    pycolmap = load_pycolmap()
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads = False, settings.num_threads
    options.max_image_size = settings.image_size
    options.sift.max_num_features = FEATURES
    groups: dict[tuple[Any, ...], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.camera, []).append(picture)
    with tqdm(desc="features", total=len(pictures), disable=_hidden(quiet), leave=False) as bar:
        for group in groups.values():
            reader = pycolmap.ImageReaderOptions()
            reader.camera_model, reader.default_focal_length_factor = "SIMPLE_RADIAL", GUESS
            focal = settings.focal or group[0].focal
            if focal is not None:
                width, height = group[0].size
                reader.camera_params = f"{focal},{width / 2},{height / 2},0"
            if masks is not None:
                reader.mask_path = masks
            for part in _parts(group, PER_CALL * settings.num_threads):
                names = [picture.name for picture in part]
                _run(
                    pycolmap.extract_features,
                    database,
                    images,
                    image_names=names,
                    camera_mode=pycolmap.CameraMode.SINGLE,
                    reader_options=reader,
                    extraction_options=options,
                    device=pycolmap.Device.cpu,
                )
                with pycolmap.Database.open(database) as opened:
                    reader.existing_camera_id = opened.read_image_with_name(names[0]).camera_id
                bar.update(len(part))


def match(
    database: Path, pairs: Sequence[tuple[str, str]], settings: CameraSettings, quiet: bool = False
) -> None:
    """Match the features of pairs of pictures and verify them by two-view geometry.

    Args:
        database: with features.
        pairs: of pictures, by name.
        settings: of the user.
        quiet: show no progress.
    """
    pycolmap = load_pycolmap()
    options = pycolmap.FeatureMatchingOptions()
    options.use_gpu, options.num_threads = False, settings.num_threads
    verify = pycolmap.TwoViewGeometryOptions()
    verify.ransac.random_seed = settings.seed
    with (
        tqdm(desc="matches", total=len(pairs), disable=_hidden(quiet), leave=False) as bar,
        TemporaryDirectory() as folder,
    ):
        listed = Path(folder) / "pairs.txt"
        for part in _parts(pairs, PAIRS_PER_CALL):
            listed.write_text("".join(f"{one} {other}\n" for one, other in part), encoding="utf-8")
            pairing = pycolmap.ImportedPairingOptions()
            pairing.match_list_path = listed
            _run(
                pycolmap.match_image_pairs,
                database,
                pairing_options=pairing,
                matching_options=options,
                verification_options=verify,
                device=pycolmap.Device.cpu,
            )
            bar.update(len(part))


def map_cameras(
    database: Path, images: Path, out: Path, settings: CameraSettings, quiet: bool
) -> list[Any]:
    """Models of cameras and points, the one with the most cameras first."""
    pycolmap = load_pycolmap()
    pycolmap.set_random_seed(settings.seed)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed = settings.num_threads, settings.seed
    options.min_model_size = LEAST_MODEL
    options.extract_colors = False
    out.mkdir(exist_ok=True)
    with tqdm(desc="cameras", disable=_hidden(quiet), leave=False) as bar:
        found = _run(
            pycolmap.incremental_mapping, database, images, out, options,
            next_image_callback=lambda: _count(bar),
        )  # fmt: skip
    return sorted(found.values(), key=lambda model: -model.num_reg_images())


def _run(work: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a function of the library returns; it runs in a thread, so that Ctrl-C can stop it."""
    token = load_pycolmap().CancellationToken()
    with ThreadPoolExecutor(1, "pycolmap") as pool:
        done = pool.submit(work, *args, cancellation_token=token, **options)
        try:
            while True:
                with suppress(TimeoutError):
                    return done.result(0.2)
        except BaseException:
            token.cancel()
            raise


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, at most `size` at a time."""
    return (items[i : i + size] for i in range(0, len(items), size))


def _count(bar: Any) -> None:
    """One step of a bar."""
    bar.update()


def _hidden(quiet: bool) -> bool | None:
    """Whether a bar is not shown; None leaves it to whether there is a terminal."""
    return True if quiet else None
