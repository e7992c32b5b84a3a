"""Networks from an observation, or a code, to a shape.

It imports `data` and `settings`; `training`, `measures`, `predict`, `evaluate` and `report` import
it.
"""

from typing import Any, TypeAlias

from singleview.models.deepsdf import AutoDecoder
from singleview.models.occupancy import OccupancyNetwork, OccupancyShape
from singleview.models.sdfdiff import Paper, build_sdfdiff
from singleview.models.small import Small

Model: TypeAlias = Paper | Small | OccupancyNetwork | AutoDecoder

__all__ = [
    "AutoDecoder",
    "Model",
    "OccupancyNetwork",
    "OccupancyShape",
    "Paper",
    "Small",
    "build_model",
    "build_sdfdiff",
]


def build_model(model: str = "sdfdiff", **description: Any) -> Model:
    """A network with fresh weights.

    Args:
        model: of which kind; weights of the first kind do not say.
        description: what the network's `description` says.
    """
    if model == "occupancy":
        return OccupancyNetwork(OccupancyShape(**description))
    if model == "sdfdiff":
        return build_sdfdiff(**description)
    raise ValueError(f"model: need sdfdiff or occupancy, got {model!r}")
