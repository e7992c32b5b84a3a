"""Bricks around the surface: what is cut, what is added up again, and that nothing is missed."""

import numpy as np
import pytest
import torch

import sdfrender as sr
from sdfrender.engines.cpu.bricks import ABSENT, BrickMap, keep_blocks
from sdfrender.engines.cpu.jacobian.brick_vertices import BrickVertices
from sdfrender.geometry.padding import pad
from sdfrender.kernels.bricks import (
    BLOCK,
    FLAT_X,
    FLAT_Y,
    INSIDE,
    LONGEST,
    OUTSIDE,
    SIDE,
    VOLUME,
)

NO_EYES = np.zeros((0, 3))
SIZES = [(2, 9, 17), (19, 12, 26), (8, 10, 3)]


def noise(sizes: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=sizes)


def ball(sizes: tuple[int, int, int], radius: float) -> np.ndarray:
    """Distances to a sphere in the middle, in cells."""
    index = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1)
    return np.linalg.norm(index - (np.array(sizes) - 1) / 2, axis=-1) - radius


def all_bricks(sizes: tuple[int, int, int]) -> BrickMap:
    bricks, _ = keep_blocks(noise(sizes, 0), np.inf, NO_EYES, 1)
    assert len(bricks) == ABSENT + bricks.table.size
    return bricks


@pytest.mark.parametrize("sizes", SIZES)
def test_bricks_are_cut_from_the_padded_lattice(sizes: tuple[int, int, int]) -> None:
    values, bricks = noise(sizes, 1), all_bricks(sizes)
    cut = bricks.cut(values, 2).reshape(-1, SIDE, SIDE, SIDE)
    padded = pad(values, 1)
    for brick, block in zip(cut[ABSENT:], bricks.blocks[ABSENT:], strict=True):
        i, j, k = BLOCK * block
        expected = padded[i : i + SIDE, j : j + SIDE, k : k + SIDE]
        a, b, c = expected.shape
        np.testing.assert_array_equal(brick[:a, :b, :c], expected)


@pytest.mark.parametrize("sizes", SIZES)
def test_sums_over_bricks_are_the_transpose_of_cutting(sizes: tuple[int, int, int]) -> None:
    values, bricks = noise(sizes, 2), all_bricks(sizes)
    given = noise((bricks.size,), 3)
    given[: ABSENT * VOLUME] = 0
    out = np.zeros(sizes)
    bricks.add([given], out, 3)
    assert (bricks.cut(values, 1) * given).sum() == pytest.approx((values * out).sum(), rel=1e-12)


def test_flat_indices_name_the_vertices_of_bricks() -> None:
    bricks = all_bricks((19, 12, 26))
    flat = bricks.flat(np.arange(ABSENT * VOLUME, bricks.size))
    index = np.stack((flat // FLAT_X, flat % FLAT_X // FLAT_Y, flat % FLAT_Y), -1) - 1
    within = (index >= 0).all(1) & (index < bricks.resolution).all(1)
    x, y, z = index[within].T
    values = noise(bricks.resolution, 4)
    cut = bricks.cut(values, 1)[ABSENT * VOLUME :]
    np.testing.assert_array_equal(cut[within], values[x, y, z])


@pytest.mark.parametrize("sizes", SIZES)
def test_values_on_some_vertices(sizes: tuple[int, int, int]) -> None:
    """As cutting a lattice that is zero elsewhere, and its transpose."""
    bricks = all_bricks(sizes)
    chosen = np.flatnonzero(noise(sizes, 5) > 0)
    vertices, x = BrickVertices(bricks, chosen), noise((len(chosen),), 6)
    lattice = np.zeros(np.prod(sizes))
    lattice[chosen] = x
    expected = bricks.cut(lattice.reshape(sizes), 1)
    found = np.zeros(bricks.size)
    vertices.write(x, found)
    # the edges and corners of the margin are never read
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(vertices.extended(x)[vertices.numbers], expected, atol=1e-12)
    given, out = noise((bricks.size,), 7), np.zeros(sizes)
    given[: ABSENT * VOLUME] = 0
    bricks.add([given], out, 1)
    np.testing.assert_allclose(vertices.read(given), out.ravel()[chosen], atol=1e-12)


def test_only_blocks_near_the_surface_are_kept() -> None:
    sizes = (81, 74, 90)
    values = ball(sizes, 24.0)
    bricks, low = keep_blocks(values, 0.5, NO_EYES, 2)
    assert ABSENT < len(bricks) < 0.5 * bricks.table.size
    assert (bricks.table == OUTSIDE).any()
    assert (bricks.table == INSIDE).any()
    for block in np.ndindex(*bricks.table.shape):
        cells = tuple(slice(BLOCK * n, BLOCK * n + BLOCK + 1) for n in block)
        part = values[cells]
        assert low[block] == part.min()
        if part.min() <= 0.5 and part.max() >= -0.5:
            assert bricks.table[block] >= ABSENT
        elif bricks.table[block] < ABSENT:
            assert (bricks.table[block] == OUTSIDE) == (part.max() > 0)


def test_blocks_that_hold_an_eye_or_a_solid_face_are_kept() -> None:
    sizes = (81, 74, 90)
    values = ball(sizes, 24.0)
    middle = np.array([[40.0, 36.5, 44.5]])
    kept, _ = keep_blocks(values, 0.5, middle, 1)
    assert kept.table[5, 4, 5] >= ABSENT
    without, _ = keep_blocks(values, 0.5, NO_EYES, 1)
    assert without.table[5, 4, 5] == INSIDE
    solid, _ = keep_blocks(-values, 0.5, NO_EYES, 1)
    assert (solid.table[0] >= ABSENT).all()


def test_a_lattice_may_be_only_so_long() -> None:
    with pytest.raises(ValueError, match="need at most"):
        keep_blocks(np.ones((LONGEST + 1, 2, 2)), 0.0, NO_EYES, 1)


@pytest.mark.parametrize("scale", [1.0, -1.0])
@pytest.mark.parametrize("width", [5, 48])
def test_images_are_those_of_the_reference(scale: float, width: int) -> None:
    """Far more lattice than surface; pixels of many cells; from outside, from inside, both ways."""
    lattice = sr.Lattice.sphere(0.3, resolution=65)
    values = scale * lattice.values.double() * (1 + 0.1 * torch.rand(65, 65, 65).double())
    lattice = lattice.with_values(values.requires_grad_())
    eyes = [[0.4, 0.3, 3.0], [0.05, 0.1, 0.02], [0.55, -0.6, 0.5]]
    cameras = sr.Cameras.look_at(eyes, target=[0.0, 0.02, 0.01], width=width, height=width - 2)
    found = []
    for engine in ("cpu", "reference"):
        out = sr.render(lattice, cameras, engine=engine)
        loss = (out.images * out.images).sum() + (out.silhouettes.square() * 0.3).sum()
        (gradient,) = torch.autograd.grad(loss, values)
        found.append((out.images, out.silhouettes, out.hit_mask, gradient))
    ours, reference = found
    assert torch.equal(ours[2], reference[2])
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)
