"""The demo: a picture and weights that come with the project, a shape in seconds."""

from __future__ import annotations

from pathlib import Path

from singleview.predict.predict import Prediction, demo_weights, predict
from singleview.settings.prediction import PredictConfig


def demo(out: Path = Path("runs/singleview-demo")) -> Prediction:
    """Predict the mug in `assets/singleview/` with the weights beside it.

    Args:
        out: folder to write; a prediction that is there is replaced.

    Raises:
        InputError: the assets are not there.
    """
    weights = demo_weights()
    config = PredictConfig((weights.parent / "mug.png",), out, weights)
    return predict(config)[0]
