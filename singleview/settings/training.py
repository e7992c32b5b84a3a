"""What `singleview train` is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sdfrender.errors import InputError
from sdfrender.options import Flag, check_options
from singleview.settings.choices import (
    Augmentation,
    Device,
    Kind,
    Precision,
    Recipe,
    Size,
    Supervision,
    Where,
)
from singleview.settings.implicit import DeepsdfConfig, OccupancyConfig

DEFAULT_MINUTES = 60.0  # of training, without --minutes and --steps


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of a training's loss, see `singleview.training.losses.LossTerms`."""

    image: float = 0.0
    """Of the plain mean of squared differences of images: all that SDFDiff compares."""

    silhouette: float = 1.0
    overlap: float = 0.1
    shading: float = 0.03
    """Of the images. Large weights spoil the shape: shading says little until it is about right."""
    eikonal: float = 0.02
    laplacian: float = 0.02
    shape: float = 1.0
    band: float = 1.6
    """Half width of the regularisers' band, in cells."""


# SDFDiff's own loss: images alone, weighed as in the released code, and two regularisers (§6).
PAPER_WEIGHTS = LossWeights(image=15.0, silhouette=0.0, overlap=0.0, shading=0.0)


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training; its fields are the options of `singleview train`.

    Args:
        dataset: folder that `open_dataset` reads; for occupancy `open_samples`, for deepsdf
            `open_distances`.
        out: run folder to write.
        model: sdfdiff: a lattice from an image, learned from images. occupancy: occupancy at any
            point, from several kinds of input, learned from meshes (`singleview sample-points`).
            deepsdf: signed distances of a family of shapes, a code for each, learned from meshes
            (`singleview sample-points --sdf`).
        occupancy: what only that model looks at.
        deepsdf: what only that model looks at.
        size: of the network: small trains on two cores, paper is the paper's. Default: small for
            sdfdiff and deepsdf, paper for occupancy.
        recipe: how it learns. paper: optimiser, rates, batch and loss as published, and nothing is
            made up. ours: AdamW with decay, clipped gradients, a falling rate, averaged weights.
            Default: that of the size: ours for small, paper for paper.
        supervision: images: no 3D data. shape: the true lattices, for comparison.
        minutes: wall-clock time to train for, preparation included. Default: 60 without `steps`.
        steps: train for so many steps instead.
        batch: objects per step, over all processes. Default: 32; with the paper's recipe 64 for
            occupancy and deepsdf.
        views: pictures of each object per step that the prediction is compared with.
        resolution: samples of the small network's lattice along each side.
        image_size: pixels on a side to average the images down to. Default: as stored.
        augment: made-up: fit a shape to the pictures of each object, make up new objects out of
            these, and flip pictures. fitted: shapes are fitted and compared, but no objects made
            up. flip: that alone, and nothing but rendered pictures is compared. none: not even
            that. auto: none with the paper's recipe, else made-up for the small network, as far as
            it goes: new objects need shared cameras and a known light. Occupancy: made-up deforms
            the training objects (and, for image input, photographs them anew), flip mirrors them;
            auto: made-up small, none for the paper's.
        made_up: objects to make up.
        coarse_to_fine: compare pictures of half the size in the first third.
        learning_rate: at the start; ours falls to a fiftieth, the paper's stays, and deepsdf's is
            halved three times. Default: 1e-3 small, 3e-4 paper; occupancy 1e-4 paper, as published;
            deepsdf 2e-3 small, 5e-4 paper, codes twice that.
        ema: decay of the averaged weights that are evaluated and kept; 0: the weights themselves.
            Default: 0.998, with the paper's recipe 0.
        data: where samples and distances lie while they are learned from: memory, or disk, from
            which objects are read as they come. auto: disk if they take over half of the free
            memory. Pictures are always in memory.
        buffer: objects that wait to be drawn from, when those on disk are shuffled.
        workers: processes that read and deform objects ahead of the training.
        weights: of the losses. With the paper's recipe and none of them stated: images alone (15)
            and the regularisers.
        evaluate_every: steps between validations. Default: 20 over the training.
        patience: stop after so many validations without progress.
        precision: of the network: auto is bfloat16 on a GPU, float32 on a CPU.
        device: auto: a GPU if there is one.
        threads: of torch, in each process.
        seed: of everything drawn at random.
        start: run folder, or weights, of a network of the same kind and size: learning goes on from
            these. Default: fresh weights.
        resume: continue the run in `out` from its last checkpoint.
        logs: also write losses.csv and validation.csv for TensorBoard (needs the extra `logs`);
            then tensorboard --logdir RUN shows them.
    """

    dataset: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    out: Annotated[Path, tyro.conf.arg(metavar="RUN")]
    model: Kind = "sdfdiff"
    occupancy: Annotated[OccupancyConfig, tyro.conf.arg(name="")] = field(
        default_factory=OccupancyConfig
    )
    deepsdf: Annotated[DeepsdfConfig, tyro.conf.arg(name="")] = field(default_factory=DeepsdfConfig)
    size: Size | None = None
    recipe: Recipe | None = None
    supervision: Supervision = "images"
    minutes: float | None = None
    steps: int | None = None
    batch: int | None = None
    views: int = 1
    resolution: int = 32
    image_size: int | None = None
    augment: Augmentation = "auto"
    made_up: int = 4000
    coarse_to_fine: bool = False
    learning_rate: float | None = None
    ema: float | None = None
    data: Where = "auto"
    buffer: int = 1000
    workers: int = 0
    weights: LossWeights = field(default_factory=LossWeights)
    evaluate_every: int | None = None
    patience: int = 8
    precision: Precision = "auto"
    device: Device = "auto"
    threads: int = 1
    seed: int = 0
    start: Path | None = None
    resume: Flag = False
    logs: Literal["tensorboard"] | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise InputError("--minutes, --steps: need one of them, got both")
        rules = {
            "minutes": (self.minutes is None or 0 < self.minutes < 1e5, "a positive number"),
            "steps": (self.steps is None or self.steps >= 1, "at least 1"),
            "batch": (self.batch is None or self.batch >= 1, "at least 1"),
            "views": (self.views >= 1, "at least 1"),
            "resolution": (8 <= self.resolution <= 128, "from 8 to 128"),
            "image_size": (self.image_size is None or self.image_size >= 16, "at least 16"),
            "made_up": (self.made_up >= 1, "at least 1"),
            "learning_rate": (
                self.learning_rate is None or 0 < self.learning_rate < 1,
                "between 0 and 1",
            ),
            "ema": (self.ema is None or 0 <= self.ema < 1, "from 0 to below 1"),
            "evaluate_every": (
                self.evaluate_every is None or self.evaluate_every >= 1,
                "at least 1",
            ),
            "patience": (self.patience >= 1, "at least 1"),
            "threads": (self.threads >= 1, "at least 1"),
            "buffer": (self.buffer >= 1, "at least 1"),
            "workers": (0 <= self.workers <= 256, "from 0 to 256"),
            "seed": (0 <= self.seed < 2**62, "from 0 to 2^62 - 1"),
            "start": (
                self.start is None or self.model != "deepsdf",
                "weights of sdfdiff or occupancy, a network of deepsdf knows its objects by number",
            ),
        }
        check_options(self, rules)

    @property
    def seconds(self) -> float | None:
        """How long to train, or None if `steps` says."""
        if self.steps is not None:
            return None
        return 60 * (self.minutes or DEFAULT_MINUTES)

    @property
    def rate(self) -> float:
        """The learning rate at the start."""
        small = {"sdfdiff": 1e-3, "occupancy": 1e-3, "deepsdf": 2e-3}
        published = {"sdfdiff": 3e-4, "occupancy": 1e-4, "deepsdf": 5e-4}
        ours = self.chosen_recipe == "ours" and self.chosen_size == "small"
        rates = small if ours else published
        return self.learning_rate or rates[self.model]

    @property
    def chosen_size(self) -> Size:
        """Of the network, stated or by default."""
        return self.size or ("paper" if self.model == "occupancy" else "small")

    @property
    def chosen_recipe(self) -> Recipe:
        """Stated, or that of the size."""
        return self.recipe or ("ours" if self.chosen_size == "small" else "paper")

    @property
    def chosen_batch(self) -> int:
        """Objects per step, stated or by default."""
        published = self.chosen_recipe == "paper" and self.model != "sdfdiff"
        if published and not (self.model == "occupancy" and self.occupancy.decoder == "conv"):
            return self.batch or 64
        return self.batch or 32

    @property
    def chosen_ema(self) -> float:
        """Decay of the averaged weights, stated or by default."""
        if self.ema is not None:
            return self.ema
        return 0.0 if self.chosen_recipe == "paper" else 0.998

    @property
    def chosen_augment(self) -> Augmentation:
        """What auto stands for: never auto."""
        if self.augment != "auto":
            return self.augment
        if self.chosen_recipe == "paper":
            return "none"
        if self.chosen_size == "small":
            return "made-up"
        return "flip" if self.model == "sdfdiff" else "none"

    @property
    def chosen_weights(self) -> LossWeights:
        """Of the losses, stated or by default."""
        published = self.chosen_recipe == "paper" and self.weights == LossWeights()
        return PAPER_WEIGHTS if published else self.weights
