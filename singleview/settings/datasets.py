"""What `singleview render-dataset` and `sample-points` are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.options import check_options
from singleview.settings.choices import SPLIT_RULES, RigName


@dataclass(frozen=True)
class RenderDatasetConfig:
    """What `singleview render-dataset` is told; its fields are the options.

    Args:
        meshes: folder of category folders of meshes (.obj .ply .glb .stl .off), or of meshes.
        out: folder to write. One that holds a part of the same dataset is completed.
        categories: category folders to take. Default: all.
        alignment: JSON with a rotation per mesh that turns it upright. Default: alignment.json in
            MESHES, if there is one.
        size: pixels on a side of the images.
        cameras: elevations: looking from several elevations in turn, also from below. paper: one
            ring from above, as in SDFDiff.
        views: of each object, at even azimuths.
        resolution: samples along each side of the true lattice, which is for evaluation.
        supersampling: rays per pixel side, odd.
        split: protocol: of every 20 objects of a category, sorted by name and counted from 0, those
            at 3, 8, 13, 18 are for testing, 2 and 12 for validation. random: a fifth and a tenth,
            by lot. Or a JSON file {"train": [names], "val": [names], "test": [names]}.
        jobs: processes.
        seed: of the random split.
    """

    meshes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MESHES")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    categories: tuple[str, ...] = ()
    alignment: Path | None = None
    size: int = 64
    cameras: RigName = "elevations"
    views: int = 24
    resolution: int = 64
    supersampling: int = 5
    split: str = "protocol"
    jobs: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "size": (8 <= self.size <= 1024, "from 8 to 1024"),
            "views": (1 <= self.views <= 1000, "from 1 to 1000"),
            "resolution": (2 <= self.resolution <= 512, "from 2 to 512"),
            "supersampling": (self.supersampling in range(1, 100, 2), "odd, from 1 to 99"),
            "split": (
                _is_split_rule(self.split),
                "protocol, random or a JSON file",
            ),
            "jobs": (self.jobs >= 1, "at least 1"),
            "seed": (0 <= self.seed < 2**63, "from 0 to 2^63 - 1"),
        }
        check_options(self, rules)


@dataclass(frozen=True)
class SamplePointsConfig:
    """What `singleview sample-points` is told; its fields are the options.

    Args:
        meshes: folder of category folders of watertight meshes (.obj .ply .glb .stl .off);
            with --sdf they may have holes.
        out: folder to write; it may hold the pictures of the same objects.
        categories: category folders to take. Default: all.
        alignment: JSON with a rotation per mesh that turns it upright. Default: alignment.json in
            MESHES, if there is one.
        points: of each object, uniform in the box that is a tenth wider than the object.
        near: points of each object near its surface.
        surface: points of each object on its surface, with normals.
        split: protocol: of every 20 objects of a category, sorted by name and counted from 0, those
            at 3, 8, 13, 18 are for testing, 2 and 12 for validation. random: a fifth and a tenth,
            by lot. all: all for training. Or a JSON file {"train": [names], "val": …, "test": …}.
        seed: of the points and of the random split.
        sdf: instead of all that, so many points of each object with their signed distance, most of
            them near its surface: what DeepSDF learns from. Meshes need not be watertight.
        warped: with --sdf: so many warped copies of each training object too. Default: 0.
    """

    meshes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MESHES")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    categories: tuple[str, ...] = ()
    alignment: Path | None = None
    points: int = 100_000
    near: int = 50_000
    surface: int = 50_000
    split: str = "protocol"
    seed: int = 0
    sdf: int | None = None
    warped: int = 0

    def __post_init__(self) -> None:
        rules = {
            "points": (1 <= self.points <= 10**7, "from 1 to 10 million"),
            "near": (0 <= self.near <= 10**7, "from 0 to 10 million"),
            "surface": (1 <= self.surface <= 10**7, "from 1 to 10 million"),
            "split": (
                _is_split_rule(self.split),
                "protocol, random, all or a JSON file",
            ),
            "seed": (0 <= self.seed < 2**62, "from 0 to 2^62 - 1"),
            "sdf": (self.sdf is None or 100 <= self.sdf <= 10**7, "from 100 to 10 million"),
            "warped": (
                self.warped == 0 or (self.sdf is not None and 0 < self.warped <= 1000),
                "0, or up to 1000 with --sdf",
            ),
        }
        check_options(self, rules)


def _is_split_rule(text: str) -> bool:
    """Whether a text is a rule, or may be the path of a file, which is read later."""
    return text in SPLIT_RULES or bool(Path(text).suffix) or Path(text).is_file()
