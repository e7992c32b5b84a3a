"""What only `--model occupancy` and only `--model deepsdf` look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdfrender.options import check_options
from singleview.settings.choices import Conditioning, Decoder, Input, Sampling


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
        decoder: code: the decoder is told one code of the whole object, as in Occupancy Networks.
            conv: features of each place, from a grid of cells and 3D convolutions, as in
            Convolutional Occupancy Networks; for points.
        conditioning: how the code enters the decoder: in every batch normalisation, or as an input.
            Default: batch-norm; input for the paper's network without an observation.
        kl: weight of the divergence of latent codes, beside cross entropy summed over points.
        image_weights: file with weights of ResNet-18 to start the paper's image encoder from.
    """

    input: Input = "points"
    decoded: int | None = None
    sampling: Sampling | None = None
    cloud: int = 300
    noise: float = 0.005
    voxels: int | None = None
    decoder: Decoder = "code"
    conditioning: Conditioning | None = None
    kl: float = 1.0
    image_weights: Path | None = None

    def __post_init__(self) -> None:
        rules = {
            "decoded": (self.decoded is None or self.decoded >= 1, "at least 1"),
            "cloud": (self.cloud >= 1, "at least 1"),
            "noise": (0 <= self.noise < 1, "from 0 to below 1"),
            "voxels": (self.voxels is None or 4 <= self.voxels <= 128, "from 4 to 128"),
            "kl": (self.kl >= 0, "at least 0"),
            "decoder": (
                self.decoder == "code" or self.input == "points",
                "code, or conv with --input points",
            ),
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
