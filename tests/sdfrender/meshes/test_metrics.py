"""Metrics against closed forms: spheres, boxes and images whose distances are known."""

import math

import numpy as np
import pytest
import torch
import trimesh
from places import REFERENCE

from sdfrender import metrics
from sdfrender.errors import InputError

FEW = 20_000


def ball(radius: float, shift: float = 0.0) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(5, radius)  # flatter than a ball by 3e-4 of its radius
    mesh.apply_translation((shift, 0, 0))
    return mesh


def square(z: float, size: float = 1.0) -> trimesh.Trimesh:
    """One side of a sheet at height z."""
    verts = np.array([[0, 0, z], [size, 0, z], [size, size, z], [0, size, z]])
    return trimesh.Trimesh(verts, [[0, 1, 2], [0, 2, 3]], process=False)


def test_a_mesh_is_itself() -> None:
    mesh = ball(1.0)
    numbers = metrics.compare_meshes(mesh, mesh, FEW)
    assert numbers["chamfer_l1"] <= 1e-12
    assert numbers["hausdorff"] <= 1e-12
    assert numbers["f_score_0.5pct"] == numbers["f_score_1pct"] == numbers["volume_iou"] == 1
    assert numbers["normal_consistency"] == pytest.approx(1, abs=1e-9)


def test_distances_between_samples_and_to_the_surface() -> None:
    """Samples of one square have a mean distance to those of the same square: 1/(2 √density)."""
    rng = np.random.default_rng(0)
    points = np.concatenate((rng.random((FEW, 2)), np.zeros((FEW, 1))), 1)
    normals = np.tile([0.0, 0.0, -1.0], (FEW, 1))  # either side counts
    distance, consistency = metrics.nearest_samples(square(0.0), points, normals)
    assert distance == pytest.approx(0.5 / math.sqrt(FEW), rel=0.03)
    assert consistency == 1
    raised, _ = metrics.nearest_samples(square(0.25), points, normals)
    assert raised == pytest.approx(0.25, rel=1e-3)


def test_parallel_sheets_are_their_distance_apart() -> None:
    """Nothing is approximate here: every sample is exactly 0.25 from the other sheet."""
    a, b = square(0.0), square(0.25)
    assert metrics.chamfer(a, b, FEW) == pytest.approx(0.25, abs=1e-12)
    assert metrics.hausdorff(a, b, FEW) == pytest.approx(0.25, abs=1e-12)
    assert metrics.mesh_accuracy(a, b, samples=FEW) == pytest.approx(0.25, abs=1e-12)
    assert metrics.f_score(a, b, 0.2499, FEW) == 0
    assert metrics.f_score(a, b, 0.2501, FEW) == 1
    assert metrics.mesh_completion(a, b, 0.2499, FEW) == 0
    assert metrics.mesh_completion(a, b, 0.2501, FEW) == 1


def test_a_half_covers_half() -> None:
    """The small sheet lies in the large one: precision 1, recall ¼, and known mean distances."""
    part, whole = square(0.0, 0.5), square(0.0, 1.0)
    # Four standard deviations of a fraction of 20 000 samples.
    tolerance = 4 * math.sqrt(0.25 * 0.75 / FEW)
    assert metrics.mesh_completion(part, whole, 1e-9, FEW) == pytest.approx(0.25, abs=tolerance)
    assert metrics.mesh_completion(whole, part, 1e-9, FEW) == 1
    assert metrics.f_score(part, whole, 1e-9, FEW) == pytest.approx(0.4, abs=2 * tolerance)
    # Completeness: over two strips the distance is uniform in [0, ½], over the far quarter it is
    # that of a corner, ½ (√2 + asinh 1)/3.
    corner = (math.sqrt(2) + math.asinh(1)) / 6
    expected = (0 + 0.25 * (0.25 + 0.25 + corner)) / 2
    assert metrics.chamfer(part, whole, FEW) == pytest.approx(expected, rel=0.02)
    assert metrics.hausdorff(part, whole, FEW) == pytest.approx(math.sqrt(0.5), rel=0.02)
    assert metrics.mesh_accuracy(part, whole, samples=FEW) == pytest.approx(0, abs=1e-12)
    assert metrics.mesh_accuracy(whole, part, 0.25, FEW) == pytest.approx(0, abs=0.01)


def test_concentric_spheres() -> None:
    numbers = metrics.compare_meshes(ball(1.1), ball(1.0), FEW)
    # 0.1 over a diameter of 2; the spheres are polyhedra, 3e-4 of the radius flatter.
    assert numbers["chamfer_l1"] == pytest.approx(0.05, abs=5e-4)
    assert numbers["hausdorff"] == pytest.approx(0.05, abs=5e-4)
    assert numbers["f_score_1pct"] == 0
    assert numbers["normal_consistency"] == pytest.approx(1, abs=2e-3)
    assert numbers["volume_iou"] == pytest.approx(1 / 1.1**3, abs=4 * math.sqrt(0.19 / FEW))


