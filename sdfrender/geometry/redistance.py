"""Signed distances again from any lattice, without moving its surface: fast sweeping.

Notation: a cell *holds surface* when its 8 corners have `min ≤ 0 ≤ max`, which is exactly when the
trilinear interpolant vanishes somewhere in it. `d` is the unsigned distance, `h` the spacing.

One pass finds the blocks that hold surface, and one writes `± reach` to what is far from it. All
else is done where distances reach, on lattices and on those that are kept in blocks
(`sparse.redistance`) alike.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.geometry.blocks import SIDE, extremes, holding
from sdfrender.geometry.redistance_rounds import redistanced_in_rounds
from sdfrender.geometry.sparse.blocked import Stored, cast, read, shape_of, write
from sdfrender.kernels.compiled import kept

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]

# Rounds of eight sweeps. Two suffice on every lattice tried; the loop stops when nothing changes.
MAX_ROUNDS = 16
FROZEN, ACTIVE, JOINED = 1, 2, 3  # states of a vertex; JOINED: frozen when all are looked at
BITS = 8  # blocks along z that share a byte of `busy`


def redistanced(
    values: Tensor,
    spacing: Tensor,
    frozen_band: float = 1.2,
    reach: float = math.inf,
    reuse: bool = False,
) -> Tensor:
    """Signed distances again; what `Lattice.redistance` does, on values alone.

    Not differentiable: the result is detached.

    Args:
        values: `[X, Y, Z]` or `[B, X, Y, Z]`, world units, on any device, in any floating type.
        spacing: `[3]` world units.
        frozen_band: as in `Lattice.redistance`.
        reach: as in `Lattice.redistance`.
        reuse: nobody needs `values` any more: the result may take their place, which saves its
            memory.

    Returns:
        Values of the same shape, type and device.

    Raises:
        ValueError: `frozen_band` is negative or not finite, or `reach` is not above it.
    """
    check_bands(frozen_band, reach)
    values = values.detach()
    wide = torch.float64 if values.dtype == torch.float64 else torch.float32
    fields = values.reshape(-1, *values.shape[-3:])
    if values.device.type == "cuda":  # where sweeps, which go in order, are of no use
        x, y, z = spacing.double().tolist()
        steps_of = (x, y, z)
        new = [redistanced_in_rounds(phi, steps_of, frozen_band, reach) for phi in fields.to(wide)]
        return torch.stack(new).to(values).reshape(values.shape)
    arrays = fields.to("cpu", wide).contiguous()
    ours = reuse or arrays.data_ptr() != values.data_ptr()
    swept = arrays if ours else torch.empty_like(arrays)
    steps = spacing.double().cpu().numpy()
    for phi, out in zip(arrays.numpy(), swept.numpy(), strict=True):
        _redistance(phi, out, steps, frozen_band, reach)
    return swept.to(values).reshape(values.shape)


def check_bands(frozen_band: float, reach: float) -> None:
    """Raise ValueError for a band or a reach that `Lattice.redistance` does not take."""
    if not (math.isfinite(frozen_band) and frozen_band >= 0):
        raise ValueError(f"frozen_band: need a finite number of at least 0, got {frozen_band}")
    if not reach > frozen_band:
        raise ValueError(f"reach: need more than frozen_band = {frozen_band}, got {reach}")


def _redistance(
    phi: Floats, out: Floats, spacing: Floats, frozen_band: float, reach: float
) -> None:
    """One lattice `[X, Y, Z]`; `spacing` is `[3]`. The result is written to `out`, maybe `phi`."""
    low, high = extremes(phi)
    # Of zeros only what is written takes memory.
    state, blocks = np.zeros(phi.shape, np.uint8), np.zeros(low.shape, np.bool_)
    freeze_corners(phi, holding(low, high), state, blocks)
    if not blocks.any():
        np.copyto(out, phi)
        return
    h = float(spacing.min())
    width = frozen_band * h
    close = (low < width) & (high > -width)
    freeze_near(phi, close, state, blocks, math.ceil(frozen_band), width)
    limit = float(phi.dtype.type(reach * h))
    _write(phi, out, limit, low, high, state, blocks)
    busy = np.zeros((*phi.shape[:2], -(-low.shape[2] // BITS)), np.uint8)
    activate_beside(out, state, blocks, busy)
    sweep(out, state, busy, spacing)


@kept
@njit()
def freeze_corners(phi: Stored, held: Bools, state: Stored, blocks: Bools) -> None:
    """Freeze the corners of all cells that hold surface, and mark their blocks.

    Args:
        phi: `[X, Y, Z]`.
        held: blocks that may hold surface.
        state: `[X, Y, Z]`, written to.
        blocks: those with a frozen vertex, written to.
    """
    X, Y, Z = shape_of(phi)
    for a, b, c in np.argwhere(held):
        for i in range(a * SIDE, min((a + 1) * SIDE, X - 1)):
            for j in range(b * SIDE, min((b + 1) * SIDE, Y - 1)):
                for k in range(c * SIDE, min((c + 1) * SIDE, Z - 1)):
                    low = high = read(phi, i, j, k)
                    for x in range(i, i + 2):
                        for y in range(j, j + 2):
                            for z in range(k, k + 2):
                                low, high = (
                                    min(low, read(phi, x, y, z)),
                                    max(high, read(phi, x, y, z)),
                                )
                    if low <= 0 <= high:
                        for x in range(i, i + 2):
                            for y in range(j, j + 2):
                                for z in range(k, k + 2):
                                    write(state, x, y, z, FROZEN)
                                    blocks[x // SIDE, y // SIDE, z // SIDE] = True


@kept
@njit()
def freeze_near(
    phi: Stored, close: Bools, state: Stored, blocks: Bools, steps: int, width: float
) -> None:
    """Freeze the vertices of `|φ| < width` that a corner frozen before is at most `steps` from.

    `close` are the blocks that may have such; the others are as in `freeze_corners`.
    """
    X, Y, Z = shape_of(phi)
    reach = (steps + SIDE - 1) // SIDE
    looked_at = np.argwhere(close)
    beside = np.array([_is_near(blocks, True, a, b, c, reach) for a, b, c in looked_at], np.bool_)
    for a, b, c in looked_at[beside]:
        for i in range(a * SIDE, min((a + 1) * SIDE, X)):
            for j in range(b * SIDE, min((b + 1) * SIDE, Y)):
                for k in range(c * SIDE, min((c + 1) * SIDE, Z)):
                    joins = read(state, i, j, k) != FROZEN and abs(read(phi, i, j, k)) < width
                    if joins and _is_near(state, FROZEN, i, j, k, steps):
                        write(state, i, j, k, JOINED)
                        blocks[a, b, c] = True
    for a, b, c in looked_at[beside]:
        for i in range(a * SIDE, min((a + 1) * SIDE, X)):
            for j in range(b * SIDE, min((b + 1) * SIDE, Y)):
                for k in range(c * SIDE, min((c + 1) * SIDE, Z)):
                    if read(state, i, j, k) == JOINED:
                        write(state, i, j, k, FROZEN)


@kept
@njit()
def _is_near(state: Stored, wanted: int, i: int, j: int, k: int, steps: int) -> bool:
    """Whether a vertex, or a block, of a state is at most `steps` away along every axis."""
    X, Y, Z = shape_of(state)
    for x in range(max(i - steps, 0), min(i + steps + 1, X)):
        for y in range(max(j - steps, 0), min(j + steps + 1, Y)):
            for z in range(max(k - steps, 0), min(k + steps + 1, Z)):
                if read(state, x, y, z) == wanted:
                    return True
    return False


@kept
@njit()
def _write(
    phi: Floats, out: Floats, limit: float, low: Floats, high: Floats, state: Bytes, blocks: Bools
) -> None:
    """Write frozen values as they are and all others as ± the limit, unless that is there already.

    `low` and `high` are of each block, `blocks` those with a frozen vertex.
    """
    X, Y, Z = phi.shape
    same = phi.ctypes.data == out.ctypes.data
    for i in range(X):
        for j in range(Y):
            for c in range(low.shape[2]):
                block = i // SIDE, j // SIDE, c
                begin, end = c * SIDE, min((c + 1) * SIDE, Z)
                if blocks[block] or low[block] < 0 <= high[block]:
                    for k in range(begin, end):
                        far = -limit if phi[i, j, k] < 0 else limit
                        out[i, j, k] = phi[i, j, k] if state[i, j, k] == FROZEN else far
                    continue
                far = -limit if low[block] < 0 else limit
                if not (same and low[block] == high[block] == far):
                    out[i, j, begin:end] = far


@kept
@njit()
def activate_beside(out: Stored, state: Stored, blocks: Bools, busy: Bytes) -> None:
    """Activate the neighbours of frozen vertices, which are in `blocks`."""
    X, Y, Z = shape_of(out)
    for a, b, c in np.argwhere(blocks):
        for i in range(a * SIDE, min((a + 1) * SIDE, X)):
            for j in range(b * SIDE, min((b + 1) * SIDE, Y)):
                for k in range(c * SIDE, min((c + 1) * SIDE, Z)):
                    if read(state, i, j, k) == FROZEN:
                        _activate_around(out, state, busy, i, j, k)


@kept
@njit()
def sweep(out: Stored, state: Stored, busy: Bytes, spacing: Floats) -> None:
    """Gauss-Seidel sweeps of the upwind scheme over `d = |out|`, in place, until nothing changes.

    A vertex is visited only while `ACTIVE`, at first next to one that is frozen: one of its
    neighbours has come down since its last visit (locking sweeping, Bak, McLaughlin and Renzi
    2010). Runs of vertices without an active one are passed over, so that a sweep costs little more
    than the vertices in reach of the surface.

    Args:
        out: `[X, Y, Z]`.
        state: `[X, Y, Z]`.
        busy: `[X, Y, ⌈Z/64⌉]`; bit n of byte m: whether run 8m + n, of 8 vertices, has active ones.
        spacing: `[3]`.
    """
    X, Y, _ = shape_of(out)
    for _ in range(MAX_ROUNDS):
        changed = False
        for order in range(8):
            for ii in range(X):
                i = ii if order & 1 else X - 1 - ii
                for jj in range(Y):
                    j = jj if order & 2 else Y - 1 - jj
                    for bb in range(busy.shape[2]):
                        byte = bb if order & 4 else busy.shape[2] - 1 - bb
                        for nn in range(BITS if busy[i, j, byte] else 0):
                            n = nn if order & 4 else BITS - 1 - nn
                            if busy[i, j, byte] >> n & 1:
                                busy[i, j, byte] ^= 1 << n
                                run = byte * BITS + n
                                if _visit(out, state, busy, spacing, (i, j, run), order & 4):
                                    changed = True
        if not changed:
            break


@kept
@njit()
def _visit(
    out: Stored,
    state: Stored,
    busy: Bytes,
    spacing: Floats,
    where: tuple[int, int, int],
    forward: int,
) -> bool:
    """Visit the active vertices of a run in order; whether any of them came down."""
    X, Y, Z = shape_of(out)
    hx, hy, hz = spacing
    wx, wy, wz = 1 / (hx * hx), 1 / (hy * hy), 1 / (hz * hz)
    i, j, run = where
    begin, end = run * SIDE, min((run + 1) * SIDE, Z)
    changed = False
    for kk in range(end - begin):
        k = begin + kk if forward else end - 1 - kk
        if read(state, i, j, k) != ACTIVE:
            continue
        write(state, i, j, k, 0)
        a = min(abs(read(out, max(i - 1, 0), j, k)), abs(read(out, min(i + 1, X - 1), j, k)))
        b = min(abs(read(out, i, max(j - 1, 0), k)), abs(read(out, i, min(j + 1, Y - 1), k)))
        c = min(abs(read(out, i, j, max(k - 1, 0))), abs(read(out, i, j, min(k + 1, Z - 1))))
        new = cast(out, _upwind(a, hx, wx, b, hy, wy, c, hz, wz))
        if new < abs(read(out, i, j, k)):
            write(out, i, j, k, -new if read(out, i, j, k) < 0 else new)
            changed = True
            _activate_around(out, state, busy, i, j, k)
    return changed


@kept
@njit(inline="always")
def _activate_around(out: Stored, state: Stored, busy: Bytes, i: int, j: int, k: int) -> None:
    """Activate the neighbours that are farther than a vertex is now: only they can use it."""
    X, Y, Z = shape_of(out)
    new = abs(read(out, i, j, k))
    if i > 0 and abs(read(out, i - 1, j, k)) > new and read(state, i - 1, j, k) != FROZEN:
        _activate(state, busy, i - 1, j, k)
    if i < X - 1 and abs(read(out, i + 1, j, k)) > new and read(state, i + 1, j, k) != FROZEN:
        _activate(state, busy, i + 1, j, k)
    if j > 0 and abs(read(out, i, j - 1, k)) > new and read(state, i, j - 1, k) != FROZEN:
        _activate(state, busy, i, j - 1, k)
    if j < Y - 1 and abs(read(out, i, j + 1, k)) > new and read(state, i, j + 1, k) != FROZEN:
        _activate(state, busy, i, j + 1, k)
    if k > 0 and abs(read(out, i, j, k - 1)) > new and read(state, i, j, k - 1) != FROZEN:
        _activate(state, busy, i, j, k - 1)
    if k < Z - 1 and abs(read(out, i, j, k + 1)) > new and read(state, i, j, k + 1) != FROZEN:
        _activate(state, busy, i, j, k + 1)


@kept
@njit(inline="always")
def _activate(state: Stored, busy: Bytes, i: int, j: int, k: int) -> None:
    """Have a vertex visited."""
    write(state, i, j, k, ACTIVE)
    busy[i, j, k >> 6] |= 1 << (k >> 3 & 7)


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
