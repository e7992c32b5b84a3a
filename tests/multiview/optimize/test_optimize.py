"""What the fit minimises, what it compares with, and the order in which views are visited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from multiview.optimize.energy import EnergyTerms, energy
from multiview.optimize.greedy import (
    LARGEST_STEP,
    UPDATES_ABOVE,
    UPDATES_BELOW,
    Optimizer,
    greedy_pass,
    shuffled_pass,
)
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import Weights
from multiview.scenes import Scene
from multiview.surgery.floaters import CRUMB, remove_floaters, summary, warnings
from sdfrender import Cameras, Headlight, Lattice, Lighting, render
from sdfrender.geometry.primitives import sphere, torus, union

DATA_ONLY = replace(tiny.WEIGHTS, eikonal=0.0, laplacian=0.0)


def known_light() -> Appearance:
    return Appearance(1, tiny.LIGHT)


def targets_of(lattice: Lattice, cameras: Cameras, lighting: Lighting = tiny.LIGHT) -> Targets:
    """Our own rendering as photographs, all of it trusted."""
    out = render(lattice, cameras, lighting=lighting)
    ones = torch.ones_like(out.silhouettes)
    return Targets(cameras, out.images, out.silhouettes, ones, ones)


def disc(resolution: int = 16) -> Lattice:
    """The torus with its hole closed."""

    def distance(p: Tensor) -> Tensor:
        q = p - torch.tensor(tiny.CENTER).to(p)
        ring = (q[..., (0, 2)].norm(dim=-1) - 0.6 * tiny.SCALE).clamp(min=0)
        return torch.hypot(ring, q[..., 1]) - 0.28 * tiny.SCALE

    return Lattice.from_function(distance, resolution, tiny.BOX)


def optimizer_of(
    lattice: Lattice, targets: Targets, rate: float, weights: Weights = tiny.WEIGHTS
) -> Optimizer:
    optimizer = Optimizer(lattice, targets, weights, known_light())
    optimizer.set_rate(rate)
    return optimizer


@pytest.fixture(scope="module")
def photos() -> Targets:
    return targets_of(tiny.true_lattice(16), tiny.ring(4))


# ---------------------------------------------------------------------- the views' order


class Script:
    """In place of an optimizer: each view's losses are written down beforehand."""

    def __init__(self, losses: list[list[float]]) -> None:
        self.losses = [iter(x) for x in losses]
        self.visited: list[list[int]] = []

    def update(self, views: list[int]) -> EnergyTerms:
        self.visited.append(views)
        color = torch.tensor([next(self.losses[v]) for v in views])
        none = torch.zeros(())
        return EnergyTerms(color, torch.zeros_like(color), torch.full_like(color, 7.0), none, none)


def turns(script: list[list[float]], before: list[float]) -> tuple[list[int], list[float]]:
    """Updates that each view gets in a greedy pass, and the losses it leaves."""
    optimizer, losses = Script(script), torch.tensor(before)
    yielded = [views for views, _ in greedy_pass(optimizer, losses)]  # type: ignore[arg-type]
    assert yielded == optimizer.visited
    order = [v for (v,) in yielded]
    assert order == sorted(order)  # one turn each, in the views' order
    return [order.count(v) for v in range(len(before))], losses.tolist()


def falling(start: float, step: float = 0.01, count: int = 40) -> list[float]:
    return [start - step * k for k in range(count)]


def test_the_first_greedy_pass_visits_every_view_alike() -> None:
    counts, losses = turns([falling(3), falling(9)], [torch.inf, torch.inf])
    assert counts == [UPDATES_BELOW, UPDATES_BELOW] == [5, 5]
    assert losses == pytest.approx([3 - 0.04, 9 - 0.04])


def test_a_view_above_average_has_more_updates() -> None:
    # The average is 4: view 1 is above and stays there, the others are below or at it.
    counts, losses = turns([falling(2), falling(6), falling(4)], [2.0, 6.0, 4.0])
    assert counts == [UPDATES_BELOW, UPDATES_ABOVE, UPDATES_BELOW] == [5, 20, 5]
    assert losses == pytest.approx([2 - 0.04, 6 - 0.19, 4 - 0.04])