def test_the_group_is_what_the_functions_say_over_the_longest_side() -> None:
    a, b = trimesh.creation.box((1, 2, 3)), trimesh.creation.box((1.1, 1.9, 4))
    numbers = metrics.compare_meshes(a, b, FEW, seed=3)
    assert list(numbers) == REFERENCE
    assert numbers["chamfer_l1"] == metrics.chamfer(a, b, FEW, 3) / 4
    assert numbers["hausdorff"] == metrics.hausdorff(a, b, FEW, 3) / 4
    assert numbers["f_score_0.5pct"] == metrics.f_score(a, b, 0.02, FEW, 3)
    assert numbers["f_score_1pct"] == metrics.f_score(a, b, 0.04, FEW, 3)
    assert numbers["normal_consistency"] == metrics.normal_consistency(a, b, FEW, 3)
    assert numbers["volume_iou"] == metrics.volume_iou(a, b, FEW, 3)
    scaled = metrics.compare_meshes(a.copy().apply_scale(7), b.copy().apply_scale(7), FEW, seed=3)
    assert scaled == pytest.approx(numbers, abs=1e-9)


def test_the_same_seed_gives_the_same_numbers_whatever_the_global_state() -> None:
    a, b = ball(1.0), ball(1.0, 0.1)
    np.random.seed(0)  # noqa: NPY002 - the point is that it does not matter
    first = metrics.compare_meshes(a, b, 1000, seed=5)
    np.random.seed(1)  # noqa: NPY002
    assert metrics.compare_meshes(a, b, 1000, seed=5) == first
    assert metrics.compare_meshes(a, b, 1000, seed=6) != first


def test_normals_count_unsigned_in_consistency_and_signed_in_cosine() -> None:
    a, flipped = ball(1.0), ball(1.0)
    flipped.invert()
    assert metrics.normal_consistency(flipped, a, FEW) == pytest.approx(1, abs=1e-9)
    assert metrics.mesh_cosine(a, a, FEW) == pytest.approx(1, abs=1e-9)
    assert metrics.mesh_cosine(flipped, a, FEW) == pytest.approx(-1, abs=1e-9)


def test_iou_of_shifted_and_nested_boxes() -> None:
    unit, shifted = trimesh.creation.box(), trimesh.creation.box()
    shifted.apply_translation((0.5, 0, 0))
    inverted = unit.copy()
    inverted.invert()
    assert metrics.volume_iou(unit, shifted, FEW) == pytest.approx(1 / 3, abs=4 * 0.47 / FEW**0.5)
    assert metrics.volume_iou(unit, inverted, FEW) == 1
    apart = trimesh.creation.box().apply_translation((3, 0, 0))
    assert metrics.volume_iou(unit, apart, FEW) == 0
    assert math.isnan(metrics.volume_iou(square(0.0), square(1.0), 100))


def test_earth_mover_of_far_shapes_is_their_distance() -> None:
    a, b = ball(1.0), ball(1.0, 100.0)
    # The pairing moves everything by 100; the two samples differ by less than a thousandth of it.
    assert metrics.earth_mover(a, b) == pytest.approx(100, rel=1e-3)
    assert metrics.earth_mover(a, b, seed=1) == metrics.earth_mover(a, b, seed=1)
    assert 0 < metrics.earth_mover(a, a) < 0.3


def test_meshes_without_a_surface_are_refused() -> None:
    flat = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)
    for bad, words in ((trimesh.Trimesh(), "at least one triangle"), (flat, "area is 0")):
        for pair in ((bad, ball(1.0)), (ball(1.0), bad)):
            with pytest.raises(InputError, match=words):
                metrics.compare_meshes(*pair, samples=10)
    with pytest.raises(ValueError, match="samples: need at least 1"):
        metrics.chamfer(ball(1.0), ball(1.0), 0)


# ---------------------------------------------------------------------- images


def test_psnr_of_a_known_difference() -> None:
    images = torch.zeros(2, 5, 7, 3)
    assert metrics.psnr(images + 0.1, images) == pytest.approx(20, abs=1e-5)
    assert metrics.psnr(images, images) == math.inf
    mask = torch.zeros(2, 5, 7, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, 4, 6] = True
    other = images + 0.5
    other[mask] = torch.tensor([0.01, 0.01, 0.01])
    assert metrics.psnr(other, images, mask) == pytest.approx(40, abs=1e-5)
    with pytest.raises(ValueError, match="shape of the reference"):
        metrics.psnr(images, images[0])
    with pytest.raises(ValueError, match="mask: need at least one pixel"):
        metrics.psnr(images, images, mask & False)
    with pytest.raises(ValueError, match=r"mask: need \(2, 5, 7\)"):
        metrics.psnr(images, images, mask[0])


def test_ssim_of_constants_is_its_luminance_term() -> None:
    low, high = torch.full((16, 20, 3), 0.2), torch.full((16, 20, 3), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)  # (2 μ₁μ₂ + c₁)/(μ₁² + μ₂² + c₁)
    assert metrics.ssim(low, high) == pytest.approx(expected, abs=1e-6)
    noise = torch.rand(2, 16, 20, 1, generator=torch.Generator().manual_seed(0))
    assert metrics.ssim(noise, noise) == pytest.approx(1)
    both = metrics.ssim(noise, noise.flip(0))
    assert both == pytest.approx(metrics.ssim(noise[0], noise[1]))
    assert both < 0.2
    with pytest.raises(ValueError, match="at least 11 pixels"):
        metrics.ssim(noise[:, :10], noise[:, :10])


def test_silhouette_iou_is_the_mean_over_views() -> None:
    a, b = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    a[0, :2] = 0.9
    b[0, 1:] = 0.8  # 4 pixels of 16
    a[1, 0, 0] = b[1, 0, 0] = 1.0
    b[1, 0, 1] = 0.5  # not more than half
    assert metrics.silhouette_iou(a, b) == pytest.approx((4 / 16 + 1 + 1) / 3)
    assert metrics.silhouette_iou(a[0], b[0]) == pytest.approx(4 / 16)
