"""Cameras that stand a little elsewhere than they say: found again, shape in hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from scipy.spatial.transform import Rotation

from multiview.config import FitConfig
from multiview.optimize.poses import refine_cameras, without_common_motion
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import Weights
from multiview.results.finished_run import evaluate_run
from multiview.scenes import load_scene
from multiview.scenes.corrections import (
    Corrections,
    description,
    from_description,
    rotation_matrices,
)
from sdfrender import Cameras, InputError, render

WEIGHTS = Weights(silhouette=1.0)


def photographs(count: int = 6) -> Targets:
    cameras = tiny.ring(count, 61, 47)
    out = render(tiny.true_lattice(), cameras, lighting=tiny.LIGHT)
    ones = torch.ones_like(out.silhouettes)
    return Targets(cameras, out.images, out.silhouettes, ones, ones)


def disturbance(cameras: Cameras, degrees: float = 2.0, fraction: float = 0.01) -> Corrections:
    """Of random directions, without what all views share."""
    random = torch.Generator().manual_seed(0)
    center = torch.tensor(tiny.CENTER)
    far = (cameras.centers - center).norm(dim=-1, keepdim=True)
    turned, moved = torch.randn((2, len(cameras), 3), generator=random) / 3**0.5
    both = Corrections(math.radians(degrees) * turned, fraction * far * moved, center)
    return without_common_motion(both, cameras)


def error(cameras: Cameras, truth: Cameras) -> float:
    """Mean distance between where both see points around the object, pixels."""
    points = torch.tensor(tiny.CENTER) + tiny.SCALE * torch.tensor(
        [[0.6, 0, 0], [-0.6, 0, 0], [0, 0.2, 0.5], [0, -0.2, -0.5]]
    )
    return float((cameras.project(points)[0] - truth.project(points)[0]).norm(dim=-1).mean())


def test_rotations_are_scipys() -> None:
    vectors = torch.randn((9, 3), generator=torch.Generator().manual_seed(1)).double()
    vectors[0] = 0
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(rotation_matrices(vectors), expected)


def test_no_correction_moves_nothing() -> None:
    cameras = tiny.ring(3)
    same = Corrections.none(3, tiny.true_lattice()).apply(cameras)
    torch.testing.assert_close(same.c2w, cameras.c2w)
    assert torch.equal(same.Ks, cameras.Ks)


def test_a_correction_turns_about_the_middle_and_moves() -> None:
    cameras, center = tiny.ring(2), torch.tensor(tiny.CENTER)
    turn = torch.tensor([[0.0, math.pi / 2, 0.0], [0.0, 0.0, 0.0]])
    move = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, -1.0]])
    found = Corrections(turn, move, center).apply(cameras)
    x, y, z = (cameras.centers[0] - center).tolist()
    torch.testing.assert_close(found.centers[0] - center, torch.tensor((z, y, -x)))
    torch.testing.assert_close(found.centers[1], cameras.centers[1] + move[1])
    torch.testing.assert_close(found.c2w[1, :3, :3], cameras.c2w[1, :3, :3])
    middle = torch.tensor(tiny.CENTER)[None]  # is seen where it was
    torch.testing.assert_close(found.project(middle)[0][0], cameras.project(middle)[0][0])


def test_what_all_views_share_is_taken_out() -> None:
    cameras = tiny.ring(7)
    center = torch.tensor(tiny.CENTER)
    arms = cameras.centers - center
    shared = Corrections(torch.ones(7, 3), 0.1 * arms + 2.0, center)
    left = without_common_motion(shared, cameras)
    torch.testing.assert_close(left.rotations, torch.zeros(7, 3))
    torch.testing.assert_close(left.translations, torch.zeros(7, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("count", "apart"), [(1, 1.0), (2, 0.0), (3, 0.0), (2, 1.0)])
def test_few_cameras_or_all_in_one_place_are_corrected_by_numbers(count: int, apart: float) -> None:
    """One camera has no distance to another, nor have those that turn about one point."""
    truth = photographs(count)
    c2w = truth.cameras.c2w.clone()
    c2w[:, :3, 3] = c2w[:1, :3, 3] + apart * (c2w[:, :3, 3] - c2w[:1, :3, 3])
    given = replace(truth, cameras=Cameras(c2w, truth.cameras.Ks, 61, 47))
    found = Corrections.none(count, tiny.true_lattice())
    look = Appearance(1, tiny.LIGHT)
    found = refine_cameras(found, tiny.true_lattice(), given, look, WEIGHTS, True)
    for moved in (found.rotations, found.translations, found.intrinsics):
        assert bool(moved.isfinite().all())
    torch.testing.assert_close(found.rotations.mean(0), torch.zeros(3), atol=1e-6, rtol=0)


def test_disturbed_cameras_are_found_again() -> None:
    truth = photographs()
    wrong = disturbance(truth.cameras)
    given = replace(truth, cameras=wrong.apply(truth.cameras))
    look, lattice = Appearance(1, tiny.LIGHT), tiny.true_lattice()
    found = Corrections.none(6, lattice)
    for _ in range(5):
        found = refine_cameras(found, lattice, given, look, WEIGHTS)

    def looks(cameras: Cameras) -> float:  # a torus looks the same turned about its axis
        out = render(lattice, cameras, lighting=tiny.LIGHT)
        return float((out.images - truth.images).abs().mean())

    assert looks(found.apply(given.cameras)) < 0.12 * looks(given.cameras)
    assert error(found.apply(given.cameras), truth.cameras) < 0.5 * error(
        given.cameras, truth.cameras
    )


@pytest.mark.parametrize("intrinsics", [False, True])
def test_true_cameras_stay(intrinsics: bool) -> None:
    truth, lattice = photographs(), tiny.true_lattice()
    found, look = Corrections.none(6, lattice), Appearance(1, tiny.LIGHT)
    for _ in range(2):
        found = refine_cameras(found, lattice, truth, look, WEIGHTS, intrinsics)
    assert error(found.apply(truth.cameras), truth.cameras) < 0.02
    assert bool(found.intrinsics.any()) == intrinsics


LENS = torch.tensor([0.03, 0.02, -0.015])


def test_a_lens_is_corrected() -> None:
    cameras = tiny.ring(2, 61, 47)
    cameras.Ks[:, 0, 1] = 0.5
    lens = Corrections(*torch.zeros(2, 2, 3), torch.zeros(3), LENS)
    found = lens.lens(cameras)
    torch.testing.assert_close(found.Ks[:, :2, :2], math.exp(0.03) * cameras.Ks[:, :2, :2])
    shift = found.Ks[:, :2, 2] - cameras.Ks[:, :2, 2]
    torch.testing.assert_close(shift, 61 * LENS[1:].expand(2, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(lens.apply(cameras).Ks, found.Ks)


@pytest.mark.parametrize("also_moved", [False, True])
def test_a_wrong_lens_is_found_again(also_moved: bool) -> None:
    """All photographs are of one camera whose intrinsics are off; poses may be as well."""
    truth, lattice = photographs(), tiny.true_lattice()
    wrong = disturbance(truth.cameras, 0.5 * also_moved, 0.003 * also_moved)
    given = replace(truth, cameras=replace(wrong, intrinsics=LENS).apply(truth.cameras))
    found, look = Corrections.none(6, lattice), Appearance(1, tiny.LIGHT)
    for _ in range(8):
        found = refine_cameras(found, lattice, given, look, WEIGHTS, intrinsics=True)
    assert float(found.intrinsics[0]) == pytest.approx(-0.03, abs=0.006)
    assert error(found.apply(given.cameras), truth.cameras) < 0.25 * error(
        given.cameras, truth.cameras
    )
    alone = Corrections.none(6, lattice)
    for _ in range(8):
        alone = refine_cameras(alone, lattice, given, look, WEIGHTS)
    assert error(found.apply(given.cameras), truth.cameras) < error(
        alone.apply(given.cameras), truth.cameras
    )


# ---------------------------------------------------------------------- in a fit


TRUE = tiny.ring(14, 64, 56)


@pytest.fixture(scope="module")
def disturbed_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The torus, photographed from elsewhere than its cameras say."""
    out = render(tiny.true_lattice(), TRUE, lighting=tiny.LIGHT)
    return tiny.write_torus(
        tmp_path_factory.mktemp("scenes") / "disturbed",
        images=out.images,
        silhouettes=out.silhouettes,
        cameras=disturbance(TRUE, 3.0, 0.02).apply(TRUE),
        held_out=(),
    )


