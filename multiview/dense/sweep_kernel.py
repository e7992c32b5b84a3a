"""The kernel of the plane sweep: warp, box sums, ZNCC, the mean of the best."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sdfrender.kernels.compiled import kernel, lanes, scalar

WORST = 255  # a cost: ZNCC −1, or nothing to compare with
HALF_COST = 127.5  # a ZNCC of 0
ALONE = 0.2  # by which a score counts less for each source that is missing


@kernel
def sweep_planes(
    reference: Any,
    known: Any,
    pictures: Any,
    pictures_known: Any,
    sources: Any,
    homographies: Any,
    half: int,
    floor: float,
    best: int,
    out: Any,
) -> None:
    """Score the pixels of a view on some planes.

    Args:
        reference: `[h, w]` the view, or the part of it that shows the box.
        known: `[h, w]` bool, which of its pixels count.
        pictures: `[N, H, W]` all views.
        pictures_known: `[N, H, W]` bool.
        sources: `[S]` which of them to compare with.
        homographies: `[D, S, 3, 3]` from pixels of the reference to those of a source, by plane.
        half: of a window beside its middle, pixels.
        floor: of a window's deviation, units of colour.
        best: of the S scores, how many count.
        out: `[D, h, w]` uint8 written: `(1 − score) / 2` of full scale.
    """
    h, w = reference.shape
    mean, deviation = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    off, warped = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    rows, sums = np.zeros((4, h, w), np.float32), np.zeros((4, w), np.float32)
    top = np.zeros((best, h, w), np.float32)
    unknown = np.zeros((h, w), np.float32)
    for y in range(h):
        for x in range(w):
            unknown[y, x] = 0.0 if known[y, x] else 1.0
    window = np.float32((2 * half + 1) ** 2)
    _sums_along_rows(reference, reference, unknown, half, rows)
    for y in range(h):
        _sums_of_rows(rows, y, half, sums)
        for x in range(w):
            m = sums[0, x] / window
            mean[y, x] = m
            deviation[y, x] = math.sqrt(max(sums[1, x] / window - m * m, 0.0) + floor * floor)
            if sums[3, x] > 0.5 or y < half or x < half or y >= h - half or x >= w - half:
                deviation[y, x] = 0.0  # a window that is not known
    for d in range(len(homographies)):
        top[:] = -1.0
        for s in range(len(sources)):
            j = sources[s]
            _warp(pictures[j], pictures_known[j], homographies[d, s], warped, off)
            _sums_along_rows(warped, reference, off, half, rows)
            for y in range(half, h - half):
                _sums_of_rows(rows, y, half, sums)
                _keep_best(sums, mean[y], deviation[y], window, floor, top[:, y])
        _costs(top, out[d])


@scalar
def _warp(picture: Any, known: Any, M: Any, warped: Any, off: Any) -> None:
    """Read a source where a plane shows it; `off` is 1 where there is nothing to read."""
    h, w = warped.shape
    H, W = picture.shape
    for y in range(h):
        v = y + 0.5
        a0, b0, c0 = M[0, 1] * v + M[0, 2], M[1, 1] * v + M[1, 2], M[2, 1] * v + M[2, 2]
        for x in range(w):
            u = x + 0.5
            c = M[2, 0] * u + c0
            warped[y, x], off[y, x] = 0.0, 1.0
            if c <= 0:
                continue
            px, py = (M[0, 0] * u + a0) / c - 0.5, (M[1, 0] * u + b0) / c - 0.5
            if not (px >= 0 and py >= 0 and px < W - 1.001 and py < H - 1.001):
                continue
            column, row = int(px), int(py)
            if not (known[row, column] and known[row + 1, column + 1]):
                continue
            fx, fy = np.float32(px - column), np.float32(py - row)
            upper = picture[row, column] + fx * (picture[row, column + 1] - picture[row, column])
            lower = picture[row + 1, column] + fx * (
                picture[row + 1, column + 1] - picture[row + 1, column]
            )
            warped[y, x], off[y, x] = upper + fy * (lower - upper), 0.0


@lanes
def _sums_along_rows(a: Any, b: Any, off: Any, half: int, rows: Any) -> None:
    """Sums of a, a², a b and `off` over windows along each row; 0 near its ends."""
    h, w = a.shape
    for y in range(h):
        for q in range(4):
            for x in range(w):
                rows[q, y, x] = 0.0
        for k in range(-half, half + 1):
            for x in range(half, w - half):
                value = a[y, x + k]
                rows[0, y, x] += value
                rows[1, y, x] += value * value
                rows[2, y, x] += value * b[y, x + k]
                rows[3, y, x] += off[y, x + k]


@lanes
def _sums_of_rows(rows: Any, y: int, half: int, sums: Any) -> None:
    """Sums of `rows` over a window along the columns about row y."""
    _, h, w = rows.shape
    for q in range(4):
        for x in range(w):
            sums[q, x] = 0.0
        for k in range(max(y - half, 0), min(y + half + 1, h)):
            for x in range(w):
                sums[q, x] += rows[q, k, x]


@lanes
def _keep_best(sums: Any, mean: Any, deviation: Any, window: Any, floor: float, top: Any) -> None:
    """Insert a row's ZNCC with one source into the best so far, `[best, w]`, the best first."""
    best, w = top.shape
    one, small = np.float32(1 / window), np.float32(floor * floor)
    for x in range(w):
        score = np.float32(-1.0)
        if deviation[x] > 0 and sums[3, x] < 0.5:
            m = sums[0, x] * one
            variance = max(sums[1, x] * one - m * m, np.float32(0)) + small
            score = (sums[2, x] * one - m * mean[x]) / (math.sqrt(variance) * deviation[x])
        for n in range(best):
            higher = max(top[n, x], score)
            score = min(top[n, x], score)
            top[n, x] = higher


@scalar
def _costs(top: Any, out: Any) -> None:
    """The mean of the scores that there are, as costs."""
    best, h, w = top.shape
    for y in range(h):
        for x in range(w):
            total, count = 0.0, 0
            for n in range(best):
                if top[n, y, x] > -1:
                    total += top[n, y, x]
                    count += 1
            score = total / count - ALONE * (best - count) if count else -1.0
            out[y, x] = np.uint8(min(max((1 - score) * HALF_COST, 0.0), WORST))
