"""Pictures of how a rendering differs from a photograph."""

from __future__ import annotations

import torch
from torch import Tensor

DIFFERENCE_GAIN = 4.0  # that differences are shown with

# Okabe and Ito's colours, which people with any colour vision tell apart.
EQUAL = (0.55, 0.55, 0.55)
BRIGHTER = (0.90, 0.62, 0.0)
DARKER = (0.0, 0.45, 0.70)
EXTRA = (0.80, 0.47, 0.65)
MISSING = (0.0, 0.62, 0.45)


def difference(
    rendering: Tensor,
    coverage: Tensor,
    photograph: Tensor,
    mask: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    """What is wrong where, as a picture `[H, W, 4]` with alpha.

    Inside both outlines: grey where the colours agree, towards orange where the rendering is
    brighter and towards blue where it is darker, `DIFFERENCE_GAIN` times amplified. What only the
    rendering covers is purple, what only the photograph shows is green.

    Args:
        rendering: `[H, W, C]` premultiplied, over black.
        coverage: `[H, W]` its silhouette.
        photograph: `[H, W, C]`, as `rendering`.
        mask: `[H, W]` the photograph's silhouette.
        known: `[H, W]` how far the mask can be trusted; everywhere, if absent.
    """
    both = torch.minimum(coverage, mask)
    apart = (coverage - mask) * (1.0 if known is None else known)
    change = rendering - photograph
    strength = (DIFFERENCE_GAIN * change.square().mean(-1).sqrt()).clamp(max=1)[..., None]
    brighter = (change.sum(-1) > 0)[..., None]
    grey = torch.tensor(EQUAL)
    inside = grey + strength * (
        torch.where(brighter, torch.tensor(BRIGHTER), torch.tensor(DARKER)) - grey
    )
    outside = torch.where((apart > 0)[..., None], torch.tensor(EXTRA), torch.tensor(MISSING))
    alpha = both + apart.abs()
    color = both[..., None] * inside + apart.abs()[..., None] * outside
    return torch.cat((color / alpha.clamp(min=1e-6)[..., None], alpha[..., None]), -1)
