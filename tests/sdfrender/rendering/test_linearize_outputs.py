"""Depths, normals, and silhouettes alone, as outputs of the derivative as an operator.

Against autograd through either engine, finite differences, columns of the operator and its own
transpose, on the scenes of `test_linearize`.
"""

from __future__ import annotations

import pytest
import torch
from linearize_scenes import NAMES, STEP, Scene, noise, scene, views
from torch import Tensor

import sdfrender as sr
from sdfrender.rendering.linear.linearize import OUTPUTS


def linearize(s: Scene, *outputs: str) -> sr.Linearization:
    return sr.linearize(s.lattice, s.cameras, **s.options, outputs=outputs)


def cotangents(J: sr.Linearization) -> dict[str, Tensor]:
    """One of each output; where there is no hit, what a residual of infinite depths is."""
    out = {}
    for seed, name in enumerate(J.outputs):
        like = getattr(J.rendering, name)
        out[name] = noise(like.shape, seed).to(like)
        if name in ("depths", "normals"):
            out[name][~J.rendering.hit_mask] = torch.nan
    return out


@pytest.mark.parametrize(
    ("dtype", "engine"),
    [(torch.float64, "cpu"), (torch.float32, "cpu"), (torch.float64, "reference")],
)
@pytest.mark.parametrize("output", ["depths", "normals"])
@pytest.mark.parametrize("name", NAMES)
def test_vjp_is_the_gradient_of_render(
    name: str, output: str, dtype: torch.dtype, engine: str
) -> None:
    s = scene(name, dtype)
    J = linearize(s, output)
    u = cotangents(J)
    values = s.lattice.values.clone().requires_grad_()
    out = sr.render(s.lattice.with_values(values), s.cameras, **s.options, engine=engine)
    assert torch.equal(out.hit_mask, J.rendering.hit_mask)
    hit = out.hit_mask
    loss = (getattr(out, output)[hit] * u[output][hit]).sum()
    (expected,) = torch.autograd.grad(loss, values)
    scale = float(expected.abs().max())
    assert scale > 0
    found = J.vjp(**u)
    assert found.dtype == dtype
    # rounding: of sums in another order, in the lattice's precision; or of the reference's hits
    limit = 1e-5 if dtype == torch.float32 else 1e-12 if engine == "cpu" else 1e-10
    assert float((found - expected).abs().max()) < limit * scale


@pytest.mark.parametrize("name", NAMES)
def test_jvp_and_vjp_are_each_other_s_transpose(name: str) -> None:
    s = scene(name)
    J = linearize(s, *OUTPUTS)
    u = cotangents(J)
    tangents = J.jvp(s.direction)
    sides = []
    for output, x in zip(OUTPUTS, tangents, strict=True):
        like = getattr(J.rendering, output)
        assert x.shape == like.shape
        products = (u[output] * x)[torch.isfinite(u[output])]
        if output in ("depths", "normals"):
            assert not bool(x[~J.rendering.hit_mask].any())
        left, right = products.sum(), (J.vjp(**{output: u[output]}) * s.direction).sum()
        # relative to the sizes of what is added up: the sums themselves may cancel
        assert abs(float(left - right)) <= 1e-12 * float(products.abs().sum())
        sides.append(J.vjp(**{output: u[output]}))
    torch.testing.assert_close(J.vjp(**u), sum(sides), rtol=0, atol=1e-11 * float(sides[-1].max()))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "one step"])