@pytest.mark.slow
def test_a_fit_with_disturbed_cameras(disturbed_scene: Path, tmp_path: Path) -> None:
    recipe = tiny.LONG["fast"]
    plain = tiny.fit_tiny(disturbed_scene, tmp_path / "plain", recipe)
    refined = tiny.fit_tiny(disturbed_scene, tmp_path / "refined", recipe, refine_cameras=True)
    assert refined["train"]["psnr"] > plain["train"]["psnr"] + 8
    assert refined["reference"]["chamfer_l1"] < 0.4 * plain["reference"]["chamfer_l1"]
    told = json.loads((tmp_path / "refined" / "cameras.json").read_text())
    assert not (tmp_path / "plain" / "cameras.json").exists()
    found, scene = from_description(told, np.zeros(3)), load_scene(disturbed_scene)
    assert list(told["views"]) == list(scene.names)
    assert error(found.apply(scene.cameras), TRUE) < 0.4 * error(scene.cameras, TRUE)
    again = description(found, scene)["views"]
    for name, view in told["views"].items():
        for key, value in view.items():
            assert again[name][key] == pytest.approx(value)
    # Measured again, the cameras are where the run left them.
    measured = evaluate_run(tmp_path / "refined", None)
    assert measured["train"] == pytest.approx(refined["train"], rel=1e-5)


def test_an_interrupted_refinement_goes_on(disturbed_scene: Path, tmp_path: Path) -> None:
    recipe = tiny.SHORT["fast"]
    settings = {"refine_cameras": True, "refine_intrinsics": True, "preset": "fast"}
    whole = tiny.optimize_tiny(disturbed_scene, tmp_path / "whole", recipe, **settings)
    with tiny.stopped_after(0, 2):
        part = tiny.optimize_tiny(disturbed_scene, tmp_path / "part", recipe, **settings)
    resumed = tiny.optimize_tiny(
        disturbed_scene, tmp_path / "part", recipe, resume=True, **settings
    )
    assert part.interrupted
    assert whole.corrections is not None
    assert resumed.corrections is not None
    assert bool(whole.corrections.rotations.any())
    assert bool(whole.corrections.intrinsics.any())
    assert torch.equal(resumed.corrections.intrinsics, whole.corrections.intrinsics)
    assert torch.equal(resumed.corrections.rotations, whole.corrections.rotations)
    assert torch.equal(resumed.lattice.values, whole.lattice.values)


def test_the_papers_method_takes_cameras_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--refine-cameras"):
        FitConfig(tmp_path, tmp_path, "sdfdiff", refine_cameras=True)
    with pytest.raises(InputError, match="--refine-intrinsics"):
        FitConfig(tmp_path, tmp_path, refine_intrinsics=True)
