"""A run's tables of losses for TensorBoard, beside the tables themselves."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sdfrender.errors import InputError

FOLDER = "tensorboard"  # in that of a run


def need_tensorboard() -> None:
    """Check that logs for TensorBoard can be written.

    Raises:
        InputError: tensorboard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise InputError(
            "--logs tensorboard: need the package tensorboard, it is missing: "
            'pip install "sdfrender[logs]"'
        )


class Scalars:
    """The numbers of tables, as `tensorboard --logdir RUN` reads them.

    Args:
        run: the run's folder.
        last: rows after this step that an earlier process wrote are void.

    Raises:
        InputError: tensorboard is not installed.
    """

    def __init__(self, run: Path, last: int = 0) -> None:
        need_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / FOLDER), purge_step=last + 1)

    def add(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Take over rows of a table; the first column is the step, words are left out.

        The number under COLUMN of TABLE.csv is called TABLE/COLUMN.
        """
        for step, *values in rows:
            for column, value in zip(columns[1:], values, strict=True):
                number = _number(value)
                if number is not None:
                    self._writer.add_scalar(f"{table}/{column}", number, int(str(step)))
        self._writer.flush()


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
