"""What each kind of model learns from, and how; a learner for each.

They import the rest of `training`; `singleview.train` opens one, `evaluate` and `report` ask it for
codes.
"""

from singleview.settings.training import TrainConfig
from singleview.training.learners.learner import Learner


def open_learner(config: TrainConfig) -> Learner:
    """The learner of `config.model`, with its data read and checked.

    Raises:
        InputError: data that cannot be used.
    """
    if config.model == "occupancy":
        from singleview.training.learners.occupancy import OccupancyLearner

        return OccupancyLearner(config)
    if config.model == "deepsdf":
        from singleview.training.learners.deepsdf import DeepsdfLearner

        return DeepsdfLearner(config)
    from singleview.training.learners.sdfdiff import SdfdiffLearner

    return SdfdiffLearner(config)