def test_a_view_above_average_stops_below_it() -> None:
    counts, losses = turns([[6, 5, 4.5, 3.9, 3, 2, 1], falling(2)], [6.0, 2.0])
    assert counts == [4, 5]
    assert losses[0] == pytest.approx(3.9)


def test_the_average_is_that_of_the_last_pass() -> None:
    # View 0's new losses, far below, must not lower the 4 that view 1 is held against.
    assert turns([falling(0.5), [6, 3.9, 3, 2, 1, 0]], [2.0, 6.0])[0] == [5, 2]


def test_an_update_that_raises_the_loss_ends_the_turn() -> None:
    counts, losses = turns([[6, 5.5, 5.6, 1], [2, 2.1, 1], [1, 1, 1, 1, 1]], [6.0, 2.0, 1.0])
    assert counts == [3, 2, 5]  # an equal loss is no rise
    assert losses == pytest.approx([5.6, 2.1, 1])


@pytest.mark.parametrize(("N", "batch"), [(6, 4), (7, 1), (5, 8), (8, 4)])
def test_a_shuffled_pass_visits_each_view_once(N: int, batch: int) -> None:
    def visit(seed: int) -> list[list[int]]:
        optimizer, losses = Script([[float(v)] for v in range(N)]), torch.full((N,), torch.inf)
        generator = torch.Generator().manual_seed(seed)
        passed = shuffled_pass(optimizer, losses, batch, generator)  # type: ignore[arg-type]
        yielded = [views for views, _ in passed]
        assert yielded == optimizer.visited
        assert losses.tolist() == list(range(N))  # each its own
        return yielded

    updates = visit(0)
    assert sorted(v for views in updates for v in views) == list(range(N))
    assert [len(views) for views in updates[:-1]] == [batch] * (len(updates) - 1)
    assert visit(0) == updates
    if batch < N:
        assert any(visit(seed) != updates for seed in range(1, 5))


# ---------------------------------------------------------------------- targets


def random_targets(width: int, height: int, channels: int = 3) -> Targets:
    cameras = tiny.ring(3, width, height)
    images = torch.rand(3, height, width, channels, generator=torch.Generator().manual_seed(0))
    planes = [images[..., 0] * k for k in (1.0, 0.5, 0.25)]
    return Targets(cameras, images, *planes)


def test_resized_keeps_the_mean() -> None:
    targets = random_targets(40, 32)
    small = targets.resized(21, 13)
    assert small.images.shape == (3, 13, 21, 3)
    for before, after in ((targets.images, small.images), (targets.silhouettes, small.silhouettes)):
        torch.testing.assert_close(after.mean((1, 2)), before.mean((1, 2)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(20, 16), (29, 23), (13, 31)])
def test_resized_pictures_and_cameras_stay_together(size: tuple[int, int]) -> None:
    targets = random_targets(40, 32)
    # Pictures of the pixels' own coordinates: resized, they must be those of the new pixels.
    rows, columns = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(40) + 0.5, indexing="ij")
    targets.images[...] = torch.stack((columns / 40, rows / 32, torch.ones(32, 40)), -1)
    small = targets.resized(*size)
    w, h = size
    u, v = (torch.arange(w) + 0.5) / w, (torch.arange(h) + 0.5) / h
    inner = slice(3, -3)
    # a box average of whole pixels is off by less than a tenth of an old pixel
    expected = u.expand(3, h, w)[:, inner, inner]
    torch.testing.assert_close(small.images[:, inner, inner, 0], expected, atol=0.1 / 32, rtol=0)
    expected = v[:, None].expand(3, h, w)[:, inner, inner]
    torch.testing.assert_close(small.images[:, inner, inner, 1], expected, atol=0.1 / 32, rtol=0)
    torch.testing.assert_close(small.images[..., 2], torch.ones(3, h, w))
    point = torch.tensor([[10.3, -2.6, 5.9]])
    (uv, depths), (small_uv, small_depths) = (x.cameras.project(point) for x in (targets, small))
    scale = torch.tensor([w / 40, h / 32])
    torch.testing.assert_close(small_uv, uv * scale)
    assert torch.equal(small_depths, depths)


