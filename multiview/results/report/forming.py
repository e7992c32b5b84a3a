"""The shape at every stage of its fit, from a few cameras: what the slider moves through."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import torch

from multiview.photo.appearance import Appearance
from multiview.results.evaluate import predictions
from multiview.results.report.views import difference_of, picture_of, spread, thumbnails
from multiview.run_folder import RunFolder
from multiview.scenes import Scene
from sdfrender import Lattice, load_lattice
from sdfrender.far import Doubles

VIEWS = 3  # fixed ones, beside the worst
PICTURE_SIZE = 320  # pixels along the longer side


@dataclass(frozen=True)
class Stage:
    """The shape at one moment of the fit.

    Args:
        lattice: the shape.
        update: how many updates made it; None for the start and the result, as are the following.
        level: the lattice of the pyramid's level.
        energy: per view, before the last update.
    """

    lattice: Lattice
    name: str = ""
    update: int | None = None
    level: str | None = None
    energy: float | None = None

    @property
    def title(self) -> str:
        """In words."""
        if self.update is None:
            return self.name
        return f"update {self.update}, level {self.level}, energy {self.energy:.4g}"


@dataclass(frozen=True)
class Forming:
    """One view through all S stages: `data:` addresses, the last ones of the result."""

    name: str
    width: int
    height: int
    photograph: str
    renderings: list[str]
    differences: list[str]


def stages(run: RunFolder, result: Lattice, offset: Doubles) -> list[Stage]:
    """From the start to the result, as far as the run kept them, about the scene's offset `[3]`."""
    stored = load_lattice(run.path / "checkpoints" / "start.safetensors")
    start = Lattice(stored.values, stored.bounds.double() - torch.from_numpy(offset))
    rows = {int(row["update"]): row for row in run.read_log()}
    between = []
    for update, lattice in run.load_snapshots():
        row = rows.get(update)
        if row is not None:
            energy = float(row["total"]) / len(shlex.split(row["views"]))
            level = row["resolution"].replace("x", "×")
            between.append(Stage(lattice, "", update, level, energy))
    return [Stage(start, "start"), *between, Stage(result, "result")]


def forming(
    scene: Scene, appearance: Appearance, moments: list[Stage], worst: int
) -> list[Forming]:
    """The worst view and a few fitted ones, through all stages, in the result's colour and light.

    Args:
        scene: the photographs.
        appearance: of the result.
        moments: S stages.
        worst: the view to begin with.
    """
    views = [worst, *(view for view in spread(scene.train, VIEWS) if view != worst)]
    targets = thumbnails(scene, views, PICTURE_SIZE)
    by_stage = [list(predictions(moment.lattice, appearance, targets)) for moment in moments]
    found = []
    for n, (view, *renderings) in enumerate(zip(views, *by_stage, strict=True)):
        one = targets[[n]]
        found.append(
            Forming(
                scene.names[view],
                one.cameras.width,
                one.cameras.height,
                picture_of(scene, one.images[0], one.silhouettes[0]),
                [picture_of(scene, *rendering) for rendering in renderings],
                [difference_of(rendering, one) for rendering in renderings],
            )
        )
    return found
