"""The kernel that compares the pixels of a view with its neighbours; see `matching`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from multiview.stereo.patches import (
    FEWEST,
    MOST,
    best_first,
    correlation,
    curvature_and_pull,
    lines_of_patch,
    normalise,
    sample_patch,
)
from sdfrender.kernels.compiled import kernel, scalar

FACING = 0.15  # cosine of the reference view's line of sight, at least
SEEN = 0.2  # of a neighbour's
RELIEF = 1.0  # cells; what is farther from the tangent plane is another part of the surface
GOOD = 0.85  # ZNCC with which no other depth is looked for
CURVATURE, SHIFT, SCORE, HERE, USED, COUNT = range(6)  # columns of the result


@kernel
def match_pixels(
    view: int,
    pixels: Any,
    depths: Any,
    normals: Any,
    near: Any,
    pictures: Any,
    cameras: Any,
    sizes: Any,
    settings: Any,
    offsets: Any,
    out: Any,
) -> None:
    """Compare pixels of one view with its neighbours.

    Args:
        view: the reference view.
        pixels: `[P, 2]` row and column in the depth maps.
        depths: `[N, h, w]` z of the surface, inf where there is none.
        normals: `[h, w, 3]` of the reference view.
        near: numbers of its neighbours, the nearest first.
        pictures: `[N, H, W]` photographs and, bool, where they are known.
        cameras: eyes `[N, 3]`, projections K Rᵀ `[N, 3, 3]` and their inverses, in pixels of the
            pictures.
        sizes: pictures' pixels per pixel of the depth maps, across and down; cell, world units.
        settings: half size of a patch, floor of its deviation, least score, slack of depth tests
            in cells, least cosine and most cosine between lines of sight, longest shift in cells,
            gain of the score for which a depth that was searched is taken, half size of the part of
            a patch whose residuals count.
        offsets: of the depths searched, cells along z, among them 0; or only that.
        out: `[P, 6]` zeros; written, see `CURVATURE` … `COUNT`.
    """
    half = int(settings[0])
    size = (2 * half + 1) ** 2
    room = (
        np.zeros(size), np.zeros(size), np.zeros(size), np.zeros((MOST, 6, 3)),
        np.zeros((MOST, 3)), np.zeros((6, 3)), np.zeros(MOST, np.int64), np.zeros(MOST),
        np.zeros(MOST, np.int64), np.zeros((MOST, 2)), np.zeros(size),
    )  # fmt: skip
    for p in range(len(pixels)):
        _match(
            view, pixels[p], depths, normals, near, pictures, cameras, sizes, settings, offsets,
            room, out[p],
        )  # fmt: skip


@scalar
def _match(
    view: int, pixel: Any, depths: Any, normals: Any, near: Any, pictures: Any, cameras: Any,
    sizes: Any, settings: Any, offsets: Any, room: Any, out: Any,
) -> None:  # fmt: skip
    """One pixel."""
    photographs, known = pictures
    backs = cameras[2]
    across, down, h = sizes
    half, floor, least, own = int(settings[0]), settings[1], settings[2], int(settings[8])
    count = (2 * half + 1) ** 2
    a, b, db, rays, bases, lines, seen, scores, order, found, relief = room
    row, column = pixel[0], pixel[1]
    u, v = (column + 0.5) * across, (row + 0.5) * down
    normal, z = normals[row, column], depths[view, row, column]
    out[SCORE] = out[HERE] = -1.0

    for c in range(3):
        for k in range(6):
            lines[k, c] = 0.0
    for q in range(count):
        relief[q] = 0.0
    lines[0, 0], lines[0, 1], lines[0, 2], lines[1, 0], lines[2, 1] = u, v, 1.0, 1.0, 1.0
    if not sample_patch(photographs[view], known[view], lines, relief, half, False, a, db):
        return
    normalise(a, count, floor)
    middle, back = rays[0], backs[view]
    for c in range(3):
        middle[0, c] = back[c, 0] * u + back[c, 1] * v + back[c, 2]
        middle[1, c], middle[2, c] = back[c, 0], back[c, 1]
    facing = normal[0] * middle[0, 0] + normal[1] * middle[0, 1] + normal[2] * middle[0, 2]
    length = math.sqrt(middle[0, 0] ** 2 + middle[0, 1] ** 2 + middle[0, 2] ** 2)
    if facing > -FACING * length:
        return
    _read_relief(depths[view], z, normal, middle, u, v, sizes, half, relief)
    views = _who_sees(view, z, normal, near, depths, cameras, sizes, settings, rays, bases, seen)
    out[COUNT] = views
    if views < FEWEST:
        return

    offset, here = 0.0, -1.0
    if len(offsets) > 1:
        here = _score_at(
            z, normal, views, pictures, rays, bases, lines, seen, a, b, db, half, floor, scores,
            order, relief,
        )  # fmt: skip
    if len(offsets) > 1 and here < GOOD:
        best = -2.0
        for n in range(len(offsets)):
            score = _score_at(
                z + offsets[n] * h, normal, views, pictures, rays, bases, lines, seen, a, b, db,
                half, floor, scores, order, relief,
            )  # fmt: skip
            if score > best:
                best, offset = score, offsets[n]
        if best < here + settings[7] or best < least + 0.1:
            offset = 0.0
    z += offset * h
    for m in range(views):
        scores[m], found[m, 0], found[m, 1] = -1.0, 0.0, 0.0
        lines_of_patch(bases[m], rays[m], normal, z, lines)
        j = seen[m]
        if sample_patch(photographs[j], known[j], lines, relief, half, True, b, db):
            deviation = normalise(b, count, floor)
            scores[m] = correlation(a, b, count)
            found[m, 0], found[m, 1] = curvature_and_pull(a, b, db, deviation, half, own)
    believed = best_first(scores, views, order)
    G, B, used, score = 0.0, 0.0, 0, 0.0
    for m in range(believed):
        n = order[m]
        score += scores[n]
        if scores[n] > least:
            weight = (scores[n] - least) / (1 - least)
            G += weight * found[n, 0]
            B += weight * found[n, 1]
            used += 1
    out[SCORE] = score / believed
    out[HERE] = here if len(offsets) > 1 else out[SCORE]
    out[USED] = used
    if used >= FEWEST and G > 0:
        out[CURVATURE] = G / believed * h * h
        out[SHIFT] = offset + min(max(-B / (G * h), -settings[6]), settings[6])


@scalar
def _who_sees(
    view: int, z: float, normal: Any, near: Any, depths: Any, cameras: Any, sizes: Any,
    settings: Any, rays: Any, bases: Any, seen: Any,
) -> int:  # fmt: skip
    """Collect up to `MOST` neighbours that see the point, the nearest first; returns how many.

    `rays[0]` has the rays of the patch; `rays` and `bases` of each neighbour are written.
    """
    eyes, projections, _ = cameras
    across, down, h = sizes
    _, rows, columns = depths.shape
    count = 0
    d0, d1, d2 = rays[0, 0, 0], rays[0, 0, 1], rays[0, 0, 2]
    length = math.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
    for k in range(len(near)):
        j = near[k]
        e0 = eyes[view, 0] - eyes[j, 0]
        e1 = eyes[view, 1] - eyes[j, 1]
        e2 = eyes[view, 2] - eyes[j, 2]
        x, y, t = e0 + z * d0, e1 + z * d1, e2 + z * d2
        distance = math.sqrt(x * x + y * y + t * t)
        if normal[0] * x + normal[1] * y + normal[2] * t > -SEEN * distance:
            continue
        cosine = (x * d0 + y * d1 + t * d2) / (distance * length)
        if cosine < settings[4] or cosine > settings[5]:
            continue
        M = projections[j]
        depth = M[2, 0] * x + M[2, 1] * y + M[2, 2] * t
        if depth <= 0:
            continue
        column = math.floor((M[0, 0] * x + M[0, 1] * y + M[0, 2] * t) / (depth * across))
        row = math.floor((M[1, 0] * x + M[1, 1] * y + M[1, 2] * t) / (depth * down))
        if row < 0 or column < 0 or row >= rows or column >= columns:
            continue
        if depth > depths[j, row, column] + settings[3] * h:
            continue
        for c in range(3):
            bases[count, c] = M[c, 0] * e0 + M[c, 1] * e1 + M[c, 2] * e2
            for r in range(3):
                rays[count, r, c] = rays[0, r, c]
                rays[count, 3 + r, c] = (
                    M[c, 0] * rays[0, r, 0] + M[c, 1] * rays[0, r, 1] + M[c, 2] * rays[0, r, 2]
                )
        seen[count] = j
        count += 1
        if count == MOST:
            break
    return count


@scalar
def _read_relief(
    depths: Any, z: float, normal: Any, rays: Any, u: float, v: float, sizes: Any, half: int,
    relief: Any,
) -> None:  # fmt: skip
    """Write how far the surface is behind its tangent plane over a patch, as `sample_patch` asks.

    1/z is linear in the pixel on a plane, so it is what is interpolated. 0 beyond edges in depth.
    """
    across, down, h = sizes
    rows, columns = depths.shape
    nd = normal[0] * rays[0, 0] + normal[1] * rays[0, 1] + normal[2] * rays[0, 2]
    q = -1
    for dv in range(-half, half + 1):
        for du in range(-half, half + 1):
            q += 1
            x, y = (u + du) / across - 0.5, (v + dv) / down - 0.5
            if not (x >= 0 and y >= 0 and x < columns - 1 and y < rows - 1):
                continue
            column, row = int(x), int(y)
            fx, fy = x - column, y - row
            inverse = (1 - fy) * (
                (1 - fx) / depths[row, column] + fx / depths[row, column + 1]
            ) + fy * ((1 - fx) / depths[row + 1, column] + fx / depths[row + 1, column + 1])
            n_ray = 0.0
            for c in range(3):
                n_ray += normal[c] * (rays[0, c] + du * rays[1, c] + dv * rays[2, c])
            plane = z * nd / n_ray
            behind = 1 / inverse - plane
            if abs(behind) < RELIEF * h:
                relief[q] = behind * n_ray / nd


@scalar
def _score_at(
    z: float, normal: Any, views: int, pictures: Any, rays: Any, bases: Any, lines: Any,
    seen: Any, a: Any, b: Any, db: Any, half: int, floor: float, scores: Any, order: Any,
    relief: Any,
) -> float:  # fmt: skip
    """Mean correlation of the best half of the neighbours, were the point at depth z."""
    photographs, known = pictures
    count = (2 * half + 1) ** 2
    for m in range(views):
        scores[m] = -1.0
        lines_of_patch(bases[m], rays[m], normal, z, lines)
        if sample_patch(photographs[seen[m]], known[seen[m]], lines, relief, half, False, b, db):
            normalise(b, count, floor)
            scores[m] = correlation(a, b, count)
    believed = best_first(scores, views, order)
    total = 0.0
    for m in range(believed):
        total += scores[order[m]]
    return total / believed
