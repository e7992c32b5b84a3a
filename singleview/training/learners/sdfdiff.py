"""SDFDiff's single view: an image in, a lattice out, compared with other pictures of the object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdfrender import Lattice, Lighting, Rendering, render
from singleview.augment.symmetry import mirrored
from singleview.data.dataset import Dataset
from singleview.data.open import open_dataset
from singleview.models import Model, Paper, Small, build_sdfdiff
from singleview.run_folder import RunFolder
from singleview.settings.training import LossWeights, TrainConfig
from singleview.training.batches import Sampler, Step
from singleview.training.distributed import Job
from singleview.training.learners.learner import Learner
from singleview.training.level import best_level
from singleview.training.losses import LossTerms, image_losses, regularisers, shape_loss
from singleview.training.prepare import check_dataset, prepare
from singleview.training.refine import Rig, teach_cameras
from singleview.training.schedule import StepSettings, enter_stage
from singleview.training.spread import spread
from singleview.training.state import Clock
from singleview.training.validate import Network, draw_predictions, predicted, scores, validate

MAX_ANCHORS = 256  # shapes that a decoder starts from


class SdfdiffLearner(Learner):
    """Networks of `singleview.models.sdfdiff` and `small`."""

    terms = tuple(f.name for f in fields(LossTerms))
    scores = ("silhouette_iou", "iou_32", "iou_64")  # what learns from images is chosen by images

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        if config.supervision == "shape":
            self.scores = ("iou_32", "iou_64", "silhouette_iou")
        self.plain = config.chosen_recipe == "paper"
        dataset = open_dataset(config.dataset, config.image_size)
        check_dataset(config, dataset)
        self.sampler = Sampler(config, dataset.split("train"))
        self.generator = self.sampler.generator
        self.held_out = dataset.split("val") if "val" in dataset.splits else None

    def prepare(self, run: RunFolder, job: Job, quiet: bool) -> None:
        """Fit shapes to the images and make up objects."""
        prepare(self.config, self.sampler, run, job, quiet)

    def build(self) -> Model:
        """A network, whose decoder starts from the shapes that are known."""
        real = self.sampler.real
        anchors = min(len(real), MAX_ANCHORS)
        config = self.config
        model = build_sdfdiff(config.chosen_size, real.channels, config.resolution, anchors=anchors)
        if isinstance(model, Small) and self.sampler.use_shapes:
            model.span(*self.sampler.known_shapes())
        return model

    def enter(self, model: Model, stage: int) -> None:
        """The stages of the paper's network."""
        assert isinstance(model, Paper | Small)
        enter_stage(model, stage)

    def learn(
        self, model: nn.Module, settings: StepSettings, job: Job, clock: Clock
    ) -> Mapping[str, Tensor]:
        """Predict lattices, render them, compare: the terms of the loss, `[]` each."""
        with clock.time("data"):
            step = self.sampler.draw(job, settings.half_size)
        with clock.time("network"), self.precision(job.device):
            values = predicted_lattices(model, step).float()
        real, weights = self.sampler.real, settings.weights
        losses, v_values = compare(values, step, real, weights, clock, self.plain)
        if step.shapes is None:  # lattices to compare with tell of all cells
            v_values = spread(v_values, settings.spread)
        with clock.time("network"):
            values.backward(v_values)  # type: ignore[no-untyped-call]
        terms = {f.name: getattr(losses, f.name).detach() for f in fields(losses)}
        return {**terms, "total": losses.total(settings.weights).detach()}

    def validate(self, model: Model) -> dict[str, float]:
        """IoU with the true shapes, and of silhouettes."""
        if self.held_out is None:
            return {}
        return validate(self._network(model), self.held_out, next(model.parameters()).device)

    def draw(self, model: Model, path: Path) -> None:
        """Rows of input, predicted views, true views."""
        shown = self.held_out or self.sampler.real
        draw_predictions(path, self._network(model), shown, next(model.parameters()).device)

    def _network(self, model: Model) -> Network:
        """Images `[B, H, W, C]` to values `[B, R, R, R]`, computed as in training."""
        device = next(model.parameters()).device

        def network(images: Tensor) -> Tensor:
            with self.precision(device):
                values: Tensor = model(images)
                return values

        return network

    def conclude(self, model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of the small network: put its surfaces where pictures say, teach it to tell cameras."""
        if not isinstance(model, Small):
            return {}, {}
        found: dict[str, Any] = {}
        if self.held_out is not None and self.config.supervision == "images":
            said = predicted(model, self.held_out, next(model.parameters()).device)
            level = best_level(said, self.held_out)
            model.lower(level)
            after = scores([values - level for values in said], self.held_out)
            found = {"level": round(level, 5), "validation": after}
        rig = Rig.of(self.sampler.real)
        if rig is None:
            return {}, found
        told = round(teach_cameras(model, self.sampler, rig), 4)
        return {"rig": rig.to_dict()}, {**found, "tells_camera": told}


def predicted_lattices(model: nn.Module, step: Step) -> Tensor:
    """Lattices `[B, R, R, R]` of the input pictures; mirrored where those were."""
    values: Tensor = model(step.inputs)
    return torch.where(step.flipped[:, None, None, None], mirrored(values, step.sides), values)


def compare(
    values: Tensor,
    step: Step,
    real: Dataset,
    weights: LossWeights,
    clock: Clock,
    plain: bool = False,
) -> tuple[LossTerms, Tensor]:
    """Every term of the loss of B lattices, and its gradient.

    Args:
        values: `[B, R, R, R]`, world units.
        step: what to compare with.
        real: the dataset, for its light and its box.
        weights: of the terms.
        clock: told what the renderer takes.
        plain: render as in the paper, see `render_views`.

    Returns:
        The terms, and the gradient of their sum with respect to `values`, `[B, R, R, R]`.
    """
    surface = values.detach().requires_grad_()
    lattice = Lattice(surface, real.bounds)
    losses = LossTerms.of(surface)
    if step.real:
        with clock.time("renderer"):
            out = render_views(lattice, step, real.lighting, plain)
            shaded = real.lighting is not None
            losses = image_losses(out, step.images, step.silhouettes, shaded)
            losses.total(weights).backward()  # type: ignore[no-untyped-call]
    with clock.time("losses"):
        others = regularisers(lattice, weights.band) if step.real else LossTerms.of(surface)
        if step.shapes is not None:
            others = replace(others, shape=shape_loss(surface, step.shapes))
        others.total(weights).backward()  # type: ignore[no-untyped-call]
    assert surface.grad is not None
    return losses + others, surface.grad


def render_views(
    lattice: Lattice, step: Step, lighting: Lighting | None, plain: bool = False
) -> Rendering:
    """B lattices from k views each, `[B, k, …]`: one call where all objects share their cameras.

    Plain is SDFDiff's renderer (§4): a ray hits or misses, silhouettes pull on nothing, and hits
    are re-attached in one step.
    """
    how: dict[str, Any] = {"lighting": lighting}
    if plain:
        how |= {"coverage": False, "reattach": "one_step"}
    if step.shared:
        return render(lattice, step.cameras, **how)
    k = step.images.shape[1]
    parts = [
        render(lattice.with_values(one), step.cameras[b * k : (b + 1) * k], **how)
        for b, one in enumerate(lattice.values)
    ]
    names = [f.name for f in fields(Rendering)]
    return Rendering(**{n: torch.stack([getattr(out, n) for out in parts]) for n in names})
