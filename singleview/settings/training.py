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
    Conditioning,
    Device,
    Input,
    Kind,
    Precision,
    Sampling,
    Size,
    Supervision,
)

DEFAULT_MINUTES = 60.0  # of training, without --minutes and --steps


@dataclass(frozen=True)
class OccupancyConfig:
    """What only `--model occupancy` looks at.

    Args:
        input: what the network sees: an image, a cloud of points, voxels, nothing (it learns to
            make up shapes), or the number of a known object (how much it can represent).
        decoded: points of each object per step. Default: 2048, with voxels 1024; 1024 small.
        sampling: of these points: uniform in the box, surface: near it, mixed: half each. Default:
            uniform, as in the paper; mixed small.
        cloud: points of an input cloud.
        noise: standard deviation of a cloud's noise, as a part of the longest side.
        voxels: voxels along each side of an input grid. Default: 32; 16 small.
        conditioning: how the code enters the decoder: in every batch normalisation, or as an input.
        kl: weight of the divergence of latent codes, beside cross entropy summed over points.
        image_weights: file with weights of ResNet-18 to start the paper's image encoder from.
    """

    input: Input = "points"
    decoded: int | None = None
    sampling: Sampling | None = None
    cloud: int = 300
    noise: float = 0.005
    voxels: int | None = None
    conditioning: Conditioning = "batch-norm"
    kl: float = 1.0
    image_weights: Path | None = None

    def __post_init__(self) -> None:
        rules = {
            "decoded": (self.decoded is None or self.decoded >= 1, "at least 1"),
            "cloud": (self.cloud >= 1, "at least 1"),
            "noise": (0 <= self.noise < 1, "from 0 to below 1"),
            "voxels": (self.voxels is None or 4 <= self.voxels <= 128, "from 4 to 128"),
            "kl": (self.kl >= 0, "at least 0"),
        }
        check_options(self, rules)


@dataclass(frozen=True)
class DeepsdfConfig:
    """What only `--model deepsdf` looks at.

    Args:
        code: numbers in a code. Default: 256, small 64.
        drawn: points of each object per step. Default: 16384, small 800.
        clamp: distances count up to here, in units in which the longest side is 1.5.
        code_weight: of the codes' squared length, beside the mean clamped error.
        octaves: of sines and cosines of the point beside it; more of them tell thinner parts.
            Default: 0, the bare point, as in the paper; small 4.
    """

    code: int | None = None
    drawn: int | None = None
    clamp: float = 0.1
    code_weight: float = 1e-4
    octaves: int | None = None

    def __post_init__(self) -> None:
        rules = {
            "code": (self.code is None or 1 <= self.code <= 4096, "from 1 to 4096"),
            "drawn": (self.drawn is None or self.drawn >= 1, "at least 1"),
            "clamp": (0 < self.clamp <= 1, "above 0, at most 1"),
            "code_weight": (self.code_weight >= 0, "at least 0"),
            "octaves": (self.octaves is None or 0 <= self.octaves <= 12, "from 0 to 12"),
        }
        check_options(self, rules)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of a training's loss, see `singleview.training.losses.LossTerms`."""

    silhouette: float = 1.0
    overlap: float = 0.1
    shading: float = 0.03
    """Of the images. Large weights spoil the shape: shading says little until it is about right."""
    eikonal: float = 0.02
    laplacian: float = 0.02
    shape: float = 1.0
    band: float = 1.6
    """Half width of the regularisers' band, in cells."""


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
        supervision: images: no 3D data. shape: the true lattices, for comparison.
        minutes: wall-clock time to train for, preparation included. Default: 60 without `steps`.
        steps: train for so many steps instead.
        batch: objects per step, over all processes.
        views: pictures of each object per step that the prediction is compared with.
        resolution: samples of the small network's lattice along each side.
        image_size: pixels on a side to average the images down to. Default: as stored.
        augment: made-up: fit a shape to the pictures of each object, make up new objects out of
            these, and flip pictures. flip: that alone, and nothing but rendered pictures is
            compared. none: not even that. auto: made-up for the small network, as far as it goes:
            new objects need shared cameras and a known light. Occupancy: made-up deforms the
            training objects (and, for image input, photographs them anew), flip mirrors them; auto:
            made-up small, none for the paper's.
        made_up: objects to make up.
        coarse_to_fine: compare pictures of half the size in the first third.
        learning_rate: at the start; falls to a fiftieth. Default: 1e-3 small, 3e-4 paper;
            occupancy 1e-4 paper, as published; deepsdf 2e-3 small, 5e-4 paper, codes twice that.
        ema: decay of the averaged weights that are evaluated and kept.
        weights: of the losses.
        evaluate_every: steps between validations. Default: 20 over the training.
        patience: stop after so many validations without progress.
        precision: of the network: auto is bfloat16 on a GPU, float32 on a CPU.
        device: auto: a GPU if there is one.
        threads: of torch, in each process.
        seed: of everything drawn at random.
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
    supervision: Supervision = "images"
    minutes: float | None = None
    steps: int | None = None
    batch: int = 32
    views: int = 1
    resolution: int = 32
    image_size: int | None = None
    augment: Augmentation = "auto"
    made_up: int = 4000
    coarse_to_fine: bool = False
    learning_rate: float | None = None
    ema: float = 0.998
    weights: LossWeights = field(default_factory=LossWeights)
    evaluate_every: int | None = None
    patience: int = 8
    precision: Precision = "auto"
    device: Device = "auto"
    threads: int = 1
    seed: int = 0
    resume: Flag = False
    logs: Literal["tensorboard"] | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise InputError("--minutes, --steps: need one of them, got both")
        rules = {
            "minutes": (self.minutes is None or 0 < self.minutes < 1e5, "a positive number"),
            "steps": (self.steps is None or self.steps >= 1, "at least 1"),
            "batch": (self.batch >= 1, "at least 1"),
            "views": (self.views >= 1, "at least 1"),
            "resolution": (8 <= self.resolution <= 128, "from 8 to 128"),
            "image_size": (self.image_size is None or self.image_size >= 16, "at least 16"),
            "made_up": (self.made_up >= 1, "at least 1"),
            "learning_rate": (
                self.learning_rate is None or 0 < self.learning_rate < 1,
                "between 0 and 1",
            ),
            "ema": (0 <= self.ema < 1, "from 0 to below 1"),
            "evaluate_every": (
                self.evaluate_every is None or self.evaluate_every >= 1,
                "at least 1",
            ),
            "patience": (self.patience >= 1, "at least 1"),
            "threads": (self.threads >= 1, "at least 1"),
            "seed": (0 <= self.seed < 2**62, "from 0 to 2^62 - 1"),
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
        rates = small if self.chosen_size == "small" else published
        return self.learning_rate or rates[self.model]

    @property
    def chosen_size(self) -> Size:
        """Of the network, stated or by default."""
        return self.size or ("paper" if self.model == "occupancy" else "small")
