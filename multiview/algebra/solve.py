"""Conjugate gradients on any device: the twin of scipy's, step by step.

The host waits for one number in each iteration, the length of the residual.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    b: Tensor,
    tolerance: float,
    iterations: int,
    start: Tensor | None = None,
    diagonal: Tensor | None = None,
) -> Tensor:
    """The x of `A x = b`, A symmetric and positive.

    Not differentiable.

    Args:
        product: `A x`.
        b: `[M]` or `[M, C]`.
        tolerance: length of the residual over that of b at which they end.
        iterations: at most.
        start: where to start; default: zero.
        diagonal: to divide the residual by, as b (Jacobi's preconditioner); default: ones.
    """
    x = torch.zeros_like(b) if start is None else start.clone()
    r = b - product(x) if start is not None else b.clone()
    enough = tolerance * float(b.norm())
    if enough == 0:
        return torch.zeros_like(b)
    p, before = torch.zeros_like(b), torch.ones_like(b.sum())
    for k in range(iterations):
        if float(r.norm()) < enough:
            break
        z = r if diagonal is None else r / diagonal
        now = (r * z).sum()
        p = z + (now / before) * p if k else z.clone()
        q = product(p)
        alpha = now / (p * q).sum()
        x += alpha * p
        r -= alpha * q
        before = now
    return x
