"""Redistancing: the surface does not move, and everything else becomes a distance."""

import math
from itertools import product
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy import ndimage

from sdfrender.geometry import redistance
from sdfrender.geometry.blocks import extremes, holding, packed, unpacked, within
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.primitives import SDF, box, sphere, torus, union
from sdfrender.geometry.redistance_rounds import redistanced_in_rounds

BOUNDS = ((-1.0, -0.8, -1.2), (1.1, 1.0, 0.9))


def corners(values: torch.Tensor) -> torch.Tensor:
    """`[8, X-1, Y-1, Z-1]` the corner values of each cell."""
    X, Y, Z = values.shape
    return torch.stack(
        [
            values[a : X - 1 + a, b : Y - 1 + b, c : Z - 1 + c]
            for a in (0, 1)
            for b in (0, 1)
            for c in (0, 1)
        ]
    )


def holding_surface(values: torch.Tensor) -> torch.Tensor:
    low, high = corners(values).aminmax(dim=0)
    return (low <= 0) & (high >= 0)


def upwind_residual(d: NDArray[np.float64], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """`Σ max(0, (d − neighbour)/h)² − 1`, zero where d solves the scheme. `[X, Y, Z]`."""
    total = -np.ones_like(d)
    for axis, h in enumerate(spacing):
        e = np.pad(np.moveaxis(d, axis, 0), ((1, 1), (0, 0), (0, 0)), constant_values=np.inf)
        smaller = np.minimum(e[:-2], e[2:])
        total += np.moveaxis(np.maximum(0, (e[1:-1] - smaller) / h) ** 2, 0, axis)
    return total


def noise(
    shape: tuple[int, int, int], size: tuple[float, float, float], zeros: float, seed: int
) -> Lattice:
    """Random values, mostly of one sign or of both, with a fraction of exact zeros."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) + rng.normal(0, 2)
    values[rng.random(shape) < zeros] = 0
    bounds = torch.tensor([[0, 0, 0], size], dtype=torch.float64)
    return Lattice(torch.from_numpy(values), bounds)


lattices = st.builds(
    noise,
    shape=st.tuples(st.integers(2, 7), st.integers(2, 7), st.sampled_from([2, 3, 5, 16, 17, 40])),
    size=st.tuples(*[st.floats(0.3, 3)] * 3),
    zeros=st.sampled_from([0.0, 0.05, 0.5]),
    seed=st.integers(0, 10_000),
)


@settings(max_examples=150, deadline=None)
@given(lattice=lattices, band=st.sampled_from([0.0, 1.2, 3.0]))
def test_the_surface_stays_bit_for_bit(lattice: Lattice, band: float) -> None:
    result = lattice.redistance(band)
    before, after = holding_surface(lattice.values), holding_surface(result.values)
    assert torch.equal(before, after)
    assert torch.equal(corners(lattice.values)[:, before], corners(result.values)[:, before])
    assert torch.equal(lattice.values < 0, result.values < 0)


@settings(max_examples=60, deadline=None)
@given(
    lattice=lattices,
    band=st.sampled_from([0.0, 1.2, 3.0]),
    reach=st.sampled_from([4.0, math.inf]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_rounds_for_a_card_end_at_the_distances_of_the_sweeps(
    lattice: Lattice, band: float, reach: float, dtype: torch.dtype
) -> None:
    lattice = lattice.to(dtype)
    x, y, z = lattice.spacing.double().tolist()
    swept = lattice.redistance(band, reach).values
    mine = redistanced_in_rounds(lattice.values, (x, y, z), band, reach)
    assert mine.dtype == dtype
    assert torch.equal(torch.isfinite(mine), torch.isfinite(swept))
    near = torch.isfinite(swept)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(mine[near], swept[near], rtol=tolerance, atol=tolerance)


@settings(max_examples=50, deadline=None)
@given(lattice=lattices)
def test_the_rest_solves_the_upwind_scheme(lattice: Lattice) -> None:
    """The scheme has one solution, so this checks the sweeps against every other solver of it."""
    result = lattice.redistance(frozen_band=0.0)
    kept = np.zeros(lattice.resolution, dtype=bool)
    for i, j, k in np.argwhere(holding_surface(lattice.values).numpy()):
        kept[i : i + 2, j : j + 2, k : k + 2] = True
    if not kept.any():
        assert torch.equal(result.values, lattice.values)
        return
    residual = upwind_residual(np.abs(result.values.numpy()), lattice.spacing.numpy())
    # Rounding of the largest distances (5) over the smallest spacing, squared and summed.
    finest = float(lattice.spacing.min())
    np.testing.assert_allclose(residual[~kept], 0, atol=1e-11 * max(1, (0.05 / finest) ** 2))


SOLIDS = {
    "sphere": sphere(0.5, (0.1, 0.0, -0.1)),
    "box": box((0.4, 0.3, 0.5)),
    "torus": torus(0.5, 0.2),
}


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_distances_are_first_order(solid: SDF) -> None:
    """From a field that is right at the surface and three times too steep elsewhere."""

    def worst(resolution: tuple[int, int, int]) -> tuple[float, float]:
        exact = Lattice.from_function(solid, resolution, BOUNDS, dtype=torch.float64)
        h = float(exact.spacing.max())
        steep = torch.where(exact.values.abs() < 2 * h, 1.0, 3.0) * exact.values
        result = exact.with_values(steep).redistance()
        return float((result.values - exact.values).abs().max()), h

    (coarse, H), (fine, h) = worst((24, 31, 37)), worst((47, 61, 73))
    # The error of the scheme is O(h log 1/h) near points where the distance has a kink: it falls to
    # 0.65 where h is halved here.
    assert coarse < 1.5 * H
    assert fine < 1.5 * h
    assert fine < 0.75 * coarse


def test_a_plane_along_the_axes_is_exact() -> None:
    lattice = Lattice.from_function(
        lambda p: 5 * (p[..., 2] - 0.03), (5, 6, 41), BOUNDS, dtype=torch.float64
    )
    z = lattice.vertices[..., 2]
    result = lattice.redistance(frozen_band=0.0).values
    kept = int(holding_surface(lattice.values)[0, 0].nonzero())
    h = float(lattice.spacing[2])
    steps = torch.arange(41).double()
    expected = torch.where(
        steps <= kept,
        lattice.values[0, 0, kept] - (kept - steps) * h,
        lattice.values[0, 0, kept + 1] + (steps - kept - 1) * h,
    )
    torch.testing.assert_close(result, expected.expand_as(z), rtol=0, atol=1e-14)


def test_an_exact_distance_field_stays_as_it_was_near_the_surface() -> None:
    lattice = Lattice.sphere(0.5, resolution=(20, 24, 30))
    result = lattice.redistance()
    near = lattice.values.abs() < 1.2 * lattice.spacing.min()
    assert torch.equal(result.values[near], lattice.values[near])


def test_frozen_band_reaches_only_as_far_as_it_says() -> None:
    """A dip towards zero that is far from the surface is no surface, and is not kept."""
    lattice = Lattice.sphere(0.3, resolution=33, dtype=torch.float64)
    values = lattice.values.clone()
    values[2, 2, 2] = 0.01
    result = lattice.with_values(values).redistance(frozen_band=1.2)
    assert float(result.values[2, 2, 2]) == pytest.approx(float(lattice.values[2, 2, 2]), abs=0.1)
    # Next to the surface the band is what decides whether a vertex is kept.
    row = lattice.with_values(lattice.values * 0.5)  # too flat, so that what is kept shows
    h = float(row.spacing[0])
    outside = (row.values > 0) & (row.values < 1.2 * h) & (lattice.values < 2 * h)
    assert torch.equal(row.redistance(1.2).values[outside], row.values[outside])
    assert not torch.equal(row.redistance(0.0).values[outside], row.values[outside])


def test_without_a_surface_nothing_changes() -> None:
    for sign in (-1.0, 1.0):
        values = sign * (1 + torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0)))
        assert torch.equal(Lattice(values, torch.tensor(BOUNDS)).redistance().values, values)


def test_a_batch_is_its_lattices_one_by_one() -> None:
    box_ = torch.tensor(BOUNDS)
    fields = [
        Lattice.sphere(0.5, resolution=(9, 10, 11), bounds=BOUNDS).values ** 3,
        torch.ones(9, 10, 11),
        Lattice.from_function(union(sphere(0.3), box((0.9, 0.1, 0.1))), (9, 10, 11), BOUNDS).values,
    ]
    batch = Lattice(torch.stack(fields), box_).redistance().values
    for b, field in enumerate(fields):
        assert torch.equal(batch[b], Lattice(field, box_).redistance().values)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_type_and_box_are_kept_and_the_result_is_detached(dtype: torch.dtype) -> None:
    lattice = Lattice.sphere(0.5, resolution=(8, 9, 10), dtype=dtype)
    lattice = lattice.with_values((lattice.values * 2).requires_grad_())
    result = lattice.redistance()
    assert result.values.dtype == dtype
    assert result.values.shape == lattice.values.shape
    assert torch.equal(result.bounds, lattice.bounds)
    assert not result.values.requires_grad
    held = holding_surface(lattice.values.detach())
    assert torch.equal(corners(result.values)[:, held], corners(lattice.values)[:, held])


@pytest.mark.parametrize("band", [-1.0, float("nan"), float("inf")])
def test_a_bad_band_is_refused(band: float) -> None:
    with pytest.raises(ValueError, match="frozen_band: need a finite number"):
        Lattice.sphere(0.5, resolution=4).redistance(band)


def swept_plainly(
    phi: NDArray[Any], spacing: NDArray[np.float64], band: float, reach: float
) -> NDArray[Any]:
    """The same scheme on all vertices in turn, without blocks, runs and what is kept of them."""
    h, shape = float(spacing.min()), phi.shape
    steps, width = math.ceil(band), band * h
    corner, frozen = np.zeros(shape, bool), np.zeros(shape, bool)
    for i, j, k in np.argwhere(holding_surface(torch.from_numpy(phi)).numpy()):
        corner[i : i + 2, j : j + 2, k : k + 2] = True
    if not corner.any():
        return phi
    for i, j, k in np.ndindex(shape):
        around = tuple(slice(max(n - steps, 0), n + steps + 1) for n in (i, j, k))
        near = abs(phi[i, j, k]) < width and corner[around].any()
        frozen[i, j, k] = corner[i, j, k] or near
    d = np.where(frozen, abs(phi), phi.dtype.type(reach * h))
    active = np.zeros(shape, bool)

    def activate_around(*vertex: int) -> None:
        for axis, step in product(range(3), (-1, 1)):
            other = tuple(n + step * (m == axis) for m, n in enumerate(vertex))
            if 0 <= other[axis] < shape[axis] and d[other] > d[vertex] and not frozen[other]:
                active[other] = True

    for i, j, k in np.argwhere(frozen):
        activate_around(i, j, k)
    upwind = getattr(redistance._upwind, "py_func", redistance._upwind)
    order, changed = 0, True
    while changed or order % 8:
        changed = changed and order % 8 > 0
        ways = [slice(None, None, 1 if order & bit else -1) for bit in (1, 2, 4)]
        for vertex in product(*(range(n)[way] for n, way in zip(shape, ways, strict=True))):
            if not active[vertex]:
                continue
            active[vertex] = False
            arguments: list[Any] = []
            for axis, step in enumerate(spacing):
                ends = (max(vertex[axis] - 1, 0), min(vertex[axis] + 1, shape[axis] - 1))
                least = min(d[(*vertex[:axis], n, *vertex[axis + 1 :])] for n in ends)
                arguments += [least, step, 1 / (step * step)]
            new = d.dtype.type(upwind(*arguments))
            if new < d[vertex]:
                d[vertex], changed = new, True
                activate_around(*vertex)
        order += 1
    return np.where(frozen, phi, np.where(phi < 0, -d, d))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("band", "reach"), [(1.2, 4.5), (0.0, 3.0), (9.0, 9.5), (1.2, math.inf)])
def test_blocks_give_bit_for_bit_what_all_vertices_in_turn_do(
    dtype: type[np.floating[Any]], band: float, reach: float
) -> None:
    rng = np.random.default_rng(0)
    for shape in ((9, 17, 20), (8, 3, 33)):
        smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5) - 0.1
        smooth[rng.random(shape) < 0.02] = -0.0
        phi, spacing = (4 * smooth).astype(dtype), rng.uniform(0.2, 0.5, 3)
        expected = swept_plainly(phi, spacing, band, reach)
        assert np.count_nonzero(abs(expected) == dtype(reach * spacing.min())) > 0 or reach > 9
        given = torch.from_numpy(phi.copy()), torch.from_numpy(spacing)
        result = redistance.redistanced(*given, band, reach)
        assert result.numpy().tobytes() == expected.tobytes()
        assert given[0].numpy().tobytes() == phi.tobytes()
        again = redistance.redistanced(*given, band, reach, reuse=True)
        assert again.data_ptr() == given[0].data_ptr()
        assert again.numpy().tobytes() == expected.tobytes()
        once_more = redistance.redistanced(*given, band, reach, reuse=True)  # already ± reach
        assert (
            once_more.numpy().tobytes() == swept_plainly(expected, spacing, band, reach).tobytes()
        )


@pytest.mark.parametrize("shape", [(2, 3, 2), (8, 9, 16), (23, 8, 70)])
def test_blocks_know_their_extremes_and_where_the_surface_is(shape: tuple[int, int, int]) -> None:
    values = np.random.default_rng(1).standard_normal(shape)
    values = ndimage.gaussian_filter(values, 2.0) + 0.05 * np.arange(shape[2])
    values = values.astype(np.float32)
    low, high = extremes(values)
    held, cells = holding(low, high, 0.01), holding_surface(torch.from_numpy(values - 0.01))
    for block in np.ndindex(low.shape):
        part = tuple(slice(8 * n, 8 * n + 8) for n in block)
        assert (low[block], high[block]) == (values[part].min(), values[part].max())
        assert held[block] or not cells[part].any()
    assert not held.all() or max(shape) < 20  # else it would say nothing
    for distance in (0.0, 0.05, 10.0):
        expected = np.flatnonzero(abs(values) < np.float32(distance))
        assert np.array_equal(within(values, distance), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3, 2), (16, 8, 24), (33, 17, 70)])
def test_a_packed_lattice_comes_back_bit_for_bit(
    shape: tuple[int, int, int], dtype: type[np.floating[Any]]
) -> None:
    values = np.random.default_rng(2).standard_normal(shape)
    values = (10 * ndimage.gaussian_filter(values, 2.0)).clip(-0.3, 0.3).astype(dtype)
    values[:, 0, 0] = -0.0
    values[..., shape[2] // 2 :] = 0.25
    values[0, 0, -1] = -0.0
    low, ids, inner = packed(values)
    assert unpacked(shape, low, ids, inner).tobytes() == values.tobytes()
    assert len(ids) < low.size or max(shape) < 10
    zeros = np.zeros(shape, dtype)
    zeros[-1, -1, -1] = -0.0
    assert unpacked(shape, *packed(zeros)).tobytes() == zeros.tobytes()
