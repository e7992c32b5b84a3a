"""The folder of a run: settings, log, checkpoints and results, written so that nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import shlex
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multiview.config import FitConfig
from sdfrender import InputError, Lattice
from sdfrender.files.atomic import read_bytes, write_json
from sdfrender.files.run_files import (
    append_rows,
    begin_table,
    complete_rows,
    held,
    need_same,
    need_vacant,
    provenance,
    resume_table,
)
from sdfrender.files.scalars import Scalars
from sdfrender.files.tensors import expect, load_tensors, need_file, need_tensor, save_tensors
from sdfrender.geometry.blocks import packed, unpacked

COLUMNS = (
    "update",
    "seconds",
    "level",
    "resolution",
    "width",
    "height",
    "pass",
    "views",
    "total",
    "color",
    "silhouette",
    "carve",
    "eikonal",
    "laplacian",
    "stereo",
    "maps",
)
OBSERVED = "observed.safetensors"
FILMS = ("progress.mp4", "progress.webp")  # one of them ends a run
SNAPSHOT_RESOLUTION = 64  # samples along the longest side, at most
NOT_COMPARED = (
    "max_pixels",
    "out",
    "resume",
    "threads",
    "device",
    "texture",
    "materials",
    "logs",
    "closed",
)  # settings that may differ when a run is resumed


PACKED = ("values.low", "values.ids", "values.inner")  # of a lattice in a checkpoint
CHECKPOINT = "a checkpoint of a run (delete the file to begin the run again with --resume)"

log = logging.getLogger("multiview")

LARGEST = 2**53  # of a whole number in a log, which is drawn


class RunFolder:
    """Paths and files of one run.

    Args:
        config: the run's settings. With `config.resume` the folder must hold a run with the same
            settings; without it the folder must not hold a run.

    Raises:
        InputError: the folder's state does not fit, told before anything is written.
    """

    def __init__(self, config: FitConfig) -> None:
        self.path = config.folder
        self.config = config
        self._scalars: Scalars | None = None
        self._kept = 0  # updates of an earlier process
        before = self.path / "config.json"
        if config.resume:
            self._compare(before)
        else:
            need_vacant(self.path)

    def _compare(self, file: Path) -> None:
        """Check that the run to resume had the same settings."""
        need_file(file, "a run to resume")
        with expect(file, "the settings of a run"):
            stored = dict(json.loads(read_bytes(file)))
            settings, self._recipe = dict(stored["settings"]), dict(stored.get("recipe", {}))
        need_same(file, settings, _settings(self.config), NOT_COMPARED)

    def held(self) -> AbstractContextManager[None]:
        """Have the folder to oneself; see `run_files.held`."""
        return held(self.path, self.config.resume)

    def begin(self, photographs: bool = False) -> None:
        """Create the folder and write `config.json`, or open the log of the run that goes on.

        Args:
            photographs: see `FitConfig.recipe`.
        """
        recipe = _recipe_of(self.config, photographs)
        if self.config.resume:
            need_same(self.path / "config.json", self._recipe, recipe, ())
        self.snapshots.mkdir(parents=True, exist_ok=True)
        if not self.config.resume:
            packages = ("scikit-image", "trimesh", "libigl")
            write_json(
                self.path / "config.json",
                {
                    "settings": _settings(self.config),
                    "recipe": recipe,
                    **provenance("multiview", packages),
                },
            )
            begin_table(self.path / "losses.csv", COLUMNS)

    # ------------------------------------------------------------------ the log

    def log(self, rows: list[tuple[Any, ...]]) -> None:
        """Append rows of `COLUMNS` to `losses.csv`, and to TensorBoard's if there are such."""
        append_rows(self.path / "losses.csv", rows)
        if self.config.logs is not None:
            self._scalars = self._scalars or Scalars(self.path, self._kept)
            self._scalars.add("losses", COLUMNS, rows)

    def truncate_log(self, updates: int) -> None:
        """Drop rows and snapshots past a checkpoint: a resumed run logs each update once."""
        for past in self._snapshot_files():
            if int(past.stem) > updates:
                past.unlink()
        self._kept = updates
        resume_table(self.path / "losses.csv", COLUMNS, updates)

    def read_log(self) -> list[dict[str, str]]:
        """The rows of `losses.csv`.

        Raises:
            InputError: rows without the columns of a run, or that are no numbers.
        """
        file = self.path / "losses.csv"
        head, *rows = complete_rows(file) or [[]]
        found = [dict(zip(head, row, strict=False)) for row in rows]
        with expect(file, "the log of a run"):
            for row in found:
                words = {row[key] for key in ("views", "resolution", "seconds")}
                if not all(words) or not shlex.split(row["views"]):
                    raise ValueError(f"a row without views or resolution: {[*row.values()]}")
                for key in ("update", "level", "pass", "width", "height"):
                    if abs(int(row[key])) > LARGEST:
                        raise ValueError(f"{key} {row[key]:.20}…, beyond {LARGEST:,}")
                for key in {*row} - {"views", "resolution"}:
                    float(row[key])
        return found

    # ------------------------------------------------------------------ checkpoints

    @property
    def checkpoint(self) -> Path:
        """The file of the last checkpoint."""
        return self.path / "checkpoints" / "latest.safetensors"

    def save_checkpoint(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write the state of the optimisation; replaces the previous one when complete."""
        save_tensors(self.checkpoint, _packed(tensors), state)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint, or None when the run has none yet."""
        if not self.has_checkpoint:
            log.info("%s: has no checkpoint yet, the run begins again", self.path)
            return None
        tensors, state = load_tensors(self.checkpoint, CHECKPOINT)
        with expect(self.checkpoint, CHECKPOINT):
            return _unpacked(tensors), state

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a state to go on from."""
        return self.checkpoint.exists()

    # ------------------------------------------------------------------ what was seen

    @property
    def has_observed(self) -> bool:
        """Whether the run was one without silhouettes, and its surface was found."""
        return (self.path / OBSERVED).exists()

    def save_observed(self, observed: Tensor) -> None:
        """Write how many views saw the surface near each vertex of the lattice, `[X, Y, Z]`."""
        save_tensors(self.path / OBSERVED, {"observed": observed.half()}, {})

    def load_observed(self) -> Tensor:
        """The same, read.

        Raises:
            InputError: not that file.
        """
        file = self.path / OBSERVED
        tensors, _ = load_tensors(file, "what a run observed")
        with expect(file, "what a run observed"):
            return need_tensor(tensors, "observed", ("X", "Y", "Z")).float()

    # ------------------------------------------------------------------ snapshots

    @property
    def snapshots(self) -> Path:
        """The folder of small lattices that show how the shape formed."""
        return self.path / "checkpoints" / "progress"

    def save_snapshot(self, lattice: Lattice, update: int) -> None:
        """Keep the shape after an update: at most 64 samples a side, in half precision."""
        if max(lattice.resolution) > SNAPSHOT_RESOLUTION:
            lattice = lattice.resample(SNAPSHOT_RESOLUTION)
        cell = lattice.spacing.max()  # in cells, half precision holds a world of any size
        tensors = {
            "values": (lattice.values / cell).half(),
            "cell": cell,
            "bounds": lattice.bounds,
        }
        save_tensors(self.snapshots / f"{update:06d}.safetensors", tensors, {})

    def load_snapshots(self) -> list[tuple[int, Lattice]]:
        """The update and the shape after it, in order; none in a run of an older version."""
        found = []
        for file in self._snapshot_files():
            tensors, _ = load_tensors(file, "a snapshot of a run")
            with expect(file, "a snapshot of a run"):
                values = need_tensor(tensors, "values", ("X", "Y", "Z")).float()
                values = values * need_tensor(tensors, "cell", ())
                found.append((int(file.stem), Lattice(values, tensors["bounds"])))
        return found

    def _snapshot_files(self) -> list[Path]:
        return sorted(self.snapshots.glob("[0-9]*.safetensors"), key=lambda file: int(file.stem))

    # ------------------------------------------------------------------ appearance

    def save_appearance(self, tensors: dict[str, Tensor]) -> None:
        """Write colour, light and lens."""
        save_tensors(self.path / "appearance.safetensors", tensors, {})

    def load_appearance(self) -> dict[str, Tensor]:
        """The same, read.

        Raises:
            InputError: not the file of a finished run.
        """
        return load_tensors(self.path / "appearance.safetensors", "the appearance of a run")[0]


def _packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with a lattice of `values` as its blocks, of which most are of one value."""
    if "values" not in tensors:
        return tensors
    values = tensors["values"].detach().cpu().contiguous()
    parts = dict(zip(PACKED, map(torch.from_numpy, packed(values.numpy())), strict=True))
    parts["values.shape"] = torch.tensor(values.shape)
    return {name: x for name, x in tensors.items() if name != "values"} | parts


def _unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What was `_packed`; older checkpoints, which were not, as they are."""
    if "values.shape" not in tensors:
        return tensors
    shape = tuple(tensors.pop("values.shape").tolist())
    low, ids, inner = (tensors.pop(name).numpy() for name in PACKED)
    return {"values": torch.from_numpy(unpacked(shape, low, ids, inner)), **tensors}


def holds_run(config: FitConfig, photographs: bool) -> bool:
    """Whether `config.folder` holds a run, finished or not, with these settings and this recipe.

    Args:
        config: the settings.
        photographs: see `FitConfig.recipe`.
    """
    try:
        run = RunFolder(replace(config, resume=True))
        need_same(run.path, run._recipe, _recipe_of(config, photographs), ())
    except InputError:
        return False
    return True


def finished_metrics(folder: Path) -> dict[str, Any] | None:
    """What a finished run measured; None where it was interrupted, or something was not written."""
    files = [folder / name for name in ("metrics.json", "mesh.ply")]
    film = any((folder / name).is_file() for name in FILMS)  # written after all else
    if not film or not all(file.is_file() for file in files):
        return None
    with expect(files[0], "the metrics of a run"):
        found = dict(json.loads(read_bytes(files[0])))
    return None if found.get("interrupted") else found


def read_config(folder: Path) -> FitConfig:
    """The settings of a finished run."""
    file = folder / "config.json"
    with expect(file, "the settings of a run"):
        settings = json.loads(read_bytes(file))["settings"]
        paths = {k: Path(settings[k]) for k in ("scene", "prior") if settings.get(k)}
        return FitConfig(**{**settings, **paths, "out": folder, "resume": True})


def read_metrics(file: Path) -> dict[str, Any]:
    """The `metrics.json` of a run: what it cost is not measured again."""
    with expect(file, "the metrics of a run"):
        found = dict(json.loads(read_bytes(file)))
        peak = found["peak_memory_mb"]
        cost = {"seconds": float(found["seconds"])}
        return {**found, **cost, "peak_memory_mb": None if peak is None else float(peak)}


def _settings(config: FitConfig) -> dict[str, Any]:
    """The settings as JSON; paths of input such that they are found from any folder."""
    settings: dict[str, Any] = json.loads(_json(asdict(config)))
    paths = {"scene": config.scene, "prior": config.prior}
    return {**settings, **{k: str(path.resolve()) for k, path in paths.items() if path}}


def _recipe_of(config: FitConfig, photographs: bool = False) -> dict[str, Any]:
    """The recipe as it is read back from JSON, which has no infinity."""
    text = _json(asdict(config.recipe(photographs)))
    recipe: dict[str, Any] = json.loads(text, parse_constant=lambda name: None)
    return recipe


def _json(data: object) -> str:
    return json.dumps(data, default=os.fspath)
