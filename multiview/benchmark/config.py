"""Settings of `multiview benchmark`, and what defines its scenes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from multiview.config import FitConfig, FixedTo, Preset, Start
from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.options import Flag

RING = 32  # views from a ring
VIEWS = (RING, 26, 8, 4)  # numbers of views that `well_spread` chooses
Paint = Literal["none", "slow", "fine"]
Disturbance = Literal["none", "views", "drift", "shadow", "saturation"]
VERSION = 2  # of what `multiview.benchmark.scenes` makes: a higher one makes scenes again


@dataclass(frozen=True)
class SceneSpec:
    """What defines a scene beside its mesh.

    Args:
        image_size: width and height, pixels.
        noise: standard deviation of Gaussian noise on the colour of the training views, where the
            mask is not empty. The held-out views stay clean.
        seed: of the noise.
        paint: give the mesh colours, and light it by lamps that the scene does not state.
        lamps: what they are fixed to.
        fine: whether that paint is fine enough for stereo.
        ring: whether 32 cameras look at it from a ring, 11° apart, instead of the 26 of the cube.
        disturbed: what is wrong with the photographs; see `multiview.benchmark.disturb`.
        gloss: whether the paint is polished, under a sky with lamps; see `gloss`.
    """

    image_size: int = 256
    noise: float = 0.0
    seed: int = 0
    paint: bool = False
    lamps: FixedTo = "scene"
    fine: bool = False
    ring: bool = False
    disturbed: Disturbance = "none"
    gloss: bool = False

    def key(self, mesh: Path) -> str:
        """Eight hexadecimal digits that change with anything that the scene depends on."""
        digest = hashlib.sha256(read_bytes(mesh))
        digest.update(json.dumps([VERSION, asdict(self)], sort_keys=True).encode())
        return digest.hexdigest()[:8]


@dataclass(frozen=True)
class BenchmarkConfig:
    """All settings of a benchmark; its fields are the options of `multiview benchmark`.

    Args:
        meshes: Mesh files (.obj .ply .glb .stl .off), and folders that are searched for them.
        out: Folder of scenes, runs and tables.
        resolutions: Lattice samples along the longest side, a fit for each; ascending.
        preset: As in `multiview fit`.
        init: As in `multiview fit`.
        views: Views to fit: 26, 8 (from the faces of a cube and two corners) or 4 (a tetrahedron);
            32: from a ring, 11 degrees apart, which is as dense as stereo needs.
        image_size: Width and height of the images, pixels.
        noise: Standard deviation of Gaussian noise on the colour of the training views, 0 to 1.
        seed: Of the noise, and of the fits.
        threads: As in `multiview fit`. The ray tracer takes all processors.
        again: Fit also where a finished run has the same settings.
        paint: Give the meshes colours and light them by lamps; the fits know neither. slow: waves
            of .15 and more, of a length of 1.5; fine: of .09 and more. --paint alone: slow.
        disturbed: What is wrong with the photographs. views: each has an exposure, a tone curve
            and highlights of its own; drift: an exposure that grows; shadow: a shadow that moves;
            saturation: a third of the pixels. --disturbed alone: views.
        lamps: What these lamps are fixed to: the scene, the camera (as on a turntable), or the
            view: each has others.
        gloss: Polish the paint to a roughness of .2 to .6, under a sky with lamps, and solve for
            materials after each fit (as `multiview materials` does). The table tells how close
            base colour and roughness come, and pictures under two lights that no fit saw.
    """

    meshes: Positional[tuple[Path, ...]]
    out: Path = Path("runs/benchmark")
    resolutions: tuple[int, ...] = (64, 128)
    preset: Preset = "best"
    init: Start = "hull"
    views: int = 26
    image_size: int = 256
    noise: float = 0.0
    seed: int = 0
    threads: int | None = None
    again: Flag = False
    paint: Paint = "none"
    disturbed: Disturbance = "none"
    lamps: FixedTo = "scene"
    gloss: Flag = False

    def __post_init__(self) -> None:
        if not self.resolutions or sorted(set(self.resolutions)) != list(self.resolutions):
            raise InputError(
                "--resolutions: need one or more, each larger than the one before, "
                f"got {' '.join(map(str, self.resolutions))}"
            )
        need_known_views(self.views)
        if self.lamps != "scene" and not self.painted:
            raise InputError(f"--lamps: need --paint as well, to light by those of {self.lamps}")
        if self.disturbed != "none" and not self.painted:
            raise InputError("--disturbed: need --paint as well, a known light is as it is stated")
        if self.gloss and not self.painted:
            raise InputError("--gloss: need --paint as well, it is the paint that is polished")
        if self.gloss and (self.lamps != "scene" or self.disturbed != "none"):
            raise InputError("--gloss: has a light of its own, need no --lamps and no --disturbed")
        if not 0 <= self.noise <= 1:
            raise InputError(f"--noise: need a number from 0 to 1, got {self.noise}")
        for resolution in self.resolutions:
            self.fit_config(Path(), Path(), resolution)  # for its checks

    @property
    def painted(self) -> bool:
        """Whether the meshes have colours, under a light that the fits have to find."""
        return self.paint != "none"

    @property
    def scene_spec(self) -> SceneSpec:
        """What defines the scenes."""
        return SceneSpec(
            self.image_size,
            self.noise,
            self.seed,
            self.painted,
            self.lamps,
            self.paint == "fine",
            self.views == RING,
            self.disturbed,
            self.gloss,
        )

    def fit_config(
        self, scene: Path, out: Path, resolution: int, train_views: str | None = None
    ) -> FitConfig:
        """The settings of one fit."""
        return FitConfig(
            scene,
            out,
            preset=self.preset,
            init=self.init,
            resolution=resolution,
            train_views=train_views,
            image_size=self.image_size,
            seed=self.seed,
            threads=self.threads,
        )

    @property
    def title(self) -> str:
        """The settings in one line."""
        noise = f", noise {self.noise:g}" if self.noise else ""
        lamps = f", lamps of the {self.lamps}" if self.lamps != "scene" else ""
        fine = " fine" if self.paint == "fine" else ""
        kind = "" if self.disturbed == "views" else f" by {self.disturbed}"
        disturbed = f", disturbed{kind}" if self.disturbed != "none" else ""
        gloss = " and polished" if self.gloss else ""
        paint = f", painted{fine}{gloss}{lamps}{disturbed}" if self.painted else ""
        return (
            f"--preset {self.preset} --init {self.init}, "
            f"{self.views} views of {self.image_size}²{noise}{paint}"
        )


def need_known_views(views: int) -> None:
    """Refuse numbers of views for which there is no choice.

    Raises:
        InputError: another number.
    """
    if views not in VIEWS:
        raise InputError(f"--views: need one of {[*VIEWS]}, got {views}")
