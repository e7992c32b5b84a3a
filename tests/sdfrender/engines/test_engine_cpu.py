"""The compiled engine against the reference: its raster, its ray walk, its threads, its edges.

In float32 a lattice in front of the camera is drawn cell by cell (`raster`); what is simple there
is kept, everything else is walked cell by cell in float64 (`ray_walk`), as all of a float64 lattice
is. The reference looks for hits in float64 in either case, so it is asked in float64 here, for the
same numbers: what differs is the compiled engine's rounding, and what its raster overlooks.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numba
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher
from odd_scenes import off_centre, rough
from torch import Tensor

import sdfrender as sr
from sdfrender import engines, geometry, kernels
from sdfrender import primitives as sdf
from sdfrender.engines.cpu.forward.near_cells import find_near_cells
from sdfrender.engines.reference import cell_root as cubic
from sdfrender.kernels import bricks, ray_walk, trilinear_cell
from sdfrender.kernels import cell_root as cubic_scalar
from sdfrender.kernels.bricks import BrickGrid
from sdfrender.kernels.ray_walk import EVENT
from sdfrender.rendering.ops import make_scene

BOX = torch.tensor([[-1.0, -1.2, -0.9], [1.1, 1.2, 1.0]])  # three different sides
OUTPUTS = ("images", "silhouettes", "depths", "normals")
BOTH = [torch.float32, torch.float64]
# Largest difference that rounding makes in lattices of this size, with a margin of about 4 over
# what was seen. Distances are rounded to float32, 1e-7 of 3 units: that is 1e-5 of a pixel, times
# |∇φ| in a coverage. Normals turn by as much in spacings, times the curvature, which is large at a
# crease. Where a ray is almost tangent its hit moves by the square root of what the surface does.
ROUNDING = {
    torch.float32: {"images": 3e-4, "silhouettes": 3e-4, "depths": 1e-4, "normals": 1e-3},
    torch.float64: {"images": 1e-11, "silhouettes": 1e-11, "depths": 1e-11, "normals": 1e-11},
}


def make(
    shape: Callable[[Tensor], Tensor], resolution: object = (30, 41, 36), box: object = BOX
) -> sr.Lattice:
    return sr.Lattice.from_function(shape, resolution, box)  # type: ignore[arg-type]


def skewed(cameras: sr.Cameras) -> sr.Cameras:
    """Pixels that are parallelograms, a principal point away from the middle."""
    cameras = off_centre(cameras)
    Ks = cameras.Ks.clone()
    Ks[:, 0, 1] = 5.0
    return sr.Cameras(cameras.c2w, Ks, cameras.width, cameras.height)


def views(width: int = 53, height: int = 41) -> sr.Cameras:
    return skewed(
        sr.Cameras.look_at([[0.4, 0.9, 3.0], [2.6, -0.7, 0.9]], width=width, height=height)
    )


def differing(lattice: sr.Lattice, cameras: sr.Cameras, **options: object) -> dict[str, int]:
    """Numbers of pixels where the compiled engine is not the reference, by output."""
    mine = sr.render(lattice, cameras, engine="cpu", **options)  # type: ignore[arg-type]
    exact = lattice.to(torch.float64)
    other = sr.render(exact, cameras, engine="reference", **options)  # type: ignore[arg-type]
    both = mine.hit_mask & other.hit_mask
    counts = {"flips": int((mine.hit_mask != other.hit_mask).sum())}
    for name in OUTPUTS:
        a, b = getattr(mine, name), getattr(other, name)
        assert a.dtype == lattice.values.dtype
        error = (a - b).abs().reshape(*both.shape, -1).amax(-1)
        if name in ("depths", "normals"):
            error = error[both]
        # not (≤) is also true for NaN
        counts[name] = int((~(error <= ROUNDING[lattice.values.dtype][name])).sum())
    assert torch.isinf(mine.depths[~mine.hit_mask]).all()
    assert not mine.normals[~mine.hit_mask].any()
    return counts


NONE = {"flips": 0, "images": 0, "silhouettes": 0, "depths": 0, "normals": 0}

SMOOTH = sdf.union(sdf.sphere(0.4, (-0.3, 0.0, 0.0)), sdf.torus(0.6, 0.12))
LATTICES: dict[str, Callable[[], sr.Lattice]] = {
    "smooth": lambda: make(SMOOTH),
    "values times 3": lambda: make(lambda p: 3 * SMOOTH(p)),
    "values times 0.3": lambda: make(lambda p: 0.3 * SMOOTH(p)),
    "rough": lambda: rough((9, 12, 10), 3).to(torch.float32),
    "rougher": lambda: rough((30, 31, 22), 4, 0.3).to(torch.float32),
    "few and long cells": lambda: make(sdf.sphere(0.6), (5, 60, 17)),
    # pixels are 0.06 wide at the object, cells are 0.06 here and 0.026 there
    "rod thinner than a cell": lambda: make(sdf.capsule((-0.8, -0.2, 0), (0.8, 0.25, 0), 0.02)),
    "rod thinner than a pixel": lambda: make(
        sdf.capsule((-0.8, -0.2, 0), (0.8, 0.25, 0), 0.02), (81, 81, 81)
    ),
    "plate thinner than a cell": lambda: make(sdf.box((0.7, 0.01, 0.6))),
    "plate thinner than a pixel": lambda: make(sdf.box((0.7, 0.6, 0.02)), (64, 64, 64)),
    "rod in front of a plate": lambda: make(
        sdf.union(
            sdf.box((0.8, 0.8, 0.05), (0.0, 0.0, -0.6)),
            sdf.capsule((-0.9, 0.1, 0.5), (0.9, 0.13, 0.5), 0.02),
        ),
        (81, 81, 81),
    ),
    "solid that reaches the box": lambda: make(sdf.sphere(1.3), (17, 19, 15)),
}


# ---------------------------------------------------------------- against the reference


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [-1, 1])
def test_a_camera_that_looks_along_a_surface_less_than_a_cell_away(axis: int, end: int) -> None:
    """The cell below it is partly behind it, and fills the lower half of the picture."""
    up = _up(axis)
    eye = -0.15 * end * torch.eye(3)[axis] + 0.04 * torch.tensor(up)
    ahead = eye + end * torch.eye(3)[axis]
    half = (torch.full((3,), 0.8) - 0.7 * torch.tensor(up)).tolist()
    lattice = make(sdf.box(half, (-0.1 * torch.tensor(up)).tolist()), (15, 18, 16))
    cameras = skewed(sr.Cameras.look_at(eye[None], ahead, up, width=21, height=17, fov=1.8))
    assert differing(lattice, cameras) == NONE
    assert 100 < int(sr.render(lattice, cameras).hit_mask.sum()) < 300


def _up(axis: int) -> tuple[float, float, float]:
    return (0.0, 0.0, 1.0) if axis == 1 else (0.0, 1.0, 0.0)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("coverage", [True, False])
@pytest.mark.parametrize("name", LATTICES)
def test_images_are_those_of_the_reference(name: str, coverage: bool, dtype: torch.dtype) -> None:
    lattice = LATTICES[name]().to(dtype)
    seen = sr.render(lattice, views(), coverage=coverage).silhouettes
    assert (float(seen.sum()) > 10) == (coverage or name != "rod thinner than a cell")
    # No ray of these comes so close to a tangent that float32 decides otherwise.
    assert differing(lattice, views(), coverage=coverage) == NONE


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (3, 17), (4, 4), (53, 41)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    cameras = sr.Cameras.look_at([[0.4, 0.9, 3.0]], width=size[0], height=size[1])
    for coverage in (True, False):
        assert differing(make(SMOOTH), cameras, coverage=coverage) == NONE


@pytest.mark.parametrize("height", [17, 20, 37])
@pytest.mark.parametrize("dtype", BOTH)
def test_every_pixel_may_have_an_event(dtype: torch.dtype, height: int) -> None:
    """Images are made in bands of rows that are not all of one height; each has room enough."""
    lattice = sr.Lattice.sphere(2.0, resolution=9, dtype=dtype)
    cameras = sr.Cameras.look_at([[0.0, 0.0, 5.0]], width=16, height=height, fov=0.3)
    for coverage in (True, False):
        assert sr.render(lattice, cameras, coverage=coverage, engine="cpu").hit_mask.all()
        assert differing(lattice, cameras, coverage=coverage) == NONE


def noise(seed: int, resolution: tuple[int, int, int], kind: str) -> sr.Lattice:
    """Nothing like a distance field: surface in most cells, and it reaches the box."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(resolution, generator=generator)
    if kind == "wild":  # from cell to cell by factors
        values = values * torch.exp(2 * torch.randn(resolution, generator=generator))
    elif kind == "thin":  # mostly grazes
        values = values.abs() - 0.1 * torch.rand(resolution, generator=generator)
    return sr.Lattice(values, BOX)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    resolution=st.tuples(st.integers(2, 7), st.integers(2, 7), st.integers(2, 7)),
    kind=st.sampled_from(["plain", "wild", "thin"]),
    eye=st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(2.5, 5)),
)
@example(seed=15, resolution=(2, 5, 2), kind="plain", eye=(0.4, 0.9, 3.0))
@example(seed=3, resolution=(6, 4, 3), kind="wild", eye=(0.4, 0.9, 3.0))
def test_the_raster_overlooks_nothing(
    seed: int, resolution: tuple[int, int, int], kind: str, eye: tuple[float, float, float]
) -> None:
    lattice = noise(seed, resolution, kind)
    cameras = sr.Cameras.look_at([list(eye)], width=32, height=22)
    mine = sr.render(lattice, cameras, engine="cpu")
    other = sr.render(lattice.to(torch.float64), cameras, engine="reference")
    # An overlooked graze would leave a hole of up to 0.5. A distance of 3, rounded to float32,
    # moves by 2e-7: at most 8e-7 of a cell, 1e-5 of a pixel times the change of φ in a cell.
    spread = float(lattice.values.max() - lattice.values.min())
    limit = max(1e-3, 1e-5 * spread)
    assert (mine.silhouettes - other.silhouettes).abs().max() < limit
    mine = sr.render(lattice, cameras, coverage=False, engine="cpu")
    other = sr.render(lattice.to(torch.float64), cameras, coverage=False, engine="reference")
    both = mine.hit_mask & other.hit_mask
    flips = int((mine.hit_mask != other.hit_mask).sum())
    elsewhere = int(((mine.depths - other.depths).abs()[both] > 1e-3).sum())
    # A ray may touch the surface to within rounding: one in 10⁵ such pixels, hardly two in an image
    assert flips + elsewhere <= 1


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    resolution=st.tuples(st.integers(2, 7), st.integers(2, 7), st.integers(2, 7)),
    kind=st.sampled_from(["plain", "wild", "thin"]),
    eye=st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 5)),
    coverage=st.booleans(),
)
def test_the_walk_finds_what_the_reference_finds(
    seed: int,
    resolution: tuple[int, int, int],
    kind: str,
    eye: tuple[float, float, float],
    coverage: bool,
) -> None:
    """In float64, from outside and inside the box: `ray_walk` against `traversal` and `events`."""
    lattice = noise(seed, resolution, kind).to(torch.float64)
    cameras = sr.Cameras.look_at([list(eye)], (0.3, 0.1, -0.4), width=23, height=19)
    mine, other = (
        sr.render(lattice, cameras, coverage=coverage, engine=engine)
        for engine in ("cpu", "reference")
    )
    assert torch.equal(mine.hit_mask, other.hit_mask)
    # both are float64; where a ray is nearly tangent its root is known to half the digits
    both = mine.hit_mask
    assert not both.any() or float((mine.depths - other.depths)[both].abs().max()) < 1e-6
    assert (mine.silhouettes - other.silhouettes).abs().max() < 1e-9


