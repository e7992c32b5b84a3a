"""The CPU engine as plain Python: kernels that numba does not compile, whose lines can be counted.

Run by `test_plain_python` in a process of its own with NUMBA_DISABLE_JIT=1; scenes are those of
`linearize`, smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from unittest.mock import patch

import linearize_scenes
import numpy as np
import pytest
import torch
from linearize_scenes import Scene, noise
from plain_records import plain_records
from torch import Tensor

import sdfrender as sr
from sdfrender.engines.cpu import engine
from sdfrender.geometry.redistance import redistanced
from sdfrender.geometry.redistance_rounds import redistanced_in_rounds

NAMES = ["colours", "cut by the box", "crumbs", "one step", "one ray per pixel", "grey albedo"]
EVERYTHING = ("images", "silhouettes", "depths", "normals")

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that are not used


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    """Scenes are small."""
    with (
        plain_records(),
        patch.multiple(linearize_scenes, RESOLUTION=(8, 10, 9), WIDTH=14, HEIGHT=11),
    ):
        yield


def small(name: str) -> Scene:
    return linearize_scenes.scene(name)


def leaves(s: Scene) -> dict[str, Tensor]:
    """What derivatives are asked for: values, poses, intrinsics, and a lattice of colours."""
    found = {"values": s.lattice.values, "c2w": s.cameras.c2w, "Ks": s.cameras.Ks}
    if isinstance(s.options.get("albedo"), Tensor):
        found["albedo"] = s.options["albedo"]
    if "lighting" in s.options:
        found["sh"] = s.options["lighting"].sh
        for light in s.options["lighting"].directional:
            found["to_light"] = torch.as_tensor(light.to_light, dtype=torch.float64)
            found["intensity"] = torch.as_tensor(light.intensity, dtype=torch.float64)
    return {name: x.clone().requires_grad_() for name, x in found.items()}


def rendered(s: Scene, x: dict[str, Tensor], name: str) -> sr.Rendering:
    cameras = sr.Cameras(x["c2w"], x["Ks"], s.cameras.width, s.cameras.height)
    options = dict(s.options)
    if "albedo" in x:
        options["albedo"] = x["albedo"]
    if "sh" in x:
        old = options["lighting"]
        far = [sr.Directional(x["to_light"], x["intensity"])] if "to_light" in x else []
        options["lighting"] = sr.Lighting(old.ambient, old.headlight, far, x["sh"])
    return sr.render(s.lattice.with_values(x["values"]), cameras, **options, engine=name)


@pytest.mark.parametrize("name", NAMES)
def test_images_and_gradients_are_those_of_the_reference(name: str) -> None:
    s = small(name)
    found, given = {}, {}
    for engine_name in ("cpu", "reference"):
        x = leaves(s)
        out = rendered(s, x, engine_name)
        u, w = noise(out.images.shape, 1), noise(out.images.shape[:-1], 2)
        loss = (out.images * u).sum() + (out.depths.where(out.hit_mask, 0) * w).sum()
        if out.silhouettes.requires_grad:
            loss = loss + (out.silhouettes * w).sum()
        found[engine_name] = torch.autograd.grad(loss, list(x.values()), allow_unused=True)
        given[engine_name] = out
    assert torch.equal(given["cpu"].hit_mask, given["reference"].hit_mask)
    for field in ("images", "silhouettes", "normals"):
        a, b = (getattr(given[e], field) for e in ("cpu", "reference"))
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    for key, a, b in zip(leaves(s), found["cpu"], found["reference"], strict=True):
        assert a is not None, key
        assert float((a - b).abs().max()) < 1e-7 * max(1.0, float(b.abs().max())), key


@pytest.mark.parametrize("name", NAMES)
def test_products_are_those_of_the_gradient(name: str) -> None:
    s = small(name)
    J = sr.linearize(s.lattice, s.cameras, **s.options, outputs=EVERYTHING)
    pulls = {}
    values = s.lattice.values.clone().requires_grad_()
    out = s.render(values)
    loss = torch.zeros((), dtype=torch.float64)
    for k, output in enumerate(EVERYTHING):
        x = getattr(out, output)
        hit = out.hit_mask if x.ndim == out.hit_mask.ndim else out.hit_mask[..., None]
        pulls[output] = noise(tuple(x.shape), k) * (hit if output in EVERYTHING[2:] else 1)
        if x.requires_grad:
            loss = loss + (x.where(hit, 0) if output == "depths" else x).mul(pulls[output]).sum()
    (expected,) = torch.autograd.grad(loss, values)
    pulled = J.vjp(**pulls)
    assert float((pulled - expected).abs().max()) < 1e-10 * float(expected.abs().max())
    pushed = dict(zip(EVERYTHING, J.jvp(s.direction), strict=True))
    left = torch.cat([(pulls[o] * pushed[o]).flatten() for o in EVERYTHING])
    total = float((pulled * s.direction).sum())
    assert abs(float(left.sum()) - total) < 1e-11 * float(left.abs().sum())
    weights = {output: x.abs() for output, x in pulls.items()}
    squares = J.squared_vjp(**weights).flatten()
    for vertex in squares.topk(3).indices.tolist():
        unit = torch.zeros_like(squares)
        unit[vertex] = 1
        columns = dict(zip(EVERYTHING, J.jvp(unit.reshape(values.shape)), strict=True))
        value = sum(float((weights[o] * columns[o] ** 2).sum()) for o in EVERYTHING)
        assert float(squares[vertex]) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", NAMES[:4])
def test_squares_and_the_matrix_of_a_step_are_those_of_columns(name: str) -> None:
    s = small(name)
    J = s.linearize()
    u, w = (x.abs() for x in s.cotangents(J))
    found, split = J.squared_vjp(u, w).flatten(), J.squared_vjp(u, w, exact=False).flatten()
    some = found.topk(6).indices
    vertices = np.sort(np.unique(np.r_[some.numpy(), np.arange(0, len(found), 37)]))
    near = J.on(vertices)
    x = np.random.default_rng(0).standard_normal(len(vertices))
    dense = np.zeros(len(found))
    dense[vertices] = x
    images, silhouettes = J.jvp(torch.from_numpy(dense).reshape(s.lattice.values.shape))
    for a, b in zip(near.jvp(x), (images, silhouettes), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    expected = J.vjp(u * images, w * silhouettes).flatten()[vertices].numpy()
    pulled = near.vjp(u * images, w * silhouettes)
    np.testing.assert_allclose(pulled, expected, rtol=0, atol=1e-11 * abs(expected).max())
    once = near.normal(u, w)(x)
    np.testing.assert_allclose(once, expected, rtol=0, atol=1e-6 * abs(expected).max())
    assert float(split.min()) >= 0
    for vertex in some.tolist():
        unit = torch.zeros_like(found)
        unit[vertex] = 1
        images, silhouettes = J.jvp(unit.reshape(s.lattice.values.shape))
        value = float((u * images**2).sum() + (w * silhouettes**2).sum())
        assert float(found[vertex]) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", ["colours", "crumbs", "one ray per pixel"])
def test_what_is_drawn_in_float32_is_what_the_reference_sees(name: str) -> None:
    s = small(name)
    exact = sr.render(s.lattice, s.cameras, **s.options, engine="reference")
    with patch.object(engine.ahead, "compiled_ahead", lambda gradient: nullcontext()):
        drawn = sr.render(s.lattice.to(torch.float32), s.cameras, **s.options, engine="cpu")
    off = drawn.hit_mask != exact.hit_mask
    assert int(off.sum()) <= 1  # a ray along an edge
    for field in ("images", "silhouettes"):
        difference = (getattr(drawn, field).double() - getattr(exact, field)).abs()
        assert float(difference[~off].max()) < 2e-3, field
        assert float(difference[~off].mean()) < 2e-5, field


def test_silhouettes_alone_have_the_derivatives_that_they_have_beside_images() -> None:
    s = small("crumbs")
    whole, alone = s.linearize(), sr.linearize(s.lattice, s.cameras, outputs="silhouettes")
    (change,) = alone.jvp(s.direction)
    torch.testing.assert_close(change, whole.jvp(s.direction)[1], rtol=0, atol=1e-12)
    w = noise(tuple(change.shape), 3)
    nothing = torch.zeros_like(whole.rendering.images)
    expected = whole.vjp(nothing, w)
    torch.testing.assert_close(alone.vjp(silhouettes=w), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("band", "reach"), [(1.2, float("inf")), (0.0, 3.0), (2.5, 4.0)])
def test_sweeps_end_where_rounds_end(band: float, reach: float) -> None:
    lattice = small("crumbs").lattice
    values = lattice.values * torch.linspace(0.5, 2.0, lattice.values.shape[2])
    found = redistanced(values, lattice.spacing, band, reach)
    x, y, z = lattice.spacing.tolist()
    expected = redistanced_in_rounds(values, (x, y, z), band, reach)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
