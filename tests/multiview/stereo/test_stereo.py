"""Stereo: the matching kernel against a plain twin, its derivative, rows of depth, and recovery."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stereo_tiny import BOX, RADIUS, ball, cameras, photographs

from multiview.optimize.band import Band
from multiview.optimize.energy import pixels_in_cells
from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.stereo_rows import FLATTEST, depth_rows, rays_of, slopes
from multiview.optimize.stereo_term import NEAR, WEIGHT, StereoTerm, disagreement
from multiview.photo.targets import Targets
from multiview.recipes import NewtonLevel, NewtonRecipe, StereoSettings
from multiview.stereo.match_kernel import RELIEF
from multiview.stereo.matching import Matches, Matching, Seen, match
from multiview.stereo.neighbours import LEAST_ANGLE, MOST_ANGLE, neighbours
from multiview.stereo.outline import Outline, without_colors
from multiview.stereo.pictures import Pictures, pictures_for, principal_channel
from multiview.stereo.reach import FEWEST, agreeing_points, cut_to_reach
from sdfrender import Cameras, Lattice, render
from sdfrender.hull.bounds import bounds_from_masks

Doubles = NDArray[np.float64]

# ---------------------------------------------------------------------- a plain twin


def twin(
    targets: Targets, pictures: Pictures, depths: Doubles, normals: Doubles, hit: NDArray[np.bool_],
    cell: float, how: Matching, near: list[NDArray[np.int64]],
) -> dict[tuple[int, int, int], tuple[float, ...]]:  # fmt: skip
    """`match` without a search, one pixel after the other in numpy; views see what they face."""
    views = targets.cameras
    grey, known = pictures.grey.double().numpy(), pictures.known.numpy()
    N, H, W = grey.shape
    Ks = views.resized(W, H).Ks.double().numpy()
    R, eyes = views.c2w[:, :3, :3].double().numpy(), views.centers.double().numpy()
    found = {}
    for i in range(N):
        for row, column in np.argwhere(hit[i]):
            u = (column + 0.5) * W / views.width
            v = (row + 0.5) * H / views.height
            offsets = np.arange(-how.half, how.half + 1)
            us, vs = np.meshgrid(u + offsets, v + offsets)
            D = np.stack((us, vs, np.ones_like(us)), -1) @ np.linalg.inv(Ks[i]).T @ R[i].T
            middle = D[how.half, how.half]
            n, z = normals[i, row, column], depths[i, row, column]
            a, _ = read(grey[i], known[i], us - 0.5, vs - 0.5)
            if a is None or n @ middle > -0.15 * np.linalg.norm(middle):
                continue
            a_hat, _ = normalised(a, how.floor)
            seen = [j for j in near[i] if sees(views, depths, i, j, z, middle, n, cell, how)][:6]
            if len(seen) < 2:
                continue

            relief = bulges(
                depths[i],
                z * (n @ middle) / (D @ n),
                us,
                vs,
                W / views.width,
                H / views.height,
                cell,
            )

            def patch(j: int, z: float, i: int = i, n: Doubles = n, D: Doubles = D,
                      middle: Doubles = middle,
                      relief: Doubles = relief) -> Doubles | None:  # fmt: skip
                X = eyes[i] + (z * (n @ middle) / (D @ n) + relief)[..., None] * D
                p = (X - eyes[j]) @ R[j] @ Ks[j].T
                return read(
                    grey[j], known[j], p[..., 0] / p[..., 2] - 0.5, p[..., 1] / p[..., 2] - 0.5
                )[0]

            each = []
            for j in seen:
                b, e = patch(j, z), 1e-6
                if b is None:
                    each.append((-1.0, 0.0, 0.0))
                    continue
                ahead, behind = patch(j, z + e), patch(j, z - e)
                assert ahead is not None
                assert behind is not None
                g = (normalised(ahead, how.floor)[0] - normalised(behind, how.floor)[0]) / (2 * e)
                b_hat = normalised(b, how.floor)[0]
                rest = 0 if how.whole else how.half - max(1, round(W / views.width / 2))
                own = (slice(rest, 2 * how.half + 1 - rest),) * 2
                pull = (g * (b_hat - a_hat))[own].mean()
                each.append(((a_hat * b_hat).mean(), (g * g)[own].mean(), pull))
            each.sort(reverse=True)
            best = each[: max(2, math.ceil(len(each) / 2))]
            w = [max(0.0, (s - how.least) / (1 - how.least)) for s, _, _ in best]
            G = sum(x * y[1] for x, y in zip(w, best, strict=True))
            B = sum(x * y[2] for x, y in zip(w, best, strict=True))
            use = sum(x > 0 for x in w) >= 2 and G > 0
            shift = float(np.clip(-B / G / cell, -how.longest, how.longest)) if use else 0.0
            score = sum(s for s, _, _ in best) / len(best)
            if score > -1:
                found[i, row, column] = (G / len(best) * cell**2 if use else 0.0, shift, score)
    return found


def bulges(
    depths: Doubles, plane: Doubles, u: Doubles, v: Doubles, across: float, down: float, cell: float
) -> Doubles:
    """How far the surface is behind its tangent plane; 0 beyond the frame, edges and misses."""
    x, y = u / across - 0.5, v / down - 0.5
    H, W = depths.shape
    framed = (x >= 0) & (y >= 0) & (x < W - 1) & (y < H - 1)
    c, r = np.where(framed, x, 0).astype(int), np.where(framed, y, 0).astype(int)
    fx, fy = x - c, y - r
    inverse = 1 / depths
    top = (1 - fx) * inverse[r, c] + fx * inverse[r, c + 1]
    bottom = (1 - fx) * inverse[r + 1, c] + fx * inverse[r + 1, c + 1]
    with np.errstate(divide="ignore"):
        behind = 1 / ((1 - fy) * top + fy * bottom) - plane
    return np.where(framed & (np.abs(behind) < RELIEF * cell), behind, 0)


def read(
    grey: Doubles, known: NDArray[np.bool_], u: Doubles, v: Doubles
) -> tuple[Doubles | None, None]:
    H, W = grey.shape
    if (u < 0).any() or (v < 0).any() or (u >= W - 1.001).any() or (v >= H - 1.001).any():
        return None, None
    c, r = u.astype(int), v.astype(int)
    if not (known[r, c] & known[r + 1, c + 1]).all():
        return None, None
    x, y = u - c, v - r
    top = grey[r, c] * (1 - x) + grey[r, c + 1] * x
    return top * (1 - y) + (grey[r + 1, c] * (1 - x) + grey[r + 1, c + 1] * x) * y, None


def normalised(a: Doubles, floor: float) -> tuple[Doubles, float]:
    deviation = math.sqrt(a.var() + floor**2)
    return (a - a.mean()) / deviation, deviation


def sees(
    views: Cameras, depths: Doubles, i: int, j: int, z: float, D: Doubles, n: Doubles, cell: float,
    how: Matching,
) -> bool:  # fmt: skip
    away = (views.centers[i] - views.centers[j]).double().numpy() + z * D
    length = np.linalg.norm(away) * np.linalg.norm(D)
    if n @ away > -0.2 * np.linalg.norm(away):
        return False
    if not math.radians(LEAST_ANGLE / 2) < math.acos(away @ D / length) < math.radians(MOST_ANGLE):
        return False
    local = away @ views.c2w[j, :3, :3].double().numpy()
    u, v, _ = views.Ks[j].double().numpy() @ (local / local[2])
    row, column = math.floor(v), math.floor(u)
    inside = 0 <= row < views.height and 0 <= column < views.width
    return bool(inside and local[2] <= depths[j, row, column] + how.slack * cell)


def matched(
    how: Matching, radius: float = RADIUS
) -> tuple[Matches, dict[tuple[int, ...], tuple[float, ...]]]:
    views = cameras()
    targets = photographs(views)
    low = targets.resized(19, 15)
    lattice = ball(radius)
    out = render(lattice, low.cameras)
    pictures = Pictures.of(targets)
    cell, middle = float(lattice.spacing.max()), BOX.mean(0)
    found = match(low, pictures, out, cell, how, middle)
    depths = torch.where(out.hit_mask, out.depths, math.inf).float().double().numpy()
    expected = twin(
        low, pictures, depths, out.normals.float().double().numpy(), out.hit_mask.numpy(), cell,
        how,
        neighbours(low.cameras, middle),
    )  # fmt: skip
    return found, expected


@pytest.mark.parametrize(
    "how", [Matching(), Matching(half=2, floor=0.05, least=0.2), Matching(whole=False)]
)
def test_matching_is_that_of_a_plain_twin(how: Matching) -> None:
    found, expected = matched(how, RADIUS * 1.03)
    got = {
        tuple(pixel): (G, shift, score)
        for pixel, G, shift, score in zip(
            found.pixels.tolist(), found.curvature, found.shift, found.score, strict=True
        )
        if score > -1
    }
    assert len(expected) > 200
    # pictures are float32 in the kernel; which pixel a depth is read from may flip on a border
    both = got.keys() & expected.keys()
    assert len(both) >= 0.98 * max(len(got), len(expected))
    ours, theirs = (np.array([x[key] for key in both]) for x in (got, expected))
    off = np.abs(ours - theirs) / (1e-3 + np.abs(theirs))
    assert (off < 1e-3).all(1).mean() > 0.97


def test_shift_is_towards_the_surface() -> None:
    medians = []
    for factor in (1.03, 0.97):
        views = cameras()
        targets = photographs(views)
        lattice = ball(RADIUS * factor)
        out = render(lattice, views)
        cell = float(lattice.spacing.max())
        found = match(targets, Pictures.of(targets), out, cell, Matching(), BOX.mean(0))
        truth = render(ball(resolution=48), views)
        view, row, column = found.pixels.T
        wanted = ((truth.depths - out.depths)[view, row, column] / cell).numpy()
        use = (found.curvature > 0) & (np.abs(wanted) < 0.4)
        assert use.sum() > 300
        assert np.median(np.abs(found.shift[use] - wanted[use])) < 0.03
        medians.append((np.median(found.shift[use]), np.median(wanted[use])))
    (far, far_wanted), (near, near_wanted) = medians
    assert far - near == pytest.approx(far_wanted - near_wanted, rel=0.1)


def test_search_finds_a_surface_that_is_cells_away() -> None:
    views = cameras()
    targets = photographs(views)
    lattice = ball(RADIUS * 1.25)
    out = render(lattice, views)
    cell = float(lattice.spacing.max())
    truth = render(ball(resolution=48), views)
    off = {}
    for search in (0.0, 3.0):
        found = match(
            targets, Pictures.of(targets), out, cell, Matching(search=search), BOX.mean(0)
        )
        view, row, column = found.pixels.T
        wanted = ((truth.depths - out.depths)[view, row, column] / cell).numpy()
        facing = (out.normals * views.rays()[1]).sum(-1)[view, row, column].numpy() < -0.7
        use = (found.curvature > 0) & (np.abs(wanted) < 3) & facing
        off[search] = np.median(np.abs(found.shift[use] - wanted[use]))
    assert off[3.0] < 0.3 < 1.0 < off[0.0]


def test_plain_surfaces_say_nothing() -> None:
    views = cameras()
    targets = photographs(views)
    random = torch.Generator().manual_seed(0)
    even = 0.5 + 0.003 * torch.randn(targets.images.shape, generator=random)
    targets = replace(targets, images=even * targets.silhouettes[..., None])
    out = render(ball(), views)
    found = match(targets, Pictures.of(targets), out, 0.1, Matching(), BOX.mean(0))
    assert (found.score > -1).sum() > 300
    assert (found.curvature > 0).mean() < 0.01


def test_views_of_other_turns_are_neighbours_as_they_were_seen() -> None:
    targets, lattice = photographs(cameras()), ball(1.02 * RADIUS)
    pictures, middle = Pictures.of(targets), BOX.mean(0)
    cell = float(lattice.spacing.max())
    out = render(lattice, targets.cameras)
    turn, rest = [0, 2, 5], [1, 3, 4, 6]
    whole = match(targets, pictures, out, cell, Matching(), middle, turn)
    some = targets[turn]
    out = render(lattice, some.cameras)
    seen = Seen.of(targets[rest], render(lattice, targets[rest].cameras))
    both = pictures[torch.tensor([*turn, *rest])]
    found = match(some, both, out, cell, Matching(), middle, others=seen)
    assert len(found.score) == len(whole.score) > 500
    np.testing.assert_array_equal(np.array(turn)[found.pixels[:, 0]], whole.pixels[:, 0])
    np.testing.assert_allclose(found.score, whole.score, atol=1e-6)
    np.testing.assert_allclose(found.shift, whole.shift, atol=1e-5)
    alone = match(some, pictures[torch.tensor(turn)], out, cell, Matching(), middle)
    assert found.used.mean() > 1.5 * alone.used.mean()

    term, band = StereoTerm(pictures, Matching()), Band(lattice, 3.2, 2.2)
    used = [len(term.rows(band, some, out, 1.0)[1]) for _ in range(2)]
    assert used[0] == used[1]  # its own turn again: nothing new
    later = targets[rest]
    first, _, _ = StereoTerm(pictures, Matching()).rows(
        band, later, render(lattice, later.cameras), 1.0
    )
    second, _, _ = term.rows(band, later, render(lattice, later.cameras), 1.0)
    assert second.shape[0] > first.shape[0]
    assert (term.rows(band, some, out, 1.0)[0]).shape[0] > used[0]


def test_a_pixel_counts_as_its_area_times_its_curvature() -> None:
    targets, lattice = photographs(cameras()), ball(1.02 * RADIUS)
    pictures, band = Pictures.of(targets), Band(lattice, 3.2, 2.2)
    out = render(lattice, targets.cameras)
    found = match(targets, pictures, out, band.h, Matching(), lattice.bounds.mean(0))
    use = (found.curvature > 0) & (np.abs(found.shift) > 1e-3)
    count = 2.5
    _, residual, _ = StereoTerm(pictures, Matching()).rows(band, targets, out, count)
    residual = residual[use[found.curvature > 0]]
    shift = found.shift[use]
    cells = (pixels_in_cells(lattice, targets) ** 2).numpy()[found.pixels[use, 0]]
    expected = cells * found.curvature[use] * np.minimum(1, NEAR / np.abs(shift))
    expected *= count * WEIGHT / disagreement(found)
    np.testing.assert_allclose((residual / shift) ** 2, expected, rtol=1e-4)


# ---------------------------------------------------------------------- neighbours, pictures


def test_neighbours_are_the_nearest_between_two_angles() -> None:
    views = cameras(9)
    near = neighbours(views, BOX.mean(0), 4)
    away = torch.nn.functional.normalize(views.centers - BOX.mean(0), dim=-1).double()
    for view, found in enumerate(near):
        angles = torch.rad2deg(torch.arccos((away @ away[view]).clamp(-1, 1))).numpy()
        allowed = [j for j in range(9) if LEAST_ANGLE <= angles[j] <= MOST_ANGLE and j != view]
        assert list(found) == sorted(allowed, key=lambda j: angles[j])[:4]


def test_the_channel_is_the_one_that_varies_most() -> None:
    random = torch.Generator().manual_seed(1)
    red = torch.rand(500, generator=random)
    colors = torch.stack((red, 0.6 - 0.9 * red, 0.2 + 0 * red), -1)  # whose mean hardly varies
    weights = principal_channel(colors)
    assert float(weights.abs().sum()) == pytest.approx(1, abs=1e-6)
    assert (colors @ weights).std() > 0.4 * red.std() > 4 * colors.mean(-1).std()


# ---------------------------------------------------------------------- reach


def near_views() -> Targets:
    """The painted ball from one side, so near that it leaves the frame on all sides."""
    angle = (torch.arange(9, dtype=torch.float64) - 4) * 0.12
    eyes = 3.1 * torch.stack((angle.sin(), 0.3 * (3 * angle).cos(), angle.cos()), -1)
    views = Cameras.look_at(eyes.float(), width=120, height=94, fov=0.24)
    return photographs(views, gains=False)


def test_a_sweep_finds_the_surface() -> None:
    targets = near_views()
    axis = torch.nn.functional.normalize(-targets.cameras.centers.mean(0), dim=0)
    points = agreeing_points(targets, -2.0, 6.0, axis)
    assert len(points) > 5 * FEWEST
    off = (points - torch.tensor([0.02, -0.03, 0.05])).norm(dim=-1) - RADIUS
    assert float(off.abs().median()) < 0.042  # between the depths that are tried
    assert float((off.abs() < 0.15).float().mean()) > 0.8


@pytest.mark.slow
def test_a_box_that_masks_leave_open_is_cut_to_what_photographs_show() -> None:
    targets = near_views()
    box = bounds_from_masks(targets.cameras, targets.silhouettes, targets.silhouette_weights)
    cut = cut_to_reach(box, targets)
    assert cut is not None
    assert float((box[1] - box[0])[2]) > 1.8 * float((cut[1] - cut[0])[2])
    assert float(cut[1, 2]) > 0.05 + RADIUS  # the near side of the ball is in it
    assert float(cut[0, 2]) < 0.05 + 0.8 * RADIUS
    even = replace(targets, images=0.5 * targets.silhouettes[..., None])
    assert cut_to_reach(box, even) is None  # nothing agrees
    around = photographs(cameras())  # whose masks bound it on all sides
    box = bounds_from_masks(around.cameras, around.silhouettes, around.silhouette_weights)
    assert cut_to_reach(box, around) is None


# ---------------------------------------------------------------------- rows


def test_rows_of_depth_are_finite_differences() -> None:
    views = cameras(3, 19, 15)
    lattice = Lattice.from_function(
        lambda p: (p * torch.tensor([1.0, 1.2, 0.9])).norm(dim=-1) - 0.5, (11, 10, 13), BOX
    ).to(torch.float64)
    random = torch.Generator().manual_seed(5)
    values = lattice.values + 0.02 * torch.randn(
        lattice.values.shape, generator=random, dtype=torch.float64
    )
    lattice = lattice.with_values(values)
    views = views.to(lattice.values)
    out = render(lattice, views)
    pixels = out.hit_mask.nonzero().numpy()
    view, row, column = pixels.T
    rays = rays_of(views, pixels)
    z = out.depths[view, row, column]
    points = views.centers[view] + z[:, None] * rays
    steep = slopes(lattice.values, lattice, points, rays)
    band = Band(lattice, 3.2, 2.2)
    rows = depth_rows(band, points, rays)
    tangent = torch.randn(len(band), generator=random, dtype=torch.float64).numpy()
    change = band.scatter(tangent).to(torch.float64)
    e = 1e-6
    ahead, behind = (render(lattice.with_values(values + s * e * change), views) for s in (1, -1))
    same = (ahead.hit_mask & behind.hit_mask)[view, row, column].numpy()
    steep_enough = (steep < -2 * FLATTEST).numpy()
    expected = ((ahead.depths - behind.depths)[view, row, column] / (2 * e * band.h)).numpy()
    got = rows @ tangent.astype(np.float32)
    use = same & steep_enough
    assert use.sum() > 100
    # rows are float32
    assert np.median(np.abs(got - expected)[use] / (1 + np.abs(expected[use]))) < 1e-6
    assert np.quantile(np.abs(got - expected)[use] / (1 + np.abs(expected[use])), 0.95) < 1e-4


def test_a_surface_seen_flat_does_not_move_without_bounds() -> None:
    lattice = ball(resolution=12)
    points = torch.tensor([[RADIUS + 0.02, -0.03, 0.05]])
    along = torch.tensor([[0.0, 1.0, 1.0]])
    slope = slopes(lattice.values, lattice, points, along)
    assert float(slope) == pytest.approx(-FLATTEST * math.sqrt(2), rel=0.1)


# ---------------------------------------------------------------------- the term in a fit


def test_the_term_recovers_depth_that_silhouettes_do_not_tell() -> None:
    views = cameras()
    targets = photographs(views)
    start = Lattice.from_function(  # a lid: the ball's front cut off flat
        lambda p: torch.maximum((p - torch.tensor([0.02, -0.03, 0.05])).norm(dim=-1) - RADIUS,
                                p[..., 2] - 0.5), 24, BOX).redistance()  # fmt: skip
    level = NewtonLevel(
        1, 2.5, 5, laplacian=0.003, colors=False, stereo=StereoSettings(5.0, search=1.5)
    )
    recipe = NewtonRecipe((level,))
    stereo = StereoTerm(pictures_for(targets, start, 5.0), Matching(search=1.5))

    def after(term: StereoTerm | None) -> float:
        low = without_colors(targets.for_lattice(start, 2.5))
        method = GaussNewton(start, low, Outline(), recipe, level, stereo=term)
        for index in range(level.passes):
            list(method.run_pass(index))
        found, truth = render(method.lattice, views), render(ball(resolution=48), views)
        seen = hidden & found.hit_mask
        return float((found.depths - truth.depths)[seen].abs().mean())

    before = render(start, views)
    truth = render(ball(resolution=48), views)
    both = before.hit_mask & truth.hit_mask
    hidden = both & ((before.depths - truth.depths).abs() > 0.05)
    assert hidden.sum() > 500
    lid = float((before.depths - truth.depths)[hidden].abs().mean())
    assert after(stereo) < 0.15 * lid
    assert after(stereo) < 0.6 * after(None)  # which smoothness takes some of the way


def test_bumps_smaller_than_a_patch_are_seen_by_single_pixels() -> None:
    views = cameras()
    targets = photographs(views)
    level = NewtonLevel(1, 2.5, 6, laplacian=1e-3, colors=False, stereo=StereoSettings(5.0))
    truth, cell = render(ball(resolution=48), views), 2.2 / 23

    def bumpy(points: torch.Tensor) -> torch.Tensor:
        away = (points - torch.tensor([0.02, -0.03, 0.05])).norm(dim=-1) - RADIUS
        return away + 0.6 * cell * torch.sin(2 * math.pi * points / (3 * cell)).prod(-1)

    start = Lattice.from_function(bumpy, 24, BOX).redistance()

    def off(lattice: Lattice) -> float:
        out = render(lattice, views)
        seen = out.hit_mask & truth.hit_mask
        return float((out.depths - truth.depths)[seen].abs().mean())

    def after(whole: bool) -> float:
        low = without_colors(targets.for_lattice(start, level.pixels_per_cell))
        term = StereoTerm(pictures_for(targets, start, 5.0), Matching(whole=whole))
        method = GaussNewton(start, low, Outline(), NewtonRecipe((level,)), level, stereo=term)
        for index in range(level.passes):
            list(method.run_pass(index))
        return off(method.lattice)

    own = after(False)
    assert own < 0.8 * off(start)
    assert own < 0.85 * after(True)  # a patch that moves as a whole does not see them