# ---------------------------------------------------------------- the raster's shortcuts


def one_cell(*corners: float, far: float = 1.0) -> sr.Lattice:
    """The unit cell with the given corners, corner `4i + 2j + k` at `(i, j, k)`."""
    return sr.Lattice(
        torch.tensor(corners, dtype=torch.float32).reshape(2, 2, 2),
        torch.tensor([[0.0] * 3, [far] * 3]),
    )


def diagonal_camera() -> sr.Cameras:
    """Looks along z from (-2, -2, -2); the ray of its middle pixel, (8, 8), is the diagonal."""
    c2w = torch.eye(4)[None].clone()
    c2w[0, :3, 3] = -2
    K = torch.tensor([[64.0, 0.0, 8.5 - 64], [0.0, 64.0, 8.5 - 64], [0.0, 0.0, 1.0]])
    return sr.Cameras(c2w, K[None], 17, 17)


def test_a_dip_that_the_far_side_of_the_box_cuts_short() -> None:
    """φ falls until the ray leaves the box, 0.3 pixels above zero: 0.2 of the pixel is covered."""
    cameras = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=9)
    pixel = 4.0 / float(cameras.Ks[0, 0, 0])  # at the far side
    for resolution in (2, 9):
        lattice = make(lambda p: p[..., 2] + 1 + 0.3 * pixel, resolution, [[-1.0] * 3, [1.0] * 3])
        out = sr.render(lattice, cameras, engine="cpu")
        assert not out.hit_mask.any()
        assert float(out.silhouettes[0, 4, 4]) == pytest.approx(0.2, abs=1e-4)
        assert differing(lattice, cameras) == NONE


