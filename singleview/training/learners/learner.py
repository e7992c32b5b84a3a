"""What the training loop needs to know of a kind of model.

The loop (`singleview.train`) has the clock, the optimiser, the averaged weights, validation,
checkpoints and logs. A learner has the data, the loss and the judgement. A new kind of model is a
new learner, and a line in `singleview.training.learners.open_learner`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from singleview.models import Model
from singleview.run_folder import RunFolder
from singleview.settings.training import TrainConfig
from singleview.training.distributed import Job
from singleview.training.schedule import StepSettings, schedule
from singleview.training.state import Clock


class Learner(ABC):
    """A kind of model and what it learns from.

    Args:
        config: the settings of the training.

    Attributes:
        generator: of what the learner draws for a whole batch; checkpoints keep its state.
        taken: objects that steps have taken from an order; checkpoints keep it.
        terms: names of the terms of the loss, in the order of `losses.csv`.
        scores: names of the scores of a validation, in the order of `validation.csv`; the first
            that a validation has decides which weights are kept.
    """

    terms: tuple[str, ...]
    scores: tuple[str, ...]

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(config.seed)
        self.taken = 0

    def prepare(self, run: RunFolder, job: Job, quiet: bool) -> None:
        """Work before the first step, whose results are kept in the run's folder."""
        return

    @abstractmethod
    def build(self) -> Model:
        """A network with fresh weights."""

    def schedule(self, done: float) -> StepSettings:
        """The settings of a step when a fraction `done` of the training is behind."""
        return schedule(self.config, done)

    def enter(self, model: Model, stage: int) -> None:
        """Switch parts of the model on and off for a stage of the training."""
        return

    @abstractmethod
    def learn(
        self, model: nn.Module, settings: StepSettings, job: Job, clock: Clock
    ) -> Mapping[str, Tensor]:
        """Draw a step, and add the gradient of its loss to the parameters of the model.

        Args:
            model: what `build` made, perhaps wrapped for several processes.
            settings: of the step.
            job: this process; the step is its shard of the batch.
            clock: told what data, network, renderer and losses take.

        Returns:
            The value `[]` of each of the `terms`, and their weighted sum as `total`.
        """

    def precision(self, device: torch.device) -> torch.autocast:
        """The context in which the network computes: bfloat16 where that is wanted."""
        mixed = self.config.precision == "bfloat16"
        if self.config.precision == "auto":
            mixed = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(device.type, torch.bfloat16, enabled=mixed)

    @abstractmethod
    def validate(self, model: Model) -> dict[str, float]:
        """Scores of averaged weights; empty where nothing is held out."""

    @abstractmethod
    def draw(self, model: Model, path: Path) -> None:
        """Draw what averaged weights predict, as a PNG."""

    def conclude(self, model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is found out with the final weights: for the weights' file, and for metrics.json.

        `validation` of the latter are scores of a model that this has changed.
        """
        return {}, {}
