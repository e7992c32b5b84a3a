"""The derivative as an operator against finite differences, autograd, and its own transpose.

Scenes are of every kind that terms are written for: crossings, grazes that move, grazes on faces
between cells, caps on the box's faces, and several partly covering events in one pixel. Box,
lattice and image are not cubic and not square, focal lengths differ, and the principal point is
off-centre.
"""

from __future__ import annotations

import pytest
import torch
from linearize_scenes import BOUNDS, NAMES, STEP, Scene, noise, scene, views

import sdfrender as sr
from sdfrender.kernels.pixel.terms import put_place
from sdfrender.kernels.trilinear_cell import Grid


@pytest.mark.parametrize("name", NAMES)
def test_the_rendering_is_that_of_render(name: str) -> None:
    s = scene(name)
    ours, theirs = s.linearize().rendering, s.render()
    for field_name, x in vars(theirs).items():
        y = getattr(ours, field_name)
        assert torch.equal(x, y), field_name
        assert not y.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_vjp_is_the_gradient_of_render(name: str, dtype: torch.dtype) -> None:
    s = scene(name, dtype)
    J = s.linearize()
    u, w = s.cotangents(J)
    values = s.lattice.values.clone().requires_grad_()
    out = s.render(values)
    loss = (out.images * u).sum()
    if out.silhouettes.requires_grad:
        loss = loss + (out.silhouettes * w).sum()
    (expected,) = torch.autograd.grad(loss, values)
    assert float(expected.abs().max()) > 0
    found = J.vjp(u, w)
    assert found.dtype == dtype
    scale = float(expected.abs().max())
    # rounding: sums are made in another order, in the lattice's own precision
    limit = 1e-12 if dtype == torch.float64 else 1e-5
    assert float((found - expected).abs().max()) < limit * scale


@pytest.mark.parametrize("name", NAMES)
def test_jvp_and_vjp_are_each_other_s_transpose(name: str) -> None:
    s = scene(name)
    J = s.linearize()
    u, w = s.cotangents(J)
    images, silhouettes = J.jvp(s.direction)
    assert images.shape == J.rendering.images.shape
    assert silhouettes.shape == J.rendering.silhouettes.shape
    left = torch.cat(((u * images).flatten(), (w * silhouettes).flatten()))
    right = (J.vjp(u, w) * s.direction).flatten()
    # relative to the sizes of what is added up: the sums themselves may cancel
    assert abs(float(left.sum() - right.sum())) < 1e-12 * float(left.abs().sum())


