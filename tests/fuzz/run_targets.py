"""Files of runs: colours, materials, cameras, settings, logs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from latent_tiny import random_field
from target import Target, corpus

import sdfrender as sr
from multiview.config import FitConfig
from multiview.levels.checkpoint import restore
from multiview.levels.state import Fit
from multiview.photo.appearance import Appearance
from multiview.prior.start import read_shape
from multiview.results.report.plot import level_rows, loss_plot
from multiview.run_folder import RunFolder, finished_metrics, read_config, read_metrics
from multiview.scenes import Scene
from multiview.scenes.run_scene import refined
from sdfrender.files.run_files import resume_table
from sdfrender.latent.field import LatentField
from sdfrender.looks.run_look import RunLook
from sdfrender.materials.environment import Environment
from sdfrender.materials.surface import MaterialMesh
from sdfrender.viewer.exhibit import load_exhibit, load_views

VIEWS = ("a", "b")


@cache
def scene() -> Scene:
    """Two cameras that were fitted to, and their pictures."""
    cameras = sr.Cameras.orbit(2, 3.0, width=8, height=6)
    planes = torch.ones(2, 6, 8)
    return Scene("s", VIEWS, planes[..., None], planes, planes, planes, cameras, (0, 1), ())


ball = cache(partial(sr.Lattice.sphere, 0.5, 5))


def config(folder: Path, **changes: Any) -> FitConfig:
    """The settings of the run in a folder."""
    return FitConfig(folder, folder, resume=True, **changes)


def _run(*names: str) -> Callable[[Path], object]:
    """Writes a run's folder with these files of the corpus."""

    def prepare(folder: Path) -> None:
        RunFolder(FitConfig(folder, folder)).begin()
        for name in names:
            (folder / name).write_bytes(corpus(SOURCES[name]))

    return prepare


LATTICE, TENSORS, TOLD = "lattice.safetensors", "appearance.safetensors", "appearance.json"
SOURCES = {LATTICE: "safetensors", TENSORS: "appearance", TOLD: "appearance_told"}


def _look(path: Path) -> object:
    look = RunLook.load(path.parent)
    lattice = sr.load_lattice(path.with_name(LATTICE))
    return look.render(lattice, sr.Cameras.orbit(1, 3.0, width=4, height=4))


def _checkpoint(path: Path) -> object:
    state = Fit(scene(), ball(), Appearance(1, None))
    run = RunFolder(config(path.parents[1]))
    return restore(state, run, torch.Generator(), torch.zeros(2))


def _log(path: Path) -> object:
    rows = RunFolder(config(path.parent)).read_log()
    return (loss_plot(rows), level_rows(rows)) if rows else None


def _refined(**changes: Any) -> Callable[[Path], object]:
    return lambda path: refined(config(path.parent, **changes), scene())


def _finished(folder: Path) -> None:
    for name in ("mesh.ply", "progress.webp"):
        (folder / name).write_bytes(b"-")


def _prior(path: Path) -> object:
    return read_shape(path, family(), np.zeros(3))


@cache
def family() -> LatentField:
    """Of shapes, with codes of 4 numbers."""
    return random_field().float()


def _resumed(path: Path) -> object:
    return resume_table(path, ("step", "loss"), 3)


RUNS: dict[str, Target] = {
    "hdr": Target(Environment.load, "a.hdr"),
    "appearance": Target(_look, TENSORS, _run(TOLD, LATTICE)),
    "appearance_told": Target(_look, TOLD, _run(TENSORS, LATTICE)),
    "materials": Target(MaterialMesh.load, "materials.safetensors"),
    "views": Target(load_views, "views.safetensors"),
    "run_mesh": Target(lambda p: load_exhibit(p.parent), "mesh.ply"),
    "snapshot": Target(lambda p: RunFolder(config(p.parents[2])).load_snapshots(),
                       "checkpoints/progress/000001.safetensors", _run()),
    "observed": Target(lambda p: RunFolder(config(p.parent)).load_observed(),
                       "observed.safetensors", _run()),
    "checkpoint": Target(_checkpoint, "checkpoints/latest.safetensors", _run(),
                         executions=40),
    "run_config": Target(lambda p: RunFolder(read_config(p.parent)),
                         "config.json"),
    "run_metrics": Target(lambda p: (read_metrics(p), finished_metrics(p.parent)), "metrics.json",
                          _finished),
    "losses": Target(_log, "losses.csv", _run(), executions=100),
    "table": Target(_resumed, "table.csv", heals=True),
    "cameras_json": Target(_refined(refine_cameras=True), "cameras.json"),
    "exposures_json": Target(_refined(exposure="per-view"), "exposures.json"),
    "prior_json": Target(_prior, "prior.json"),
}  # fmt: skip
