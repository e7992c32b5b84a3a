from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch

from sdfrender import Cameras, Lattice, render
from sdfrender.geometry import energies
from singleview.config import LossWeights
from singleview.training.losses import LossTerms, image_losses, regularisers, shape_loss, soft_iou


def spheres(*radii: float, resolution: int = 20) -> Lattice:
    values = torch.stack([Lattice.sphere(r, resolution=resolution).values for r in radii])
    return Lattice(values, torch.tensor([[-1.0] * 3, [1.0] * 3]))


CAMERAS = Cameras.orbit(3, width=24)


def test_image_losses_vanish_for_the_same_pictures() -> None:
    out = render(spheres(0.5, 0.7), CAMERAS)
    losses = image_losses(out, out.images, out.silhouettes)
    for f in fields(losses):
        assert float(getattr(losses, f.name)) == pytest.approx(0, abs=1e-6)


def test_image_losses_of_a_batch_are_the_mean_of_its_halves() -> None:
    seen, true = render(spheres(0.5, 0.7), CAMERAS), render(spheres(0.6, 0.6), CAMERAS)
    whole = image_losses(seen, true.images, true.silhouettes)
    halves = []
    for b in range(2):
        part = replace(seen, images=seen.images[b : b + 1], silhouettes=seen.silhouettes[b : b + 1])
        halves.append(image_losses(part, true.images[b : b + 1], true.silhouettes[b : b + 1]))
    for f in fields(whole):
        mean = (getattr(halves[0], f.name) + getattr(halves[1], f.name)) / 2
        torch.testing.assert_close(getattr(whole, f.name), mean)


@pytest.mark.parametrize(("start", "grows"), [(0.5, True), (0.7, False)])
def test_gradient_moves_the_silhouette_towards_the_picture(start: float, grows: bool) -> None:
    true = render(spheres(0.6), CAMERAS)
    lattice = spheres(start)
    values = lattice.values.clone().requires_grad_()
    out = render(lattice.with_values(values), CAMERAS)
    losses = image_losses(out, true.images, true.silhouettes, shaded=False)
    assert float(losses.shading) == 0
    losses.total(LossWeights()).backward()
    assert values.grad is not None
    assert (float(values.grad.sum()) > 0) == grows  # growing is lowering the values


def test_regularisers_vanish_for_a_plane_and_see_only_the_band() -> None:
    plane = Lattice.from_function(lambda p: p[..., 0] - 0.11, 16)
    flat = regularisers(plane.with_values(plane.values[None]), 1.6)
    assert float(flat.eikonal) < 1e-10
    assert float(flat.laplacian) < 1e-10
    noisy = plane.values + torch.where(plane.values.abs() > 0.6, 0.3 * torch.rand(16, 16, 16), 0)
    far = regularisers(plane.with_values(noisy[None]), 1.6)
    assert float(far.eikonal) < 1e-10
    steep = regularisers(plane.with_values(2 * plane.values[None]), 1.6)
    assert float(steep.eikonal) == pytest.approx(1.5**2, rel=1e-4)


def test_regularisers_are_means_over_the_band() -> None:
    lattice = spheres(0.5)
    band = energies.narrow_band(lattice, 1.6).sum()
    expected = energies.laplacian(lattice, 1.6).sum() / band
    torch.testing.assert_close(regularisers(lattice, 1.6).laplacian, expected)


def test_shape_loss_is_least_at_the_target_and_leads_there() -> None:
    target = spheres(0.6).values
    at, near, far = (shape_loss(spheres(r).values, target) for r in (0.6, 0.63, 0.7))
    assert float(at) < float(near) < float(far)
    values = spheres(0.7).values.clone().requires_grad_()
    shape_loss(values, target).backward()
    assert values.grad is not None
    assert float(values.grad.sum()) < 0


def test_shape_loss_sees_what_lies_between_the_samples() -> None:
    """Half of the samples say outside: one by one, so that the surface is a sieve, or together."""
    target = torch.full((1, 12, 12, 12), -0.05)
    x, y, z = torch.meshgrid(*[torch.arange(12)] * 3, indexing="ij")
    sieve = torch.where((x + y + z) % 2 == 0, 0.3, -0.05)[None]
    half = torch.where(x < 6, 0.3, -0.05)[None]
    torch.testing.assert_close(sieve.mean(), half.mean())
    assert float(shape_loss(sieve, target)) > float(shape_loss(half, target)) + 0.1


def test_shape_loss_does_not_care_how_far_away_empty_space_is() -> None:
    target = spheres(0.4).values
    shifted = torch.where(target > 0.2, target + 0.1, target)
    assert float(shape_loss(target, target)) == pytest.approx(0, abs=1e-6)
    assert float(shape_loss(shifted, target, width=0.01)) == pytest.approx(0, abs=1e-5)
    wrong = torch.where(target > 0.2, torch.full_like(target, -0.3), target)
    assert float(shape_loss(wrong, target)) > 1


def test_soft_iou_of_hard_masks_is_the_iou() -> None:
    a, b = torch.tensor([[1.0, 1, 0, 0]]), torch.tensor([[0.0, 1, 1, 0]])
    assert float(soft_iou(a, b)) == pytest.approx(1 / 3, abs=1e-5)
    assert float(soft_iou(0 * a, 0 * b)) == 1


def test_every_weight_of_a_term_counts() -> None:
    names = [f.name for f in fields(LossTerms)]
    losses = LossTerms(*(torch.tensor(float(2**n)) for n in range(len(names))))
    none = LossWeights(**dict.fromkeys(names, 0.0))
    totals = {name: float(losses.total(replace(none, **{name: 1.0}))) for name in names}
    assert [math.log2(totals[name]) for name in names] == list(range(len(names)))
    doubled = losses + losses
    weights = LossWeights()
    assert float(doubled.total(weights)) == pytest.approx(2 * float(losses.total(weights)))
