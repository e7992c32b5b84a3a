"""Steps on a lattice that is kept near its surface: those on the dense one, to the bit."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import tiny
import torch
from newton_problems import BAND, LIGHTS, SHAPES, WEIGHTS, ball, photographs

from multiview.optimize import gauss_newton
from multiview.optimize.band import Band
from multiview.optimize.gauss_newton import GaussNewton, kept_up
from multiview.recipes import NewtonLevel, NewtonRecipe
from sdfrender import Lattice, SparseLattice
from sdfrender.geometry.blocks import within
from sdfrender.geometry.sparse.vertices import add_at, values_at

STEPS = 3
LEVEL = NewtonLevel(1, 2, STEPS, laplacian=0.02, smoothing=0.1, largest_step=0.5)


def distances(shape: str) -> Lattice:
    lattice = SHAPES[shape]()
    return lattice.redistance(reach=kept_up(lattice))


def fitted(shape: str, light: str, above: int) -> GaussNewton:
    """After some steps; lattices of more than `above` samples are sparse."""
    look = LIGHTS[light]()
    targets = photographs(look)
    with patch.object(gauss_newton, "SPARSE_ABOVE", above):
        recipe = NewtonRecipe((LEVEL,), weights=WEIGHTS)
        method = GaussNewton(distances(shape), targets, look, recipe, LEVEL)
        for _ in range(STEPS):
            method.iterate()
            method.solve_appearance()
    return method


@pytest.mark.parametrize(
    ("shape", "light"),
    [("torus", "grey"), ("sphere", "unknown light"), ("cut by the box", "light of each view")],
)
def test_sparse_steps_are_the_dense_ones(shape: str, light: str) -> None:
    sparse, dense = (fitted(shape, light, above) for above in (8, 1000))
    assert isinstance(sparse._lattice, SparseLattice)
    assert isinstance(dense._lattice, Lattice)
    assert not torch.equal(dense.lattice.values, distances(shape).values)
    assert torch.equal(sparse.lattice.values, dense.lattice.values)
    assert torch.equal(sparse.appearance.light.sh, dense.appearance.light.sh)
    assert sparse.lattice is sparse.lattice  # made once
    mine, theirs = sparse.state(), dense.state()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_run_goes_on_where_it_was() -> None:
    first, again = fitted("sphere", "grey", 8), fitted("sphere", "grey", 8)
    with patch.object(gauss_newton, "SPARSE_ABOVE", 8):
        again.lattice = distances("torus")
        again.restore(first.state())
    for method in (first, again):
        method.iterate()
    assert torch.equal(first.lattice.values, again.lattice.values)


def test_what_needs_a_dense_lattice_has_one() -> None:
    with patch.object(gauss_newton, "SPARSE_ABOVE", 8):
        assert isinstance(fitted("sphere", "painted, blurred", 8)._lattice, Lattice)
        method = fitted("sphere", "grey", 8)
        before = method.lattice
        method.compare(None)  # type: ignore[arg-type]  # any term
        assert isinstance(method._lattice, SparseLattice)
        method.compare(object())  # type: ignore[arg-type]
        assert method.lattice.values.equal(before.values)
        assert isinstance(method._lattice, Lattice)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_band_of_a_sparse_lattice_is_that_of_the_dense_one(shape: str) -> None:
    lattice = distances(shape)
    sparse = SparseLattice.from_dense(lattice, kept_up(lattice))
    mine, theirs = Band(sparse, BAND, 2.2), Band(lattice, BAND, 2.2)
    np.testing.assert_array_equal(mine.ids, theirs.ids)
    np.testing.assert_array_equal(mine.smooth, theirs.smooth)
    points = tiny.BOX[0] + torch.rand(50, 3) * (tiny.BOX[1] - tiny.BOX[0])
    for name, given in (("laplacian", ()), ("eikonal", ()), ("samples", (points,))):
        (rows, now), (other, then) = (getattr(x, name)(*given) for x in (mine, theirs))
        np.testing.assert_array_equal(now, then)
        assert (rows != other).nnz == 0
    x = np.linspace(-1, 1, len(mine)).astype(np.float32)
    moved = sparse.with_values(mine.moved(x)).to_dense()
    assert torch.equal(moved.values, theirs.moved(x))
    tangent = sparse.blocked()._replace(values=mine.scatter(x).numpy(), far=np.float32(0))
    flat = np.arange(lattice.values.numel())
    assert np.array_equal(values_at(tangent, flat), theirs.scatter(x).numpy().ravel())


def test_vertices_are_found_by_their_flat_indices() -> None:
    lattice = ball((21, 34, 19)).redistance(reach=2.0)
    blocks = SparseLattice.from_dense(lattice, reach=2.0).blocked()
    whole = lattice.values.numpy().copy()
    flat = np.random.default_rng(0).permutation(whole.size)[:200].reshape(40, 5)
    np.testing.assert_array_equal(values_at(blocks, flat), values_at(whole, flat))
    near = within(whole, 1.5 * float(lattice.spacing.min()))
    for stored in (blocks, whole):
        add_at(stored, near, np.float32(0.5) * np.ones(len(near), np.float32))
    np.testing.assert_array_equal(values_at(blocks, near), whole.reshape(-1)[near])
