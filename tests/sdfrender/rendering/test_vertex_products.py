"""The derivative on some vertices against that on all, which has its own tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linearize_scenes import NAMES, scene

import sdfrender as sr

EVERYTHING = ("images", "silhouettes", "depths", "normals")


def linearization(name: str, outputs: tuple[str, ...]) -> sr.Linearization:
    s = scene(name)
    if outputs == EVERYTHING:
        return sr.linearize(s.lattice, s.cameras, outputs=outputs)
    return s.linearize()


def some_vertices(J: sr.Linearization, share: float) -> np.ndarray:
    """Of all of them, those on faces, edges and corners of the box too."""
    total = J._scene.values[0].size
    return np.flatnonzero(np.random.default_rng(3).random(total) < share)


@pytest.mark.parametrize("outputs", [EVERYTHING[:2], EVERYTHING])
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "batch"])
def test_products_are_those_on_all_vertices(
    name: str, share: float, outputs: tuple[str, ...]
) -> None:
    J = linearization(name, outputs)
    vertices = some_vertices(J, share)
    near = J.on(vertices)
    g = torch.Generator().manual_seed(5)
    for _ in range(2):  # what one product leaves behind would be in the next
        x = torch.randn(len(vertices), generator=g, dtype=J.rendering.images.dtype).numpy()
        dense = np.zeros(J._scene.values.size, x.dtype)
        dense[vertices] = x
        expected = J.jvp(torch.from_numpy(dense).reshape(J._scene.values.shape[1:]))
        for found, wanted in zip(near.jvp(x), expected, strict=True):
            assert torch.equal(found, wanted)

        pulls = {}
        for output in J.outputs:
            like = getattr(J.rendering, output)
            pulls[output] = torch.randn(like.shape, generator=g, dtype=like.dtype)
        wanted = J.vjp(**pulls).numpy().ravel()[vertices]
        assert np.allclose(near.vjp(**pulls), wanted, rtol=1e-12, atol=1e-12 * abs(wanted).max())
        weights = {output: x.abs() for output, x in pulls.items()}
        wanted = J.squared_vjp(**weights, exact=False).numpy().ravel()[vertices]
        found = near.squared_vjp(**weights)
        assert np.allclose(found, wanted, rtol=1e-12, atol=1e-12 * abs(wanted).max())


@pytest.mark.parametrize("shown", ["both", "images", "silhouettes"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "batch"])
def test_the_matrix_of_a_step_in_one_pass(name: str, shown: str) -> None:
    J = linearization(name, EVERYTHING[:2])
    vertices = some_vertices(J, 0.7)
    near = J.on(vertices)
    g = torch.Generator().manual_seed(6)
    weights = {
        output: torch.rand(x.shape, generator=g, dtype=x.dtype) * (torch.rand(x.shape) > 0.2)
        for output in J.outputs
        if shown in ("both", output)
        for x in [getattr(J.rendering, output)]
    }
    product = near.normal(**weights)
    for _ in range(2):  # what one product leaves behind would be in the next
        x = torch.randn(len(vertices), generator=g, dtype=J.rendering.images.dtype).numpy()
        changes = dict(zip(J.outputs, near.jvp(x), strict=True))
        wanted = near.vjp(**{output: weights[output] * changes[output] for output in weights})
        assert np.allclose(product(x), wanted, rtol=1e-11, atol=1e-12 * abs(wanted).max())
        constant = name == "one ray per pixel" and shown == "silhouettes"
        assert (abs(wanted).max() > 0) != constant


def test_the_matrix_of_a_step_of_silhouettes_alone() -> None:
    s = scene(NAMES[0])
    J = sr.linearize(s.lattice, s.cameras, outputs="silhouettes")
    vertices = some_vertices(J, 0.7)
    near, x = J.on(vertices), np.random.default_rng(1).normal(size=len(vertices))
    (change,) = near.jvp(x)
    wanted = near.vjp(silhouettes=0.3 * change)
    found = near.normal(silhouettes=torch.full_like(change, 0.3))(x)
    assert np.allclose(found, wanted, rtol=1e-11, atol=1e-12 * abs(wanted).max())


def test_the_matrix_of_a_step_needs_weights_of_images() -> None:
    near = linearization(NAMES[0], EVERYTHING[:2]).on(np.array([1]))
    silhouettes = torch.ones_like(near.jvp(np.zeros(1))[1])
    silhouettes[..., 0] = -1
    with pytest.raises(ValueError, match="silhouettes: need weights of 0 or more, got -1"):
        near.normal(silhouettes=silhouettes)
    near = linearization(NAMES[0], EVERYTHING).on(np.array([1]))
    with pytest.raises(ValueError, match="need images and silhouettes as the only outputs"):
        near.normal(silhouettes=silhouettes.abs())


def test_no_vertex_at_all() -> None:
    near = linearization(NAMES[0], EVERYTHING[:2]).on(np.zeros(0, np.int64))
    assert all(not tangent.any() for tangent in near.jvp(np.zeros(0)))
    assert near.vjp(torch.ones_like(near.jvp(np.zeros(0))[0])).shape == (0,)


def test_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="need one lattice, got 3"):
        linearization("batch", EVERYTHING[:2]).on(np.array([1]))


@pytest.mark.parametrize("vertices", [[3, 3], [5, 2], [-1, 4], [0, 10**9], [[1]], [0.5]])
def test_wrong_vertices_are_named(vertices: list[int]) -> None:
    with pytest.raises(ValueError, match="vertices: need"):
        linearization(NAMES[0], EVERYTHING[:2]).on(np.array(vertices))
