"""Kernels one at a time, as plain Python: what they leave for others, and those of cards alone.

Run by `test_plain_python`, as `plain_python` is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from linearize_scenes import noise
from plain_records import plain_records

import sdfrender as sr
from sdfrender import primitives as sdf
from sdfrender.engines.cpu import engine
from sdfrender.engines.cpu.forward.near_cells import BOX, CELL, CUBIC, SLOPES, find_near_cells
from sdfrender.kernels.bricks import BrickGrid
from sdfrender.kernels.cell_root import first_root, minimum
from sdfrender.kernels.coverage import coverage_adjoint, coverage_at
from sdfrender.kernels.pixel.pull import pull_alone, pull_pixel
from sdfrender.kernels.ray_walk import ALONE, EVENT, MOST_EVENTS
from sdfrender.kernels.view import view_of
from sdfrender.rendering.ops import make_scene

BOUNDS = torch.tensor([[-1.0, -1.2, -0.9], [1.1, 1.2, 1.0]], dtype=torch.float64)
LIGHTING = sr.Lighting(
    ambient=0.1,
    headlight=sr.Headlight(torch.tensor([0.7, 0.6, 0.5]), falloff=True),
    directional=[sr.Directional((0.3, 0.8, 0.5), 0.3)],
)


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    with plain_records():
        yield


def test_records_bound_what_is_in_their_cells() -> None:
    """The part of a cell that may hold surface, and the slopes along the axes, by samples."""
    values = 0.3 + 0.5 * noise((6, 5, 7), 3).numpy()
    near = find_near_cells(values, 0.8, np.zeros((0, 3)), 1)
    records = near.records
    low = np.lib.stride_tricks.sliding_window_view(values, (2, 2, 2)).min((3, 4, 5))
    listed = records[near.surface :, CELL : CELL + 3].astype(int).tolist()
    assert len(listed) > 3
    assert sorted(listed) == np.argwhere((low > 0) & (low < 0.8)).tolist()
    assert len(records) > 60
    s = np.linspace(0, 1, 1001)
    for record in records:
        i, j, k = record[CELL : CELL + 3].astype(int)
        cell = values[i : i + 2, j : j + 2, k : k + 2]
        edge = any(n in (0, size - 2) for n, size in zip((i, j, k), values.shape, strict=True))
        for axis in range(3):
            first, last = np.moveaxis(cell, axis, 0).reshape(2, 4)
            slopes = (-1e30, 1e30) if edge else (min(last - first), max(last - first))
            found = record[[SLOPES + axis, SLOPES + 3 + axis]]
            np.testing.assert_allclose(found, slopes, rtol=1e-6)
            low = (1 - s) * first.min() + s * last.min()
            high = (1 - s) * first.max() + s * last.max()
            may = s[(low <= 0) & (high >= 0)]
            begin, end = record[[BOX + axis, BOX + 3 + axis]]
            if edge and cell.min() <= 0:
                assert (begin, end) == (0, 1)  # with its cap, which is anywhere
            elif len(may):
                assert begin == pytest.approx(max(may[0] - 1e-4, 0), abs=1.1e-3)
                assert end == pytest.approx(min(may[-1] + 1e-4, 1), abs=1.1e-3)
        x, y, z = noise((3,), 1).abs().clamp(max=1).tolist()
        terms = np.array([1, x, y, z, x * y, x * z, y * z, x * y * z])
        corners = [
            abs(1 - a - x) * abs(1 - b - y) * abs(1 - c - z) * cell[a, b, c]
            for a, b, c in product((0, 1), repeat=3)
        ]
        assert terms @ record[CUBIC : CUBIC + 8] == pytest.approx(sum(corners), abs=1e-5)


@pytest.mark.parametrize("given", ["colours", "depths", "normals", "all"])
@pytest.mark.parametrize("reattach", ["implicit", "one_step"])
def test_a_crossing_that_is_alone_is_pulled_as_any_other(given: str, reattach: str) -> None:
    shape = sdf.sphere(0.6, (0.1, 0.0, 0.0))
    lattice = sr.Lattice.from_function(shape, (7, 8, 6), BOUNDS, torch.float64)
    cameras = sr.Cameras.look_at([[0.9, 0.7, 3.0]], width=9, height=7)
    albedo = noise((3, 4, 5, 3), 4).abs()
    _, scene = make_scene(lattice, cameras, LIGHTING, albedo, True, reattach, 4)
    traced, _ = engine.render(scene, gradient=True)
    near, events = traced.cells[0], np.concatenate([f.events for f in traced.found])
    alone = events[events["bits"] & ALONE != 0]
    assert len(alone) > 3
    grid, view = BrickGrid(*scene.grid, near.bricks.table), view_of(scene.view_numbers(0))
    lights, P, C = scene.lights_of(0), cameras.width * cameras.height, 3
    sizes = {"colours": C, "depths": 0, "normals": 3}
    pulls = [
        noise((P, size) if size else (P,), n).numpy()
        if given in (name, "all")
        else np.zeros((0, size) if size else 0)
        for n, (name, size) in enumerate(sizes.items())
    ]
    sums = []
    for kernel in (pull_alone, pull_pixel):
        to = [np.zeros_like(x) for x in (near.values, lights, scene.albedo)]
        v_views, scratch = np.zeros((1, 16)), [np.zeros(C) for _ in range(4)]
        for event in alone:
            one = np.array([event], EVENT).view(np.recarray)
            rest = (to[0], to[1], to[2], v_views, 0, True, True, True, True)
            if kernel is pull_alone:
                pull_alone(
                    near.values, grid, view, lights, scene.albedo, int(event["pixel"]),
                    float(event["t"]), scene.reattach, *pulls, *rest, *scratch,
                )  # fmt: skip
            else:
                colors, alphas = np.zeros((MOST_EVENTS, C)), np.ones(MOST_EVENTS)
                pull_pixel(
                    near.values, grid, view, lights, scene.albedo, one, 0, 1, scene.reattach,
                    pulls[0], np.zeros(0), pulls[1], pulls[2], *rest, *scratch, colors,
                    np.zeros(C), alphas, np.ones(MOST_EVENTS + 1),
                )  # fmt: skip
        sums.append([*to, v_views])
    for found, expected in zip(*sums, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * abs(expected).max())
    assert sums[0][0].any()
    assert sums[0][1].any() == (given in ("colours", "all"))


@pytest.mark.parametrize("third", [-5.0, -0.5, -0.1, 1.5, 8.0])
def test_a_dip_within_a_cell_is_entered_at_its_first_root(third: float) -> None:
    """A cubic that comes up again before the cell ends, whose minimum lies between its roots."""
    c = np.polynomial.polynomial.polyfromroots([0.3, 0.6, third])
    c = c if c[0] > 0 else -c
    cubic = (c[0], c[1], c[2], c[3])
    slope = np.polynomial.polynomial.polyroots(np.polynomial.polynomial.polyder(c))
    assert minimum(cubic) == pytest.approx(slope[(slope > 0.3) & (slope < 0.6)].item())
    assert first_root(cubic) == pytest.approx(0.3)


def test_coverage_says_nothing_beyond_its_ends() -> None:
    """All of a pixel, or nothing of it: then it does not change, whatever does."""
    lattice = sr.Lattice.from_function(sdf.sphere(0.6), (7, 8, 6), BOUNDS, torch.float64)
    cameras = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=9, height=7)
    _, scene = make_scene(lattice, cameras, LIGHTING, 1.0, True, "implicit", 4)
    near = find_near_cells(scene.values[0], 0.2, np.zeros((0, 3)), 1)
    grid = BrickGrid(*scene.grid, near.bricks.table)
    o, d, footprint = (0.0, 0.0, 3.0), (0.0, 0.0, -1.0), 0.02
    for t in (2.0, 2.42, 2.8):
        alpha, _ = coverage_at(near.values, grid, o, d, footprint, t)
        v_values = np.zeros_like(near.values)
        found = coverage_adjoint(near.values, grid, o, d, footprint, t, 1.0, v_values, True, True)
        inside = 0 < alpha < 1
        assert inside == (t == 2.42)
        assert bool(v_values.any()) == inside
        assert (found == ((0, 0, 0), (0, 0, 0), 0)) == (not inside)


def test_squares_beside_each_face_of_the_box_are_those_of_columns() -> None:
    """The normals there reach beyond the lattice, onto vertices that count twice."""
    lattice = sr.Lattice.from_function(sdf.sphere(1.25), (7, 8, 6), BOUNDS, torch.float64)
    cameras = sr.Cameras.look_at([[2.0, 2.5, 3.0], [-2.0, -2.5, -3.0]], width=13, height=11)
    J = sr.linearize(lattice, cameras)
    u, w = (noise(tuple(x.shape), 1).abs() for x in J.jvp(lattice.values))
    squares = J.squared_vjp(u, w)
    for axis, end in product(range(3), (0, -1)):
        face = torch.full_like(squares, -1).moveaxis(axis, 0)
        face[end] = squares.moveaxis(axis, 0)[end]
        for vertex in face.moveaxis(0, axis).flatten().topk(3).indices.tolist():
            unit = torch.zeros_like(squares).flatten()
            unit[vertex] = 1
            images, silhouettes = J.jvp(unit.reshape(squares.shape))
            value = float((u * images**2).sum() + (w * silhouettes**2).sum())
            assert value > 0
            assert float(squares.flatten()[vertex]) == pytest.approx(value, rel=1e-9)
