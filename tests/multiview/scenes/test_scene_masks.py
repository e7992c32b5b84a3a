"""Masks that a scene lacks, made from the background's colour; masks that cannot be right."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import places
import pytest
import tiny
import torch
from torch.nn.functional import max_pool2d

from multiview.config import FitConfig
from multiview.fit import fit
from multiview.scenes import Scene, load_scene
from multiview.scenes.masks.carving import Carving
from sdfrender import Cameras, Lattice, extract_mesh, load_mesh, metrics, render
from sdfrender.commands.messages import messages_on_stderr
from sdfrender.errors import InputError
from sdfrender.files.formats.pngs import read_png, write_png
from sdfrender.geometry.primitives import torus
from sdfrender.io.scene_writer import RenderedScene, write_scene
from sdfrender.masks.background import disk_radius, find_background

DATA = places.DATA
DINO = DATA / "middlebury" / "dinoSparseRing"
needs_dino = pytest.mark.skipif(not DINO.is_dir(), reason="../shared/data is not there")

VIEWS, WIDTH, HEIGHT = 8, 112, 96


def shaded(height: int, width: int) -> Any:
    """`[H, W, 3]` a smooth background: blue, brighter towards one corner."""
    v, u = np.mgrid[:height, :width] / max(height, width)
    brightness = 0.55 + 0.25 * u - 0.1 * v + 0.1 * u * v
    return brightness[..., None] * np.array([0.5, 0.6, 1.0])


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A torus before the background, with noise; masks of all views; no alpha, no light stated."""
    folder = tmp_path_factory.mktemp("studio") / "torus"
    # Away from the rim: the torus fills about half of the width.
    cameras = Cameras.cube(distance=4.0, width=WIDTH, height=HEIGHT)[list(range(VIEWS))]
    lattice = Lattice.from_function(torus(0.6, 0.28), 40, torch.tensor([[-1.0] * 3, [1.0] * 3]))
    out = render(lattice, cameras, lighting=tiny.LIGHT)
    scene = RenderedScene(
        out.images, out.silhouettes, cameras, tiny.LIGHT, lattice.bounds, extract_mesh(lattice)
    )
    write_scene(folder, scene)
    table = json.loads((folder / "transforms.json").read_text())
    del table["sdfrender"]
    (folder / "transforms.json").write_text(json.dumps(table))
    random = np.random.default_rng(0)
    for n, file in enumerate(sorted((folder / "images").iterdir())):
        coverage = out.silhouettes[n].double().numpy()[..., None]
        photo = 0.9 * out.images[n].double().numpy() + (1 - coverage) * shaded(HEIGHT, WIDTH)
        photo = photo + random.normal(0, 0.01, photo.shape)
        write_png(file, (photo.clip(0, 1) * 255).round().astype(np.uint8))
    return folder


def without_masks(studio: Path, folder: Path, *views: int) -> Path:
    """A copy of the scene without the masks of some views."""
    shutil.copytree(studio, folder)
    for n in views:
        (folder / "masks" / f"view_{n:03d}.png").unlink()
    return folder


def known_wrong(scene: Scene, truth: Scene, view: int) -> tuple[float, float]:
    """Object taken for background, and the reverse beyond a pixel of the outline, where known.

    Both as fractions of the object. A pixel that the object half covers may count as either.
    """
    found, wanted = scene.silhouettes[view] > 0.5, truth.silhouettes[view] > 0.5
    known = scene.silhouette_weights[view] > 0.5
    near = max_pool2d(wanted[None, None].float(), 3, 1, 1)[0, 0] > 0
    area = float(wanted.sum())
    missed, added = wanted & ~found & known, found & ~near & known
    return float(missed.sum()) / area, float(added.sum()) / area


def test_background_of_a_picture() -> None:
    photo = shaded(60, 80) + np.random.default_rng(0).normal(0, 0.01, (60, 80, 3))
    photo[20:45, 30:] = 0.2  # the object leaves the frame
    outside = np.ones((60, 80), bool)
    outside[15:50, 25:] = False
    seen = np.ones_like(outside)
    for where in (outside, None):
        background = find_background(photo.astype(np.float32), where, seen)
        assert not isinstance(background, str)
        assert 0.04 <= background.tolerance < 0.08
        assert background.looks_like[outside].mean() > 0.999
        assert not background.looks_like[20:45, 30:].any()
    noise = np.random.default_rng(0).uniform(0, 1, (60, 80, 3)).astype(np.float32)
    for where in (outside, None):
        reason = find_background(noise, where, seen)
        assert isinstance(reason, str)
        assert "varies" in reason or "smooth" in reason
    assert find_background(noise, ~seen, seen) == "hardly any background is in the picture"


def test_disk_radius() -> None:
    v, u = np.mgrid[:80, :100] + 0.5
    assert disk_radius(np.hypot(u - 30, v - 40) < 20) == pytest.approx(0.2, abs=0.01)
    assert disk_radius(np.zeros((4, 4), bool)) == 0.0
    assert disk_radius(np.ones((80, 100), bool)) == pytest.approx(0.4, abs=0.01)


