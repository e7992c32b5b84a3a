"""Lattices that are kept near their surface, against the dense ones that they stand for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import sdfrender as sr
from sdfrender import Lattice, SparseLattice
from sdfrender.geometry.blocks import extremes, within
from sdfrender.geometry.sparse.blocked import Blocked, add, read, write
from sdfrender.geometry.sparse.blocks import same_blocks

SIZES = [(33, 41, 26), (9, 17, 40), (40, 16, 31)]
BOX = ((-1.0, -1.1, -0.8), (1.1, 1.0, 0.9))


def bumpy(sizes: tuple[int, int, int]) -> Lattice:
    """A ball that is cut by the box, rough on one side: crumbs, steep cells, surface at faces."""
    ball = Lattice.sphere(0.6, (0.7, 0.1, 0.0), sizes, BOX, torch.float64)
    noise = torch.from_numpy(np.random.default_rng(len(sizes)).normal(size=sizes))
    rough = torch.arange(sizes[0])[:, None, None] > 3 * sizes[0] // 4
    return ball.with_values((ball.values + 0.1 * noise * rough).float())


def doubled(sizes: tuple[int, int, int]) -> SparseLattice:
    sparse = SparseLattice.from_dense(bumpy(sizes), reach=2.0)
    return replace(sparse, values=sparse.values.double(), bounds=sparse.bounds.double())


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("sizes", SIZES)
def test_what_is_kept_is_exact_and_all_else_has_its_sign(sizes: tuple[int, int, int]) -> None:
    dense = bumpy(sizes)
    sparse = SparseLattice.from_dense(dense, reach=1.5)
    back, far = sparse.to_dense().values, sparse.far
    assert 0 < len(sparse.values) < sparse.table.numel()
    kept = back == dense.values
    assert bool(kept[dense.values.abs() < far].all())
    assert bool((back[~kept].abs() == far).all())
    assert bool((dense.values[~kept].abs() >= far).all())
    assert same(back < 0, dense.values < 0)
    assert sparse == SparseLattice.from_dense(sparse.to_dense(), reach=1.5)


def test_surface_is_kept_where_values_are_all_large() -> None:
    values = torch.full((20, 18, 17), 5.0)
    values[8:, 8:, 8:] = -5.0  # at corners of blocks, far beyond any reach
    dense = Lattice(values, torch.tensor(BOX))
    sparse = SparseLattice.from_dense(dense, reach=1.0)
    assert sparse.far < 1
    mesh, other = sr.extract_mesh(dense), sr.extract_mesh(sparse)
    np.testing.assert_array_equal(mesh.vertices, other.vertices)


@pytest.mark.parametrize("sizes", SIZES)
def test_extremes_and_near_vertices_are_those_of_the_lattice(sizes: tuple[int, int, int]) -> None:
    sparse = SparseLattice.from_dense(bumpy(sizes), reach=2.0)
    blocks, values = sparse.blocked(), sparse.to_dense().values.numpy()
    for mine, theirs in zip(extremes(blocks), extremes(values), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for distance in (0.3 * sparse.far, sparse.far):
        np.testing.assert_array_equal(within(blocks, distance), within(values, distance))
    with pytest.raises(ValueError, match="distance: need at most"):
        within(blocks, 1.1 * sparse.far)


@pytest.mark.parametrize(("band", "reach"), [(1.2, 4.5), (0.0, 3.0), (9.0, 9.5)])
@pytest.mark.parametrize("sizes", SIZES)
def test_redistancing_gives_bit_for_bit_what_it_gives_the_lattice(
    sizes: tuple[int, int, int], band: float, reach: float
) -> None:
    sparse = SparseLattice.from_dense(bumpy(sizes), reach=2.0)
    new = sparse.redistance(band, reach)
    expected = sparse.to_dense().redistance(band, reach)
    assert same(new.to_dense().values, expected.values)
    assert new == SparseLattice.from_dense(expected, reach)  # no block more than that


def test_blocks_follow_a_surface_that_moves() -> None:
    dense = Lattice.sphere(0.4, (-0.3, 0.1, 0.0), (40, 47, 33), BOX).redistance(reach=4.5)
    sparse = SparseLattice.from_dense(dense)
    first = sparse.table >= 0
    for _ in range(12):  # a step of a cell at most, as an optimiser does it
        ahead = torch.where(torch.arange(40) < 16, 1.0, -1.0)[:, None, None] * dense.spacing.min()
        step = 0.8 * ahead * (dense.values.abs() < 0.13)
        there = same_blocks(step.numpy(), sparse.table.numpy()).values
        dense = dense.with_values(dense.values + step).redistance(reach=4.5)
        sparse = sparse.with_values(sparse.values + torch.from_numpy(there)).redistance(reach=4.5)
        assert same(sparse.to_dense().values, dense.values)
    last = sparse.table >= 0
    assert bool((first & ~last).any())
    assert bool((last & ~first).any())


def test_without_a_surface_nothing_changes() -> None:
    empty = SparseLattice.from_dense(Lattice(torch.ones(9, 10, 17), torch.tensor(BOX)), reach=1.0)
    assert len(empty.values) == 0
    assert same(empty.redistance().to_dense().values, empty.to_dense().values)
    torch.testing.assert_close(empty.sample(torch.zeros(4, 3)), torch.full((4,), empty.far))
    with pytest.raises(sr.InputError, match="no surface"):
        sr.extract_mesh(empty)


@pytest.mark.parametrize("sizes", SIZES)
def test_samples_and_normals_are_those_of_the_lattice(sizes: tuple[int, int, int]) -> None:
    sparse = doubled(sizes)
    points = torch.from_numpy(np.random.default_rng(1).uniform(-1.3, 1.3, (5, 60, 3)))
    dense = sparse.to_dense()
    torch.testing.assert_close(sparse.sample(points), dense.sample(points), rtol=0, atol=1e-12)
    torch.testing.assert_close(sparse.gradient(points), dense.gradient(points), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="points: need"):
        sparse.sample(points[..., :2])


def test_samples_and_normals_have_the_derivatives_of_their_differences() -> None:
    sparse = doubled((9, 17, 10))
    points = torch.from_numpy(np.random.default_rng(2).uniform(-0.9, 0.9, (6, 3)))
    inputs = sparse.values[:3].clone().requires_grad_(), points.requires_grad_()

    def both(values: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        lattice = sparse.with_values(torch.cat((values, sparse.values[3:])))
        return lattice.sample(at), lattice.gradient(at)

    assert torch.autograd.gradcheck(both, inputs, fast_mode=True)


@pytest.mark.parametrize("resolution", [(65, 80, 51), (20, 47, 26), 64])
def test_resampling_is_that_of_the_lattice(resolution: int | tuple[int, int, int]) -> None:
    sparse = SparseLattice.from_dense(bumpy((33, 41, 26)), reach=2.0)
    new, expected = sparse.resample(resolution), sparse.to_dense().resample(resolution)
    assert new.resolution == expected.resolution
    assert new.far == sparse.far
    torch.testing.assert_close(new.to_dense().values, expected.values, rtol=0, atol=4e-6)
    assert sparse.resample(sparse.resolution) is sparse


@pytest.mark.parametrize("sizes", SIZES)
def test_a_function_is_sampled_where_its_surface_is(sizes: tuple[int, int, int]) -> None:
    shape = sr.primitives.torus(0.5, 0.2)
    sparse = SparseLattice.from_function(shape, sizes, BOX, reach=1.5)
    dense = Lattice.from_function(shape, sizes, BOX)
    assert sparse == SparseLattice.from_dense(dense, reach=1.5)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_mesh_is_that_of_the_lattice(sizes: tuple[int, int, int]) -> None:
    sparse = SparseLattice.from_dense(bumpy(sizes), reach=2.0)
    for level in (0.0, 0.07, -0.5):  # the last one in what is not kept
        mine, theirs = (sr.extract_mesh(x, level) for x in (sparse, sparse.to_dense()))
        np.testing.assert_array_equal(mine.vertices, theirs.vertices)
        np.testing.assert_array_equal(mine.faces, theirs.faces)
        assert mine.is_watertight


def good() -> dict[str, object]:
    sparse = SparseLattice.from_dense(bumpy((9, 17, 40)))
    names = ("values", "table", "far", "resolution", "bounds")
    return {name: getattr(sparse, name) for name in names}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"values": torch.zeros(2, 8, 8)}, ValueError, "values: need .n, 8, 8, 8."),
        ({"values": torch.zeros(2, 8, 8, 8).half()}, TypeError, "values: need float32"),
        ({"table": torch.zeros(2, 3, 5)}, TypeError, "table: need an int32"),
        ({"table": torch.zeros(2, 3, 4, dtype=torch.int32)}, ValueError, "a table .2, 3, 5."),
        ({"table": torch.zeros(2, 3, 5, dtype=torch.int32)}, ValueError, "table: need each block"),
        ({"table": torch.full((2, 3, 5), -3, dtype=torch.int32)}, ValueError, "table: need each"),
        ({"far": 0.0}, ValueError, "far: need a number above 0, got 0"),
        ({"far": float("nan")}, ValueError, "far: need a number above 0, got nan"),
        ({"resolution": (9, 17, 1)}, ValueError, "at least 2"),
        ({"bounds": torch.zeros(2, 3)}, ValueError, "bounds: need"),
    ],
)
def test_what_is_no_sparse_lattice_is_refused(
    change: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        SparseLattice(**{**good(), **change})  # type: ignore[arg-type]


def test_numbers_that_are_not_finite_are_refused() -> None:
    values = good()["values"].clone()  # type: ignore[attr-defined]
    values[0, 1, 2, 3] = float("inf")
    with pytest.raises(ValueError, match="values: need finite signed distances"):
        SparseLattice(**{**good(), "values": values})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reach: need a finite one for a sparse lattice"):
        SparseLattice(**good()).redistance(reach=float("inf"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reach: need a finite number above 0, got 0"):
        SparseLattice.from_dense(bumpy((9, 17, 10)), reach=0)
    with pytest.raises(ValueError, match="a batch of 2"):
        SparseLattice.from_dense(Lattice(torch.ones(2, 4, 4, 4), torch.tensor(BOX)))


def test_kernels_that_are_not_compiled_read_and_write_the_same() -> None:
    sparse = SparseLattice.from_dense(bumpy((9, 17, 40)))
    whole = sparse.to_dense().values.numpy()
    blocks = sparse.blocked()
    blocks = Blocked(blocks.table, blocks.values.copy(), blocks.far, blocks.sizes)
    for i, j, k in [(0, 0, 0), (8, 16, 39), (3, 9, 20), (5, 2, 31)]:
        assert read(blocks, i, j, k) == whole[i, j, k]
        kept = blocks.table[i // 8, j // 8, k // 8] >= 0
        write(blocks, i, j, k, 0.25)
        add(blocks, i, j, k, 0.5)
        assert read(blocks, i, j, k) == (0.75 if kept else whole[i, j, k])
