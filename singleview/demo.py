"""The demo: a picture and weights that come with the project, a shape in seconds."""

from __future__ import annotations

from pathlib import Path

from sdfrender.files.assets import find_asset
from singleview.predict.predict import DEMO_WEIGHTS, Prediction, predict
from singleview.settings.prediction import PredictConfig


def demo(out: Path = Path("runs/singleview-demo")) -> Prediction:
    """Predict the mug in `assets/singleview/` with the weights beside it.

    Args:
        out: folder to write; a prediction that is there is replaced.

    Raises:
        InputError: the assets are not there.
    """
    weights = find_asset(*DEMO_WEIGHTS)
    config = PredictConfig((weights.parent / "mug.png",), out, weights)
    return predict(config)[0]