def test_a_ray_that_enters_inside_the_solid_and_leaves_it_in_its_first_cell() -> None:
    lattice = make(lambda p: -p[..., 2] - 0.5, 2, [[-1.0] * 3, [1.0] * 3]).with_values(
        torch.tensor([1.0, -2.0]).expand(2, 2, 2).clone()
    )
    cameras = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=9)
    for coverage in (True, False):
        out = sr.render(lattice, cameras, coverage=coverage, engine="cpu")
        assert float(out.depths[0, 4, 4]) == pytest.approx(2, abs=1e-6)
        assert out.normals[0, 4, 4].tolist() == pytest.approx([0, 0, 1])
        assert differing(lattice, cameras, coverage=coverage) == NONE


def test_a_root_far_from_the_secant() -> None:
    """φ = 1 − 1000 xyz along the diagonal, 1 − 1000 s³: flat, then steep. The root is at 0.1."""
    lattice = one_cell(1, 1, 1, 1, 1, 1, 1, -999)
    for coverage in (True, False):
        out = sr.render(lattice, diagonal_camera(), coverage=coverage, engine="cpu")
        assert float(out.depths[0, 8, 8]) == pytest.approx(2.1, abs=1e-5)
        counts = differing(lattice, diagonal_camera(), coverage=coverage)
        assert counts == {**NONE, "images": counts["images"], "normals": counts["normals"]}


