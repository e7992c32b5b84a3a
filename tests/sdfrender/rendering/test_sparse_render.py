"""Images and their derivatives of sparse lattices, against those of the dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linearize_scenes import NAMES, noise, scene
from torch import Tensor

import sdfrender as sr
from sdfrender import SparseLattice
from sdfrender.geometry.sparse.blocks import same_blocks, whole

EVERYTHING = ("images", "silhouettes", "depths", "normals")
FIELDS = (*EVERYTHING, "hit_mask")


def kept(sparse: SparseLattice, dense: Tensor) -> Tensor:
    """What `sparse` keeps of `[X, Y, Z]`."""
    return torch.from_numpy(same_blocks(dense.numpy(), sparse.table.numpy()).values)


def scattered(sparse: SparseLattice, x: Tensor) -> Tensor:
    """`[X, Y, Z]` of what has the shape of its values, zero elsewhere."""
    blocks = sparse.blocked()
    return torch.from_numpy(whole(blocks._replace(values=x.numpy(), far=x.numpy().dtype.type(0))))


def torus() -> SparseLattice:
    """Of which most blocks are not kept, in single precision."""
    bounds = torch.tensor([[-1.0, -1.2, -0.9], [1.1, 1.2, 1.0]])
    shape = sr.primitives.torus(0.55, 0.2)
    lattice = SparseLattice.from_function(shape, (49, 58, 42), bounds).redistance(reach=4.5)
    assert 3 * len(lattice.values) < 2 * lattice.table.numel()
    return lattice


@pytest.mark.parametrize("name", [name for name in NAMES if name != "batch"])
def test_images_and_gradients_are_those_of_the_lattice(name: str) -> None:
    s = scene(name, torch.float32)
    sparse = SparseLattice.from_dense(s.lattice, reach=1.0)
    assert_same_images(sparse, s.cameras, s.options)


def test_what_is_not_kept_is_not_missed() -> None:
    sparse = torus()
    cameras = scene("plain").cameras
    assert_same_images(sparse, cameras, {})
    inside = sr.Cameras.look_at([[0.0, 0.0, 0.1]], target=(0.5, 0.1, 0.0), width=31, height=27)
    assert_same_images(sparse, inside, {})


@pytest.mark.slow
def test_in_double_precision_too() -> None:
    s = scene("colours")
    sparse = SparseLattice.from_dense(s.lattice, reach=1.0)
    assert_same_images(sparse, s.cameras, s.options)
    assert_same_products(sparse, s.cameras, s.options)


def assert_same_images(
    sparse: SparseLattice, cameras: sr.Cameras, options: dict[str, object]
) -> None:
    grads = []
    for lattice in (sparse, sparse.to_dense()):
        values = lattice.values.clone().requires_grad_()
        out = sr.render(lattice.with_values(values), cameras, **options)  # type: ignore[arg-type]
        loss = (out.images * noise(out.images.shape, 1).to(out.images)).sum()
        loss = loss + (out.depths.where(out.hit_mask, 0) * noise(out.depths.shape, 2)).sum()
        loss.backward()
        assert values.grad is not None
        grads.append((out, values.grad))
    (mine, gradient), (theirs, expected) = grads
    for field in FIELDS:
        assert torch.equal(getattr(mine, field), getattr(theirs, field)), field
    assert bool(expected.any())
    assert torch.equal(gradient, kept(sparse, expected))


@pytest.mark.parametrize("name", ["plain", "colours", "cut by the box", "crumbs"])
def test_products_are_those_of_the_lattice(name: str) -> None:
    s = scene(name, torch.float32)
    assert_same_products(SparseLattice.from_dense(s.lattice, reach=1.0), s.cameras, s.options)


def test_products_are_those_of_the_lattice_where_little_is_kept() -> None:
    assert_same_products(torus(), scene("plain").cameras, {})


def assert_same_products(
    sparse: SparseLattice, cameras: sr.Cameras, options: dict[str, object]
) -> None:
    dense = sparse.to_dense()
    J, K = (
        sr.linearize(x, cameras, outputs=EVERYTHING, **options)  # type: ignore[arg-type]
        for x in (sparse, dense)
    )
    tangent = noise(tuple(sparse.values.shape), 3).to(sparse.values)
    for mine, theirs in zip(J.jvp(tangent), K.jvp(scattered(sparse, tangent)), strict=True):
        assert torch.equal(mine, theirs)
    rows = {x: noise(tuple(getattr(J.rendering, x).shape), 4) for x in EVERYTHING}
    assert torch.equal(J.vjp(**rows), kept(sparse, K.vjp(**rows)))
    weights = {name: x.abs() for name, x in rows.items()}
    for exact in (True, False):
        mine, theirs = (x.squared_vjp(**weights, exact=exact) for x in (J, K))
        assert torch.equal(mine, kept(sparse, theirs))
    ids = np.flatnonzero(dense.values.abs().numpy() < 0.9 * sparse.far)
    assert np.array_equal(J.on(ids).vjp(**rows), K.on(ids).vjp(**rows))
    with pytest.raises(ValueError, match="values: need"):
        J.jvp(dense.values)


def test_what_has_no_sparse_form_says_so() -> None:
    sparse, cameras = torus(), scene("plain").cameras
    for options in ({"engine": "reference"}, {"tracer": "sphere", "coverage": False}):
        with pytest.raises(ValueError, match="a SparseLattice needs engine='cpu'"):
            sr.render(sparse, cameras, **options)  # type: ignore[arg-type]


def test_far_from_the_origin_it_is_moved_there() -> None:
    sparse = torus()
    cameras = scene("plain").cameras
    far = torch.tensor([4e5, 5e6, 200.0], dtype=torch.float64)
    there = SparseLattice(
        sparse.values, sparse.table, sparse.far, sparse.resolution, sparse.bounds.double() + far
    )
    c2w = cameras.c2w.double()
    c2w[:, :3, 3] += far
    moved = sr.Cameras(c2w, cameras.Ks, cameras.width, cameras.height)
    near, again = sr.render(sparse, cameras), sr.render(there, moved)
    torch.testing.assert_close(again.silhouettes, near.silhouettes, rtol=0, atol=1e-4)