def test_resized_treats_all_planes_alike() -> None:
    small = random_targets(40, 32).resized(17, 15)
    torch.testing.assert_close(small.silhouettes, small.images[..., 0])
    torch.testing.assert_close(small.silhouette_weights, 0.5 * small.images[..., 0])
    torch.testing.assert_close(small.image_weights, 0.25 * small.images[..., 0])


def test_resized_to_the_same_size_is_the_same() -> None:
    targets = random_targets(40, 32)
    assert targets.resized(40, 32) is targets


def test_pixel_size_at_the_object() -> None:
    targets = random_targets(64, 56)
    lattice = tiny.true_lattice(16)
    middle = lattice.bounds.mean(0)
    # One pixel to the right of the middle's own, at its depth.
    right = targets.cameras.c2w[:, :3, 0]
    apart = targets.cameras.project(
        middle + right[:, None] * targets.pixel_sizes(lattice)[:, None, None]
    )[0]
    moved = (apart - targets.cameras.project(middle[None])[0])[:, 0, 0]
    torch.testing.assert_close(moved, torch.ones(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("pixels_per_cell", [0.5, 1.0, 1.7, 3.0])
def test_for_lattice_ties_pixels_to_cells(pixels_per_cell: float) -> None:
    targets, lattice = random_targets(256, 224), tiny.true_lattice(24)
    small = targets.for_lattice(lattice, pixels_per_cell)
    found = float(lattice.spacing.max() / small.pixel_sizes(lattice).mean())
    assert found == pytest.approx(pixels_per_cell, rel=0.06)  # sizes are whole pixels
    assert small.cameras.width / small.cameras.height == pytest.approx(256 / 224, rel=0.06)
    assert small.images.shape[1:3] == (small.cameras.height, small.cameras.width)


def test_for_lattice_never_enlarges_nor_blurs_for_little() -> None:
    targets, lattice = random_targets(64, 56), tiny.true_lattice(24)
    available = float(lattice.spacing.max() / targets.pixel_sizes(lattice).mean())
    assert targets.for_lattice(lattice, 10 * available) is targets
    assert targets.for_lattice(lattice, available / 1.2) is targets
    assert targets.for_lattice(lattice, available / 1.3) is not targets
    tiny_ones = targets.for_lattice(lattice, available / 1000)
    assert (tiny_ones.cameras.width, tiny_ones.cameras.height) == (8, 8)


def test_some_views_of_a_scene() -> None:
    t = random_targets(16, 12)
    scene = Scene(
        name="x",
        names=("a", "b", "c"),
        images=t.images,
        silhouettes=t.silhouettes,
        silhouette_weights=t.silhouette_weights,
        image_weights=t.image_weights,
        cameras=t.cameras,
        train=(0, 1, 2),
        held_out=(),
    )
    chosen = Targets.of(scene, [2, 0])
    assert torch.equal(chosen.images, t.images[[2, 0]])
    assert torch.equal(chosen.silhouettes, t.silhouettes[[2, 0]])
    assert torch.equal(chosen.silhouette_weights, t.silhouette_weights[[2, 0]])
    assert torch.equal(chosen.image_weights, t.image_weights[[2, 0]])
    assert torch.equal(chosen.cameras.c2w, t.cameras.c2w[[2, 0]])
    assert torch.equal(chosen[[1]].images, t.images[[0]])


# ---------------------------------------------------------------------- the energy


def evaluate(
    lattice: Lattice,
    targets: Targets,
    weights: Weights = DATA_ONLY,
) -> EnergyTerms:
    return energy(lattice, targets, known_light(), weights, 1.0)[0]


def test_nothing_to_gain_at_the_truth(photos: Targets) -> None:
    lattice = tiny.true_lattice(16)
    lattice.values.requires_grad_()
    terms = evaluate(lattice, photos)
    for term in (terms.color, terms.silhouette, terms.carve):
        assert torch.equal(term, torch.zeros(4))
    assert not terms.eikonal.any()  # its weight is 0
    assert not terms.laplacian.any()
    terms.total.backward()  # type: ignore[no-untyped-call]
    assert lattice.values.grad is not None
    assert not lattice.values.grad.any()


def test_the_total_and_what_views_are_ranked_by(photos: Targets) -> None:
    terms = evaluate(disc(), photos, tiny.WEIGHTS)
    assert torch.equal(terms.per_view, terms.color + terms.silhouette)
    parts = (terms.color, terms.silhouette, terms.carve, terms.eikonal, terms.laplacian)
    assert all(float(part.min()) > 0 for part in parts)
    torch.testing.assert_close(terms.total, sum(part.sum() for part in parts))


def test_batches_add_up_to_all_views(photos: Targets) -> None:
    """An epoch counts each pixel once and the regularisers once."""
    lattice, look = disc(), known_light()
    whole, _ = energy(lattice, photos, look, tiny.WEIGHTS, 1.0)
    parts = [energy(lattice, photos[[v]], look, tiny.WEIGHTS, 1 / 4)[0] for v in range(4)]
    for name in ("color", "silhouette", "carve"):
        alone = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(alone, getattr(whole, name), rtol=1e-4, atol=1e-5)
    for name in ("eikonal", "laplacian"):
        torch.testing.assert_close(sum(getattr(p, name) for p in parts), getattr(whole, name))


def test_units_do_not_matter(photos: Targets) -> None:
    """The same world in millimetres has the same energy."""

    def in_units(s: float) -> EnergyTerms:
        lattice = disc()
        c2w = photos.cameras.c2w.clone()
        c2w[:, :3, 3] *= s
        cameras = replace(photos.cameras, c2w=c2w)
        scaled = Lattice(lattice.values * s, lattice.bounds * s)
        return evaluate(scaled, replace(photos, cameras=cameras), tiny.WEIGHTS)

    metres, other = in_units(1.0), in_units(0.37)
    for name, term in vars(metres).items():
        torch.testing.assert_close(getattr(other, name), term, rtol=2e-3, atol=1e-3, msg=name)


def test_each_weight_scales_its_term(photos: Targets) -> None:
    base = evaluate(disc(), photos, tiny.WEIGHTS)
    for name in ("silhouette", "carve", "eikonal", "laplacian"):
        weights = replace(tiny.WEIGHTS, **{name: 3 * getattr(tiny.WEIGHTS, name)})
        changed = evaluate(disc(), photos, weights)
        for other, term in vars(base).items():
            factor = 3.0 if other == name else 1.0
            torch.testing.assert_close(getattr(changed, other), factor * term)
    wide = evaluate(disc(), photos, replace(tiny.WEIGHTS, band=torch.inf))
    assert float(wide.laplacian) > float(base.laplacian)
    assert float(wide.eikonal) > float(base.eikonal)


def test_ignored_pixels_do_not_matter(photos: Targets) -> None:
    ignored = torch.zeros_like(photos.silhouettes, dtype=torch.bool)
    ignored[:, 5:20, 8:30] = True
    kept = torch.where(ignored, 0.0, 1.0)
    noise = torch.rand(photos.images.shape, generator=torch.Generator().manual_seed(1))

    def gradient(images: Tensor, silhouettes: Tensor) -> tuple[EnergyTerms, Tensor]:
        lattice = disc()
        lattice.values.requires_grad_()
        targets = Targets(photos.cameras, images, silhouettes, kept, kept)
        terms = evaluate(lattice, targets, tiny.WEIGHTS)
        terms.total.backward()  # type: ignore[no-untyped-call]
        assert lattice.values.grad is not None
        return terms, lattice.values.grad

    terms, v_values = gradient(photos.images, photos.silhouettes)
    images = torch.where(ignored[..., None], noise, photos.images)
    # Half of the noise is empty, so that it would carve.
    mask = torch.where(ignored, (noise[..., 0] > 0.5).float(), photos.silhouettes)
    other, v_other = gradient(images, mask)
    for name, term in vars(terms).items():
        assert torch.equal(getattr(other, name), term), name
    assert torch.equal(v_other, v_values)
    # The same noise where it counts does change the terms.
    seen = evaluate(disc(), Targets(photos.cameras, images, mask, *[torch.ones_like(mask)] * 2))
    assert all(bool((getattr(seen, n) > getattr(terms, n)).all()) for n in ("color", "carve"))


def test_colour_and_silhouette_are_weighted_apart(photos: Targets) -> None:
    none, ones = torch.zeros_like(photos.silhouettes), torch.ones_like(photos.silhouettes)
    no_color = evaluate(disc(), replace(photos, image_weights=none))
    no_mask = evaluate(disc(), replace(photos, silhouette_weights=none))
    both = evaluate(disc(), replace(photos, image_weights=ones, silhouette_weights=ones))
    assert not no_color.color.any()
    assert torch.equal(no_color.silhouette, both.silhouette)
    assert torch.equal(no_color.carve, both.carve)
    assert not no_mask.color.any()  # of one colour: what may be a shadow has none
    assert not no_mask.silhouette.any()
    assert not no_mask.carve.any()


def test_what_is_outside_the_frame_does_not_matter() -> None:
    near, far = sphere(0.35, (-0.5, 0.0, 0.0)), sphere(0.35, (0.6, 0.0, 0.0))
    one, two = (Lattice.from_function(f, 20) for f in (near, union(near, far)))
    # The principal point lies to the right: the frame ends between the two.
    cameras = Cameras.look_at([[0.0, 0.0, 4.0], [0.0, 1.0, 4.0]], width=32, height=28)
    Ks = cameras.Ks.clone()
    Ks[:, 0, 2] += 14
    cameras = Cameras(cameras.c2w, Ks, 32, 28)
    targets = targets_of(Lattice.sphere(0.3, (-0.5, 0.05, 0.1), 20), cameras)
    terms, other = (evaluate(lattice, targets) for lattice in (one, two))
    for name in ("color", "silhouette", "carve"):
        assert float(getattr(terms, name).min()) > 0 or name == "carve"
        torch.testing.assert_close(getattr(other, name), getattr(terms, name))


def test_a_frame_is_the_sum_of_its_halves(photos: Targets) -> None:
    def half(first: int, last: int) -> EnergyTerms:
        Ks = photos.cameras.Ks.clone()
        Ks[:, 0, 2] -= first
        cameras = Cameras(photos.cameras.c2w, Ks, last - first, tiny.HEIGHT)
        planes = (photos.images, photos.silhouettes, photos.silhouette_weights,
                  photos.image_weights)  # fmt: skip
        return evaluate(disc(), Targets(cameras, *(x[:, :, first:last] for x in planes)))

    whole, left, right = half(0, 32), half(0, 13), half(13, 32)
    for name in ("color", "silhouette", "carve"):
        both = getattr(left, name) + getattr(right, name)
        torch.testing.assert_close(both, getattr(whole, name), rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------------- carving, floaters


def in_the_hole(lattice: Lattice) -> Tensor:
    """`[X, Y, Z]` bool: vertices near the torus's axis."""
    q = lattice.vertices - torch.tensor(tiny.CENTER)
    return (q[..., (0, 2)].norm(dim=-1) < 0.15 * tiny.SCALE) & (q[..., 1].abs() < tiny.SCALE / 4)


def test_carving_opens_a_hole(photos: Targets) -> None:
    masks_only = replace(photos, image_weights=torch.zeros_like(photos.image_weights))

    def fitted(carve: float, steps: int) -> Lattice:
        weights = replace(tiny.WEIGHTS, carve=carve, laplacian=0.0)
        optimizer = optimizer_of(disc(), masks_only, 0.2, weights)
        for _ in range(steps):
            optimizer.update([0, 1, 2, 3])
        return optimizer.lattice

    start = disc()
    hole = in_the_hole(start)
    assert bool((start.values[hole] < 0).all())
    assert bool((tiny.true_lattice(16).values[hole] > 0).all())
    # Coverage is flat inside: without carving nothing happens there.
    assert bool((fitted(0.0, 25).values[hole] < 0).all())
    opened = fitted(0.05, 25)
    axis = torch.tensor(tiny.CENTER) + torch.linspace(-1, 1, 9)[:, None] * torch.tensor(
        [0.0, 0.6 * tiny.SCALE, 0.0]
    )
    assert bool((opened.sample(axis) > 0).all())


def two_balls(crumb: float) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """A large ball, and the same with a cavity and a small ball in a corner."""
    ball = sphere(0.55, (-0.2, -0.2, -0.2))
    cavity, debris = sphere(0.16, (-0.2, -0.2, -0.2)), sphere(crumb, (0.75, 0.75, 0.75))
    return ball, lambda p: torch.minimum(torch.maximum(ball(p), -cavity(p)), debris(p))


def test_floaters_go_and_the_rest_stays_bitwise() -> None:
    clean, dirty = (Lattice.from_function(f, (41, 40, 39)) for f in two_balls(0.12))
    assert float(dirty.sample(torch.full((3,), 0.75))) < 0 < float(dirty.sample(-torch.ones(3) / 5))
    cleaned, (debris,) = remove_floaters(dirty)
    assert debris.center == pytest.approx((0.75, 0.75, 0.75), abs=0.03)
    assert debris.volume == pytest.approx((0.12 / 0.55) ** 3, rel=0.15)
    # Outside of the cavity, whose inside no longer shows a surface, it is the ball's own field.
    expected = clean.redistance().values
    outer = expected > -0.15
    assert torch.equal(cleaned.values[outer], expected[outer])
    assert bool((cleaned.values[~outer] < 0).all())
    assert torch.equal(cleaned.bounds, dirty.bounds)


def test_a_clean_lattice_is_left_alone() -> None:
    lattice = tiny.true_lattice(16)
    assert remove_floaters(lattice)[0] is lattice  # its hole is no void: it reaches the box


def test_a_body_of_some_size_is_kept() -> None:
    dirty = Lattice.from_function(two_balls(0.25)[1], 40)  # a tenth of the ball's volume
    corner = torch.full((3,), 0.75)
    assert float(remove_floaters(dirty)[0].sample(corner)) < 0
    assert float(remove_floaters(dirty, fraction=0.3)[0].sample(corner)) > 0


def views_of(lattice: Lattice, count: int) -> Targets:
    """Silhouettes from around the origin, off-centre."""
    cameras = tiny.ring(count, 71, 53)
    c2w = cameras.c2w.clone()
    c2w[:, :3, 3] = (c2w[:, :3, 3] - torch.tensor(tiny.CENTER)) * 1.6 / tiny.SCALE
    cameras = Cameras(c2w, cameras.Ks, 71, 53)
    out = render(lattice, cameras)
    ones = torch.ones_like(out.silhouettes)
    return Targets(cameras, out.images, out.silhouettes, ones, ones)


@pytest.mark.parametrize("shape", [(41, 40, 39), (24, 30, 27)])
def test_a_small_body_that_masks_ask_for_is_kept(shape: tuple[int, int, int]) -> None:
    """Two true bodies, a crumb that no mask shows and a ghost that others explain as well."""
    true_part = sphere(0.12, (0.75, 0.75, 0.75))
    ball = sphere(0.5, (-0.2, -0.2, -0.2))
    crumb, ghost = sphere(0.1, (0.8, -0.7, 0.6)), sphere(0.1, (-0.2, -0.2, 0.8))

    def together(*parts: Callable[[Tensor], Tensor]) -> Lattice:
        return Lattice.from_function(lambda p: torch.stack([f(p) for f in parts]).amin(0), shape)

    truth = together(ball, true_part)
    targets = views_of(truth, 5)
    same, removed = remove_floaters(truth, targets)
    assert same is truth
    assert removed == []
    cleaned, removed = remove_floaters(together(ball, true_part, crumb), targets)
    assert torch.equal(cleaned.values < 0, truth.values < 0)
    (told,) = removed
    assert told.center == pytest.approx((0.8, -0.7, 0.6), abs=0.05)
    assert told.views_for <= 1
    assert told.views_against >= 3
    # Before the ball in some views, beside it and outside the masks in others.
    assert len(remove_floaters(together(ball, ghost), targets)[1]) == 1
    # Seen nowhere but before the large ball: nothing asks for it.
    views = targets[[int((targets.cameras.centers @ torch.tensor([0.0, 0.0, 1.0])).argmax())]]
    assert len(remove_floaters(together(ball, ghost), views)[1]) == 1
    # Masks that say nothing keep nothing.
    unknown = replace(targets, silhouette_weights=torch.zeros_like(targets.silhouettes))
    assert len(remove_floaters(truth, unknown)[1]) == 1
    # The mask of a single view is not enough.
    one = targets.silhouettes * (torch.arange(5) == 2)[:, None, None]
    without = views_of(together(ball), 5).silhouettes
    doubted = replace(targets, silhouettes=torch.maximum(one, without))
    removed = remove_floaters(truth, doubted)[1]
    assert [body.views_for for body in removed] == [1]
    assert warnings(summary([told], np.zeros(3))) == []
    assert warnings(summary([replace(removed[0], volume=CRUMB / 2)], np.zeros(3))) == []
    (text,) = warnings(summary([told, *removed], np.zeros(3)))
    assert "fewer than 2 views" in text
    assert f"{100 * removed[0].volume:.2g} % of the object's volume" in text
    assert "at (0.7" in text


# ---------------------------------------------------------------------- the optimiser


def test_an_update_goes_downhill_and_returns_what_was_before(photos: Targets) -> None:
    start = Lattice.from_function(
        torus(0.62 * tiny.SCALE, 0.3 * tiny.SCALE, tiny.CENTER), 16, tiny.BOX
    )
    optimizer = optimizer_of(start, photos, 0.05)
    before = energy(start, photos, known_light(), tiny.WEIGHTS, 1.0)[0]
    terms = optimizer.update([0, 1, 2, 3])
    torch.testing.assert_close(terms.total, before.total, rtol=1e-3, atol=0)
    assert not any(x.requires_grad for x in vars(terms).values())
    for _ in range(5):
        terms = optimizer.update([0, 1, 2, 3])
    assert float(terms.total) < 0.7 * float(before.total)
    assert torch.equal(start.values, Lattice.from_function(
        torus(0.62 * tiny.SCALE, 0.3 * tiny.SCALE, tiny.CENTER), 16, tiny.BOX
    ).values)  # fmt: skip


@pytest.fixture
def bare_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redistancing, which moves vertices too, is left out."""
    monkeypatch.setattr(Lattice, "redistance", lambda self: self)


@pytest.mark.usefixtures("bare_steps")
def test_no_step_is_longer_than_half_a_cell(photos: Targets) -> None:
    optimizer = optimizer_of(disc(), photos, 50.0)
    before = optimizer.lattice.values
    optimizer.update([0])
    steps = (optimizer.lattice.values - before).abs() / float(disc().spacing.max())
    assert float(steps.max()) == pytest.approx(LARGEST_STEP, rel=1e-4)


@pytest.mark.usefixtures("bare_steps")
def test_the_rate_is_in_cells(photos: Targets) -> None:
    """Adam's first step is the rate itself wherever there is a gradient, in any units."""
    optimizer = optimizer_of(disc(), photos, 0.3)
    optimizer.set_rate(0.125)
    before = optimizer.lattice.values
    optimizer.update([0, 1])
    steps = (optimizer.lattice.values - before).abs() / float(disc().spacing.max())
    assert float(steps.max()) == pytest.approx(0.125, rel=1e-3)


def test_redistancing_follows_each_update(photos: Targets) -> None:
    optimizer = optimizer_of(disc(), photos, 0.3)
    optimizer.update([0, 1, 2, 3])
    lattice = optimizer.lattice
    change = float((lattice.redistance().values - lattice.values).abs().max())
    assert change < 1e-4 * float(lattice.spacing.max())


def test_an_optimizer_goes_on_exactly_where_it_was(photos: Targets) -> None:
    first = optimizer_of(disc(), photos, 0.2)
    for views in ([0, 1], [2, 3]):
        first.update(views)
    saved = {name: x.clone() for name, x in first.state().items()}
    second = optimizer_of(first.lattice, photos, 0.2)
    second.restore(saved)
    for optimizer in (first, second):
        optimizer.update([1, 2])
        optimizer.update([0])
    assert torch.equal(first.lattice.values, second.lattice.values)


def test_the_light_is_estimated_from_all_views_before_the_first_step(photos: Targets) -> None:
    lit = targets_of(tiny.true_lattice(16), tiny.ring(4), Lighting(headlight=Headlight(0.5)))
    look = Appearance(1, Lighting())
    optimizer = Optimizer(tiny.true_lattice(16), lit, tiny.WEIGHTS, look)
    before = optimizer.lattice.values
    optimizer.estimate_appearance()
    assert float(look.albedo) == pytest.approx(0.5, abs=1e-4)
    assert torch.equal(optimizer.lattice.values, before)