def test_a_root_where_the_slope_vanishes_too() -> None:
    """φ = −8 (x−½)(y−½)(z−½) along the diagonal: Newton's step is 0/0, the hit's gradient 0."""
    lattice = one_cell(1, -1, -1, 1, -1, 1, 1, -1)
    values = lattice.values.clone().requires_grad_()
    for coverage in (True, False):
        out = sr.render(
            lattice.with_values(values), diagonal_camera(), coverage=coverage, engine="cpu"
        )
        # a triple root is known to a third of the digits of float32
        assert float(out.depths[0, 8, 8].detach()) == pytest.approx(2.5, abs=1e-2)
        hit = out.depths[out.hit_mask]
        (v_values,) = torch.autograd.grad(hit.sum() + out.images.sum(), values)
        assert torch.isfinite(v_values).all()


@pytest.mark.parametrize("coverage", [True, False])
@pytest.mark.parametrize("dtype", BOTH)
def test_surfaces_in_the_planes_between_cells(dtype: torch.dtype, coverage: bool) -> None:
    """Values that are exactly zero on a face between cells, or in whole cells behind it."""
    cameras = sr.Cameras.look_at([[0.4, 0.9, 3.0]], width=29, height=22)
    cube = make(lambda p: p.abs().amax(-1) - 0.5, 9, [[-1.0] * 3, [1.0] * 3]).to(dtype)
    assert int((cube.values == 0).sum()) > 50
    assert differing(cube, cameras, coverage=coverage) == NONE
    plane = make(lambda p: p[..., 2], 9, [[-1.0] * 3, [1.0] * 3]).to(dtype)
    assert differing(plane, cameras, coverage=coverage) == NONE
    hollow = cube.with_values(cube.values.clamp(min=0))
    values = hollow.values.requires_grad_()
    out = sr.render(hollow, cameras, coverage=coverage, engine="cpu")
    (v_values,) = torch.autograd.grad(out.images.sum() + out.depths[out.hit_mask].sum(), values)
    assert torch.isfinite(v_values).all()  # φ is constant at some hits, which then stay
    solid = sr.render(cube, cameras, coverage=coverage, engine="cpu")
    assert torch.equal(out.hit_mask, solid.hit_mask)
    # a ray that is nearly in the plane of a side: rounding decides where it enters
    assert int(((out.depths - solid.depths)[out.hit_mask].abs() > 1e-5).sum()) == 0


@pytest.mark.parametrize("coverage", [True, False])
@pytest.mark.parametrize(("eye", "size"), [((0.0, 0.0, 3.0), 65), ((3.0, 0.0, 0.0), 64)])
def test_rays_in_the_planes_between_cells(
    eye: tuple[float, float, float], size: int, coverage: bool
) -> None:
    cameras = sr.Cameras.look_at([list(eye)], width=size)
    for resolution in (32, 33):
        lattice = sr.Lattice.sphere(0.5, resolution=resolution)
        assert differing(lattice, cameras, coverage=coverage) == NONE


# ---------------------------------------------------------------- edges


def cameras_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> sr.Cameras:
    return sr.Cameras.look_at([list(eye)], target, width=29, height=22)


HOLLOW = sdf.difference(sdf.sphere(0.9), sdf.sphere(0.7))
EDGES: dict[str, tuple[Callable[[], sr.Lattice], sr.Cameras]] = {
    "one cell": (lambda: noise(0, (2, 2, 2), "plain"), cameras_at((0.4, 0.9, 3), (0, 0, 0))),
    "nothing in view": (lambda: make(SMOOTH), cameras_at((0, 0, 3), (0, 0, 6))),
    "inside the solid": (lambda: make(sdf.sphere(0.9)), cameras_at((0.1, 0, 0.2), (0.5, 0.3, 0.9))),
    "inside a hollow": (lambda: make(HOLLOW), cameras_at((0.1, 0, 0.05), (0.5, 0.2, 0.9))),
    "at the box": (lambda: make(sdf.sphere(0.5)), cameras_at((0.02, 0.01, 1.001), (0, 0, 0))),
    "near the box": (lambda: make(sdf.sphere(0.5)), cameras_at((0.02, 0.01, 1.03), (0, 0, 0))),
    "box partly behind": (lambda: make(SMOOTH), cameras_at((0.9, 0.5, 1.2), (-1.1, 0.5, 1.0))),
    "all empty": (lambda: make(lambda p: p[..., 0] * 0 + 1, 5), cameras_at((1, 2, 3), (0, 0, 0))),
    "all solid": (lambda: make(lambda p: p[..., 0] * 0 - 1, 5), cameras_at((1, 2, 3), (0, 0, 0))),
    "all zero": (lambda: make(lambda p: p[..., 0] * 0, 5), cameras_at((1, 2, 3), (0, 0, 0))),
    "solid at the box": (
        lambda: make(sdf.sphere(1.3), 33, [[-1.0] * 3, [1.0] * 3]),
        cameras_at((2.3, 1.2, 3), (0, 0, 0)),
    ),
    "far from the origin": (
        lambda: make(
            sdf.sphere(0.5, (1001, -1999, 501)), 33, [[1000, -2000, 500], [1002, -1998, 502]]
        ),
        cameras_at((1001, -1999, 504), (1001, -1999, 501)),
    ),
    "through a telescope": (
        lambda: make(SMOOTH),
        sr.Cameras.look_at([[3.0, 5.0, 40.0]], width=29, height=22, fov=0.05),
    ),
}


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("coverage", [True, False])
@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str, coverage: bool, dtype: torch.dtype) -> None:
    lattice, cameras = EDGES[name][0]().to(dtype), EDGES[name][1]
    assert differing(lattice, cameras, coverage=coverage) == NONE
    out = sr.render(lattice, cameras, coverage=coverage, background=0.25, engine="cpu")
    if name in ("nothing in view", "all empty"):
        assert (out.images == 0.25).all()
    else:
        assert out.hit_mask.any()


