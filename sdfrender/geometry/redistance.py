"""Signed distances again from any lattice, without moving its surface: fast sweeping.

Notation: a cell *holds surface* when its 8 corners have `min ≤ 0 ≤ max`, which is exactly when the
trilinear interpolant vanishes somewhere in it. `d` is the unsigned distance, `h` the spacing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]

# Rounds of eight sweeps. Two suffice on every lattice tried; the loop stops when nothing changes.
MAX_ROUNDS = 16


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
    steps = spacing.double().cpu().numpy()
    fields = values.reshape(-1, *values.shape[-3:]).to("cpu", wide).numpy()
    swept = np.stack([_redistance(phi, steps, frozen_band, reach) for phi in fields])
    return torch.from_numpy(swept).to(values).reshape(values.shape)


def _redistance(phi: Floats, spacing: Floats, frozen_band: float, reach: float) -> Floats:
    """One lattice `[X, Y, Z]`; `spacing` is `[3]`."""
    frozen = surface_vertices(phi)
    if not frozen.any():
        return phi
    near = frozen
    for _ in range(math.ceil(frozen_band)):
        near = _grow(near)
    frozen |= near & (np.abs(phi) < frozen_band * spacing.min())
    d = np.where(frozen, np.abs(phi), reach * spacing.min()).astype(phi.dtype)
    _sweep(d, frozen, _grow(frozen) & ~frozen, spacing)
    return np.where(frozen, phi, np.where(phi < 0, -d, d))


def surface_vertices(phi: Floats) -> Bools:
    """`[X, Y, Z]` the corners of all cells of `phi` `[X, Y, Z]` that hold surface."""
    holds = (_pairs(phi, np.minimum) <= 0) & (_pairs(phi, np.maximum) >= 0)  # one per cell
    return _pairs(np.pad(holds, 1), np.logical_or)


def _grow(mask: Bools) -> Bools:
    """`mask` and its 26-neighbours."""
    cells = _pairs(np.pad(mask, 1), np.logical_or)
    return _pairs(cells, np.logical_or)


def _pairs(x: NDArray[Any], reduce: Callable[..., Any]) -> NDArray[Any]:
    """`reduce` over each 2×2×2 block: `[X, Y, Z]` to `[X − 1, Y − 1, Z − 1]`."""
    x = reduce(x[1:], x[:-1])
    x = reduce(x[:, 1:], x[:, :-1])
    return reduce(x[:, :, 1:], x[:, :, :-1])  # type: ignore[no-any-return]


@njit(cache=True)
def _sweep(d: Floats, frozen: Bools, active: Bools, spacing: Floats) -> None:
    """Gauss-Seidel sweeps of the upwind scheme over `d`, in place, until nothing changes.

    A vertex is visited only while `active`, at first next to one that is frozen: one of its
    neighbours has come down since its last visit (locking sweeping, Bak, McLaughlin and Renzi
    2010). Rounds after the first cost little.
    """
    X, Y, Z = d.shape
    hx, hy, hz = spacing
    for _ in range(MAX_ROUNDS):
        changed = False
        for order in range(8):
            for ii in range(X):
                i = ii if order & 1 else X - 1 - ii
                for jj in range(Y):
                    j = jj if order & 2 else Y - 1 - jj
                    for kk in range(Z):
                        k = kk if order & 4 else Z - 1 - kk
                        if not active[i, j, k]:
                            continue
                        active[i, j, k] = False
                        a = min(d[max(i - 1, 0), j, k], d[min(i + 1, X - 1), j, k])
                        b = min(d[i, max(j - 1, 0), k], d[i, min(j + 1, Y - 1), k])
                        c = min(d[i, j, max(k - 1, 0)], d[i, j, min(k + 1, Z - 1)])
                        new = d.dtype.type(_upwind(a, hx, b, hy, c, hz))
                        old = d[i, j, k]
                        if not new < old:
                            continue
                        d[i, j, k] = new
                        changed = True
                        # Only neighbours that are farther than `new` can use it.
                        if i > 0 and d[i - 1, j, k] > new and not frozen[i - 1, j, k]:
                            active[i - 1, j, k] = True
                        if i < X - 1 and d[i + 1, j, k] > new and not frozen[i + 1, j, k]:
                            active[i + 1, j, k] = True
                        if j > 0 and d[i, j - 1, k] > new and not frozen[i, j - 1, k]:
                            active[i, j - 1, k] = True
                        if j < Y - 1 and d[i, j + 1, k] > new and not frozen[i, j + 1, k]:
                            active[i, j + 1, k] = True
                        if k > 0 and d[i, j, k - 1] > new and not frozen[i, j, k - 1]:
                            active[i, j, k - 1] = True
                        if k < Z - 1 and d[i, j, k + 1] > new and not frozen[i, j, k + 1]:
                            active[i, j, k + 1] = True
        if not changed:
            break


@njit(cache=True)
def _upwind(a: float, ha: float, b: float, hb: float, c: float, hc: float) -> float:
    """The x that solves `Σ max(0, (x − a)/h)² = 1` over the three axes (Zhao 2005, equation 2.3).

    `a`, `b`, `c` are the smaller neighbours along the axes, `ha`, `hb`, `hc` the spacings.
    """
    if a > b:
        a, ha, b, hb = b, hb, a, ha
    if b > c:
        b, hb, c, hc = c, hc, b, hb
    if a > b:
        a, ha, b, hb = b, hb, a, ha
    x = a + ha
    if x <= b:
        return x
    # With weights w = 1/h²: (Σw) x² − 2 (Σwa) x + Σwa² − 1 = 0. `a` is subtracted throughout, for
    # precision far from the surface.
    wa, wb, wc = 1 / (ha * ha), 1 / (hb * hb), 1 / (hc * hc)
    b -= a
    c -= a
    w, p, q = wa + wb, wb * b, wb * b * b - 1
    x = (p + math.sqrt(max(p * p - w * q, 0.0))) / w
    if x > c:
        w, p, q = w + wc, p + wc * c, q + wc * c * c
        x = (p + math.sqrt(max(p * p - w * q, 0.0))) / w
    return a + x
