"""Compositing: the events of a ray, front to back, make its pixel."""

from __future__ import annotations

from torch import Tensor

from sdfrender.engines.reference.events import Events


def composite(
    events: Events, alphas: Tensor, colors: Tensor, num_rays: int
) -> tuple[Tensor, Tensor]:
    """Blend events front to back: `Σ T α c` with `T` the product of `1 − α` before.

    Args:
        events: sorted by slot.
        alphas: `[E]`.
        colors: `[E, C]`.
        num_rays: R.

    Returns:
        Premultiplied colours `[R, C]` and what remains transparent `[R]`.
    """
    total = colors.new_zeros(num_rays, colors.shape[1])
    clear = alphas.new_ones(num_rays)
    for slot in range(int(events.slots.max()) + 1 if len(events.slots) else 0):
        part = (events.slots == slot).nonzero()[:, 0]
        r, alpha = events.rays[part], alphas[part]
        through = clear[r]
        total = total.index_add(0, r, (through * alpha)[:, None] * colors[part])
        clear = clear.index_copy(0, r, through * (1 - alpha))
    return total, clear