@pytest.mark.parametrize("dtype", BOTH)
def test_a_solid_that_reaches_the_box_has_the_depth_and_normal_of_its_face(
    dtype: torch.dtype,
) -> None:
    lattice = sr.Lattice.sphere(1.3, resolution=33, dtype=dtype)
    out = sr.render(lattice, sr.Cameras.look_at([[5.0, 0.0, 0.0]], width=9), engine="cpu")
    assert float(out.depths[0, 4, 4]) == pytest.approx(4, abs=8 * torch.finfo(dtype).eps)
    assert out.normals[0, 4, 4].tolist() == [1, 0, 0]


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_no_views(engine: str) -> None:
    cameras = sr.Cameras(torch.zeros(0, 4, 4), torch.zeros(0, 3, 3), 5, 4)
    out = sr.render(make(SMOOTH), cameras, engine=engine)
    assert out.images.shape == (0, 4, 5, 1)
    assert out.silhouettes.shape == out.depths.shape == out.hit_mask.shape == (0, 4, 5)
    assert out.normals.shape == (0, 4, 5, 3)


# ---------------------------------------------------------------- which engine


def test_the_sphere_tracer_needs_the_reference() -> None:
    arguments = {"tracer": "sphere", "coverage": False}
    with pytest.raises(ValueError, match="engine='cpu': does not know tracer='sphere'"):
        sr.render(make(SMOOTH), views(), engine="cpu", **arguments)  # type: ignore[arg-type]
    assert sr.render(make(SMOOTH), views(), **arguments).hit_mask.any()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "tracer", "expected"),
    [
        (torch.float32, "exact", "cpu"),
        (torch.float64, "exact", "cpu"),
        (torch.float32, "sphere", "reference"),
    ],
)
def test_auto_takes_the_compiled_engine_wherever_it_can(
    dtype: torch.dtype, tracer: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("sdfrender.rendering.render")

    class Taken(Exception):
        pass

    def take(name: str) -> Callable[..., None]:
        def taken(*_: object) -> None:
            raise Taken(name)

        return taken

    monkeypatch.setattr(module, "render_pixels", take("cpu"))
    monkeypatch.setattr(module, "reference_pixels", take("reference"))
    with pytest.raises(Taken, match=expected):
        sr.render(make(SMOOTH).to(dtype), views(), coverage=False, tracer=tracer)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused(dtype: torch.dtype, engine: str) -> None:
    with pytest.raises(ValueError, match=f"lattice: need float32 or float64 values, got {dtype}"):
        sr.render(make(SMOOTH).to(dtype), views(), engine=engine)


# ---------------------------------------------------------------- threads and batches


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads; puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def scene_gradients(
    values: Tensor, cameras: sr.Cameras, coverage: bool = True
) -> tuple[sr.Rendering, dict[str, Tensor]]:
    """A rendering and the gradients of a random sum of its outputs in all there is."""
    x = {
        "values": values.clone(),
        "c2w": cameras.c2w.double(),
        "Ks": cameras.Ks.double(),
        "ambient": torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64),
        "sh": torch.linspace(-0.2, 0.3, 27, dtype=torch.float64).reshape(9, 3),
        "albedo": torch.rand(4, 5, 3, 3, generator=torch.Generator().manual_seed(1)),
    }
    for tensor in x.values():
        tensor.requires_grad_()
    out = sr.render(
        sr.Lattice(x["values"], BOX),
        sr.Cameras(x["c2w"], x["Ks"], cameras.width, cameras.height),
        lighting=sr.Lighting(ambient=x["ambient"], sh=x["sh"]),
        albedo=x["albedo"],
        coverage=coverage,
        engine="cpu",
    )
    loss, generator = torch.zeros((), dtype=torch.float64), torch.Generator().manual_seed(2)
    for name in OUTPUTS:
        y = getattr(out, name)
        # one and the same cotangent for each lattice of a batch
        u = torch.randn(y.shape[values.ndim - 3 :], generator=generator)
        if y.requires_grad:
            loss = loss + (torch.where(torch.isfinite(y), y, 0) * u).double().sum()
    gradients = torch.autograd.grad(loss, list(x.values()))
    return out, dict(zip(x, gradients, strict=True))


