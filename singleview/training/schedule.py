"""What changes in the course of a training: learning rate, weights, picture size, stages."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from singleview.models.sdfdiff import Paper
from singleview.models.small import Small
from singleview.settings.choices import Kind
from singleview.settings.training import LossWeights, TrainConfig

WARM_UP = 0.01  # part of the training in which the learning rate rises
FINAL_RATE = 0.02  # the last learning rate over the first
SHADING_FROM = 0.3  # silhouettes settle before shading counts
SPREAD_FROM, SPREAD_TO = 3.0, 0.7  # of gradients of pictures, cells
HALF_SIZE_UNTIL = 1 / 3  # part of the training, with --coarse-to-fine
QUARTERS = 4  # of DeepSDF's training: the rate of each is half of that before
REFINER_FROM, JOINT_FROM = 0.5, 0.75  # the paper's stages


@dataclass(frozen=True)
class StepSettings:
    """The settings of a step."""

    stage: int
    rate: float
    weights: LossWeights
    half_size: bool
    spread: float = 0.0
    """Of gradients of pictures, cells."""


def schedule(config: TrainConfig, done: float) -> StepSettings:
    """The settings when a fraction `done` of the training is behind, by the chosen recipe.

    SDFDiff's own network learns in three stages: encoder and decoder; the refiner alone; all of it.
    Other networks learn in one stage. With our recipe the rate falls within each stage.
    """
    stage, begin, end = 0, 0.0, 1.0
    if config.model == "sdfdiff" and config.chosen_size == "paper":
        edges = (0.0, REFINER_FROM, JOINT_FROM, 1.0)
        stage = sum(done >= edge for edge in edges[1:3])
        begin, end = edges[stage], edges[stage + 1]
    u = min(max((done - begin) / (end - begin), 0.0), 1.0)
    weights = config.chosen_weights
    half_size = config.coarse_to_fine and done < HALF_SIZE_UNTIL
    if config.chosen_recipe == "paper":
        return StepSettings(
            stage, config.rate * published_decay(config.model, done), weights, half_size
        )
    warm = min(1.0, 0.01 + u / WARM_UP)
    decay = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * u))
    if done < SHADING_FROM:
        weights = replace(weights, shading=0.0)
    spread = SPREAD_FROM * (SPREAD_TO / SPREAD_FROM) ** u
    return StepSettings(stage, config.rate * warm * decay, weights, half_size, spread)


def published_decay(model: Kind, done: float) -> float:
    """The learning rate over the first one, as published.

    DeepSDF halves it every 500 of 2000 epochs; the others leave it as it is.
    """
    return 0.5 ** min(int(done * QUARTERS), QUARTERS - 1) if model == "deepsdf" else 1.0


def enter_stage(model: Paper | Small, stage: int) -> None:
    """Switch parts of the paper's network on and off; the small one always learns as a whole."""
    if not isinstance(model, Paper):
        return
    model.refine.fill_(stage > 0)
    learning = {model.encoder: stage != 1, model.decoder: stage != 1, model.refiner: stage > 0}
    for part, learns in learning.items():
        part.requires_grad_(learns)
        part.train(learns)  # the statistics of frozen layers rest too
