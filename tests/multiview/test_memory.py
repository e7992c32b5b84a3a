"""Work on many views fits in what memory there is, and the results are the same."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import tiny
import torch
from torch import Tensor

import sdfrender as sr
from multiview.optimize.poses import Corrections, refine_cameras
from multiview.photo.appearance import Appearance
from multiview.photo.hits import Hits
from multiview.photo.targets import Targets
from multiview.recipes import Weights
from sdfrender import system
from sdfrender.engines.cpu import engine as cpu

BOX = torch.tensor([[-0.9, -0.7, -0.8], [0.8, 0.9, 0.7]])
EYES = [[0.9, 0.7, 3.0], [-2.0, 1.5, 1.9], [0.3, -2.8, 1.1], [2.0, 2.0, -1.5], [-0.5, 0.2, 0.1]]


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is free: one view, or four rows, at a time."""
    monkeypatch.setattr(system, "free_memory", lambda: 0)
    monkeypatch.setattr(system, "LEAST_WORKING", 1)


@pytest.fixture
def wide() -> Iterator[None]:
    """Everything at once, whatever this machine has."""
    with patch.object(system, "free_memory", lambda: 1 << 40):
        yield


@pytest.mark.parametrize(
    ("free", "sizes"),
    [(0, [1, 1, 1, 1, 1]), (16 << 30, [4, 1]), (1 << 40, [4, 1]), (8 << 30, [4, 1])],
)
def test_pieces_are_as_large_as_fits(
    free: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "free_memory", lambda: free)
    parts = system.pieces(5, system.MOST_WORKING // 4)
    assert [part.stop - part.start for part in parts] == sizes
    assert [n for part in parts for n in range(5)[part]] == list(range(5))
    assert system.pieces(0, 10) == []
    assert len(system.pieces(7, 0)) == 1


# ---------------------------------------------------------------------- the engine


def shown(dtype: torch.dtype, threads: int, coverage: bool) -> tuple[Tensor, ...]:
    """Images, gradients, and a linearization of a rough shape; an eye is inside the box."""
    random = torch.Generator().manual_seed(0)
    values = sr.Lattice.sphere(0.5, (0.1, 0.0, 0.0), (13, 17, 11), BOX, dtype).values
    values = values + 0.05 * torch.randn(values.shape, generator=random).to(dtype)
    values.requires_grad_()
    lattice, cameras = sr.Lattice(values, BOX), sr.Cameras.look_at(EYES, width=37, height=26)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out = sr.render(lattice, cameras, coverage=coverage, engine="cpu")
        (out.images.sum() + out.silhouettes.sum()).backward()  # type: ignore[no-untyped-call]
        J = sr.linearize(lattice, cameras, coverage=coverage)
        pulled = J.vjp(J.rendering.images, J.rendering.silhouettes)
        with torch.no_grad():
            plain = sr.render(lattice, cameras, coverage=coverage, engine="cpu")
    finally:
        torch.set_num_threads(before)
    assert values.grad is not None
    assert plain == J.rendering
    return out.images, out.silhouettes, out.depths, out.normals, values.grad, pulled


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("threads", "coverage"), [(1, True), (2, True), (2, False)])
def test_images_and_gradients_do_not_depend_on_memory(
    threads: int, coverage: bool, dtype: torch.dtype, wide: None, request: pytest.FixtureRequest
) -> None:
    at_once = shown(dtype, threads, coverage)
    request.getfixturevalue("tight")
    in_pieces = shown(dtype, threads, coverage)
    for a, b in zip(at_once, in_pieces, strict=True):
        assert torch.equal(a, b)


def test_many_views_are_not_all_in_memory_at_once() -> None:
    """What the images do not need: the most events that there can be are 3 times their size."""
    cameras = sr.Cameras.look_at([EYES[n % 4] for n in range(60)], width=64, height=48)
    lattice = sr.Lattice.sphere(0.3, resolution=16)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sr.render(lattice, cameras[0], engine="cpu")
        tracemalloc.start()
        with torch.no_grad():
            out = sr.render(lattice, cameras, engine="cpu")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        torch.set_num_threads(before)
    images = sum(x.nbytes for x in vars(out).values())
    most = len(cameras) * 64 * 48 * 4 * cpu.EVENT.itemsize
    assert most > 3 * images
    assert images < peak < 1.5 * images


# ---------------------------------------------------------------------- poses


@pytest.mark.parametrize("intrinsics", [False, True])
def test_cameras_are_refined_a_few_at_a_time(
    intrinsics: bool, wide: None, request: pytest.FixtureRequest
) -> None:
    lattice, cameras = tiny.true_lattice(), tiny.ring(5, 61, 47)
    seen = sr.render(lattice, cameras, lighting=tiny.LIGHT)
    ones = torch.ones_like(seen.silhouettes)
    turned = Corrections(
        0.02 * torch.randn((5, 3), generator=torch.Generator().manual_seed(0)),
        torch.zeros(5, 3),
        lattice.bounds.mean(0),
    )
    targets = Targets(turned.apply(cameras), seen.images, seen.silhouettes, ones, ones)
    look, counts = Appearance(1, tiny.LIGHT), []

    def refined() -> Corrections:
        counts.clear()
        render = look.render

        def counting(lattice: sr.Lattice, targets: Targets) -> sr.Rendering:
            counts.append(len(targets.cameras))
            return render(lattice, targets)

        with patch.object(look, "render", counting):
            start = Corrections.none(5, lattice)
            return refine_cameras(start, lattice, targets, look, Weights(), intrinsics)

    at_once = refined()
    assert set(counts) == {5}
    request.getfixturevalue("tight")
    in_pieces = refined()
    assert set(counts) == {1}
    assert at_once.rotations.abs().max() > 1e-3
    for name, x in vars(at_once).items():
        assert torch.equal(x, getattr(in_pieces, name)), name


# ---------------------------------------------------------------------- colours


def hits(count: int, seed: int) -> Hits:
    random = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        return 0.1 + 0.8 * torch.rand(shape, generator=random)

    views = torch.full((count,), seed)
    return Hits(numbers(count, 3), views, numbers(count, 3), numbers(count, 3), numbers(count, 3))


@pytest.mark.parametrize("count", [1, 2, 5, 7, 28, 29, 1000])
def test_hits_are_thinned_out_as_if_they_were_one_list(count: int) -> None:
    observed = [hits(size, n) for n, size in enumerate((7, 0, 13, 1, 1, 0, 7))]
    whole = [torch.cat(x) for x in zip(*(h.tensors for h in observed), strict=True)]
    step = -(-29 // count)
    found = Hits.some(observed, count)
    assert len(found) <= count
    for a, b in zip(found.tensors, whole, strict=True):
        assert torch.equal(a, b[::step])


@pytest.mark.parametrize("solved", [False, True])
def test_one_colour_of_many_observations_is_that_of_all(solved: bool) -> None:
    look = Appearance(3, sr.Lighting())
    look._solved = solved
    observed: list[Any] = [hits(size, n) for n, size in enumerate((70, 0, 130, 1))]
    whole = Hits(*map(torch.cat, zip(*(h.tensors for h in observed), strict=True)))
    torch.testing.assert_close(look._best_color(observed), look._best_color([whole]))