@pytest.mark.parametrize("dtype", BOTH)
def test_any_number_of_threads(dtype: torch.dtype, threads: Callable[[int], None]) -> None:
    values = make(SMOOTH).values.to(dtype)
    threads(1)
    first, first_gradients = scene_gradients(values, views())
    for count in (1, 2, 3):
        threads(count)
        out, gradients = scene_gradients(values, views())
        again, same = scene_gradients(values, views())
        for name in (*OUTPUTS, "hit_mask"):
            # each pixel is made by one thread, and the same everywhere
            assert torch.equal(getattr(out, name), getattr(first, name)), name
            assert torch.equal(getattr(out, name), getattr(again, name)), name
        for name, x in gradients.items():
            # the sums of one number of threads are always the same ones
            assert torch.equal(x, same[name]), name
            # those of another are added up in another order: 10⁴ terms, each rounded
            error = float((x - first_gradients[name]).norm() / x.norm())
            limit = 1e-5 if x.dtype == torch.float32 or dtype == torch.float32 else 1e-12
            assert error <= limit, (name, error)


@pytest.mark.parametrize("dtype", BOTH)
def test_batches_and_views_equal_single_calls(dtype: torch.dtype) -> None:
    cameras = views(15, 13)
    lattices = [rough((8, 10, 9), seed).values.to(dtype) for seed in range(3)]
    out, gradients = scene_gradients(torch.stack(lattices), cameras)
    alone = [scene_gradients(values, cameras) for values in lattices]
    for b, (one, one_gradients) in enumerate(alone):
        for name in (*OUTPUTS, "hit_mask"):
            # the same kernels see the same numbers
            assert torch.equal(getattr(out, name)[b], getattr(one, name)), name
        torch.testing.assert_close(
            gradients["values"][b], one_gradients["values"], rtol=0, atol=0
        )  # each lattice has its own sum
        for n in range(len(cameras)):
            view = sr.render(sr.Lattice(lattices[b], BOX), cameras[n], engine="cpu")
            both = sr.render(sr.Lattice(lattices[b], BOX), cameras, engine="cpu")
            for name in (*OUTPUTS, "hit_mask"):
                assert torch.equal(getattr(both, name)[n], getattr(view, name)[0]), name
    for name in ("c2w", "Ks", "ambient", "sh", "albedo"):
        total = sum(one_gradients[name] for _, one_gradients in alone)
        # sums in another order
        limit = 1e-5 if torch.float32 in (dtype, gradients[name].dtype) else 1e-12
        assert float((gradients[name] - total).norm() / total.norm()) <= limit, name


# ---------------------------------------------------------------- gradients


