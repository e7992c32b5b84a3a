"""The fit pipeline: what a run leaves behind, going on after an interruption, wrong input."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest
import tiny
import torch
from places import REFERENCE
from scene_folders import write_middlebury, write_transforms

from multiview import cli
from multiview.commands.demo import demo_scene
from multiview.config import FitConfig
from multiview.levels import coarse_to_fine, progress
from multiview.levels.state import Fit
from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.greedy import Optimizer
from multiview.photo.appearance import Appearance
from multiview.recipes import (
    RECIPES,
    AdamRecipe,
    Level,
    NewtonLevel,
    NewtonRecipe,
    Recipe,
    Weights,
    for_photographs,
    for_views,
)
from multiview.results.finished_run import evaluate_run
from multiview.run_folder import COLUMNS
from multiview.scenes import load_scene
from sdfrender import InputError, Lattice, extract_mesh, load_lattice, load_mesh, metrics
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.hull.visual_hull import visual_hull
from sdfrender.io.lattices import save_lattice

FILES = {
    "appearance.json",
    "appearance.safetensors",
    "checkpoints",
    "config.json",
    "lattice.safetensors",
    "losses.csv",
    "mesh.glb",
    "mesh.ply",
    "metrics.json",
    "progress.mp4" if find_spec("imageio_ffmpeg") else "progress.webp",
    "report.html",
    "views.safetensors",
}
SCORES = ["psnr", "psnr_full", "ssim", "silhouette_iou"]

# For what does not depend on the method.
one_method_is_enough = pytest.mark.parametrize("preset", ["adam"], indirect=True)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of `multiview ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["multiview", *map(str, arguments)])
    return cli.main()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def read_json(file: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{file.name} holds {name}, which is no JSON")

    found: dict[str, Any] = json.loads(file.read_text(), parse_constant=refuse)
    return found


def lattice_of(run: Path) -> Lattice:
    return load_lattice(run / "lattice.safetensors")


@pytest.fixture
def run(torus_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(torus_run, tmp_path / "run"))


# ---------------------------------------------------------------------- what a run leaves behind


def test_a_run_folder_holds(torus_run: Path) -> None:
    assert {path.name for path in torus_run.iterdir()} == FILES
    checkpoints = {path.name for path in (torus_run / "checkpoints").iterdir()}
    assert checkpoints == {"latest.safetensors", "progress", "start.safetensors"}


def test_metrics(torus_run: Path, torus_scene: Path) -> None:
    summary = read_json(torus_run / "metrics.json")
    # What the hull had in the hole is carved away in the last steps, or it is a body that is
    # removed: rounding decides. In neither case is there a warning.
    removed = summary.pop("removed", {"asked_for": 0})
    assert removed["asked_for"] == 0
    assert list(summary) == [
        "seconds", "peak_memory_mb", "resolution", "views", "train", "held_out", "reference",
    ]  # fmt: skip
    assert summary["views"] == {"train": 6, "held_out": 2}
    assert summary["resolution"] == list(load_lattice(torus_run / "lattice.safetensors").resolution)
    assert max(summary["resolution"]) == tiny.RESOLUTION
    assert summary["seconds"] > 0
    assert summary["peak_memory_mb"] > 50
    for group in ("train", "held_out"):
        assert list(summary[group]) == SCORES
        assert summary[group]["psnr"] > 20
        assert 0.9 < summary[group]["silhouette_iou"] <= 1
    # The mesh that was written, against the mesh that the scene states.
    assert list(summary["reference"]) == REFERENCE
    mesh, truth = load_mesh(torus_run / "mesh.ply"), load_mesh(torus_scene / "mesh.ply")
    again = metrics.compare_meshes(mesh, truth)
    assert summary["reference"] == pytest.approx(again, abs=2e-4)


def test_the_config_is_all_one_needs_to_repeat_the_run(
    preset: str, torus_run: Path, torus_scene: Path
) -> None:
    config = read_json(torus_run / "config.json")
    assert list(config) == ["settings", "recipe", "command", "versions"]
    assert set(config["settings"]) == {f.name for f in fields(FitConfig)}
    settings = {**config["settings"], "scene": Path(config["settings"]["scene"]), "out": torus_run}
    expected: dict[str, Any] = {"preset": preset, "resolution": tiny.RESOLUTION, "threads": 1}
    assert FitConfig(**settings) == FitConfig(torus_scene, torus_run, **expected)
    recipe = json.loads(json.dumps(asdict(tiny.LONG[preset])))
    for name in ("huber", "mask_huber", "outliers"):
        assert recipe["weights"].pop(name) == math.inf  # which JSON does not have
        assert config["recipe"]["weights"].pop(name) is None
    for level, kept in zip(recipe["levels"], config["recipe"]["levels"], strict=True):
        assert level.pop("outliers", math.inf) == math.inf
        assert kept.pop("outliers", None) is None
    assert config["recipe"] == recipe
    assert {"python", "sdfrender", "torch", "numpy"} <= set(config["versions"])


def test_the_log_has_a_row_for_each_update(preset: str, torus_run: Path) -> None:
    rows = tiny.read_losses(torus_run, without="")
    assert tuple(rows[0]) == COLUMNS
    updates = {"adam": 2, "fast": 1}[preset]  # a pass; Gauss-Newton takes all views at once
    count = updates * sum(level.passes for level in tiny.LONG[preset].levels)
    assert [int(row["update"]) for row in rows] == list(range(1, count + 1))
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    passes = [list(group) for _, group in groupby(rows, lambda r: (r["level"], r["pass"]))]
    for one in passes:  # each sees each training view once
        assert len(one) == updates
        names = [name for row in one for name in row["views"].split()]
        assert sorted(names) == [f"view_{n:03d}" for n in range(6)]
    for row in rows:
        parts = [float(row[t]) for t in ("color", "silhouette", "carve", "eikonal", "laplacian")]
        assert float(row["total"]) == pytest.approx(sum(parts), rel=1e-4)
        assert min(parts) >= 0
        assert row["resolution"] == ("11x7x11" if row["level"] == "0" else "16x10x16")
    # Per level, the last pass costs less than the first.
    for _, level in groupby(passes, lambda one: one[0]["level"]):
        first, *_, last = level
        for terms, factor in ((("total",), 1.0), (("color", "silhouette"), 0.5)):
            before, after = (sum(float(r[t]) for r in p for t in terms) for p in (first, last))
            assert after < factor * before


def test_the_meshes_are_one_closed_body_in_the_scenes_own_units(
    torus_run: Path, torus_scene: Path
) -> None:
    truth = load_mesh(torus_scene / "mesh.ply")
    lattice = load_lattice(torus_run / "lattice.safetensors")
    torch.testing.assert_close(lattice.bounds, tiny.BOX)
    expected = extract_mesh(lattice)
    for name in ("mesh.ply", "mesh.glb"):
        mesh = load_mesh(torus_run / name)
        assert mesh.is_watertight, name
        assert mesh.is_winding_consistent
        assert mesh.body_count == 1
        assert mesh.euler_number == 0  # a torus
        assert mesh.volume == pytest.approx(truth.volume, rel=0.1)
        np.testing.assert_allclose(mesh.bounds, truth.bounds, atol=0.025 * 2 * tiny.SCALE)
        np.testing.assert_allclose(mesh.bounds, expected.bounds, atol=1e-5)
        assert len(mesh.faces) == len(expected.faces)


def test_the_fit_beats_the_hull(torus_run: Path, torus_scene: Path) -> None:
    """Also a hull as fine as the result; and on views that it has not seen."""
    scene = load_scene(torus_scene)
    ids = list(scene.train)
    hull = visual_hull(
        scene.cameras[ids], scene.silhouettes[ids], scene.silhouette_weights[ids], 32, tiny.BOX
    )
    truth = load_mesh(torus_scene / "mesh.ply")
    start = load_lattice(torus_run / "checkpoints" / "start.safetensors")
    found = load_lattice(torus_run / "lattice.safetensors")
    before, fine, after = (
        metrics.chamfer(extract_mesh(x), truth, 20_000) for x in (start, hull, found)
    )
    assert after < 0.4 * min(before, fine)


def test_the_same_seed_gives_the_same_bits(preset: str, torus_scene: Path, tmp_path: Path) -> None:
    recipe = tiny.SHORT[preset]
    first, second = (tiny.optimize_tiny(torus_scene, tmp_path / name, recipe) for name in "ab")
    assert torch.equal(first.lattice.values, second.lattice.values)
    assert tiny.read_losses(tmp_path / "a") == tiny.read_losses(tmp_path / "b")


def bare(scene: Path, folder: Path) -> Path:
    """A copy of a scene that states nothing but its cameras."""
    shutil.copytree(scene, folder)
    table = json.loads((folder / "transforms.json").read_text())
    del table["sdfrender"]
    table = {key: value for key, value in table.items() if not key.endswith("_filenames")}
    (folder / "transforms.json").write_text(json.dumps(table))
    return folder


@pytest.mark.slow
def test_a_scene_that_states_nothing(preset: str, torus_scene: Path, tmp_path: Path) -> None:
    """The box comes from the masks, the light is estimated, there is nothing to compare with."""
    scene = bare(torus_scene, tmp_path / "bare")
    summary = tiny.fit_tiny(scene, tmp_path / "run", tiny.LONG[preset])
    groups = ["seconds", "peak_memory_mb", "resolution", "views", "train"]
    may_be = {"removed", "without_view_dependence"}
    assert [group for group in summary if group not in may_be] == groups  # no warning
    assert summary["views"] == {"train": 8, "held_out": 0}
    assert summary == read_json(tmp_path / "run" / "metrics.json")
    appearance = read_json(tmp_path / "run" / "appearance.json")
    assert list(appearance)[:5] == ["model", "albedo", "blur", "lighting", "stereo"]
    others = {"stereo_at_the_end", "candidates", "candidates_on_hull", "beyond"}
    assert set(list(appearance)[5:]) == others
    assert (appearance["beyond"]["degree"] is None) == ("without_view_dependence" not in summary)
    mesh, truth = (load_mesh(p / "mesh.ply") for p in (tmp_path / "run", torus_scene))
    assert metrics.chamfer(mesh, truth, 20_000) < 0.02 * truth.extents.max()
    # Measuring it again finds the estimated light where the run left it.
    assert evaluate_run(tmp_path / "run", None)["train"] == summary["train"]


@pytest.mark.release
def test_grey_pictures_under_a_light_of_a_colour(
    preset: str, torus_scene: Path, tmp_path: Path
) -> None:
    """As explained by one channel of it as by three; measuring again finds the same."""
    light = read_json(torus_scene / "transforms.json")["sdfrender"]["lighting"]
    scores = []
    for name, intensity in (("grey", 0.6), ("equal", [0.6, 0.6, 0.6]), ("red", [0.9, 0.6, 0.3])):
        file, run = tmp_path / f"{name}.json", tmp_path / name
        file.write_text(json.dumps({**light, "headlight": {"intensity": intensity}}))
        tiny.fit_tiny(torus_scene, run, tiny.SHORT[preset], light=str(file))
        found = read_json(run / "metrics.json")["train"]
        assert evaluate_run(run, None)["train"] == found
        scores.append(found["psnr"])
    assert scores[0] == pytest.approx(scores[1], abs=0.3)
    assert scores[2] < scores[0] - 1


# ---------------------------------------------------------------------- every setting matters

ADAM_CHANGES: dict[str, Any] = {
    "levels": (Level(0.7, 1.5, 2), Level(1, 2, 1)),
    "schedule": "greedy",
    "batch": 2,
    "learning_rate": tiny.ADAM.learning_rate / 3,
    "final_rate": tiny.ADAM.final_rate / 2 + 0.5,
    "weights": replace(tiny.ADAM.weights, laplacian=0.05),
}
NEWTON_CHANGES: dict[str, Any] = {
    "levels": (tiny.COARSE, replace(tiny.FINE, passes=1)),
    "least_damping": 0.9,
    "weights": replace(tiny.NEWTON.weights, silhouette=0.5),
    "views": 3,  # of six
    "patience": 2,
    "iterations": 3,
    "many_pixels": 0.3,
}


@pytest.fixture(scope="session")
def plain_fits(
    torus_scene: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Fit]]:
    """`plain` of a preset, fitted once: tests of the two take turns in a process."""

    @cache
    def of(preset: str) -> tuple[Path, Fit]:
        out = tmp_path_factory.mktemp("plain") / "run"
        return out, tiny.optimize_tiny(torus_scene, out, tiny.SHORT[preset])

    return of


@pytest.fixture
def plain(preset: str, plain_fits: Callable[[str], tuple[Path, Fit]]) -> tuple[Path, Fit]:
    """A fit that was neither interrupted nor changed, and its folder."""
    return plain_fits(preset)


def differ(a: Lattice, b: Lattice) -> bool:
    return a.resolution != b.resolution or not torch.equal(a.values, b.values)


@pytest.mark.parametrize(
    ("preset", "name"),
    [("adam", f.name) for f in fields(AdamRecipe)]
    + [("fast", f.name) for f in fields(NewtonRecipe)],
    indirect=["preset"],
)
def test_each_part_of_a_recipe_matters(
    preset: str, name: str, plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    changes = {"adam": ADAM_CHANGES, "fast": NEWTON_CHANGES}[preset]
    recipe, expected = tiny.SHORT[preset], plain[1].lattice
    if name == "many_pixels":  # of views that take turns
        recipe = replace(recipe, views=3)  # of six
        expected = tiny.optimize_tiny(torus_scene, tmp_path / "turns", recipe).lattice
    changed = replace(recipe, **{name: changes[name]})
    found = tiny.optimize_tiny(torus_scene, tmp_path / "run", changed)
    assert differ(found.lattice, expected)


def with_weight(recipe: Recipe, name: str) -> Recipe:
    """A recipe with another weight: a third, or some where there was none."""
    before = getattr(recipe.weights, name)
    value = before / 3 if 0 < before < math.inf else 0.05
    return replace(recipe, weights=replace(recipe.weights, **{name: value}))


@pytest.mark.parametrize(
    ("preset", "name"),
    # two are of Gauss-Newton's steps
    [("adam", f.name) for f in fields(Weights) if f.name not in ("stiffness", "outliers")]
    # the levels of Gauss-Newton have their own smoothness and outliers
    + [("fast", f.name) for f in fields(Weights) if f.name not in ("laplacian", "outliers")],
    indirect=["preset"],
)
def test_each_weight_matters(
    preset: str, name: str, plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    recipe, base, start = tiny.SHORT[preset], plain[1].lattice, "hull"
    if name == "carve":  # the hull hides no pixel that must be empty, a sphere does
        start = "sphere"
        base = tiny.optimize_tiny(torus_scene, tmp_path / "base", recipe, init=start).lattice
    changed = with_weight(recipe, name)
    found = tiny.optimize_tiny(torus_scene, tmp_path / "run", changed, init=start)
    assert differ(found.lattice, base)


ABOUT_STEREO = ("colors", "stereo")  # tests/multiview/stereo
LEVEL_CHANGES: dict[str, Any] = {
    "resolution": 0.85,
    "pixels_per_cell": 1.1,
    "passes": 3,
    "laplacian": tiny.COARSE.laplacian / 3,
    "smoothing": tiny.COARSE.smoothing / 3,
    "largest_step": tiny.COARSE.largest_step / 3,
    "outliers": 0.05,
    "easing": 0.2,
}


@pytest.mark.parametrize(
    ("preset", "part"),
    [("adam", f.name) for f in fields(Level)]
    + [("fast", f.name) for f in fields(NewtonLevel) if f.name not in ABOUT_STEREO],
    indirect=["preset"],
)
def test_each_part_of_a_level_matters(
    preset: str, part: str, plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    first, second = tiny.SHORT[preset].levels
    levels: Any = (replace(first, **{part: LEVEL_CHANGES[part]}), second)
    recipe = replace(tiny.SHORT[preset], levels=levels)
    found = tiny.optimize_tiny(torus_scene, tmp_path / "run", recipe)
    assert differ(found.lattice, plain[1].lattice)
    columns = {"resolution": "resolution", "pixels_per_cell": "width", "passes": "level"}
    column = columns.get(part, "total")
    rows, before = tiny.read_losses(tmp_path / "run"), tiny.read_losses(plain[0])
    assert [r[column] for r in rows] != [r[column] for r in before]


SETTINGS: dict[str, Any] = {
    "preset": "adam",
    "init": "sphere",
    "resolution": 14,
    "train_views": "::2",
    "light": "estimate",
    "appearance": "albedo",
    "refine_cameras": True,
    "refine_intrinsics": True,
    "exposure": "per-view",
    "schedule": "greedy",
    "loss": "huber",
    "bounds": (7.1, -4.9, 2.1, 12.8, -1.2, 7.8),
    "mask_threshold": 0.3,
    "image_size": 20,
    "seed": 1,
}
ABOUT_ORDER = ("schedule", "seed")  # of views, which Gauss-Newton takes all at once


@pytest.mark.parametrize(
    ("preset", "name"),
    [("adam", name) for name in SETTINGS if name != "preset"]
    + [("fast", name) for name in SETTINGS if name not in ("preset", *ABOUT_ORDER)],
    indirect=["preset"],
)
def test_each_setting_matters(
    preset: str, name: str, plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    settings, before = {name: SETTINGS[name]}, plain[1]
    if name == "refine_intrinsics":  # it takes the other with it
        settings["refine_cameras"] = True
        cameras = tmp_path / "cameras"
        before = tiny.optimize_tiny(torus_scene, cameras, tiny.SHORT[preset], refine_cameras=True)
    found = tiny.optimize_tiny(torus_scene, tmp_path / "run", tiny.SHORT[preset], **settings)
    assert differ(found.lattice, before.lattice)
    if name == "bounds":
        torch.testing.assert_close(found.lattice.bounds.flatten(), torch.tensor(SETTINGS["bounds"]))
    if name == "train_views":
        assert (found.scene.train, found.scene.held_out) == ((0, 1, 2), (3, 4))
    if name == "light":
        assert found.appearance.known is None
    if name == "image_size":
        assert (found.scene.cameras.width, found.scene.cameras.height) == (20, 18)


def test_the_preset_chooses_the_recipe(
    preset: str, plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    recipe = tiny.SHORT[preset]
    with patch.dict(RECIPES, {"best": lambda resolution: with_weight(recipe, "silhouette")}):
        found = tiny.optimize_tiny(torus_scene, tmp_path / "run", recipe, preset="best")
    assert differ(found.lattice, plain[1].lattice)


def test_a_recipe_may_depend_on_the_resolution(tmp_path: Path) -> None:
    asked: list[int] = []

    def recipe(resolution: int) -> Recipe:
        asked.append(resolution)
        return tiny.NEWTON

    with patch.dict(RECIPES, {"fast": recipe}):
        assert FitConfig(tmp_path, tmp_path, "fast", resolution=23).recipe() is tiny.NEWTON
    assert asked == [23]


@pytest.mark.parametrize("preset", ["fast"], indirect=True)
def test_all_views_at_once_need_no_seed(
    plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    found = tiny.optimize_tiny(torus_scene, tmp_path / "run", tiny.NEWTON, seed=1)
    assert torch.equal(found.lattice.values, plain[1].lattice.values)


@pytest.mark.parametrize("preset", ["best", "fast"])
@pytest.mark.parametrize("schedule", ["shuffled", "greedy"])
def test_an_order_of_views_is_adams(preset: Any, schedule: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^--schedule: .*--preset adam, got {preset}") as caught:
        FitConfig(tmp_path, tmp_path, preset, schedule=schedule)
    assert "\n" not in str(caught.value)
    recipe = FitConfig(tmp_path, tmp_path, "adam", schedule=schedule).recipe()
    assert isinstance(recipe, AdamRecipe)
    assert recipe.schedule == schedule


def test_all_settings_are_covered() -> None:
    others = {"scene", "out", "resume", "threads", "device", "texture"}  # see the other tests
    others |= {
        "logs",
        "materials",
        "prior",
        "prior_up",
        "prior_hold",
    }  # test_scalars.py, test_prior.py
    others |= {"stereo", "colors"}  # test_stereo_fit.py, test_map_fits.py
    others |= {"depth_scale", "depth_unit", "normal_frame"}  # test_maps.py
    others |= {"silhouettes", "closed"}  # test_without_silhouettes.py
    others |= {"max_pixels"}  # test_scene_own_files.py
    assert set(SETTINGS) | others == {f.name for f in fields(FitConfig)}


def test_as_many_threads_as_the_method_has_use_for(tmp_path: Path) -> None:
    def threads(preset: Any, wanted: int | None) -> int:
        return FitConfig(tmp_path, tmp_path, preset, threads=wanted).num_threads

    for mask in ({0, 2, 5}, {1}):
        with patch("os.sched_getaffinity", lambda _, mask=mask: mask, create=True):
            assert threads("adam", None) == 1
            assert threads("fast", None) == threads("best", None) == len(mask)
            assert {threads(preset, 3) for preset in RECIPES} == {3}


def test_threads_are_torchs(torus_scene: Path, tmp_path: Path) -> None:
    before, seen = torch.get_num_threads(), []
    try:
        with patch("multiview.fit.optimize", lambda *_: seen.append(torch.get_num_threads())):
            for threads in (1, 2):
                tiny.optimize_tiny(torus_scene, tmp_path / str(threads), threads=threads)
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]
    with pytest.raises(InputError, match="--threads: need at least 1, got 0"):
        FitConfig(torus_scene, tmp_path, threads=0)


@pytest.mark.parametrize("resolution", [8, 40, 41, 64, 100, 512])
def test_presets_differ(resolution: int, tmp_path: Path) -> None:
    def recipe(preset: Any, init: Any = "hull") -> Recipe:
        return FitConfig(tmp_path, tmp_path, preset, init, resolution).recipe()

    assert len({repr(recipe(preset)) for preset in RECIPES}) == len(RECIPES)
    for preset in RECIPES:  # coarse to fine, up to all of it
        sizes = [level.resolution for level in recipe(preset).levels]
        assert sizes == sorted(sizes)
        assert 0 < sizes[0] <= sizes[-1] == 1
        if not isinstance(recipe(preset), AdamRecipe | NewtonRecipe):
            continue
        # From a sphere it is the same but for more passes on the coarsest lattice.
        for plain, other in zip(
            recipe(preset).levels, recipe(preset, "sphere").levels, strict=True
        ):
            assert other == replace(plain, passes=other.passes)
            longer = plain.resolution == sizes[0]
            assert other.passes > plain.passes if longer else other.passes == plain.passes


def test_few_views_get_more_passes(tmp_path: Path) -> None:
    best, fast = (FitConfig(tmp_path, tmp_path, preset).recipe() for preset in ("best", "fast"))

    def times(views: int) -> list[float]:
        levels = for_views(best, views).levels
        return [a.passes / b.passes for a, b in zip(levels, best.levels, strict=True)]

    assert for_views(best, 26) == for_views(best, 100) == best
    assert times(13) == len(best.levels) * [2]
    assert times(4) == times(1) == len(best.levels) * [4]
    assert for_views(fast, 4) == fast
    photographs = for_photographs(best)  # whose colours are fitted to the shape
    assert for_views(photographs, 4) == photographs
    assert isinstance(photographs, NewtonRecipe)
    assert for_views(photographs, photographs.views) == photographs
    smaller = for_views(photographs, photographs.views + 1)  # which take turns
    assert {level.pixels_per_cell for level in smaller.levels} == {photographs.many_pixels}


def bar_of(scene: Path, run: Path, preset: str, **settings: Any) -> tuple[int, int]:
    """How far a fit's progress bar went, and where its end is."""
    with patch.object(progress, "tqdm") as tqdm:
        tiny.optimize_tiny(scene, run, tiny.SHORT[preset], **settings)
    moved = sum(call.args[0] for call in tqdm.return_value.update.call_args_list)
    return moved, tqdm.call_args.kwargs["total"]


