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
from singleview.augment.warps import WarpSettings, random_warp, sample
from singleview.data.dataset import Dataset, unit
from singleview.data.objects import LONGEST_SIDE
from singleview.data.open import open_dataset, open_samples
from singleview.data.samples import HALF_PADDED_BOX, Samples, voxels
from singleview.measures.occupancy import best_threshold, draw_objects, logits_at
from singleview.models import Model
from singleview.models.encoders import Code
from singleview.models.observations import Observer, pick, same_objects
from singleview.models.occupancy import OccupancyNetwork, paper_shape, small_shape
from singleview.run_folder import RunFolder
from singleview.settings.training import TrainConfig
from singleview.training.batches import REAL_SHARE, jitter
from singleview.training.distributed import Job
from singleview.training.learners.learner import Learner
from singleview.training.prepare import SHAPE_RESOLUTION, can_make_up, made_up_objects
from singleview.training.schedule import StepSettings
from singleview.training.state import Clock
from singleview.training.validate import resampled

GLANCE, LOOK = 8_000, 20_000  # points of an object in a validation, and in the last judgement
MADE_UP_RESOLUTION = 40  # of the lattices of made-up objects
SPARE = 4  # times as many points are drawn as are kept: those near a surface are among them
BOX_POINTS = 2000  # of the surface, whose box says how large a warped object is
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
        samples = open_samples(config.dataset)
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
        augment = config.augment
        if augment == "auto":
            augment = "made-up" if small and kind != "index" else "none"
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
        solids = torch.stack([voxels(solid, GRID) > 0 for solid in self.train.solids])
        return side_axes(self.train.samples.categories, solids)

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
        )

    def prepare(self, run: RunFolder, job: Job, quiet: bool) -> None:
        """Photograph made-up objects, where images are what is seen and that is possible."""
        pictures = self.train.pictures
        if pictures is None or not self.flips or self.config.augment == "flip":
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
        make = small_shape if self.config.chosen_size == "small" else paper_shape
        settings = self.config.occupancy
        model = OccupancyNetwork(
            make(settings.input, settings.conditioning, len(self.train.samples))
        )
        if settings.image_weights is not None:
            model.load_image_weights(settings.image_weights)
        return model

    # ------------------------------------------------------------------ steps

    def step(self, job: Job) -> OccupancyStep:
        """Draw the next step; this process's shard of it."""
        if self.made_up and self._draw(100) < 100 * (1 - REAL_SHARE):
            return self._made_up_step(job)
        objects = [self._draw(len(self.train.samples)) for _ in range(self.config.batch)]
        drawn = [self._object(i) for i in objects]
        observations, points, inside = (torch.stack(column) for column in zip(*drawn, strict=True))
        seen: Tensor | None = observations
        if self.train.kind == "none":
            seen = None
        elif self.train.kind == "image":
            seen, points = self._pictures(objects, points)
        mine = [x if x is None else job.shard(x).to(job.device) for x in (seen, points, inside)]
        assert mine[1] is not None
        assert mine[2] is not None
        return OccupancyStep(mine[0], mine[1], mine[2])

    def _object(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Observation, points `[P, 3]` and their occupancy `[P]` of one object, perhaps warped."""
        samples, generator, P = self.train.samples, self.generator, self.decoded
        near = {"uniform": 0, "surface": P, "mixed": P // 2}[self.sampling]
        a = torch.randint(samples.points.shape[1], (P - near,), generator=generator)
        b = torch.randint(max(1, samples.near.shape[1]), (near,), generator=generator)
        points = torch.cat((samples.points[i, a], samples.near[i, b])).float()
        inside = torch.cat((samples.inside[i, a], samples.near_inside[i, b]))
        parts = self.train.parts(i, generator)
        if self.warps:
            rim = pick(samples.surface[i], BOX_POINTS, generator).float()
            points, parts = self._warped(int(self.sides[i]), rim, points, parts)
        elif self.flips and self.train.kind != "image" and self._draw(2):
            signs = mirror_signs(self.sides[i])
            points, parts = points * signs, parts * signs
        return self.train.observation(i, parts, generator), points, inside

    def _warped(
        self, side: int, rim: Tensor, points: Tensor, parts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points and parts deformed, then moved and scaled as objects are, by points of its rim."""
        warp = random_warp(WarpSettings(), self.generator, side)
        rim = warp.to_new(rim)
        low, high = rim.amin(0), rim.amax(0)
        scale = LONGEST_SIDE / float((high - low).max())
        a, b = ((warp.to_new(x) - (low + high) / 2) * scale for x in (points, parts))
        return a, b

    def _made_up_step(self, job: Job) -> OccupancyStep:
        """Made-up objects, whose occupancy is the sign of their lattices."""
        source = self.made_up[self._draw(len(self.made_up))]
        assert source.values is not None
        objects = [self._draw(len(source)) for _ in range(self.config.batch)]
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
        images, points = self._jittered(images, points, source.side_axes[objects])
        images, points, inside = (job.shard(x).to(job.device) for x in (images, points, inside))
        return OccupancyStep(images, points, inside)

    def _pictures(self, objects: list[int], points: Tensor) -> tuple[Tensor, Tensor]:
        """A picture of each object, and its points; some of them mirrored."""
        assert self.train.pictures is not None
        views = [self._draw(self.train.pictures.views) for _ in objects]
        images = self.train.pictures_of(objects, views)
        return (
            self._jittered(images, points, self.sides[objects]) if self.flips else (images, points)
        )

    def _jittered(self, images: Tensor, points: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures a little brighter or darker, some mirrored together with the points."""
        u = torch.rand(3, len(images), generator=self.generator)
        flipped, gain = u[0] < 0.5, 0.9 + 0.2 * u[1]
        images = jitter(images, flipped, gain, (0.4 * (u[2] - 0.5)).exp(), (0, 0))
        signs = torch.where(flipped[:, None], mirror_signs(sides), torch.ones(3))
        return images, points * signs[:, None]

    def _draw(self, below: int) -> int:
        return int(torch.randint(below, (1,), generator=self.generator))

    def learn(
        self, model: nn.Module, settings: StepSettings, job: Job, clock: Clock
    ) -> Mapping[str, Tensor]:
        """Cross entropy, summed over an object's points, per point; divergence; `[]` each."""
        with clock.time("data"):
            step = self.step(job)
        with clock.time("network"):
            with self.precision(job):
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
        points, inside = samples.points[:, :count].float(), samples.inside[:, :count]
        codes = [
            (i, code_of(model, self.held_out, i, seed))
            for i in range(len(samples))
            for seed in range(seeds)
        ]
        found = [(logits_at(model, code, points[i]), inside[i]) for i, code in codes]
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
            },
        }
        return about, {"threshold": round(found["threshold"], 4)}


@torch.no_grad()
def code_of(model: OccupancyNetwork, observer: Observer, i: int, seed: int) -> Code:
    """The code of object i from its observation; without one, the mean of z given its points."""
    device = next(model.parameters()).device
    observation = observer.fixed(i, seed)
    if observation is not None:
        return model.encode(observation.to(device))
    count = slice(0, 2048)
    points = observer.samples.points[i : i + 1, count].float().to(device)
    inside = observer.samples.inside[i : i + 1, count].to(device)
    return Code(model.posterior(points, inside)[0])