def relative(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize("name", ["smooth", "rod in front of a plate", "values times 3"])
def test_gradients_in_float32_are_those_of_float64(name: str) -> None:
    lattice = LATTICES[name]()
    _, single = scene_gradients(LATTICES[name]().values, views())
    _, double = scene_gradients(lattice.values.double(), views())
    for parameter, gradient in single.items():
        # hits are rounded to 1e-7 of 3 units, 1e-5 of a cell; at a crease normals turn by as much
        assert relative(gradient, double[parameter]) < 1e-3, parameter


def test_gradients_only_where_asked() -> None:
    lattice, cameras = make(SMOOTH), views()
    out = sr.render(lattice, cameras, engine="cpu")
    assert not any(getattr(out, name).requires_grad for name in OUTPUTS)

    everything = scene_gradients(lattice.values, cameras)[1]
    ambient = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True)
    sh = torch.linspace(-0.2, 0.3, 27, dtype=torch.float64).reshape(9, 3)
    albedo = torch.rand(4, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    out = sr.render(
        lattice, cameras, lighting=sr.Lighting(ambient=ambient, sh=sh), albedo=albedo, engine="cpu"
    )
    assert out.images.requires_grad
    u = torch.randn(out.images.shape, generator=torch.Generator().manual_seed(2))
    (v_ambient,) = torch.autograd.grad((out.images * u).double().sum(), ambient)
    # the first cotangent of `scene_gradients` is u, and only the image knows the light
    torch.testing.assert_close(v_ambient, everything["ambient"], rtol=1e-12, atol=0)
    assert not out.hit_mask.requires_grad


def test_coverage_off_has_silhouettes_without_gradients() -> None:
    values = make(SMOOTH).values.requires_grad_()
    out = sr.render(sr.Lattice(values, BOX), views(), coverage=False, engine="cpu")
    assert not out.silhouettes.requires_grad
    assert out.images.requires_grad


def test_backward_twice_and_not_beyond() -> None:
    values = make(SMOOTH).values.requires_grad_()
    out = sr.render(sr.Lattice(values, BOX), views(), engine="cpu")
    loss = out.images.square().sum()
    (first,) = torch.autograd.grad(loss, values, retain_graph=True)
    (second,) = torch.autograd.grad(loss, values, retain_graph=True)
    assert torch.equal(first, second)
    (slope,) = torch.autograd.grad(loss, values, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()


def test_cotangents_of_any_layout() -> None:
    values = make(SMOOTH).values.requires_grad_()
    out = sr.render(sr.Lattice(values, BOX), views(), engine="cpu")
    u = torch.randn(out.silhouettes.shape, generator=torch.Generator().manual_seed(0))
    (plain,) = torch.autograd.grad(out.silhouettes, values, u, retain_graph=True)
    turned = u.mT.contiguous().mT
    assert not turned.is_contiguous()
    (other,) = torch.autograd.grad(out.silhouettes, values, turned, retain_graph=True)
    assert torch.equal(plain, other)
    (ones,) = torch.autograd.grad(out.silhouettes.sum(), values, retain_graph=True)  # an expanded 1
    (same,) = torch.autograd.grad(out.silhouettes, values, torch.ones_like(u))
    assert torch.equal(ones, same)


@pytest.mark.parametrize("changed", ["values", "albedo"])
def test_a_change_before_backward_is_noticed(changed: str) -> None:
    x = {
        "values": make(SMOOTH).values.requires_grad_(),
        "albedo": torch.rand(4, 5, 3, 1).requires_grad_(),
    }
    out = sr.render(sr.Lattice(x["values"], BOX), views(), albedo=x["albedo"], engine="cpu")
    with torch.no_grad():
        x[changed] *= 0.5
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.images.sum().backward()


def test_the_lattice_need_not_be_contiguous() -> None:
    values = make(SMOOTH).values.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not values.is_contiguous()
    a, v_a = scene_gradients(values, views())
    b, v_b = scene_gradients(values.contiguous(), views())
    assert torch.equal(a.images, b.images)
    assert torch.equal(v_a["values"], v_b["values"])


# ---------------------------------------------------------------- the per-hit functions alone

# Only kernels can be called from Python: these call the functions that are part of them.


@numba.njit
def compiled_coefficients(corners, start, step):
    return cubic_scalar.coefficients(
        corners, start[0], start[1], start[2], step[0], step[1], step[2]
    )


@numba.njit
def compiled_first_root(c):
    return cubic_scalar.first_root(c)


@numba.njit
def compiled_closest_approach(c, a):
    return cubic_scalar.closest_approach(c, a)


@numba.njit
def compiled_walk(v, block_low, grid, o, d, footprint, t_start, coverage, most, pixel, out, count):
    return ray_walk.find_events(
        v, block_low, grid, o, d, footprint, t_start, coverage, most, pixel, out, count
    )


@contextmanager
def plain_python() -> Iterator[None]:
    """The functions of the ray walk are plain Python in here, all of them."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        for module in (ray_walk, cubic_scalar, trilinear_cell, bricks):
            for name, function in list(vars(module).items()):
                if isinstance(function, Dispatcher):
                    patch.setattr(module, name, function.py_func)
        yield


def value(c: tuple[float, ...], s: float) -> float:
    return ((c[3] * s + c[2]) * s + c[1]) * s + c[0]


COEFFICIENT = st.one_of(st.floats(-2, 2, allow_subnormal=False), st.sampled_from([0.0, 1.0, -1.0]))
CUBICS = st.tuples(COEFFICIENT, COEFFICIENT, COEFFICIENT, COEFFICIENT)


def torch_cubic(c: tuple[float, ...]) -> cubic.Cubic:
    c0, c1, c2, c3 = (torch.tensor([x], dtype=torch.float64) for x in c)
    return c0, c1, c2, c3


@settings(max_examples=150, deadline=None)
@given(c=CUBICS)
def test_first_roots(c: tuple[float, float, float, float]) -> None:
    """Compiled, as plain Python, and the torch twin; and no sample before it is below zero."""
    compiled = compiled_first_root(c)
    scale = sum(map(abs, c))
    with plain_python():
        python = cubic_scalar.first_root(tuple(map(np.float64, c)))  # so that 1 / 0 is inf
    for other in (python, float(cubic.first_root(torch_cubic(c)))):
        if abs(compiled - other) > 1e-9:  # a root that is touched, or missed, to within rounding
            assert abs(value(c, min(compiled, other))) <= 1e-14 * scale
    samples = np.linspace(0, 1, 101)
    before = samples[samples < compiled - 1e-9]
    assert (value(c, before) > -1e-14 * scale).all()  # type: ignore[arg-type, union-attr]
    if math.isfinite(compiled):
        assert 0 <= compiled <= 1
        assert compiled == 0 or abs(value(c, compiled)) <= 1e-13 * scale


@settings(max_examples=150, deadline=None)
@given(c=CUBICS, a=st.floats(0.01, 1000))
def test_closest_approaches(c: tuple[float, float, float, float], a: float) -> None:
    _, q = compiled_closest_approach(c, a)
    rounding = 1e-13 * sum(map(abs, c)) / a + 1e-300
    samples = np.linspace(0, 1, 101)
    assert (value(c, samples) / (a + samples)).min() >= q - rounding  # type: ignore[arg-type]
    with plain_python():
        python = cubic_scalar.closest_approach(tuple(map(np.float64, c)), np.float64(a))
    twin = cubic.closest_approach(torch_cubic(c), torch.tensor([a], dtype=torch.float64))
    for other_s, other_q in (python, map(float, twin)):
        assert abs(other_q - q) <= rounding
        # the place is as good as another of the same q
        assert abs(value(c, other_s) / (a + other_s) - q) <= rounding


@settings(max_examples=60, deadline=None)
@given(
    corners=st.tuples(*[st.floats(-2, 2)] * 8),
    start=st.tuples(*[st.floats(0, 1)] * 3),
    step=st.tuples(*[st.floats(-1, 1)] * 3),
)
def test_cubics_of_cells(
    corners: tuple[float, ...],
    start: tuple[float, float, float],
    step: tuple[float, float, float],
) -> None:
    c = compiled_coefficients(corners, start, step)
    with plain_python():
        python = cubic_scalar.coefficients(corners, *start, *step)
    columns = [torch.tensor(x, dtype=torch.float64)[:, None] for x in (corners, start, step)]
    # a fused multiply-add, or none: values of up to 16, rounded a few times
    assert python == pytest.approx(c, abs=1e-13)
    assert [float(x) for x in cubic.coefficients(*columns)] == pytest.approx(c, abs=1e-13)


class Record:
    """An event in plain Python: its fields as attributes, as numba has them."""

    def __init__(self, row: np.void) -> None:
        object.__setattr__(self, "row", row)

    def __getattr__(self, name: str) -> float:
        return self.row[name]

    def __setattr__(self, name: str, value: float) -> None:
        self.row[name] = value


class Records:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __getitem__(self, n: int) -> Record:
        return Record(self.rows[n])


def walk_all(
    walk: Callable[..., int], lattice: sr.Lattice, cameras: sr.Cameras, coverage: bool, plain: bool
) -> np.ndarray:
    """The events of all pixels, found by calling `walk` from here."""
    _, scene = make_scene(lattice, cameras, sr.Lighting(), 1.0, coverage, "implicit", 4)
    near = find_near_cells(scene.values[0], 0.2, np.zeros((0, 3)), 1)
    grid = BrickGrid(*scene.grid, near.bricks.table)
    rays_o, rays_d = cameras.to(lattice.values).rays()
    origins = ((rays_o - lattice.bounds[0]) / lattice.spacing).reshape(-1, 3).tolist()
    directions = (rays_d / lattice.spacing).reshape(-1, 3).tolist()
    events, count = np.zeros(len(origins) * 4, EVENT), 0
    for n, (o, d) in enumerate(zip(origins, directions, strict=True)):
        count = walk(
            near.values, near.block_low, grid, tuple(o), tuple(d), 0.08, 0.0,
            coverage, 4, n, Records(events) if plain else events, count,
        )  # fmt: skip
    return events[:count]


@pytest.mark.parametrize("coverage", [True, False])
def test_the_walk_runs_as_plain_python(coverage: bool) -> None:
    lattice = rough((5, 6, 4), 1)
    cameras = sr.Cameras.look_at([[0.4, 0.9, 3.0]], width=19, height=15)
    compiled = walk_all(compiled_walk, lattice, cameras, coverage, plain=False)
    assert len(compiled) > 30
    with plain_python():
        python = walk_all(ray_walk.find_events, lattice, cameras, coverage, plain=True)
    assert len(python) == len(compiled)
    for field in ("pixel", "bits"):
        np.testing.assert_array_equal(python[field], compiled[field])
    for field in ("t", "t_min"):
        # with and without fused multiply-adds; the closest approach is where a slope is zero
        np.testing.assert_allclose(python[field], compiled[field], rtol=0, atol=1e-9)


def test_importing_compiles_nothing() -> None:
    names = [
        module.name
        for room in (engines, kernels, geometry)
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    ]
    script = f"""
import importlib, sys
import sdfrender
from numba.core.dispatcher import Dispatcher
kernels = 0
for name in {names!r}:
    for function in vars(importlib.import_module(name)).values():
        if isinstance(function, Dispatcher):
            kernels += 1
            assert function.signatures == [], function
assert kernels > 20, kernels
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)