def test_jvp_is_what_differences_of_renderings_say(name: str) -> None:
    s = scene(name)
    J = linearize(s, "depths", "normals")
    tangents = dict(zip(J.outputs, J.jvp(s.direction), strict=True))
    above = s.render(s.lattice.values + STEP * s.direction)
    below = s.render(s.lattice.values - STEP * s.direction)
    same = above.hit_mask & below.hit_mask
    for output, tangent in tangents.items():
        difference = (getattr(above, output) - getattr(below, output))[same] / (2 * STEP)
        seen = difference != 0 if difference.ndim == 1 else (difference != 0).any(-1)
        assert int(seen.sum()) > 10, "the test needs pixels to look at"
        errors = (tangent[same] - difference)[seen].abs() / difference[seen].abs().mean()
        errors = errors.flatten().sort().values
        # differences are good to 1e-9; beyond are pixels whose events change, or a clamped slope
        assert errors[len(errors) // 2] < 1e-7
        assert errors[int(0.8 * len(errors))] < 1e-6


@pytest.mark.parametrize("name", ["plain", "colours", "cut by the box", "two samples"])
def test_squared_vjp_is_the_diagonal(name: str) -> None:
    """Against columns of J: vertices of all kinds, those on faces and edges of the box included."""
    s = scene(name)
    J = linearize(s, "normals", "silhouettes", "depths")
    w = {output: x.abs() for output, x in cotangents(J).items()}
    found = J.squared_vjp(**w).flatten()
    inside = found.nonzero()[:, 0]
    vertices = inside[torch.linspace(0, len(inside) - 1, 60).long()].tolist()
    vertices += found.topk(min(20, len(found))).indices.tolist()
    for vertex in sorted(set(vertices)):
        unit = torch.zeros_like(found)
        unit[vertex] = 1
        tangents = zip(J.outputs, J.jvp(unit.reshape(s.lattice.values.shape)), strict=True)
        expected = sum(float((w[output] * x**2).nansum()) for output, x in tangents)
        assert float(found[vertex]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["plain", "cut by the box", "batch"])
def test_squares_of_terms_are_those_of_the_diagonal_but_at_the_box(name: str) -> None:
    s = scene(name)
    J = linearize(s, "depths", "normals")
    w = {output: x.abs() for output, x in cotangents(J).items()}
    depths = {"depths": w["depths"]}
    torch.testing.assert_close(J.squared_vjp(**depths, exact=False), J.squared_vjp(**depths))
    exact, single = J.squared_vjp(**w), J.squared_vjp(**w, exact=False)
    assert bool((single[exact > 1e-6 * exact.max()] > 0).all())
    X, Y, Z = s.lattice.resolution
    inner = (..., slice(2, X - 2), slice(2, Y - 2), slice(2, Z - 2))
    torch.testing.assert_close(single[inner], exact[inner])


@pytest.mark.parametrize("name", NAMES)
def test_silhouettes_without_images_are_those_with_them(name: str) -> None:
    s = scene(name)
    both, alone = s.linearize(), linearize(s, "silhouettes")
    u = s.cotangents(both)[1]
    (found,) = alone.jvp(s.direction)
    torch.testing.assert_close(found, both.jvp(s.direction)[1], rtol=0, atol=1e-12)
    for a, b in (
        (alone.vjp(silhouettes=u), both.vjp(None, u)),
        (alone.squared_vjp(silhouettes=u.abs()), both.squared_vjp(None, u.abs())),
        (
            alone.squared_vjp(silhouettes=u.abs(), exact=False),
            both.squared_vjp(None, u.abs(), exact=False),
        ),
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 * float(b.abs().max()))
    for field, x in vars(both.rendering).items():
        assert torch.equal(x, getattr(alone.rendering, field))
    if name != "one ray per pixel":
        assert 0 < alone.num_terms < both.num_terms
    assert alone.memory < both.memory


def test_tangents_come_in_the_order_asked_for() -> None:
    s = scene("batch")
    all_four = dict(zip(OUTPUTS, linearize(s, *OUTPUTS).jvp(s.direction), strict=True))
    J = linearize(s, "normals", "depths", "images")
    assert J.outputs == ("normals", "depths", "images")
    out = tuple(torch.ones_like(getattr(J.rendering, name)) for name in J.outputs)
    for name, x, y in zip(J.outputs, J.jvp(s.direction), J.jvp(s.direction, out), strict=True):
        torch.testing.assert_close(x, all_four[name], rtol=0, atol=0)
        torch.testing.assert_close(y, x, rtol=0, atol=0)
    assert J.jvp(s.direction, out)[1].data_ptr() == out[1].data_ptr()
    with pytest.raises(ValueError, match="out: need normals, depths, images, got 2 tensors"):
        J.jvp(s.direction, out[:2])


def test_nothing_is_kept_for_what_is_not_asked_for() -> None:
    s = scene("plain")
    default, named = s.linearize(), linearize(s, "images", "silhouettes")
    assert default.outputs == named.outputs
    assert (default.num_terms, default.memory) == (named.num_terms, named.memory)
    depths, normals = linearize(s, "depths"), linearize(s, "normals")
    hits = int(default.rendering.hit_mask.sum())
    assert depths.num_terms == normals.num_terms == hits
    both = linearize(s, "depths", "normals")
    assert both.num_terms == 2 * hits
    extra = both.memory - normals.memory  # one rate a term: the rest they have in common
    assert 8 * hits <= extra < 0.4 * depths.memory
    assert "depths, normals" in repr(both)


def test_threads_change_nothing_but_rounding() -> None:
    s = scene("batch")
    one = linearize(s, *OUTPUTS)
    u = cotangents(one)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        three = linearize(s, *OUTPUTS)
    finally:
        torch.set_num_threads(threads)
    assert three.num_terms == one.num_terms
    for a, b in zip(one.jvp(s.direction), three.jvp(s.direction), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    torch.testing.assert_close(one.vjp(**u), three.vjp(**u), rtol=0, atol=1e-10)
    assert torch.equal(three.vjp(**u), three.vjp(**u))


def test_an_empty_scene_has_no_terms() -> None:
    lattice = sr.Lattice(torch.ones(5, 4, 6), scene("plain").lattice.bounds)
    J = sr.linearize(lattice, views((0.9, 0.7, 3.0)), outputs=OUTPUTS)
    assert J.num_terms == 0
    tangents = J.jvp(torch.ones(5, 4, 6))
    assert not any(bool(x.any()) for x in tangents)
    assert not bool(J.vjp(*tangents).any())
    assert not bool(J.squared_vjp(depths=tangents[2], normals=tangents[3]).any())


def test_what_does_not_fit_is_refused() -> None:
    s = scene("plain")
    J = s.linearize()
    z = J.rendering.depths
    message = "depths: not among the outputs images, silhouettes that were linearised"
    with pytest.raises(ValueError, match=message):
        J.vjp(depths=z)
    with pytest.raises(ValueError, match=message):
        J.squared_vjp(depths=z)
    with pytest.raises(ValueError, match="images: not among the outputs silhouettes"):
        linearize(s, "silhouettes").vjp(J.rendering.images, z)
    with pytest.raises(ValueError, match="normals: need"):
        linearize(s, "normals").vjp(normals=z)
    for outputs in ((), ("depth",), ("depths", "depths")):
        with pytest.raises(ValueError, match="outputs: need one or more of images, silhouettes"):
            linearize(s, *outputs)
