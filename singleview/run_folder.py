"""The folder of a training run.

config.json                      settings, command, versions
losses.csv, validation.csv       a row per step; a row per validation
tensorboard/                     the same for TensorBoard, if asked for
shapes/                          lattices fitted to the training images
made_up/                         made-up objects; gone when the training has ended
checkpoints/latest.safetensors   everything the next step depends on
predictions/step_000500.png      input | predicted views | true views
model.safetensors                the best weights by validation, averaged over steps
metrics.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdfrender.files.atomic import read_bytes, write_json
from sdfrender.files.run_files import (
    append_rows,
    begin_table,
    held,
    need_same,
    need_vacant,
    provenance,
    resume_table,
)
from sdfrender.files.scalars import Scalars
from sdfrender.files.tensors import expect, need_file
from singleview.settings.training import TrainConfig

# Settings that may differ when a run is resumed.
NOT_COMPARED = (
    "out", "resume", "threads", "device", "minutes", "steps", "patience", "logs", "data", "workers",
)  # fmt: skip


class RunFolder:
    """Paths and files of one run.

    Args:
        config: the run's settings. With `config.resume` the folder must hold a run with the same
            settings; without it the folder must not hold a run.
        terms: of the loss, columns of `losses.csv`.
        scores: of a validation, columns of `validation.csv`.

    Raises:
        InputError: the folder's state does not fit, told before anything is written.
    """

    def __init__(
        self, config: TrainConfig, terms: Sequence[str] = (), scores: Sequence[str] = ()
    ) -> None:
        self.path = config.out
        self.heads = {
            "losses.csv": ("step", "seconds", "rate", "total", *terms),
            "validation.csv": ("step", "seconds", *scores),
        }
        self.config = config
        self._scalars: Scalars | None = None
        self._kept = 0  # steps of an earlier process
        self.checkpoint = self.path / "checkpoints" / "latest.safetensors"
        file = self.path / "config.json"
        if config.resume:
            need_file(file, "a run to resume")
            with expect(file, "the settings of a run"):
                stored = dict(json.loads(read_bytes(file))["settings"])
            need_same(file, stored, plain(config), NOT_COMPARED)
        else:
            need_vacant(self.path)

    def held(self) -> AbstractContextManager[None]:
        """Have the folder to oneself; see `run_files.held`."""
        return held(self.path, self.config.resume)

    def begin(self) -> None:
        """Make the folder; write `config.json` and the heads of the logs, unless resuming."""
        for name in ("checkpoints", "predictions", "shapes", "made_up"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        if self.config.resume:
            return
        write_json(
            self.path / "config.json",
            {"settings": plain(self.config), **provenance("singleview", ("safetensors",))},
        )
        for name, columns in self.heads.items():
            begin_table(self.path / name, columns)

    # ------------------------------------------------------------------ the logs

    def log(self, name: str, rows: Sequence[Sequence[object]]) -> None:
        """Append rows to `losses.csv` or `validation.csv`; numbers as short as they stay exact."""
        append_rows(self.path / name, rows)
        if self.config.logs is not None:
            self._scalars = self._scalars or Scalars(self.path, self._kept)
            self._scalars.add(Path(name).stem, self.heads[name], rows)

    def resume_logs(self, step: int, validated: int) -> None:
        """Drop rows past a checkpoint, so that a resumed run logs each step once.

        Args:
            step: of the checkpoint.
            validated: the last step that the checkpoint knows a validation of.
        """
        self._kept = step
        for name, last in (("losses.csv", step), ("validation.csv", validated)):
            resume_table(self.path / name, self.heads[name], last)


def plain(config: TrainConfig) -> dict[str, Any]:
    """The settings as JSON; the dataset's path such that it is found from any folder."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config), default=os.fspath))
    return {**settings, "dataset": str(config.dataset.resolve())}
