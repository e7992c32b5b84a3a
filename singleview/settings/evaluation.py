"""What `singleview evaluate` and `evaluate-completion` are told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.options import Flag, check_options
from singleview.settings.choices import SPLITS, Split
from singleview.settings.prediction import CompletionSettings


@dataclass(frozen=True)
class EvaluateConfig:
    """What `singleview evaluate` is told; its fields are the options.

    Args:
        dataset: folder of a dataset.
        weights: networks: run folders or weight files.
        split: objects to evaluate on: train, val or test.
        baselines: the baselines too: category mean shape, nearest neighbour by image, oracle
            nearest neighbour, visual hull.
        stretched: with --baselines: so many copies of each training object, stretched by chance
            along the axes, join the bank of a second nearest neighbour.
        image_size: pixels on a side to average the images down to. Default: as stored.
        pictures: of each object to predict from, spread evenly over all. Default: all. Networks of
            the paper's size take half a second for each.
        samples: points on each surface for Chamfer distance and normal consistency.
        surface_views: input views per object for the measures other than IoU, which take longer;
            IoU takes all of `pictures`.
        seed: of the points and of the stretched copies.
        points: of each object at which the occupancy of occupancy networks is judged.
        observations: clouds or pictures of each object that occupancy networks are shown.
        surfaces: extract and measure the meshes of occupancy networks, which takes longer.
        refine: what networks that see pictures predict is made to agree with the picture, and the
            nearest neighbour's shape as well, beside it. That takes cameras and light of the
            training pictures for granted. With DeepSDF: its meshes refined on its field, too.
        meshes: folder of the true meshes: DeepSDF is measured on them; for occupancy networks, they
            give the point-to-surface distance.
        adam: find the codes of shapes that DeepSDF does not know by the paper's 800 steps of Adam
            too, on the same points.
    """

    dataset: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    weights: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = ()
    split: Split = "test"
    baselines: Flag = False
    stretched: int = 0
    image_size: int | None = None
    pictures: int | None = None
    samples: int = 5000
    surface_views: int = 4
    seed: int = 0
    points: int = 100_000
    observations: int = 3
    surfaces: bool = True
    refine: bool = True
    meshes: Path | None = None
    adam: Flag = False

    def __post_init__(self) -> None:
        rules = {
            "split": (self.split in SPLITS, " or ".join(SPLITS)),
            "stretched": (
                self.stretched == 0 or (self.stretched > 0 and self.baselines),
                "0, or more with --baselines",
            ),
            "pictures": (self.pictures is None or self.pictures >= 1, "at least 1"),
            "samples": (self.samples >= 1, "at least 1"),
            "points": (self.points >= 1, "at least 1"),
            "observations": (self.observations >= 1, "at least 1"),
            "surface_views": (self.surface_views >= 1, "at least 1"),
            "seed": (0 <= self.seed < 2**62, "from 0 to 2^62 - 1"),
        }
        check_options(self, rules)


@dataclass(frozen=True)
class CompletionStudy:
    """Settings of the study; its fields are the options of `singleview evaluate-completion`.

    Args:
        meshes: folder of the true meshes, or of folders of them by category, with alignment.json.
        model: weights of a DeepSDF network, or the run folder of its training.
        out: folder to write.
        categories: to take. Default: all.
        split: of the objects that are judged; the network must not know them.
        azimuth_deg: where the camera stands, from z towards x.
        image_size: pixels on a side of the depth images.
        noise: standard deviations, canonical units, in which the longest side is 1.5.
        draws: of the noise of each standard deviation; their mean is told.
        settings: of the completion.
    """

    meshes: Annotated[Path, tyro.conf.Positional]
    model: Path
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    categories: tuple[str, ...] = ()
    split: Split = "test"
    azimuth_deg: float = 45.0
    image_size: int = 128
    noise: tuple[float, ...] = (0.0, 0.01, 0.02, 0.03)
    draws: int = 3
    settings: Annotated[CompletionSettings, tyro.conf.arg(name="")] = field(
        default_factory=CompletionSettings
    )

    def __post_init__(self) -> None:
        finite = len(self.noise) > 0 and all(map(math.isfinite, self.noise))
        rules = {
            "image_size": (16 <= self.image_size <= 2048, "16 to 2048 pixels"),
            "noise": (
                bool(self.noise) and finite and min(self.noise) >= 0,
                "numbers of at least 0",
            ),
            "draws": (self.draws >= 1, "at least 1"),
        }
        check_options(self, rules)