def test_no_mask_at_all(studio: Path, tmp_path: Path) -> None:
    folder = without_masks(studio, tmp_path / "scene", *range(VIEWS))
    scene, truth = load_scene(folder), load_scene(studio)
    assert truth.masks == {"file": VIEWS}
    assert truth.warnings == ()
    assert scene.masks["background"] == VIEWS
    assert 0.04 <= scene.masks["background_tolerance"] < 0.1
    assert scene.masks["closing_radius"] == 1 / 64
    assert scene.train == tuple(range(VIEWS))
    for n in range(VIEWS):
        missed, added = known_wrong(scene, truth, n)
        assert missed < 0.01
        assert added < 0.005


def test_some_masks_missing(studio: Path, tmp_path: Path) -> None:
    scene = load_scene(without_masks(studio, tmp_path / "scene", 1, 6))
    truth = load_scene(studio)
    assert scene.masks["file"] == VIEWS - 2
    assert scene.masks["background"] == 2
    assert len(scene.warnings) == 1
    for needle in ("view_001", "view_006", "background", "masks/NAME.png", "white"):
        assert needle in scene.warnings[0]
    for n in (1, 6):
        missed, added = known_wrong(scene, truth, n)
        assert missed < 0.01
        assert added < 0.005
        assert float(scene.silhouette_weights[n].mean()) > 0.9
    untouched = [0, 2, 3, 4, 5, 7]
    assert torch.equal(scene.silhouettes[untouched], truth.silhouettes[untouched])


def test_a_view_that_gives_no_mask_is_left_out(studio: Path, tmp_path: Path) -> None:
    folder = without_masks(studio, tmp_path / "scene", 2)
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    write_png(folder / "images" / "view_002.png", noise)
    scene = load_scene(folder)
    assert 2 not in scene.train
    assert len(scene.train) == VIEWS - 1
    assert float(scene.silhouette_weights[2].max()) == 0
    assert scene.masks == {"file": VIEWS - 1, "none": 1}
    assert "'view_002'" in scene.warnings[0]
    assert "left out" in scene.warnings[0]
    assert "masks/NAME.png" in scene.warnings[0]
    shutil.rmtree(folder / "masks")
    for file in (folder / "images").iterdir():
        write_png(file, noise)
    with pytest.raises(InputError, match=r"where the object is, and its .*alpha channel.*white"):
        load_scene(folder)


def test_too_few_views_with_masks(studio: Path, tmp_path: Path) -> None:
    folder = without_masks(studio, tmp_path / "scene", 0, 1)
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    for n in (0, 1):
        write_png(folder / "images" / f"view_{n:03d}.png", noise)
    with pytest.raises(InputError, match=r"need 2 views with masks to fit: .*'view_000'"):
        load_scene(folder, "view_000,view_001,view_002")