@pytest.mark.parametrize("name", [n for n in NAMES if n != "one step"])
def test_jvp_is_what_differences_of_renderings_say(name: str) -> None:
    s = scene(name)
    images, silhouettes = s.linearize().jvp(s.direction)
    above = s.render(s.lattice.values + STEP * s.direction)
    below = s.render(s.lattice.values - STEP * s.direction)
    same = above.hit_mask == below.hit_mask
    for tangent, a, b in (
        (images, above.images, below.images),
        (silhouettes, above.silhouettes, below.silhouettes),
    ):
        difference = (a - b) / (2 * STEP)
        seen = difference != 0 if a.ndim == same.ndim else (difference != 0).any(-1)
        seen = seen & same
        if a is above.silhouettes and name == "one ray per pixel":
            assert not bool(tangent.any())
            continue
        assert int(seen.sum()) > 10, "the test needs pixels to look at"
        errors = (tangent - difference)[seen].abs() / difference[seen].abs().mean()
        errors = errors.flatten().sort().values
        # differences are good to 1e-9; beyond are pixels whose events change, or a clamped slope
        assert errors[len(errors) // 2] < 1e-7
        assert errors[int(0.8 * len(errors))] < 1e-6


@pytest.mark.parametrize("name", ["colours", "cut by the box", "crumbs", "two samples"])
def test_squared_vjp_is_the_diagonal(name: str) -> None:
    """Against columns of J: vertices of all kinds, those on faces and edges of the box included."""
    s = scene(name)
    J = s.linearize()
    u, w = (x.abs() for x in s.cotangents(J))
    found = J.squared_vjp(u, w).flatten()
    inside = found.nonzero()[:, 0]
    vertices = inside[torch.linspace(0, len(inside) - 1, 60).long()].tolist()
    vertices += found.topk(min(20, len(found))).indices.tolist()
    for vertex in sorted(set(vertices)):
        unit = torch.zeros_like(found)
        unit[vertex] = 1
        images, silhouettes = J.jvp(unit.reshape(s.lattice.values.shape))
        expected = float((u * images**2).sum() + (w * silhouettes**2).sum())
        assert float(found[vertex]) == pytest.approx(expected, rel=1e-10)


def test_squares_of_single_terms_are_those_of_the_diagonal() -> None:
    """One ray a pixel: no pixel has two terms, and `exact` makes no difference."""
    s = scene("plain")
    J = sr.linearize(s.lattice, s.cameras, **{**s.options, "coverage": False})
    u, w = (x.abs() for x in s.cotangents(J))
    torch.testing.assert_close(J.squared_vjp(u, w, exact=False), J.squared_vjp(u, w))


@pytest.mark.parametrize("name", ["plain", "colours", "crumbs", "batch"])
def test_squares_of_terms_are_about_the_diagonal(name: str) -> None:
    s = scene(name)
    J = s.linearize()
    u, w = (x.abs() for x in s.cotangents(J))
    exact, rough = J.squared_vjp(u, w), J.squared_vjp(u, w, exact=False)
    seen = exact > 1e-6 * exact.max()
    assert bool((rough[seen] > 0).all())
    ratio = (rough[seen] / exact[seen]).log()
    assert float(ratio.abs().median()) < 0.2
    assert float(ratio.abs().mean()) < 0.7


def test_an_operator_writes_where_it_is_told_to() -> None:
    s = scene("batch")
    J = s.linearize()
    images, silhouettes = J.jvp(s.direction)
    out = (torch.ones_like(images), torch.ones_like(silhouettes))
    for _ in range(2):  # what was there does not matter
        found = J.jvp(s.direction, out)
        assert all(a.data_ptr() == b.data_ptr() for a, b in zip(found, out, strict=True))
        torch.testing.assert_close(out[0], images, rtol=0, atol=0)
        torch.testing.assert_close(out[1], silhouettes, rtol=0, atol=0)
    with pytest.raises(ValueError, match="out: need contiguous tensors of"):
        J.jvp(s.direction, (images.transpose(0, 1), silhouettes))
    with pytest.raises(ValueError, match="images: need"):
        J.jvp(s.direction, (silhouettes, silhouettes))


def test_images_or_silhouettes_may_be_left_out() -> None:
    J = scene("plain").linearize()
    u, w = scene("plain").cotangents(J)
    both = J.vjp(u, w)
    torch.testing.assert_close(J.vjp(u, None) + J.vjp(None, w), both, rtol=0, atol=1e-12)
    diagonal = J.squared_vjp(u, None) + J.squared_vjp(None, w)
    torch.testing.assert_close(diagonal, J.squared_vjp(u, w), rtol=0, atol=1e-9)


def test_threads_change_nothing_but_rounding() -> None:
    s = scene("batch")
    one = s.linearize()
    u, w = s.cotangents(one)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        three = s.linearize()
    finally:
        torch.set_num_threads(threads)
    assert three.num_terms == one.num_terms
    for a, b in zip(one.jvp(s.direction), three.jvp(s.direction), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    torch.testing.assert_close(one.vjp(u, w), three.vjp(u, w), rtol=0, atol=1e-11)
    assert torch.equal(three.vjp(u, w), three.vjp(u, w))


def test_many_terms_in_one_cell() -> None:
    """A close camera: more terms in a cell than are summed at a time."""
    values = torch.tensor([-0.5, 0.5]).repeat_interleave(9).reshape(2, 3, 3).double()
    lattice = sr.Lattice(values + 0.02 * noise((2, 3, 3), 11), BOUNDS)
    s = Scene(lattice, views((3.0, 0.2, 0.1)), noise((2, 3, 3), 12))
    J = s.linearize()
    assert J.num_terms > 300
    u, w = s.cotangents(J)
    images, silhouettes = J.jvp(s.direction)
    left = float((u * images).sum() + (w * silhouettes).sum())
    assert left == pytest.approx(float((J.vjp(u, w) * s.direction).sum()), rel=1e-12)


def test_a_place_on_a_face_is_told_from_either_cell() -> None:
    grid = Grid(5, 6, 7, 8 * 9, 9, (0.0,) * 3, (1.0,) * 3, (1.0,) * 3, 1.0)
    p = 2 * grid.sx + 3 * grid.sy + 4
    for x, y, z in ((1, 0, 0), (0, -1, 0), (0, 0, 1), (-1, 1, -1)):
        neighbour = p + x * grid.sx + y * grid.sy + z
        place = put_place.py_func(grid, neighbour, p, 0.25, 0.5, 0.75)
        assert place == (0.25 + x, 0.5 + y, 0.75 + z)


def test_an_empty_scene_has_no_terms() -> None:
    s = Scene(sr.Lattice(torch.ones(5, 4, 6), BOUNDS), views((0.9, 0.7, 3.0)), torch.ones(5, 4, 6))
    J = s.linearize()
    assert J.num_terms == 0
    images, silhouettes = J.jvp(s.direction)
    assert not bool(images.any())
    assert not bool(silhouettes.any())
    assert not bool(J.vjp(images, silhouettes).any())
    assert not bool(J.squared_vjp(images, silhouettes).any())


def test_it_tells_its_size() -> None:
    J = scene("plain").linearize()
    events = int((J.rendering.silhouettes > 0).sum())
    assert J.num_terms >= events
    assert J.memory > 32 * J.num_terms
    assert str(J.num_terms) in repr(J)
    assert "MiB" in repr(J)


def test_what_does_not_fit_is_refused() -> None:
    s = scene("plain")
    J = s.linearize()
    u, w = s.cotangents(J)
    with pytest.raises(ValueError, match=r"values: need \(19, 26, 23\), got \(19, 26\)"):
        J.jvp(s.direction[..., 0])
    with pytest.raises(ValueError, match="images: need"):
        J.vjp(w, w)
    with pytest.raises(ValueError, match="silhouettes: need"):
        J.squared_vjp(u, u)
    with pytest.raises(ValueError, match="reattach: need one of"):
        sr.linearize(s.lattice, s.cameras, reattach="sideways")
    with pytest.raises(ValueError, match="background: need"):
        sr.linearize(s.lattice, s.cameras, background=torch.zeros(2, 2))
