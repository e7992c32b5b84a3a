"""Fits on several processes come to what one process comes to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from places import ROOT
from processes.thread_ranks import run_on

from multiview.config import FitConfig
from multiview.fit import fit
from multiview.photo.targets import SharedTargets, Targets
from multiview.recipes import RECIPES, NewtonRecipe
from multiview.scenes import load_scene
from multiview.scenes.scene import SharedScene
from sdfrender import InputError, load_lattice
from sdfrender.cluster.ranks import Ranks
from sdfrender.files.formats.pngs import read_png

CLOSE = 1e-5  # spacings
RECIPE = replace(tiny.NEWTON, views=4)  # of the six, so that they take turns


def fit_on(
    size: int, scene: Path, out: Path, recipe: NewtonRecipe = RECIPE, **settings: Any
) -> dict[str, Any]:
    """What the first of several processes returns, which are threads here."""
    settings = {"preset": "fast", "resolution": 16, "threads": 1, **settings}

    def one(ranks: Ranks) -> dict[str, Any]:
        own = out if ranks.first else out.with_name(f"{out.name}-{ranks.rank}")
        return fit(FitConfig(scene, own, **settings), ranks=ranks)

    with patch.dict(RECIPES, {"fast": lambda resolution: recipe}):
        return run_on(size, one)[0]


def same_fit(one: Path, other: Path) -> None:
    """Two runs agree to rounding."""
    wanted, found = (load_lattice(run / "lattice.safetensors") for run in (one, other))
    off = (found.values - wanted.values).abs().max() / wanted.spacing.min()
    assert float(off) < CLOSE
    for a, b in zip(tiny.read_losses(one), tiny.read_losses(other), strict=True):
        for key, value in a.items():
            if key in ("views", "resolution"):
                assert b[key] == value
            else:
                assert float(b[key]) == pytest.approx(float(value), rel=1e-3, abs=1e-6), key
    first, second = (json.loads((run / "metrics.json").read_text()) for run in (one, other))
    assert first["views"] == second["views"]
    assert first.get("warnings") == second.get("warnings")
    for group in ("train", "held_out"):
        assert second.get(group) == pytest.approx(first.get(group), abs=1e-3)


# ---------------------------------------------------------------------- photographs


def test_each_process_has_its_own_photographs(torus_scene: Path) -> None:
    whole = load_scene(torus_scene)
    shared = run_on(3, lambda ranks: load_scene(torus_scene, ranks=ranks))
    views = []
    for scene in shared:
        assert isinstance(scene, SharedScene)
        assert (scene.names, scene.train, scene.held_out) == (
            *(whole.names, whole.train, whole.held_out),
        )
        assert dict(scene.masks) == dict(whole.masks)
        assert torch.equal(scene.cameras.c2w, whole.cameras.c2w)
        assert torch.equal(scene.images, whole.images[list(scene.own)])
        assert torch.equal(scene.silhouettes, whole.silhouettes[list(scene.own)])
        views += scene.own
    assert sorted(views) == list(range(len(whole.names)))


@pytest.mark.parametrize("size", [2, 5])
def test_pictures_of_others_are_there_when_asked_for(size: int, torus_scene: Path) -> None:
    whole = load_scene(torus_scene)
    targets = Targets.of(whole, whole.train)
    some = [4, 1, 5]
    smaller, few = targets.resized(20, 17), targets[some]

    def check(ranks: Ranks) -> int:
        shared = Targets.of(load_scene(torus_scene, ranks=ranks), whole.train)
        assert isinstance(shared, SharedTargets)
        assert shared.size == targets.size
        assert shared.noise == pytest.approx(targets.noise, rel=1e-6)
        for wanted, found in (
            (targets, shared), (few, shared[some]), (smaller, shared.resized(20, 17)),
        ):  # fmt: skip
            for name in ("images", "silhouettes", "silhouette_weights", "image_weights", "views"):
                assert torch.equal(getattr(wanted, name), getattr(found, name)), name
            assert torch.equal(wanted.cameras.Ks, found.cameras.Ks)
        gains = torch.linspace(0.8, 1.3, 6 * 3).reshape(6, 3)
        assert torch.equal(targets.exposed(gains).images, shared.exposed(gains).images)
        local = shared.local(some)
        assert local.part is not None
        numbers = torch.tensor([some[k] for k in local.part.places] or [0])
        assert torch.equal(local.part.spread(numbers), torch.tensor(some))
        if not local.part.places:
            assert not local.images.any()
            assert not local.image_weights.any()
        return len(shared.planes.images)

    assert sum(run_on(size, check)) == 6


# ---------------------------------------------------------------------- fits


def test_a_fit_on_three_processes(torus_scene: Path, tmp_path: Path) -> None:
    fit_on(1, torus_scene, tmp_path / "one")
    fit_on(3, torus_scene, tmp_path / "three")
    same_fit(tmp_path / "one", tmp_path / "three")


@pytest.mark.release
@pytest.mark.parametrize("some", [{"stereo": "off", "exposure": "per-view"}, {"stereo": "on"}])
def test_an_unknown_light_and_colours(
    some: dict[str, str], torus_scene: Path, tmp_path: Path
) -> None:
    settings = {"light": "estimate", "appearance": "albedo", **some}
    fit_on(1, torus_scene, tmp_path / "one", **settings)
    fit_on(2, torus_scene, tmp_path / "two", **settings)
    same_fit(tmp_path / "one", tmp_path / "two")


@pytest.mark.release
def test_fewer_views_than_processes(torus_scene: Path, tmp_path: Path) -> None:
    scene = shutil.copytree(torus_scene, tmp_path / "scene")
    settings = {"train_views": "::3"}
    fit_on(1, scene, tmp_path / "one", **settings)
    fit_on(4, scene, tmp_path / "four", **settings)
    same_fit(tmp_path / "one", tmp_path / "four")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "adam"}, "--preset: need best or fast on several processes"),
        ({"refine_cameras": True}, "--refine-cameras: cameras stay as given"),
        ({"mask_threshold": 0.2}, "--mask-threshold: need mask files"),
        ({"silhouettes": "none"}, "--silhouettes none: need masks"),
        ({"colors": "off"}, "--colors off: need colours"),
    ],
)
def test_what_several_cannot_do_is_refused(
    settings: dict[str, Any], message: str, torus_scene: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        fit_on(2, torus_scene, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_views_without_masks_are_refused(torus_scene: Path, tmp_path: Path) -> None:
    scene = shutil.copytree(torus_scene, tmp_path / "scene")
    shutil.rmtree(scene / "masks")
    for file in (scene / "images").iterdir():  # without the alpha channel
        Image.fromarray((read_png(file)[..., :3] // 257).astype(np.uint8)).save(file)
    with pytest.raises(InputError, match="a mask file or an alpha channel for each view"):
        run_on(2, lambda ranks: load_scene(scene, ranks=ranks))


# ---------------------------------------------------------------------- torchrun


def torchrun(*options: object, size: int = 2) -> subprocess.CompletedProcess[str]:
    """`torchrun … -m multiview fit` with these options."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*start, f"--nproc-per-node={size}", "-m", "multiview", "fit", *map(str, options)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_torchrun(torus_scene: Path, tmp_path: Path) -> None:
    settings = ("--resolution", 16, "--preset", "fast", "--threads", 1)
    done = torchrun(torus_scene, "--out", tmp_path / "two", *settings, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["views"] == {"train": 6, "held_out": 2}
    fit(FitConfig(torus_scene, tmp_path / "one", preset="fast", resolution=16, threads=1))
    same_fit(tmp_path / "one", tmp_path / "two")
    files = [
        sorted(p.name for p in (tmp_path / run).rglob("*") if p.is_file()) for run in ("one", "two")
    ]
    assert files[0] == files[1]


@pytest.mark.release
def test_an_error_of_one_process_ends_all(torus_scene: Path, tmp_path: Path) -> None:
    scene = shutil.copytree(torus_scene, tmp_path / "scene")
    damaged = sorted((scene / "images").iterdir())[1]  # of the second process
    damaged.write_bytes(damaged.read_bytes()[:200])
    done = torchrun(scene, "--out", tmp_path / "run")
    assert done.returncode != 0
    assert f"error: {damaged}" in done.stderr
    assert not (tmp_path / "run").exists()
