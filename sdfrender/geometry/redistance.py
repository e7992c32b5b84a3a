"""Signed distances again from any lattice, without moving its surface: fast sweeping.

Notation: a cell *holds surface* when its 8 corners have `min ≤ 0 ≤ max`, which is exactly when the
trilinear interpolant vanishes somewhere in it. `d` is the unsigned distance, `h` the spacing.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.geometry.redistance_rounds import redistanced_in_rounds
from sdfrender.kernels.compiled import kept

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]

# Rounds of eight sweeps. Two suffice on every lattice tried; the loop stops when nothing changes.
MAX_ROUNDS = 16
BLOCK = 16  # vertices along z that are passed over together
FROZEN, ACTIVE, JOINED = 1, 2, 3  # states of a vertex; JOINED: frozen when all are looked at


def redistanced(
    values: Tensor, spacing: Tensor, frozen_band: float = 1.2, reach: float = math.inf
) -> Tensor:
    """Signed distances again; what `Lattice.redistance` does, on values alone.

    Not differentiable: the result is detached.

    Args:
        values: `[X, Y, Z]` or `[B, X, Y, Z]`, world units, on any device, in any floating type.
        spacing: `[3]` world units.
        frozen_band: as in `Lattice.redistance`.
        reach: as in `Lattice.redistance`.

    Returns:
        Values of the same shape, type and device.

    Raises:
        ValueError: `frozen_band` is negative or not finite, or `reach` is not above it.
    """
    if not (math.isfinite(frozen_band) and frozen_band >= 0):
        raise ValueError(f"frozen_band: need a finite number of at least 0, got {frozen_band}")
    if not reach > frozen_band:
        raise ValueError(f"reach: need more than frozen_band = {frozen_band}, got {reach}")
    values = values.detach()
    wide = torch.float64 if values.dtype == torch.float64 else torch.float32
    fields = values.reshape(-1, *values.shape[-3:])
    if values.device.type == "cuda":  # where sweeps, which go in order, are of no use
        x, y, z = spacing.double().tolist()
        steps_of = (x, y, z)
        new = [redistanced_in_rounds(phi, steps_of, frozen_band, reach) for phi in fields.to(wide)]
        return torch.stack(new).to(values).reshape(values.shape)
    steps = spacing.double().cpu().numpy()
    arrays = fields.to("cpu", wide).numpy()
    each = [_redistance(phi, steps, frozen_band, reach) for phi in arrays]
    swept = each[0] if len(each) == 1 else np.stack(each)  # which copies
    return torch.from_numpy(swept).to(values).reshape(values.shape)


def _redistance(phi: Floats, spacing: Floats, frozen_band: float, reach: float) -> Floats:
    """One lattice `[X, Y, Z]`; `spacing` is `[3]`."""
    state = np.zeros(phi.shape, np.uint8)
    if not _freeze_corners(phi, state):
        return phi.copy()
    h = float(spacing.min())
    _freeze_near(phi, state, math.ceil(frozen_band), frozen_band * h)
    d, busy = np.full(phi.shape, reach * h, phi.dtype), _blocks(state)
    _start(phi, d, state, busy)
    _sweep(d, state, busy, spacing)
    _sign(phi, d, state)
    return d


def _blocks(state: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Whether any vertex is active in runs of `BLOCK` along z: at first, none."""
    X, Y, Z = state.shape
    return np.zeros((X, Y, (Z + BLOCK - 1) // BLOCK), np.uint8)


@kept
@njit()
def _freeze_corners(phi: Floats, state: NDArray[np.uint8]) -> bool:
    """Freeze the corners of all cells that hold surface; whether there are any."""
    X, Y, Z = phi.shape
    some = False
    for i in range(X - 1):
        for j in range(Y - 1):
            a, b, c, d = phi[i, j, 0], phi[i, j + 1, 0], phi[i + 1, j, 0], phi[i + 1, j + 1, 0]
            low, high = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
            for k in range(1, Z):
                a, b, c, d = phi[i, j, k], phi[i, j + 1, k], phi[i + 1, j, k], phi[i + 1, j + 1, k]
                lower, higher = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
                if min(low, lower) <= 0 <= max(high, higher):
                    some = True
                    for x in range(i, i + 2):
                        for y in range(j, j + 2):
                            state[x, y, k - 1] = state[x, y, k] = FROZEN
                low, high = lower, higher
    return some


@kept
@njit()
def _freeze_near(phi: Floats, state: NDArray[np.uint8], steps: int, width: float) -> None:
    """Freeze the vertices of `|φ| < width` that a corner frozen before is at most `steps` from."""
    X, Y, Z = phi.shape
    for i in range(X):
        for j in range(Y):
            for k in range(Z):
                close = state[i, j, k] != FROZEN and abs(phi[i, j, k]) < width
                if close and _is_near(state, i, j, k, steps):
                    state[i, j, k] = JOINED
    for i in range(X):
        for j in range(Y):
            for k in range(Z):
                if state[i, j, k] == JOINED:
                    state[i, j, k] = FROZEN


@kept
@njit()
def _is_near(state: NDArray[np.uint8], i: int, j: int, k: int, steps: int) -> bool:
    """Whether a frozen vertex is at most `steps` away along every axis."""
    X, Y, Z = state.shape
    for x in range(max(i - steps, 0), min(i + steps + 1, X)):
        for y in range(max(j - steps, 0), min(j + steps + 1, Y)):
            for z in range(max(k - steps, 0), min(k + steps + 1, Z)):
                if state[x, y, z] == FROZEN:
                    return True
    return False


@kept
@njit()
def _start(phi: Floats, d: Floats, state: NDArray[np.uint8], busy: NDArray[np.uint8]) -> None:
    """Give frozen vertices their distance, and activate their neighbours."""
    X, Y, Z = d.shape
    for i in range(X):
        for j in range(Y):
            for k in range(Z):
                if state[i, j, k] == FROZEN:
                    d[i, j, k] = abs(phi[i, j, k])
                    _activate_around(d, state, busy, i, j, k)


@kept
@njit()
def _sign(phi: Floats, d: Floats, state: NDArray[np.uint8]) -> None:
    """Turn distances `d` into signed ones, frozen ones into what they were."""
    X, Y, Z = d.shape
    for i in range(X):
        for j in range(Y):
            for k in range(Z):
                if state[i, j, k] == FROZEN:
                    d[i, j, k] = phi[i, j, k]
                elif phi[i, j, k] < 0:
                    d[i, j, k] = -d[i, j, k]


@kept
@njit()
def _sweep(d: Floats, state: NDArray[np.uint8], busy: NDArray[np.uint8], spacing: Floats) -> None:
    """Gauss-Seidel sweeps of the upwind scheme over `d`, in place, until nothing changes.

    A vertex is visited only while `ACTIVE`, at first next to one that is frozen: one of its
    neighbours has come down since its last visit (locking sweeping, Bak, McLaughlin and Renzi
    2010). Runs of vertices without an active one are passed over, so that a sweep costs little more
    than the vertices in reach of the surface.
    """
    X, Y, Z = d.shape
    hx, hy, hz = spacing
    wx, wy, wz = 1 / (hx * hx), 1 / (hy * hy), 1 / (hz * hz)
    for _ in range(MAX_ROUNDS):
        changed = False
        for order in range(8):
            for ii in range(X):
                i = ii if order & 1 else X - 1 - ii
                for jj in range(Y):
                    j = jj if order & 2 else Y - 1 - jj
                    blocks = busy.shape[2]
                    for bb in range(blocks):
                        block = bb if order & 4 else blocks - 1 - bb
                        if not busy[i, j, block]:
                            continue
                        busy[i, j, block] = 0
                        begin, end = block * BLOCK, min((block + 1) * BLOCK, Z)
                        for kk in range(end - begin):
                            k = begin + kk if order & 4 else end - 1 - kk
                            if state[i, j, k] != ACTIVE:
                                continue
                            state[i, j, k] = 0
                            a = min(d[max(i - 1, 0), j, k], d[min(i + 1, X - 1), j, k])
                            b = min(d[i, max(j - 1, 0), k], d[i, min(j + 1, Y - 1), k])
                            c = min(d[i, j, max(k - 1, 0)], d[i, j, min(k + 1, Z - 1)])
                            new = d.dtype.type(_upwind(a, hx, wx, b, hy, wy, c, hz, wz))
                            if new < d[i, j, k]:
                                d[i, j, k] = new
                                changed = True
                                _activate_around(d, state, busy, i, j, k)
        if not changed:
            break


@kept
@njit(inline="always")
def _activate_around(
    d: Floats, state: NDArray[np.uint8], busy: NDArray[np.uint8], i: int, j: int, k: int
) -> None:
    """Activate the neighbours that are farther than a vertex is now: only they can use it."""
    X, Y, Z = d.shape
    new = d[i, j, k]
    if i > 0 and d[i - 1, j, k] > new and state[i - 1, j, k] != FROZEN:
        state[i - 1, j, k], busy[i - 1, j, k // BLOCK] = ACTIVE, 1
    if i < X - 1 and d[i + 1, j, k] > new and state[i + 1, j, k] != FROZEN:
        state[i + 1, j, k], busy[i + 1, j, k // BLOCK] = ACTIVE, 1
    if j > 0 and d[i, j - 1, k] > new and state[i, j - 1, k] != FROZEN:
        state[i, j - 1, k], busy[i, j - 1, k // BLOCK] = ACTIVE, 1
    if j < Y - 1 and d[i, j + 1, k] > new and state[i, j + 1, k] != FROZEN:
        state[i, j + 1, k], busy[i, j + 1, k // BLOCK] = ACTIVE, 1
    if k > 0 and d[i, j, k - 1] > new and state[i, j, k - 1] != FROZEN:
        state[i, j, k - 1], busy[i, j, (k - 1) // BLOCK] = ACTIVE, 1
    if k < Z - 1 and d[i, j, k + 1] > new and state[i, j, k + 1] != FROZEN:
        state[i, j, k + 1], busy[i, j, (k + 1) // BLOCK] = ACTIVE, 1


@kept
@njit()
def _upwind(
    a: float, ha: float, wa: float, b: float, hb: float, wb: float, c: float, hc: float, wc: float
) -> float:
    """The x that solves `Σ max(0, (x − a)/h)² = 1` over the three axes (Zhao 2005, equation 2.3).

    `a`, `b`, `c` are the smaller neighbours along the axes, `h` the spacings, `w = 1/h²`.
    """
    if a > b:
        a, ha, wa, b, hb, wb = b, hb, wb, a, ha, wa
    if b > c:
        b, hb, wb, c, hc, wc = c, hc, wc, b, hb, wb
    if a > b:
        a, ha, wa, b, hb, wb = b, hb, wb, a, ha, wa
    x = a + ha
    if x <= b:
        return x
    # (Σw) x² − 2 (Σwa) x + Σwa² − 1 = 0. `a` is subtracted throughout, for precision far from the
    # surface.
    b -= a
    c -= a
    w, p, q = wa + wb, wb * b, wb * b * b - 1
    x = (p + math.sqrt(max(p * p - w * q, 0.0))) / w
    if x > c:
        w, p, q = w + wc, p + wc * c, q + wc * c * c
        x = (p + math.sqrt(max(p * p - w * q, 0.0))) / w
    return a + x
