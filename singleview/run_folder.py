"""The folder of a training run.

config.json                      settings, command, versions
losses.csv, validation.csv       a row per step; a row per validation
shapes/                          lattices fitted to the training images
made_up/                         made-up objects; gone when the training has ended
checkpoints/latest.safetensors   everything the next step depends on
predictions/step_000500.png      input | predicted views | true views
model.safetensors                the best weights by validation, averaged over steps
metrics.json
"""

from __future__ import annotations

import csv
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sdfrender import InputError, __version__
from sdfrender.files import atomic_write, read_bytes, write_json
from singleview.config import TrainConfig
from singleview.data.tensor_files import expect

# Settings that may differ when a run is resumed.
NOT_COMPARED = ("out", "resume", "threads", "device", "minutes", "steps", "patience")


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
        self.checkpoint = self.path / "checkpoints" / "latest.safetensors"
        file = self.path / "config.json"
        if config.resume:
            if not file.exists():
                raise InputError(f"{file}: need a run to resume, there is no such file")
            with expect(file, "the settings of a run"):
                stored = dict(json.loads(read_bytes(file))["settings"])
            _need_same(file, stored, plain(config))
        elif file.exists():
            raise InputError(
                f"{self.path}: need a folder without a run, this one has config.json "
                "(continue it with --resume, or choose another --out)"
            )
        elif self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: need a folder, this is a file")

    def begin(self) -> None:
        """Make the folder; write `config.json` and the heads of the logs, unless resuming."""
        for name in ("checkpoints", "predictions", "shapes", "made_up"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        if self.config.resume:
            return
        packages = ("torch", "numpy", "numba", "scipy", "safetensors")
        versions = {name: version(name) for name in packages}
        python = {"python": platform.python_version(), "sdfrender": __version__}
        write_json(
            self.path / "config.json",
            {
                "settings": plain(self.config),
                "command": ["singleview", *sys.argv[1:]],
                "versions": {**python, **versions},
            },
        )
        for name, columns in self.heads.items():
            with (self.path / name).open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(columns)

    # ------------------------------------------------------------------ the logs

    def log(self, name: str, rows: Sequence[Sequence[object]]) -> None:
        """Append rows to `losses.csv` or `validation.csv`; numbers as short as they stay exact."""
        with (self.path / name).open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def truncate_logs(self, step: int) -> None:
        """Drop rows past a checkpoint, so that a resumed run logs each step once."""
        for name in self.heads:
            path = self.path / name
            head, *rows = path.read_text().splitlines(keepends=True)
            kept = [row for row in rows if int(row.split(",")[0]) <= step]
            with atomic_write(path) as partial:
                partial.write_text("".join([head, *kept]))


def plain(config: TrainConfig) -> dict[str, Any]:
    """The settings as JSON; the dataset's path such that it is found from any folder."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config), default=os.fspath))
    return {**settings, "dataset": str(config.dataset.resolve())}


def _need_same(file: Path, stored: dict[str, Any], settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        if key not in NOT_COMPARED and stored.get(key) != value:
            raise InputError(
                f"{file}: need the same settings to resume, {key} was "
                f"{stored.get(key)!r} and is {value!r}"
            )