def test_a_fit_tells_once_where_masks_are_from(
    studio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = without_masks(studio, tmp_path / "scene", 1)
    with patch("multiview.fit.optimize"), patch("multiview.fit.save_results"):
        with messages_on_stderr():  # as a command does
            fit(FitConfig(folder, tmp_path / "run", resolution=16, threads=1))
        told = capsys.readouterr()
        fit(FitConfig(folder, tmp_path / "again", resolution=16, threads=1))
    assert capsys.readouterr() == ("", "")  # as a library
    assert told.out == ""
    assert told.err.count("masks: file 7, background 1, background_tolerance 0.0") == 1
    assert told.err.count("warning: ") == 1
    assert "warning: no mask for 1 of 8 views ('view_001')" in told.err


def hide(folder: Path, truth: Scene, n: int) -> Any:
    """Give the lower part of the object in one view the background's colour; returns where."""
    file = folder / "images" / f"view_{n:03d}.png"
    photo, mask = read_png(file).copy(), truth.silhouettes[n].numpy() > 0.2
    rows = np.nonzero(mask.any(1))[0]
    hidden = mask & (np.arange(HEIGHT)[:, None] > rows[0] + 0.55 * (rows[-1] - rows[0]))
    photo[hidden] = (shaded(HEIGHT, WIDTH)[hidden] * 255).round()
    write_png(file, photo)
    return hidden & (truth.silhouettes[n].numpy() > 0.5)


def test_what_has_the_colour_of_the_background_is_unknown(studio: Path, tmp_path: Path) -> None:
    truth = load_scene(studio)
    folder = without_masks(studio, tmp_path / "scene", 1, 6)
    hidden = {n: hide(folder, truth, n) for n in (1, 6)}
    scene = load_scene(folder)
    for n, where in hidden.items():
        lost = (scene.silhouettes[n].numpy() < 0.5) & (scene.silhouette_weights[n].numpy() > 0.5)
        assert where.sum() > 200
        assert (lost & where).sum() < 0.1 * where.sum()
        # What the others rule out stays known.
        assert float(scene.silhouette_weights[n][:8].min()) == 1.0


def test_masks_that_show_such_places_make_all_of_them_unknown(studio: Path, tmp_path: Path) -> None:
    truth = load_scene(studio)
    folder = without_masks(studio, tmp_path / "scene", 1)
    where = [hide(folder, truth, n) for n in range(VIEWS)][1]
    scene = load_scene(folder)
    lost = (scene.silhouettes[1].numpy() < 0.5) & (scene.silhouette_weights[1].numpy() > 0.5)
    assert not (lost & where).any()


# ---------------------------------------------------------------------- implausible masks


def test_a_mask_that_contradicts_the_others_is_named(studio: Path, tmp_path: Path) -> None:
    folder = without_masks(studio, tmp_path / "scene")
    wrong = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    wrong[5:40, 5:40] = 255
    write_png(folder / "masks" / "view_003.png", wrong)
    warnings = load_scene(folder).warnings
    assert len(warnings) == 1
    for needle in ("'view_003'", "contradicts", "white = object", "--train-views"):
        assert needle in warnings[0]
    # Too small, so that the others seem to show too much.
    mask = read_png(studio / "masks" / "view_003.png").copy()
    mask[HEIGHT // 2 :] = 0
    write_png(folder / "masks" / "view_003.png", mask)
    assert ["'view_003'" in text for text in load_scene(folder).warnings] == [True]


def test_a_mask_with_the_colours_exchanged_is_named(studio: Path, tmp_path: Path) -> None:
    folder = without_masks(studio, tmp_path / "scene")
    file = folder / "masks" / "view_005.png"
    write_png(file, 255 - read_png(file))
    warnings = load_scene(folder).warnings
    assert "most of the four borders in 1 of 8 views ('view_005')" in warnings[0]
    assert "white" in warnings[0]
    write_png(file, np.full((HEIGHT, WIDTH, 1), 255, np.uint8))
    warnings = load_scene(folder).warnings
    assert "white everywhere in 1 of 8 views ('view_005')" in warnings[0]


def test_views_that_agree_are_not_blamed(studio: Path) -> None:
    scene = load_scene(studio)
    carving = Carving.of(scene.cameras, scene.silhouettes, scene.silhouette_weights, None)
    assert carving is not None
    assert carving.contradictions() == {}
    for n in range(VIEWS):
        possible = carving.possible(carving.cameras[n], without=n)
        assert possible[carving.masks[n]].all()
        assert possible.mean() < 0.5
    parallel = replace(scene.cameras, c2w=scene.cameras.c2w[:1].expand(VIEWS, -1, -1))
    assert Carving.of(parallel, scene.silhouettes, scene.silhouette_weights, None) is None


# ---------------------------------------------------------------------- photographs


def small_dinosaur(folder: Path) -> Path:
    """The photographs at half their size."""
    folder.mkdir()
    first, *lines = (DINO / "dinoSR_par.txt").read_text().splitlines()
    for i, line in enumerate(lines):
        name, *words = line.split()
        K = np.array(words[:9], float).reshape(3, 3)
        K[:2, 2] += 0.5  # pixel centres are on integers
        K[:2] /= 2
        K[:2, 2] -= 0.5
        lines[i] = " ".join([name, *map(repr, K.ravel().tolist()), *words[9:]])
        photo = read_png(DINO / name).reshape(240, 2, 320, 2, 3).mean((1, 3))
        write_png(folder / name, photo.round().astype(np.uint8))
    (folder / "dinoSR_par.txt").write_text("\n".join([first, *lines]) + "\n")
    return folder


@pytest.mark.release
@needs_dino
def test_a_dinosaur_with_three_masks_missing(tmp_path: Path) -> None:
    """In two of those views the lower part of the object is nearly as dark as the stage."""
    folder = small_dinosaur(tmp_path / "dino")
    settings: dict[str, Any] = {"resolution": 32, "image_size": 160}
    tiny.fit_tiny(folder, tmp_path / "whole", tiny.NEWTON, **settings)
    whole = load_scene(folder)
    (folder / "masks").mkdir()
    for n, name in enumerate(whole.names):
        file, mask = folder / f"{name}.png", whole.silhouettes[n].numpy()
        if n not in (2, 7, 12):
            write_png(folder / "masks" / f"{name}.png", (mask * 255).astype(np.uint8)[..., None])
        elif n != 2:
            photo, rows = read_png(file).copy(), np.nonzero(mask)[0]
            dark = (mask > 0.5) & (np.arange(240)[:, None] > np.quantile(rows, 0.7))
            photo[dark] = photo[dark] // 10
            write_png(file, photo)
    found = tiny.fit_tiny(folder, tmp_path / "run", tiny.NEWTON, **settings)
    assert found["masks"]["file"] == 13
    assert found["masks"]["background"] == 3
    assert "3 of 16 views ('dinoSR0003', 'dinoSR0008', 'dinoSR0013')" in found["warnings"][0]
    meshes = [load_mesh(tmp_path / run / "mesh.ply") for run in ("run", "whole")]
    measured = metrics.compare_meshes(*meshes)
    assert measured["chamfer_l1"] < 0.01
    assert measured["volume_iou"] > 0.9
