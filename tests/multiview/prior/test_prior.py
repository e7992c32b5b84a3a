"""A learned family as a prior: derivatives, the search, and fits with it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import tiny
import torch
from tiny_family import bench, family
from torch import Tensor

from multiview.config import FitConfig
from multiview.fit import fit
from multiview.optimize.band import Band
from multiview.optimize.hold import Hold
from multiview.prior.placed_shape import PLACEMENT, PlacedShape, Placement
from multiview.prior.search import Rung, upright
from multiview.recipes import RECIPES, NewtonRecipe
from multiview.results.finished_run import evaluate_run
from multiview.run_folder import RunFolder
from sdfrender import (
    Cameras,
    InputError,
    Lattice,
    extract_mesh,
    load_lattice,
    load_mesh,
    metrics,
    render,
)
from sdfrender.io.scene_writer import RenderedScene, write_scene
from sdfrender.latent.field import FieldShape, LatentField

BOUNDS = torch.tensor([[2.0, -1.0, -3.0], [5.0, 1.5, 0.0]])


def placement(dtype: torch.dtype = torch.float32) -> Placement:
    """Turned about all axes, scaled, moved."""
    start = Placement(torch.eye(3), torch.tensor(1.0), torch.zeros(3))
    step = torch.tensor([0.3, -0.8, 0.2, math.log(1.7), 2.0, 0.1, -0.9])
    placed = start.moved(step)
    return Placement(*(x.to(dtype) for x in vars(placed).values()))


def test_the_derivative_of_a_placed_shape() -> None:
    """In code and placement, against central differences in float64."""
    codes = torch.randn(2, 5)
    decoder = LatentField(FieldShape(code=5, width=16, layers=4, octaves=2), "ab", codes).double()
    decoder.requires_grad_(False)
    shape = PlacedShape(decoder, codes[0].double(), placement(torch.float64))
    points = BOUNDS[0] + torch.rand(40, 3).double() * (BOUNDS[1] - BOUNDS[0])
    D = shape.derivative(points)
    assert D.shape == (40, 5 + PLACEMENT)
    eps = 1e-6
    for k in range(5 + PLACEMENT):
        step = torch.zeros(5 + PLACEMENT).double()
        step[k] = eps
        numeric = (shape.moved(step)(points) - shape.moved(-step)(points)) / (2 * eps)
        assert float((D[:, k] - numeric).abs().max()) < 1e-7 * float(1 + numeric.abs().max()), k


def test_canonical_and_back() -> None:
    placed = placement()
    p = torch.rand(9, 3)
    world = placed.scale * p @ placed.rotation.T + placed.center
    assert torch.allclose(placed.to_canonical(world), p, atol=1e-5)
    again = Placement.from_description(placed.description())
    for name, value in vars(placed).items():
        assert torch.equal(getattr(again, name), value), name


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_upright_stands_on_the_axis(up: str) -> None:
    R = upright(up, 0.7)  # type: ignore[arg-type]
    want = torch.zeros(3)
    want["xyz".index(up[-1])] = -1.0 if up[0] == "-" else 1.0
    assert torch.allclose(R @ torch.tensor([0.0, 1.0, 0.0]), want, atol=1e-6)
    assert torch.allclose(R @ R.T, torch.eye(3), atol=1e-6)
    assert float(torch.linalg.det(R)) == pytest.approx(1)


# ---------------------------------------------------------------------- holding a lattice


def test_hold_is_what_its_rows_say() -> None:
    """Energy, residual and derivative of the term, against central differences."""
    bounds = torch.tensor([[-1.0, -0.8, -0.9], [1.1, 0.8, 1.0]])
    lattice = Lattice.sphere(0.5, resolution=(15, 13, 14), bounds=bounds)
    other = Lattice.sphere(0.35, (0.25, 0.0, 0.0), (9, 11, 10), bounds)
    hold = Hold(other, 0.3)
    band = Band(lattice, 3.2, 2.2)
    rows, residual, energy = hold.rows(band)
    r = (lattice.values - other.resample((15, 13, 14)).values) / band.h
    near = lattice.values.abs() < 2.2 * band.h
    huber = torch.where(r.abs() <= 1, r**2, 2 * r.abs() - 1)
    assert bool((r.abs() > 1)[near].any())
    assert energy == pytest.approx(0.3 * float(huber[near].sum()), rel=1e-5)
    gradient = 2 * rows.T @ residual  # of the energy in the unknowns, cells
    eps = 1e-2
    for k in range(0, len(band), 29):
        unit = np.zeros(len(band), np.float32)
        unit[k] = eps
        near_energy = []
        for sign in (1, -1):
            moved = lattice.with_values(lattice.values + sign * band.scatter(unit))
            wide = Band(moved, 3.2, 2.2)
            wide.smooth = band.smooth  # the band does not move with the lattice
            near_energy.append(hold.rows(wide)[2])
        numeric = (near_energy[0] - near_energy[1]) / (2 * eps)
        assert gradient[k] == pytest.approx(numeric, abs=2e-3)


# ---------------------------------------------------------------------- fits

SCENE_BOX = torch.tensor([[1.0, -1.4, 2.0], [4.0, 1.4, 4.6]])
TRUE = Placement(upright("y", 1.7), torch.tensor(1.4), torch.tensor([2.5, 0.1, 3.2]))
LADDER = (Rung(20, 1, 4, 3, 3), Rung(24, 4, 2, 0, 8))
RECIPE = NewtonRecipe((replace(tiny.FINE, passes=3),), weights=replace(tiny.WEIGHTS, band=2.2))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A member of the family that it was not taught, seen from three sides; one is held out."""

    def truth(x: Tensor) -> Tensor:
        p = TRUE.to_canonical(x.reshape(-1, 3))
        return TRUE.scale * bench(0.5, 0.45)(p).reshape(x.shape[:-1])

    lattice = Lattice.from_function(truth, 48, SCENE_BOX)
    eyes = [[5.0, 2.5, 8.0], [8.5, 1.5, 3.0], [0.0, 4.0, 7.0]]
    cameras = Cameras.look_at(eyes, (2.5, 0.0, 3.2), width=52, height=44)
    Ks = cameras.Ks.clone()
    Ks[:, :2, 2] += torch.tensor([1.3, -0.7])
    cameras = Cameras(cameras.c2w, Ks, 52, 44)
    out = render(lattice, cameras, lighting=tiny.LIGHT)
    folder = tmp_path_factory.mktemp("scenes") / "bench"
    write_scene(
        folder,
        RenderedScene(
            out.images, out.silhouettes, cameras, tiny.LIGHT, SCENE_BOX, extract_mesh(lattice),
            held_out=(2,),
        ),
        bits=16,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "field.safetensors"
    family().save(path)
    return path


def fit_bench(scene: Path, out: Path, **settings: Any) -> dict[str, Any]:
    with patch("multiview.prior.search.LADDER", LADDER):
        return tiny.fit_tiny(scene, out, RECIPE, **{"resolution": 24, **settings})


@pytest.fixture(scope="module")
def run(scene: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of two views with the family as a prior."""
    out = tmp_path_factory.mktemp("runs") / "prior"
    fit_bench(scene, out, prior=weights)
    return out


def chamfer(run: Path) -> float:
    found: float = json.loads((run / "metrics.json").read_text())["reference"]["chamfer_l1"]
    return found


@pytest.mark.slow
def test_two_views_are_enough_with_a_prior(scene: Path, run: Path, tmp_path: Path) -> None:
    fit_bench(scene, tmp_path / "bare")
    assert chamfer(run) < 0.5 * chamfer(tmp_path / "bare")
    found = json.loads((run / "prior.json").read_text())
    placed = Placement.from_description(found["placement"])
    assert float((placed.center - TRUE.center).norm()) < 0.3  # of a box of 3
    assert float((placed.rotation - TRUE.rotation).norm()) < 0.3
    assert found["energy"] > 0
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert settings["prior"].endswith("field.safetensors")
    assert load_mesh(run / "prior.ply").is_watertight


@pytest.mark.slow
def test_a_run_goes_on_with_the_shape_it_found(scene: Path, run: Path, weights: Path) -> None:
    before = load_lattice(run / "lattice.safetensors")
    with patch("multiview.prior.start.search", side_effect=AssertionError("looked for again")):
        fit_bench(scene, run, prior=weights, resume=True)
    assert torch.equal(load_lattice(run / "lattice.safetensors").values, before.values)
    evaluate_run(run, None)  # finds the settings


@pytest.mark.slow
def test_the_hold_holds(scene: Path, run: Path, weights: Path, tmp_path: Path) -> None:
    """With a strong hold the lattice stays at the family's shape, without it goes elsewhere."""
    likely = load_mesh(run / "prior.ply")
    off = {}
    for hold in (0.0, 10.0):
        out = tmp_path / f"{hold:g}"
        out.mkdir()
        (out / "prior.json").write_bytes((run / "prior.json").read_bytes())
        config = FitConfig(scene, out, preset="fast", resolution=24, prior=weights, prior_hold=hold)
        with patch.dict(RECIPES, {"fast": lambda resolution: RECIPE}):
            RunFolder(config).begin()
            fit(replace(config, resume=True, threads=1), quiet=True)
        off[hold] = metrics.chamfer(load_mesh(out / "mesh.ply"), likely, 4000)
    assert off[10.0] < 0.3 * off[0.0]


@pytest.mark.slow
def test_one_view_needs_a_box(scene: Path, weights: Path, tmp_path: Path) -> None:
    described = json.loads((scene / "transforms.json").read_text())
    del described["sdfrender"]["bounds"]
    (scene / "no_box.json").write_text(json.dumps(described))
    one = {"prior": weights, "train_views": "view_000"}
    with pytest.raises(InputError, match="--bounds: need the box of the object"):
        fit_bench(scene / "no_box.json", tmp_path / "none", **one)
    with pytest.raises(InputError, match="need at least 2, got 1"):
        fit_bench(scene, tmp_path / "none", train_views="view_000")
    with pytest.raises(InputError, match="--refine-cameras: need at least 2 views to fit, got 1"):
        fit_bench(scene, tmp_path / "none", refine_cameras=True, **one)
    assert not (tmp_path / "none").exists()
    fit_bench(scene, tmp_path / "one", **one)
    assert chamfer(tmp_path / "one") < 0.05


def test_a_prior_that_cannot_be_used(scene: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "none"
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:1000])
    for wrong in (tmp_path / "absent.safetensors", damaged):
        with pytest.raises(InputError, match=f"{wrong.name}: need the weights of a DeepSDF"):
            fit_bench(scene, out, prior=wrong)
    for settings, message in (
        ({"preset": "adam"}, "--prior: need --preset best or fast, got adam"),
        ({"init": "sphere"}, "--prior: a family has its own start, got --init sphere"),
        ({"prior_hold": -1.0}, "--prior-hold: need a number of at least 0, got -1.0"),
    ):
        with pytest.raises(InputError, match=message):
            fit_bench(scene, out, **{"prior": weights, **settings})
    assert not out.exists()


@pytest.mark.slow
def test_up_says_how_the_shapes_stand(scene: Path, weights: Path, tmp_path: Path) -> None:
    """The search starts from there, and is not tempted far from it."""
    for up, axis in (("y", 1), ("x", 0)):
        with patch("multiview.fit.optimize"), patch("multiview.fit.save_results"):
            fit_bench(scene, tmp_path / up, prior=weights, prior_up=up)
        found = json.loads((tmp_path / up / "prior.json").read_text())
        assert Placement.from_description(found["placement"]).rotation[axis, 1] > 0.8
