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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from sdfrender import InputError, __version__
from sdfrender.files import atomic_write, read_bytes, write_json
from singleview.config import TrainConfig

LOSSES = (
    "step",
    "seconds",
    "rate",
    "total",
    "silhouette",
    "overlap",
    "shading",
    "eikonal",
    "laplacian",
    "shape",
)
VALIDATION = ("step", "seconds", "iou_32", "iou_64", "silhouette_iou")
# Settings that may differ when a run is resumed.
NOT_COMPARED = ("out", "resume", "threads", "device", "minutes", "steps", "patience")


class RunFolder:
    """Paths and files of one run.

    Args:
        config: the run's settings. With `config.resume` the folder must hold a run with the same
            settings; without it the folder must not hold a run.

    Raises:
        InputError: the folder's state does not fit, told before anything is written.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.path = config.out
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
        for name, columns in (("losses.csv", LOSSES), ("validation.csv", VALIDATION)):
            with (self.path / name).open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(columns)

    # ------------------------------------------------------------------ the logs

    def log(self, name: str, rows: Sequence[Sequence[object]]) -> None:
        """Append rows to `losses.csv` or `validation.csv`; numbers as short as they stay exact."""
        with (self.path / name).open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def truncate_logs(self, step: int) -> None:
        """Drop rows past a checkpoint, so that a resumed run logs each step once."""
        for name in ("losses.csv", "validation.csv"):
            path = self.path / name
            head, *rows = path.read_text().splitlines(keepends=True)
            kept = [row for row in rows if int(row.split(",")[0]) <= step]
            with atomic_write(path) as partial:
                partial.write_text("".join([head, *kept]))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: object) -> None:
    """Write tensors, with `state` as JSON beside them, to a safetensors file."""
    flat = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
    with atomic_write(path) as partial:
        partial.write_bytes(safetensors.torch.save(flat, {"state": json.dumps(state)}))


def load_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a safetensors file on the CPU, and the state beside them.

    Raises:
        InputError: missing, damaged, or without a state; it names the file and `what` it should be.
    """
    if not path.is_file():
        raise InputError(f"{path}: need {what}, there is no such file")
    with expect(path, what), safetensors.safe_open(path, "pt") as opened:
        state = json.loads((opened.metadata() or {})["state"])
        return {name: opened.get_tensor(name) for name in opened.keys()}, state  # noqa: SIM118


@contextmanager
def expect(file: Path, what: str) -> Iterator[None]:
    """Tell whatever a damaged file does to its reader as an `InputError` that names the file."""
    try:
        yield
    except InputError:
        raise
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{file}: need {what}, got {_one_line(error)}") from None


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


def _one_line(error: BaseException) -> str:
    return " ".join(repr(error).split())[:300]
