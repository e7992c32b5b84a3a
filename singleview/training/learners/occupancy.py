"""Occupancy Networks: binary cross entropy of the occupancy of random points (§3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sdfrender.errors import InputError
from singleview.augment.symmetry import GRID, mirror_signs, side_axes
from singleview.augment.warps import WarpSettings, random_warp, sample, warp_points
from singleview.data.columns import need_finite
from singleview.data.dataset import Dataset, unit
from singleview.data.meshes import by_category
from singleview.data.open import open_dataset, open_samples
from singleview.data.order import Order
from singleview.data.samples import HALF_CUBE, HALF_PADDED_BOX, Samples, voxels
from singleview.measures.occupancy import best_threshold, draw_objects, logits_at
from singleview.models import Model
from singleview.models.encoders import Code
from singleview.models.observations import Observer, pick, same_objects
from singleview.models.occupancy import (
    OccupancyNetwork,
    paper_grid_shape,
    paper_shape,
    small_grid_shape,
    small_shape,
)
from singleview.run_folder import RunFolder
from singleview.settings.training import TrainConfig
from singleview.training.batches import REAL_SHARE, jittered
from singleview.training.distributed import Job
from singleview.training.learners.learner import Learner
from singleview.training.prepare import SHAPE_RESOLUTION, can_make_up, made_up_objects
from singleview.training.schedule import StepSettings
from singleview.training.state import Clock
from singleview.training.stream import Stream
from singleview.training.validate import resampled

GLANCE, LOOK = 8_000, 20_000  # points of an object in a validation, and in the last judgement
MADE_UP_RESOLUTION = 40  # of the lattices of made-up objects
SPARE = 4  # times as many points are drawn as are kept: those near a surface are among them
BOX_POINTS = 2000  # of the surface, whose box says how large a warped object is
SIDE_OBJECTS = 40  # of a category, that tell where its left and right are
SEEDS = 3  # observations of each object in the last judgement


@dataclass(frozen=True, eq=False)
class OccupancyStep:
    """B objects: observations `[B, …]` or None, points `[B, P, 3]`, inside `[B, P]` bool."""

    observations: Tensor | None
    points: Tensor
    inside: Tensor


class OccupancyLearner(Learner):
    """Networks of `singleview.models.occupancy`."""

    terms = ("cross_entropy", "divergence")
    scores = ("iou", "threshold")

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        kind, small = config.occupancy.input, config.chosen_size == "small"
        samples = open_samples(config.dataset, config.data)
        pictures: Dataset | None = None
        if kind == "image":
            pictures = open_dataset(config.dataset, config.image_size)
            pictures, samples = same_objects(pictures, samples)
        self.decoded = config.occupancy.decoded or (1024 if small or kind == "voxels" else 2048)
        self.sampling = config.occupancy.sampling or ("mixed" if small else "uniform")
        if self.sampling != "uniform" and not samples.near.shape[1]:
            if config.occupancy.sampling:
                raise InputError(f"--sampling: {config.dataset} has no points near surfaces")
            self.sampling = "uniform"
        augment = config.chosen_augment
        self.warps, self.flips = augment == "made-up" and kind != "image", augment != "none"
        if kind == "index":
            self.warps = self.flips = False
        self.made_up: list[Dataset] = []  # of images, filled in before the first step
        self.train = self._observer(samples, pictures, "train")
        self.held_out = self.train
        if kind != "index" and "val" in samples.splits:
            self.held_out = self._observer(samples, pictures, "val")

    @cached_property
    def sides(self) -> Tensor:
        """`[N]` axis along which the left and right of each training object lie."""
        samples, some = self.train.samples, list[int]()
        for members in by_category(samples.names).values():
            some += [samples.names.index(name) for name in members[:SIDE_OBJECTS]]
        solids = torch.stack([voxels(samples.solid(i), GRID) > 0 for i in some])
        kinds = [samples.categories[i] for i in some]
        found = dict(zip(kinds, side_axes(kinds, solids), strict=True))
        return torch.stack([found[category] for category in samples.categories])

    def _observer(self, samples: Samples, pictures: Dataset | None, split: Any) -> Observer:
        settings = self.config.occupancy
        grid = settings.voxels or (16 if self.config.chosen_size == "small" else 32)
        return Observer(
            settings.input,
            samples.split(split),
            None if pictures is None else pictures.split(split),
            settings.cloud,
            settings.noise,
            grid,
            HALF_PADDED_BOX if self.config.chosen_size == "small" else HALF_CUBE,
        )

    def prepare(self, run: RunFolder, job: Job, quiet: bool) -> None:
        """Photograph made-up objects, where images are what is seen and that is possible."""
        pictures = self.train.pictures
        if pictures is None or self.config.chosen_augment != "made-up":
            return
        if pictures.values is None or not can_make_up(pictures):
            if self.config.augment == "made-up":
                raise InputError(
                    f"--augment: made-up needs one set of cameras, a known light and true lattices "
                    f"of the objects, {self.config.dataset} lacks them: use flip"
                )
            return
        pictures = replace(pictures, sides=self.sides)
        assert pictures.values is not None
        shapes = resampled(pictures.values.float(), SHAPE_RESOLUTION)
        config = replace(self.config, resolution=MADE_UP_RESOLUTION)
        self.made_up = made_up_objects(config, pictures, shapes, run, job, quiet)

    def build(self) -> Model:
        """The network."""
        small, settings = self.config.chosen_size == "small", self.config.occupancy
        if settings.decoder == "conv":
            shape = small_grid_shape() if small else paper_grid_shape()
        else:
            make = small_shape if small else paper_shape
            shape = make(settings.input, settings.conditioning, len(self.train.samples))
        model = OccupancyNetwork(shape)
        if settings.image_weights is not None:
            model.load_image_weights(settings.image_weights)
        return model

    # ------------------------------------------------------------------ steps

    def step(self, job: Job) -> OccupancyStep:
        """Draw the next step; this process's shard of it."""
        if self.made_up and self._draw(100) < 100 * (1 - REAL_SHARE):
            return self._made_up_step(job)
        seen, points, inside = self.stream.take(self.taken, job)
        self.taken += self.config.chosen_batch
        need_finite(self.config.dataset, (seen, points))
        found = None if self.train.kind == "none" else seen.to(job.device)
        return OccupancyStep(found, points.to(job.device), inside.to(job.device))

    @cached_property
    def stream(self) -> Stream:
        """Batches of training objects."""
        config = self.config
        order = Order(len(self.train.samples), config.buffer, config.seed)
        if self.flips:
            self.sides  # found once, before workers begin  # noqa: B018
        return Stream(self._object, order, config.chosen_batch, config.seed, config.workers)

    def _object(self, i: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Observation, points `[P, 3]` and their occupancy `[P]` of one object, perhaps warped."""
        samples, P = self.train.samples, self.decoded
        near = {"uniform": 0, "surface": P, "mixed": P // 2}[self.sampling]
        anywhere, close = samples.points[i], samples.near[i]
        a = torch.randint(len(anywhere), (P - near,), generator=generator)
        b = torch.randint(max(1, len(close)), (near,), generator=generator)
        points = torch.cat((anywhere[a], close[b])).float()
        inside = torch.cat((samples.inside[i][a], samples.near_inside[i][b]))
        parts = self.train.parts(i, generator)
        if self.warps:
            rim = pick(samples.surface[i], BOX_POINTS, generator).float()
            warp = random_warp(WarpSettings(), generator, int(self.sides[i]))
            points, parts = warp_points(warp, rim, points, parts)
        elif self.flips and self.train.kind != "image" and _drawn(2, generator):
            signs = mirror_signs(self.sides[i])
            points, parts = points * signs, parts * signs
        if self.train.kind == "image":
            image, points = self._picture(i, points, generator)
            return image, points, inside
        return self.train.observation(i, parts, generator), points, inside

    def _picture(self, i: int, points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A picture of an object, and its points; both perhaps mirrored."""
        assert self.train.pictures is not None
        view = _drawn(self.train.pictures.views, generator)
        images, points = self.train.pictures_of([i], [view]), points[None]
        if self.flips:
            images, points = jittered(images, points, self.sides[[i]], generator)
        return images[0], points[0]

    def _made_up_step(self, job: Job) -> OccupancyStep:
        """Made-up objects, whose occupancy is the sign of their lattices."""
        source = self.made_up[self._draw(len(self.made_up))]
        assert source.values is not None
        objects = [self._draw(len(source)) for _ in range(self.config.chosen_batch)]
        drawn = torch.rand(len(objects), SPARE * self.decoded, 3, generator=self.generator)
        points = 2 * HALF_PADDED_BOX * (drawn - 0.5)
        values = torch.stack(
            [sample(source.values[i].float(), p) for i, p in zip(objects, points, strict=True)]
        )
        if self.sampling != "uniform":  # the nearest of many instead
            near = self.decoded if self.sampling == "surface" else self.decoded // 2
            order = values[:, self.decoded :].abs().argsort(1)[:, :near] + self.decoded
            rest = torch.arange(self.decoded - near).expand(len(objects), -1)
            chosen = torch.cat((rest, order), 1)
        else:
            chosen = torch.arange(self.decoded).expand(len(objects), -1)
        inside = values.gather(1, chosen) < 0
        points = points.gather(1, chosen[..., None].expand(-1, -1, 3))
        views = [self._draw(source.views) for _ in objects]
        images = unit(source.images[objects, views])
        sides = source.side_axes[objects]
        images, points = jittered(images, points, sides, self.generator)
        images, points, inside = (job.shard(x).to(job.device) for x in (images, points, inside))
        return OccupancyStep(images, points, inside)

    def _draw(self, below: int) -> int:
        return _drawn(below, self.generator)

    def learn(
        self, model: nn.Module, settings: StepSettings, job: Job, clock: Clock
    ) -> Mapping[str, Tensor]:
        """Cross entropy, summed over an object's points, per point; divergence; `[]` each."""
        with clock.time("data"):
            step = self.step(job)
        with clock.time("network"):
            with self.precision(job.device):
                logits, kl = model(step.observations, step.points, step.inside)
            entropy = binary_cross_entropy_with_logits(logits.float(), step.inside.float())
            divergence = kl.float().mean() / logits.shape[1]
            total = entropy + self.config.occupancy.kl * divergence
            total.backward()
        found = {"cross_entropy": entropy, "divergence": divergence, "total": total}
        return {name: x.detach() for name, x in found.items()}

    # ------------------------------------------------------------------ judgement

    def validate(self, model: Model) -> dict[str, float]:
        """IoU at the threshold that is best for the objects that are held out."""
        assert isinstance(model, OccupancyNetwork)
        return self._judge(model, GLANCE, 1)

    def _judge(self, model: OccupancyNetwork, count: int, seeds: int) -> dict[str, float]:
        """IoU at `count` points and the best threshold; each object is observed `seeds` times."""
        samples = self.held_out.samples
        codes = [
            (i, code_of(model, self.held_out, i, seed))
            for i in range(len(samples))
            for seed in range(seeds)
        ]
        found = [
            (logits_at(model, code, samples.points[i, :count].float()), samples.inside[i, :count])
            for i, code in codes
        ]
        threshold, iou = best_threshold(found)
        return {"iou": iou, "threshold": threshold}

    def draw(self, model: Model, path: Path) -> None:
        """Predicted views of some objects that are held out."""
        assert isinstance(model, OccupancyNetwork)
        codes = [code_of(model, self.held_out, i, 0) for i in range(len(self.held_out.samples))]
        draw_objects(path, model, codes)

    def conclude(self, model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
        """The threshold τ of the final weights, which is stored with them."""
        assert isinstance(model, OccupancyNetwork)
        found = self._judge(model, LOOK, SEEDS if self.train.kind in ("points", "image") else 1)
        observer = self.train
        about = {
            "threshold": found["threshold"],
            "observations": {
                "cloud": observer.cloud,
                "noise": observer.noise,
                "voxels": observer.voxels,
                "half": observer.half,
            },
        }
        return about, {"threshold": round(found["threshold"], 4)}


def _drawn(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (1,), generator=generator))


@torch.no_grad()
def code_of(model: OccupancyNetwork, observer: Observer, i: int, seed: int) -> Code:
    """The code of object i from its observation; without one, the mean of z given its points."""
    device = next(model.parameters()).device
    observation = observer.fixed(i, seed)
    if observation is not None:
        return model.encode(observation.to(device))
    count = slice(0, 2048)
    points = observer.samples.points[i, count].float().to(device)
    inside = observer.samples.inside[i, count].to(device)
    return Code(model.posterior(points[None], inside[None])[0])
