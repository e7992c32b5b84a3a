"""What `singleview predict`, `complete` and `interpolate` are told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.errors import InputError
from sdfrender.options import Flag, check_options


@dataclass(frozen=True)
class PredictConfig:
    """Settings of a prediction; its fields are the options of `singleview predict`.

    Args:
        images: an input each: pictures of one object, of any size; for occupancy networks also
            clouds (.ply, or .npz with `points`) or grids (.npz with `voxels`), as the weights say;
            for DeepSDF meshes, y up, or names of shapes that it knows.
        model: weights or a run folder. Default: those that come with the project.
        out: folder to write; each picture's results go to a folder of its name.
        mask: what is object: auto (the alpha channel, else what differs from the picture's rim),
            alpha, plain (what differs from the rim), none (black is background), or a picture,
            white = object.
        linear: the picture's numbers are linear in light, not sRGB.
        refine: make the shape agree with the picture, which takes the light of the training
            pictures for granted; with occupancy and DeepSDF, move the mesh's vertices onto the
            field's surface.
        frames: of the turntable.
        size: pixels on a side of the turntable.
        faces: triangles that the mesh of an occupancy network or of DeepSDF is simplified to.
        levels: how often the cells that it is extracted from (32³; DeepSDF 48³) are halved where
            its surface is.
        count: shapes to make up, with a network without an input.
        between: shapes on the way from each made-up one to the next.
        seed: of made-up shapes, and of the choice among the points of a cloud.
    """

    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    model: Path | None = None
    mask: str = "auto"
    linear: Flag = False
    refine: bool = True
    frames: int = 24
    size: int = 192
    faces: int = 5000
    levels: int = 2
    count: int = 4
    between: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "frames": (2 <= self.frames <= 1000, "2 to 1000"),
            "size": (16 <= self.size <= 4096, "16 to 4096"),
            "faces": (4 <= self.faces <= 10**7, "4 to 10000000"),
            "levels": (0 <= self.levels <= 5, "0 to 5"),
            "count": (1 <= self.count <= 1000, "1 to 1000"),
            "between": (0 <= self.between <= 1000, "0 to 1000"),
            "seed": (0 <= self.seed < 2**62, "from 0 to 2^62 - 1"),
        }
        check_options(self, rules)


@dataclass(frozen=True)
class CompletionSettings:
    """How a depth image is explained.

    Args:
        offset: η, canonical units; more where the depths are noisy.
        surface: points seen that are used, and as many on either side of them.
        free: points in free space.
        free_weight: w_F.
        prior_weight: w_Z.
        starts: known shapes that are followed.
        seed: of the choice of points.
    """

    offset: float = 0.01
    surface: int = 2000
    free: int = 4000
    free_weight: float = 2.0
    prior_weight: float = 1e-3
    starts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "offset": (0 < self.offset < 0.1, "between 0 and 0.1"),
            "surface": (self.surface >= 16, "at least 16"),
            "free": (self.free >= 1, "at least 1"),
            "free_weight": (0 <= self.free_weight < math.inf, "a number of at least 0"),
            "prior_weight": (0 <= self.prior_weight < math.inf, "a number of at least 0"),
            "starts": (self.starts >= 1, "at least 1"),
            "seed": (0 <= self.seed < 2**62, "from 0 to 2^62 - 1"),
        }
        check_options(self, rules)


@dataclass(frozen=True)
class CompleteConfig:
    """Settings of a completion; its fields are the options of `singleview complete`.

    Args:
        depths: depth images (.npz, .exr), each of one object.
        model: weights of a DeepSDF network, or the run folder of its training.
        out: folder to write; each image's results go to a folder of its name.
        settings: of the energy.
        levels: how often the 48³ cells that the mesh is extracted from are halved where its surface
            is.
        size: pixels on a side of the pictures.
    """

    depths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DEPTH")]
    model: Path
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    settings: Annotated[CompletionSettings, tyro.conf.arg(name="")] = field(
        default_factory=CompletionSettings
    )
    levels: int = 2
    size: int = 192

    def __post_init__(self) -> None:
        rules = {
            "levels": (0 <= self.levels <= 4, "0 to 4"),
            "size": (16 <= self.size <= 4096, "16 to 4096 pixels"),
        }
        check_options(self, rules)


@dataclass(frozen=True)
class InterpolateConfig:
    """Settings of an interpolation; its fields are the options of `singleview interpolate`.

    Args:
        first: the name of a shape that the network knows, an upright mesh, a depth image, or the
            code.json of a completion.
        last: likewise.
        model: weights of a DeepSDF network, or the run folder of its training.
        out: picture to write, a strip.
        between: shapes between the two.
        size: pixels on a side of each.
        azimuth_deg: where they are seen from.
        elevation_deg: likewise, above the horizon.
        meshes: also write the meshes, into a folder beside the picture.
        seed: of the points of a mesh.
    """

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    last: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    model: Path
    out: Path = Path("strip.png")
    between: int = 5
    size: int = 256
    azimuth_deg: float = 40.0
    elevation_deg: float = 20.0
    meshes: Flag = False
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "between": (0 <= self.between <= 1000, "0 to 1000"),
            "size": (16 <= self.size <= 4096, "16 to 4096"),
            "elevation_deg": (-89 <= self.elevation_deg <= 89, "-89 to 89"),
            "seed": (0 <= self.seed < 2**62, "from 0 to 2^62 - 1"),
        }
        check_options(self, rules)
        if self.out.suffix.lower() != ".png":
            raise InputError(f"{self.out}: need a name that ends in .png")