def test_the_progress_bar_ends_at_its_end(preset: str, torus_scene: Path, tmp_path: Path) -> None:
    moved, total = bar_of(torus_scene, tmp_path / "run", preset)
    assert moved == total > 0
    with stop("within the last level", preset, KeyboardInterrupt()):
        assert bar_of(torus_scene, tmp_path / "stopped", preset)[0] < total
    # what was done before is behind it, too
    assert bar_of(torus_scene, tmp_path / "stopped", preset, resume=True) == (total, total)


def test_the_progress_bar_tells_the_loss_of_the_last_pass(
    preset: str, plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    with patch.object(progress, "tqdm") as tqdm:
        tiny.optimize_tiny(torus_scene, tmp_path / "run", tiny.SHORT[preset])
    told = tqdm.return_value.set_postfix_str.call_args.args[0]
    last = {"adam": 2, "fast": 1}[preset]  # updates of a pass
    rows = tiny.read_losses(plain[0])[-last:]
    loss = sum(float(row["color"]) + float(row["silhouette"]) for row in rows)
    found = re.fullmatch(r"level 16×10×16, loss (\S+)", told)
    assert found
    assert float(found[1]) == pytest.approx(loss, rel=1e-3)


def test_the_light_is_estimated_before_the_first_pass_and_after_each(
    preset: str, torus_scene: Path, tmp_path: Path
) -> None:
    solve = Appearance.solve
    with patch.object(Appearance, "solve", autospec=True, side_effect=solve) as solved:
        found = tiny.optimize_tiny(
            torus_scene,
            tmp_path / "a",
            tiny.SHORT[preset],
            light="estimate",
            appearance="constant",  # others are solved for before one is chosen
        )
    after = {"adam": 0, "fast": 1}[preset]  # all steps
    assert solved.call_count == 1 + 2 + 2 + after
    assert float(found.appearance.light.sh.abs().max()) > 0.1


# ---------------------------------------------------------------------- interruptions


class Stop:
    """Raises `error` at the `at`-th call of a function, before or after its work."""

    def __init__(self, function: Callable[..., Any], at: int, error: BaseException, after: bool):
        self.function, self.left, self.error, self.after = function, at, error, after

    def __get__(self, instance: Any, owner: Any = None) -> Callable[..., Any]:
        return lambda *arguments: self(instance, *arguments)

    def __call__(self, *arguments: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise self.error
        result = self.function(*arguments)
        if self.left == 0:
            raise self.error
        return result


INTERRUPTIONS: dict[str, tuple[str, int, bool]] = {
    # ADAM makes 2 levels of 2 passes of 2 updates.
    "at the first update": ("update", 1, False),
    "within the first pass": ("update", 2, False),
    "after a step that was not logged": ("update", 4, True),
    "before the first checkpoint": ("save_checkpoint", 1, False),
    "before a checkpoint that the log is ahead of": ("save_checkpoint", 2, False),
    "after the first pass": ("save_checkpoint", 1, True),
    "at the end of a level": ("save_checkpoint", 2, True),
    "at the start of a level": ("update", 5, False),
    "within the last level": ("update", 7, False),
    "after the last pass": ("save_checkpoint", 4, True),
}
UPDATES = {"adam": (Optimizer, "update"), "fast": (GaussNewton, "iterate")}


def stop(where: str, preset: str, error: BaseException) -> Any:
    """Raises `error` there, while a fit of 2 levels of 2 passes goes on."""
    function, at, after = INTERRUPTIONS[where]
    owner: Any = coarse_to_fine
    if function == "update":
        owner, function = UPDATES[preset]
        if preset == "fast":  # an update is a pass
            at = (at + 1) // 2
    return patch.object(owner, function, Stop(getattr(owner, function), at, error, after))


@pytest.mark.parametrize("where", INTERRUPTIONS)
def test_a_resumed_run_is_the_same_as_one_in_a_go(
    where: str, preset: str, plain: tuple[Path, Fit], torus_scene: Path, tmp_path: Path
) -> None:
    run, recipe = tmp_path / "run", tiny.SHORT[preset]
    with stop(where, preset, KeyboardInterrupt()):
        assert tiny.optimize_tiny(torus_scene, run, recipe).interrupted
    resumed = tiny.optimize_tiny(torus_scene, run, recipe, resume=True)
    assert not resumed.interrupted
    assert torch.equal(resumed.lattice.values, plain[1].lattice.values)
    assert torch.equal(resumed.appearance.albedo, plain[1].appearance.albedo)
    assert resumed.updates == plain[1].updates
    assert tiny.read_losses(run) == tiny.read_losses(plain[0])
    seconds = [float(row["seconds"]) for row in tiny.read_losses(run, without="")]
    assert seconds == sorted(seconds)  # time goes on too


@pytest.mark.parametrize(
    ("preset", "schedule"), [("adam", "shuffled"), ("adam", "greedy"), ("fast", None)]
)
def test_resuming_with_an_estimated_light_and_a_crash(
    preset: str, schedule: str | None, torus_scene: Path, tmp_path: Path
) -> None:
    """Twice stopped, once without a chance to save anything."""
    settings: dict[str, Any] = {"light": "estimate", "schedule": schedule}
    settings["recipe"] = tiny.QUICK[preset]
    whole = tiny.optimize_tiny(torus_scene, tmp_path / "whole", **settings)
    run = tmp_path / "run"
    cut = stop("after the first pass", preset, RuntimeError("power cut"))
    with cut, pytest.raises(RuntimeError):
        tiny.optimize_tiny(torus_scene, run, **settings)
    with stop("within the first pass", preset, KeyboardInterrupt()):
        tiny.optimize_tiny(torus_scene, run, resume=True, **settings)
    resumed = tiny.optimize_tiny(torus_scene, run, resume=True, **settings)
    assert torch.equal(resumed.lattice.values, whole.lattice.values)
    assert torch.equal(resumed.appearance.light.sh, whole.appearance.light.sh)
    assert float(whole.appearance.light.sh.abs().max()) > 0.1
    assert tiny.read_losses(run) == tiny.read_losses(tmp_path / "whole")


@pytest.mark.slow
def test_an_interrupted_run_saves_what_there_is(
    preset: str, torus_scene: Path, torus_run: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    arguments = ("fit", torus_scene, "--out", run, "--preset", preset, "--resolution", "16",
                 "--threads", "1")  # fmt: skip
    with patch.dict(RECIPES, {preset: lambda resolution: tiny.LONG[preset]}):
        with stop("within the last level", preset, KeyboardInterrupt()):
            assert command(monkeypatch, *arguments, "--json") == 0
        told = capsys.readouterr()
        assert json.loads(told.out) == read_json(run / "metrics.json")  # and nothing beside it
        assert "interrupted" in told.err
        assert "--resume" in told.err
        assert {path.name for path in run.iterdir()} == FILES
        summary = read_json(run / "metrics.json")
        assert summary["interrupted"] is True
        whole = [group for group in read_json(torus_run / "metrics.json") if group != "removed"]
        assert [group for group in summary if group != "removed"] == [*whole, "interrupted"]
        assert load_mesh(run / "mesh.ply").is_watertight
        assert "Interrupted" in (run / "report.html").read_text()
        # Measuring it does not make it whole.
        assert evaluate_run(run, None)["interrupted"] is True

        assert command(monkeypatch, *arguments, "--resume") == 0
    assert "interrupted" not in read_json(run / "metrics.json")
    for name in ("mesh.ply", "mesh.glb", "appearance.json"):
        assert (run / name).read_bytes() == (torus_run / name).read_bytes(), name
    assert torch.equal(lattice_of(run).values, lattice_of(torus_run).values)
    assert tiny.read_losses(run) == tiny.read_losses(torus_run)


def test_resuming_a_finished_run_changes_nothing(
    preset: str, run: Path, torus_scene: Path, torus_run: Path
) -> None:
    summary = tiny.fit_tiny(torus_scene, run, tiny.LONG[preset], resume=True)
    before = read_json(torus_run / "metrics.json")
    for group in ("train", "held_out", "reference"):
        assert summary[group] == before[group]
    assert torch.equal(lattice_of(run).values, lattice_of(torus_run).values)
    assert tiny.read_losses(run) == tiny.read_losses(torus_run)


@pytest.fixture
def no_optimisation() -> Iterator[None]:
    """Wrong input must be found before any work."""
    with patch("multiview.fit.optimize", side_effect=AssertionError("it went on")):
        yield


@one_method_is_enough
@pytest.mark.usefixtures("no_optimisation")
@pytest.mark.parametrize("name", [n for n in SETTINGS if n not in ("preset", "refine_intrinsics")])
def test_resuming_with_another_setting_is_refused(name: str, run: Path, torus_scene: Path) -> None:
    before = contents(run)
    with pytest.raises(InputError) as caught:
        tiny.fit_tiny(torus_scene, run, tiny.LONG["adam"], resume=True, **{name: SETTINGS[name]})
    message = str(caught.value)
    assert "\n" not in message
    for needle in ("config.json", "same settings", name, repr(SETTINGS[name]).strip("()")[:3]):
        assert needle in message
    assert contents(run) == before


@pytest.mark.usefixtures("no_optimisation")
def test_resuming_where_there_is_no_run_is_refused(torus_scene: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: need a run to resume, there is no such"):
        tiny.fit_tiny(torus_scene, tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("no_optimisation")
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": []}', '{"settings": 3}', "\xff"])
def test_resuming_what_is_no_run_is_refused(text: str, torus_scene: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"config\.json: need the s") as caught:
        tiny.fit_tiny(torus_scene, tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    assert list(contents(tmp_path)) == ["config.json"]


@one_method_is_enough
@pytest.mark.usefixtures("no_optimisation")
def test_a_run_is_not_overwritten(run: Path, torus_scene: Path) -> None:
    before = contents(run)
    with pytest.raises(InputError, match="need a folder without a run") as caught:
        tiny.fit_tiny(torus_scene, run)
    assert str(run) in str(caught.value)
    assert "--resume" in str(caught.value)
    assert contents(run) == before


@pytest.mark.parametrize("damage", [b"", b"x" * 50, None])
def test_a_damaged_checkpoint(damage: bytes | None, torus_scene: Path, tmp_path: Path) -> None:
    with stop("within the last level", "adam", KeyboardInterrupt()):
        tiny.optimize_tiny(torus_scene, tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "latest.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(InputError, match=r"latest\.safetensors: need a checkpoint"):
        tiny.optimize_tiny(torus_scene, tmp_path / "run", resume=True)


# ---------------------------------------------------------------------- wrong input


def edit(scene: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = scene / "transforms.json"
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def set_pose(table: dict[str, Any], value: float) -> None:
    table["frames"][2]["transform_matrix"][0][3] = value


def white_masks(scene: Path, height: int = tiny.HEIGHT, value: int = 255) -> None:
    iio.imwrite(scene / "masks" / "view_003.png", np.full((height, tiny.WIDTH), value, np.uint8))


# What to do to the scene, further arguments, and what the message must name.
HOSTILE: dict[str, tuple[Callable[[Path], object], list[str], tuple[str, ...]]] = {
    "no camera file": (
        lambda s: (shutil.rmtree(s / "images"), (s / "transforms.json").unlink()),
        [],
        ("scene", "camera file", "transforms.json"),
    ),
    "camera file is no JSON": (lambda s: truncate(s / "transforms.json"), [], ("transforms.json",)),
    "most images are missing": (
        lambda s: [p.unlink() for p in (s / "images").iterdir() if p.stem != "view_002"],
        [],
        ("view_000.png", "no such file", "are not there"),
    ),
    "an image is cut short": (
        lambda s: truncate(s / "images" / "view_002.png"),
        [],
        ("view_002.png", "need a complete image"),
    ),
    "NaN in a pose": (
        lambda s: edit(s, lambda t: set_pose(t, math.nan)),
        [],
        ("transforms.json", "view_002", "finite", "nan"),
    ),
    "a mask is empty": (lambda s: white_masks(s, value=0), [], ("view_003", "mask is empty")),
    "a mask of another size": (
        lambda s: white_masks(s, height=20),
        [],
        ("masks/view_003.png", "32×28", "32×20"),
    ),
    "an image that is not one": (
        lambda s: edit(s, lambda t: t["frames"][1].update(file_path="transforms.json")),
        [],
        ("transforms.json", "of no known kind"),
    ),
    "the mesh is missing": (lambda s: (s / "mesh.ply").unlink(), [], ("mesh.ply", "no such file")),
    "the mesh is no mesh": (lambda s: truncate(s / "mesh.ply"), [], ("mesh.ply", "mesh")),
    "a light that is none": (lambda s: None, ["--light", "sun"], ("--light", "'sun'")),
    "a light that is not there": (lambda s: None, ["--light", "l.json"], ("l.json", "no such")),
    "no light to take": (
        lambda s: edit(s, lambda t: t["sdfrender"].pop("lighting")),
        ["--light", "scene"],
        ("--light scene", "no light"),
    ),
    "bounds the wrong way": (
        lambda s: None,
        ["--bounds", "1", "0", "0", "0", "1", "1"],
        ("--bounds", "larger max", "1.0"),
    ),
    "bounds that are no number": (
        lambda s: None,
        ["--bounds", "nan", "0", "0", "1", "1", "1"],
        ("--bounds", "nan"),
    ),
    "bounds without end": (
        lambda s: None,
        ["--bounds", "0", "0", "0", "inf", "1", "1"],
        ("--bounds", "inf"),
    ),
    "bounds elsewhere": (
        lambda s: None,
        ["--bounds", "0", "0", "0", "1", "1", "1"],
        ("silhouettes", "object inside the box"),
    ),
    "too coarse": (lambda s: None, ["--resolution", "4"], ("--resolution", "at least 8", "4")),
    "too fine": (lambda s: None, ["--resolution", "5000"], ("--resolution", "at most", "5000")),
    "a view that is not there": (
        lambda s: None,
        ["--train-views", "view_000,front"],
        ("train views", "'front'", "view_000"),
    ),
    "one view": (lambda s: None, ["--train-views", "view_000"], ("train views", "at least 2", "1")),
    "a threshold that is none": (
        lambda s: None,
        ["--mask-threshold", "1.5"],
        ("mask threshold", "between 0 and 1", "1.5"),
    ),
    "images of a few pixels": (
        lambda s: None,
        ["--image-size", "3"],
        ("--image-size", "at least 16", "3"),
    ),
    "an order of views that has no use": (
        lambda s: None,
        ["--schedule", "greedy"],
        ("--schedule", "--preset adam", "best"),
    ),
    "no threads": (lambda s: None, ["--threads", "0"], ("--threads", "at least 1", "0")),
    "a seed of too many bits": (lambda s: None, ["--seed", str(2**70)], ("--seed", str(2**70))),
}


@pytest.mark.usefixtures("no_optimisation")
@pytest.mark.parametrize("case", HOSTILE)
def test_wrong_input_is_one_line_and_nothing_is_written(
    case: str, torus_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    change, arguments, needles = HOSTILE[case]
    shutil.copytree(torus_scene, tmp_path / "scene")
    change(tmp_path / "scene")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, "fit", "scene", "--out", "runs/new", *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    for needle in needles:
        assert needle in told.err, told.err
    assert not (tmp_path / "runs").exists()
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("no_optimisation")
@pytest.mark.parametrize("listed", [2, 4])
def test_as_many_cameras_as_the_file_says(
    listed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    scene = write_middlebury(tmp_path / "scene")
    lines = (scene / "x_par.txt").read_text().splitlines()
    (scene / "x_par.txt").write_text("\n".join([str(listed), *lines[1:]]) + "\n")
    assert command(monkeypatch, "fit", scene, "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    for needle in ("x_par.txt", str(listed), "3"):
        assert needle in told
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_optimisation")
def test_a_scene_without_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_transforms(tmp_path / "scene")
    for n in range(3):
        iio.imwrite(scene / f"v_{n}.png", np.full((16, 24, 3), 90, np.uint8))
    assert command(monkeypatch, "fit", scene, "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert "v_0" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_optimisation")
def test_out_may_not_be_a_file(
    torus_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "run").write_text("mine")
    for out in (tmp_path / "run", tmp_path / "run" / "below"):
        assert command(monkeypatch, "fit", torus_scene, "--out", out) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert told.count("\n") == 1
        assert str(tmp_path / "run") in told
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.slow
def test_python_m_multiview_ends_with_2_and_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "multiview", "fit", "nowhere", "--out", "run"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={"PYTHONPATH": str(Path(cli.__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: nowhere: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- the command line


def config_of(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> FitConfig:
    """The settings that a command would fit with."""
    with patch("multiview.fit.fit", return_value={}) as fit:
        assert command(monkeypatch, *arguments) == 0
    config: FitConfig = fit.call_args.args[0]
    return config


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["fit", tmp_path, "--out", tmp_path / "run", "--resume"]
    assert config_of(monkeypatch, *arguments[:4]) == FitConfig(tmp_path, tmp_path / "run")
    for name, value in SETTINGS.items():
        values = value if isinstance(value, tuple) else [] if value is True else [value]
        arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    arguments += ["--threads", "3", "--texture"]
    expected = FitConfig(
        tmp_path, tmp_path / "run", **SETTINGS, threads=3, resume=True, texture=True
    )
    assert config_of(monkeypatch, *arguments) == expected


def test_the_demo_needs_no_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_of(monkeypatch, "demo")
    assert config == FitConfig(demo_scene(), Path("runs/demo"))
    assert len(load_scene(config.scene, max_size=32).train) == 26
    options: dict[str, Any] = {"preset": "fast", "resolution": 32, "seed": 3}
    flags = [x for name, value in options.items() for x in (f"--{name}", str(value))]
    changed = config_of(monkeypatch, "demo", "--out", "d", "--resume", *flags)
    assert changed == FitConfig(demo_scene(), Path("d"), **options, resume=True)


def test_a_run_goes_where_there_is_none_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, command_line in (("demo", ["demo"]), ("dino", ["fit", "photos/dino"])):
        runs = [Path("runs") / x for x in (name, f"{name}-2", f"{name}-3")]
        assert config_of(monkeypatch, *command_line, "--resume").out == runs[0]
        for before, new in zip([None, *runs], runs, strict=False):
            assert config_of(monkeypatch, *command_line).out == new
            if before:
                assert config_of(monkeypatch, *command_line, "--resume").out == before
            (tmp_path / new).mkdir(parents=True)
    camera_file = tmp_path / "boot" / "transforms.json"
    camera_file.parent.mkdir()
    camera_file.write_text("{}")
    assert config_of(monkeypatch, "fit", str(camera_file)).out == Path("runs/boot")


# ---------------------------------------------------------------------- evaluate


def test_evaluate_finds_the_same(
    run: Path, torus_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_json(torus_run / "metrics.json")
    (run / "report.html").unlink()
    assert command(monkeypatch, "evaluate", run, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == before == read_json(run / "metrics.json")
    changed = {name for name, data in contents(torus_run).items() if contents(run)[name] != data}
    assert changed <= {"report.html"}


def test_evaluate_against_another_mesh(
    run: Path, torus_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shifted = load_mesh(torus_run / "mesh.ply")
    shifted.apply_translation([0.2, 0, 0])
    save_mesh(tmp_path / "other.obj", shifted)
    assert command(monkeypatch, "evaluate", run, "--mesh", tmp_path / "other.obj", "--json") == 0
    told, before = json.loads(capsys.readouterr().out), read_json(torus_run / "metrics.json")
    assert told["train"] == before["train"]
    assert list(told["reference"]) == REFERENCE
    assert told["reference"]["hausdorff"] == pytest.approx(0.2 / shifted.extents.max(), rel=0.1)


@pytest.mark.slow
def test_evaluate_with_a_mesh_where_the_scene_has_none(
    torus_scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare(torus_scene, tmp_path / "bare")
    monkeypatch.chdir(tmp_path)
    assert "reference" not in tiny.fit_tiny(Path("bare"), tmp_path / "run", tiny.QUICK["adam"])
    monkeypatch.chdir(tmp_path / "run")  # the scene is found from anywhere
    truth = Path(shutil.copy(torus_scene / "mesh.ply", tmp_path / "truth.ply"))
    summary = evaluate_run(tmp_path / "run", Path("..") / "truth.ply")
    assert list(summary["reference"]) == REFERENCE
    monkeypatch.chdir(tmp_path)
    assert evaluate_run(tmp_path / "run", None) == summary  # the mesh is remembered
    truth.unlink()
    caplog.clear()
    assert evaluate_run(tmp_path / "run", None) == summary  # or what it gave
    assert f"{truth}: the reference mesh has gone" in caplog.text
    assert read_json(tmp_path / "run" / "metrics.json") == summary


@pytest.mark.slow
def test_a_table_for_people(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "evaluate", run) == 0
    out = capsys.readouterr().out
    for word in ("held_out: psnr", "reference: chamfer_l1", "report.html", "mesh.ply"):
        assert word in out
    (run / "report.html").unlink()
    assert command(monkeypatch, "report", run) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").stat().st_size > 10_000


def cleared(run: Path) -> None:
    save_lattice(run / "lattice.safetensors", Lattice(torch.ones(4, 4, 4), tiny.BOX))


BROKEN: dict[str, tuple[Callable[[Path], object], list[str], tuple[str, ...]]] = {
    "no run": (lambda r: shutil.rmtree(r), [], ("config.json", "no such file")),
    "config cut short": (lambda r: truncate(r / "config.json"), [], ("config.json",)),
    "config of something else": (
        lambda r: (r / "config.json").write_text('{"settings": {"a": 1}}'),
        [],
        ("config.json", "settings of a run"),
    ),
    "config is a list": (
        lambda r: (r / "config.json").write_text("[]"),
        [],
        ("config.json", "settings of a run"),
    ),
    "no lattice": (
        lambda r: (r / "lattice.safetensors").unlink(),
        [],
        ("lattice.safetensors", "no such file"),
    ),
    "lattice cut short": (
        lambda r: truncate(r / "lattice.safetensors"),
        [],
        ("lattice.safetensors",),
    ),
    "lattice without a surface": (cleared, [], ("surface",)),
    "no appearance": (
        lambda r: (r / "appearance.safetensors").unlink(),
        [],
        ("appearance.safetensors", "No such file"),
    ),
    "appearance of something else": (
        lambda r: (r / "appearance.safetensors").write_text('{"albedo": "red"}'),
        [],
        ("appearance.safetensors", "appearance of a run"),
    ),
    "no metrics": (lambda r: (r / "metrics.json").unlink(), [], ("metrics.json", "no such file")),
    "metrics cut short": (lambda r: truncate(r / "metrics.json"), [], ("metrics.json",)),
    "no mesh": (lambda r: None, ["--mesh", "absent.ply"], ("absent.ply", "no such file")),
    "not a mesh": (lambda r: None, ["--mesh", "a.xyz"], ("a.xyz", "unknown extension", "'.xyz'")),
}


@one_method_is_enough
@pytest.mark.parametrize("case", BROKEN)
def test_evaluating_what_is_broken(
    case: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, arguments, needles = BROKEN[case]
    change(run)
    before = contents(run)
    assert command(monkeypatch, "evaluate", run, *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    for needle in needles:
        assert needle in told.err, told.err
    assert contents(run) == before
