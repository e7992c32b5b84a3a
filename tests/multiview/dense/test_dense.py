"""Dense stereo, part by part: against twins in numpy, and against planes and balls."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import relief
import torch

from multiview.dense.aggregation import DIRECTIONS, add_paths, take_least
from multiview.dense.consistency import confirmations
from multiview.dense.fusion import fuse
from multiview.dense.sources import choose_sources, pair_scores
from multiview.dense.start import (
    as_shown,
    confirmed_depths,
    contrast_floor,
    dense_start,
    largest_parts,
)
from multiview.dense.sweep import HALF, homographies, planes, shown_part, sweep
from multiview.dense.sweep_kernel import ALONE, sweep_planes
from multiview.stereo.pictures import Pictures
from sdfrender import Cameras, InputError, Lattice, extract_mesh, render

# ---------------------------------------------------------------------- sources


def test_sources_are_the_views_at_good_angles() -> None:
    views = relief.cameras(6)
    near = choose_sources(views, relief.BOX, 3)
    assert set(near[0][:2].tolist()) == {1, 2}
    assert set(near[3][:2].tolist()) == {2, 4}
    scores = pair_scores(views, relief.BOX)
    np.testing.assert_allclose(scores, scores.T, atol=1e-12)
    assert (np.diag(scores) == 0).all()
    assert scores[0, 1] > scores[0, 3] > scores[0, 5]


def test_a_view_that_looks_away_is_no_source_and_has_none() -> None:
    views = relief.cameras(4)
    c2w = views.c2w.clone()
    c2w[2, :3, :3] = c2w[2, :3, :3] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    turned = Cameras(c2w, views.Ks, views.width, views.height)
    near = choose_sources(turned, relief.BOX)
    assert not len(near[2])
    assert all(2 not in ids for ids in near)
    assert shown_part(turned, 2, relief.BOX) is None


# ---------------------------------------------------------------------- the sweep


def test_homographies_take_pixels_of_a_plane_to_the_other_view() -> None:
    views = relief.cameras(3)
    z, corner = 2.7, (7, 4)
    M = homographies(1, views, np.array([0, 2]), np.array([1 / z]), corner)[0]
    uv = torch.tensor([[3.5, 2.5], [40.2, 31.7]])
    depths = torch.full((1, 1, 1), z)
    K, c2w = views.Ks[1].double(), views.c2w[1].double()
    whole = torch.cat((uv + torch.tensor(corner), torch.ones(2, 1)), -1).double()
    points = z * whole @ torch.linalg.inv(K).T @ c2w[:3, :3].T + c2w[:3, 3]
    for s, j in enumerate((0, 2)):
        expected = views[[j]].to(depths.double()).project(points)[0][0]
        homogeneous = torch.cat((uv, torch.ones(2, 1)), -1).double() @ torch.from_numpy(M[s]).T
        found = homogeneous[:, :2] / homogeneous[:, 2:]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def sampled(picture: np.ndarray, known: np.ndarray, x: float, y: float) -> float:
    """Bilinear, NaN outside and where something is not known."""
    H, W = picture.shape
    x, y = x - 0.5, y - 0.5
    if not (0 <= x < W - 1.001 and 0 <= y < H - 1.001):
        return math.nan
    c, r = int(x), int(y)
    if not (known[r, c] and known[r + 1, c + 1]):
        return math.nan
    f, g = x - c, y - r
    p = picture[r : r + 2, c : c + 2].astype(float)
    return float(
        (1 - g) * ((1 - f) * p[0, 0] + f * p[0, 1]) + g * ((1 - f) * p[1, 0] + f * p[1, 1])
    )


def zncc(a: np.ndarray, b: np.ndarray, floor: float) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(
        (a * b).mean() / np.sqrt(((a * a).mean() + floor**2) * ((b * b).mean() + floor**2))
    )


def twin(
    reference: np.ndarray, known: np.ndarray, pictures: np.ndarray, others: np.ndarray,
    sources: list[int], M: np.ndarray, half: int, floor: float, best: int,
) -> np.ndarray:  # fmt: skip
    """Costs of one plane, pixel by pixel."""
    h, w = reference.shape
    costs = np.full((h, w), 255.0)
    for y in range(half, h - half):
        for x in range(half, w - half):
            window = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
            if not known[window].all():
                continue
            scores = []
            for s, j in enumerate(sources):
                other = np.zeros((2 * half + 1, 2 * half + 1))
                for dy in range(-half, half + 1):
                    for dx in range(-half, half + 1):
                        p = M[s] @ np.array((x + dx + 0.5, y + dy + 0.5, 1.0))
                        other[dy + half, dx + half] = sampled(
                            pictures[j], others[j], p[0] / p[2], p[1] / p[2]
                        )
                if np.isfinite(other).all():
                    scores.append(zncc(reference[window].astype(float), other, floor))
            scores = sorted(scores, reverse=True)[:best]
            if scores:
                score = np.mean(scores) - ALONE * (best - len(scores))
                costs[y, x] = min(max((1 - score) * 127.5, 0), 255)
    return costs


def test_costs_are_those_of_the_twin() -> None:
    random = np.random.default_rng(4)
    pictures = random.random((4, 17, 23)).astype(np.float32)
    known = np.ones(pictures.shape, bool)
    known[0, 11, 15] = known[2, 5, 9] = False
    reference, own = pictures[0, 1:16, 2:21].copy(), known[0, 1:16, 2:21].copy()
    sources, half, floor, best = [1, 2, 3], 1, 0.05, 2
    M = np.zeros((2, 3, 3, 3))
    for d in range(2):
        for s in range(3):
            M[d, s] = np.eye(3) + 0.02 * random.standard_normal((3, 3))
            M[d, s, 2, :2] *= 0.05
            M[d, s, :2, 2] += (2 * s - 1.5, d)
    out = np.zeros((2, *reference.shape), np.uint8)
    sweep_planes(reference, own, pictures, known, np.array(sources), M, half, floor, best, out)
    for d in range(2):
        expected = twin(reference, own, pictures, known, sources, M[d], half, floor, best)
        assert (expected < 250).sum() > 60  # or nothing was compared
        # single precision, and cut off to a whole number
        np.testing.assert_allclose(out[d], expected, atol=1.1)


def test_the_best_plane_is_that_of_the_surface() -> None:
    views = relief.cameras(5)
    targets = relief.photographs(views)
    near = choose_sources(views, relief.BOX)
    volume = sweep(2, views, Pictures.of(targets), relief.BOX, near[2], 0.004)
    assert volume is not None
    _, h, w = volume.costs.shape
    left, top = volume.corner
    assert (np.diff(volume.inverse) > 0).all()
    truth = render(relief.wall(), views[[2]], coverage=False).depths[
        0, top : top + h, left : left + w
    ]
    found = 1 / volume.inverse[volume.costs.argmin(0)]
    step = 0.5 * np.abs(np.diff(1 / volume.inverse)).max()
    inner = (slice(10, h - 10), slice(10, w - 10))
    wrong = np.abs(found - truth.numpy())[inner]
    assert np.median(wrong) < step
    assert (wrong < 4 * step).mean() > 0.9


def test_planes_are_finer_where_sources_are_farther_apart() -> None:
    views = relief.cameras(6, 400, 300)
    middle = relief.BOX.mean(0)
    near = planes(0, views, np.array([1]), (2.4, 3.6), middle)
    far = planes(0, views, np.array([1, 3]), (2.4, 3.6), middle)
    assert len(far) > 1.5 * len(near)
    assert near[0] == pytest.approx(1 / 3.6)
    assert near[-1] == pytest.approx(1 / 2.4)


def test_a_view_without_sources_or_without_the_box_has_no_volume() -> None:
    views = relief.cameras(3)
    pictures = Pictures.of(relief.photographs(views))
    assert sweep(0, views, pictures, relief.BOX, np.zeros(0, np.int64), 0.01) is None
    behind = relief.BOX + torch.tensor([0.0, 0.0, 9.0])
    assert sweep(0, views, pictures, behind, np.array([1]), 0.01) is None


# ---------------------------------------------------------------------- aggregation


def path_twin(costs: np.ndarray, dy: int, dx: int, slope: int, jump: int) -> np.ndarray:
    """L_r as its equation has it."""
    h, w, D = costs.shape
    L = np.zeros(costs.shape, np.int64)
    for y in range(h)[:: 1 if dy >= 0 else -1]:
        for x in range(w)[:: 1 if dx >= 0 else -1]:
            L[y, x] = costs[y, x]
            py, px = y - dy, x - dx
            if 0 <= py < h and 0 <= px < w:
                before = L[py, px]
                for d in range(D):
                    steps = [before[d], before.min() + jump]
                    steps += [before[k] + slope for k in (d - 1, d + 1) if 0 <= k < D]
                    L[y, x, d] += min(steps) - before.min()
    return L


@pytest.mark.parametrize(("dy", "dx"), DIRECTIONS)
def test_paths_are_those_of_the_twin(dy: int, dx: int) -> None:
    costs = np.random.default_rng(1).integers(0, 256, (5, 7, 9)).astype(np.uint8)
    sums = np.full(costs.shape, 3, np.uint16)
    add_paths(costs, dy, dx, 11, 47, sums)
    np.testing.assert_array_equal(sums, 3 + path_twin(costs, dy, dx, 11, 47))


def test_depths_are_between_planes_where_a_parabola_is_least() -> None:
    inverse = np.linspace(0.2, 0.4, 6)
    place = np.array([[2.3, 1.0, 3.5], [0.2, 4.9, 2.0]])
    sums = (100 * (np.arange(6) - place[..., None]) ** 2).astype(np.uint16)
    costs = np.full(sums.shape, 20, np.uint8)
    costs[1, 2] = 200  # agrees with nothing
    depths, scores = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    take_least(costs, sums, inverse, 102, depths, scores)
    np.testing.assert_allclose(depths[0], 1 / (0.2 + 0.04 * place[0]), rtol=2e-3)
    assert (depths[1] == 0).all()  # at the first plane, the last, and nowhere
    assert scores[0, 0] == pytest.approx(1 - 20 / 127.5)


# ---------------------------------------------------------------------- consistency


def test_true_depths_are_confirmed_and_others_are_not() -> None:
    views = relief.cameras(4)
    depths = render(relief.wall(), views, coverage=False).depths.numpy().copy()
    depths[~np.isfinite(depths)] = 0
    near = np.array([0, 2, 3])
    counts = confirmations(1, depths, views, near)
    inner = (slice(20, 50), slice(30, 65))
    assert (counts[inner] >= 2).mean() > 0.95
    wrong = depths.copy()
    wrong[1, 30:40, 40:50] *= 1.06
    counts = confirmations(1, wrong, views, near)
    assert (counts[30:40, 40:50] == 0).mean() > 0.95
    wrong[1] = 0
    assert not confirmations(1, wrong, views, near).any()


# ---------------------------------------------------------------------- fusion


def test_a_plane_before_one_view_is_merged_exactly() -> None:
    eye = torch.eye(4)[None]
    K = torch.tensor([[[40.0, 0.0, 21.3], [0.0, 43.0, 14.2], [0.0, 0.0, 1.0]]])
    views = Cameras(eye, K, 41, 29)
    box = torch.tensor([[-0.5, -0.4, 1.5], [0.6, 0.3, 2.6]])
    depths = np.full((1, 29, 41), 2.03, np.float32)
    values, weights, near = fuse(depths, np.full_like(depths, 2.0), views, box, 23)
    spacing = 0.05
    z = torch.linspace(1.5, 2.6, 23).numpy()
    seen = weights > 0
    assert values.shape == (23, 15, 23)
    for k in range(23):
        off = 2.03 - z[k]
        inside = seen[:, :, k]
        if off > 3 * spacing:  # free space, held to the truncation
            np.testing.assert_allclose(values[:, :, k][inside], 3 * spacing, atol=1e-5)
            np.testing.assert_allclose(weights[:, :, k][inside], 0.5)
        elif off >= -3 * spacing:
            np.testing.assert_allclose(values[:, :, k][inside], off, atol=1e-5)
            np.testing.assert_allclose(weights[:, :, k][inside], 2.0)
        else:
            assert not inside.any()
        expected = 2.0 if abs(off) < 1.5 * spacing else 0.0
        np.testing.assert_allclose(near[:, :, k][inside], expected)


def test_a_ball_is_merged_from_its_depths() -> None:
    box = [[-0.9, -0.8, -0.85], [0.9, 0.8, 0.85]]
    ball = Lattice.sphere(0.6, (0.05, -0.02, 0.03), (70, 61, 66), box)
    views = Cameras.orbit(14, distance=3.0, width=121, height=97, fov=math.radians(36))
    out = render(ball, views, coverage=False)
    depths = torch.where(out.hit_mask, out.depths, 0.0).numpy()
    weights = (depths > 0).astype(np.float32)
    values, total, near = fuse(depths, weights, views, ball.bounds, 36)
    cell = 1.8 / 35
    points = Lattice(torch.zeros(values.shape), ball.bounds).vertices
    distance = ball.sample(points).numpy()
    assert (near > 0).sum() > 2000
    filled = np.where(total > 0, values, np.where(distance < 0, -3 * cell, 3 * cell))
    mesh = extract_mesh(Lattice(torch.from_numpy(filled.astype(np.float32)), ball.bounds))
    radii = np.linalg.norm(mesh.vertices - np.array((0.05, -0.02, 0.03)), axis=1)
    assert np.abs(radii - 0.6).mean() < 0.15 * cell


def test_parts_that_are_apart_change_sides() -> None:
    values = np.ones((9, 8, 7), np.float32)
    values[2:7, 2:7, 1:6] = -1
    values[4, 4, 3] = 0.2  # a void
    values[8, 7, 6] = -0.01  # a crumb
    out = largest_parts(values, 0.5)
    assert out[4, 4, 3] < 0
    assert out[8, 7, 6] == pytest.approx(0.5)
    changed = out != values
    assert changed.sum() == 2


# ---------------------------------------------------------------------- all of it


def test_a_wall_is_found_and_what_was_seen_of_it() -> None:
    targets = relief.photographs(relief.cameras())
    found = dense_start(targets, relief.BOX, 36)
    mesh = extract_mesh(found.lattice)
    points = torch.from_numpy(np.array(mesh.vertices)).float()
    seen = Lattice(found.observed, relief.BOX).sample(points) > 0.5
    inner = ((points > relief.BOX[0] + 0.06) & (points < relief.BOX[1] - 0.06)).all(-1)
    cell = float(found.lattice.spacing.max())
    off = relief.off(points[seen & inner]).abs() / cell
    assert len(off) > 500
    assert float(off.median()) < 0.6
    assert float((off < 2).float().mean()) > 0.9
    # The sides and the back of the box are no surface that anyone saw.
    back = points[:, 2] < relief.BOX[0, 2] + 0.01
    assert back.any()
    assert not seen[back].any()


def test_photographs_of_noise_are_refused() -> None:
    targets = relief.photographs(relief.cameras())
    noise = torch.rand(targets.images.shape)
    with pytest.raises(InputError, match="agree on depths in the box"):
        dense_start(replace(targets, images=noise), relief.BOX, 24)


def test_two_views_have_each_others_word() -> None:
    targets = relief.photographs(relief.cameras(2))
    depths, kept = confirmed_depths(targets, relief.BOX)
    assert (kept > 0).mean() > 0.2
    assert (kept > 0).sum() < (depths > 0).sum()


def test_linear_colours_are_shown_brighter_in_the_dark() -> None:
    targets = relief.photographs(relief.cameras(2))
    assert as_shown(targets, False) is targets
    shown = as_shown(targets, True)
    torch.testing.assert_close(shown.images**2.2, targets.images)


def test_the_floor_of_contrast_follows_the_noise() -> None:
    assert contrast_floor(0.0) == 1 / 255
    assert contrast_floor(0.003) == pytest.approx(0.006)
    assert contrast_floor(0.3) == 0.01
    assert HALF == 2
