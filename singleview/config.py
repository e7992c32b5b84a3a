"""Settings of all commands: the door to `singleview.settings`. It imports no numerics."""

from singleview.settings.alignment import AlignConfig
from singleview.settings.datasets import RenderDatasetConfig, SamplePointsConfig
from singleview.settings.evaluation import CompletionStudy, EvaluateConfig
from singleview.settings.implicit import DeepsdfConfig, OccupancyConfig
from singleview.settings.prediction import (
    CompleteConfig,
    CompletionSettings,
    InterpolateConfig,
    PredictConfig,
)
from singleview.settings.published import ImportConfig
from singleview.settings.training import LossWeights, TrainConfig

__all__ = [
    "AlignConfig",
    "CompleteConfig",
    "CompletionSettings",
    "CompletionStudy",
    "DeepsdfConfig",
    "EvaluateConfig",
    "ImportConfig",
    "InterpolateConfig",
    "LossWeights",
    "OccupancyConfig",
    "PredictConfig",
    "RenderDatasetConfig",
    "SamplePointsConfig",
    "TrainConfig",
]
