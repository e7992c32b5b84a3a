"""Pictures for a page: colours as a screen shows them, differences, data addresses."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

QUALITY = 88  # of WebP, in percent
DIFFERENCE_GAIN = 4.0

# Okabe and Ito's colours, which people with any colour vision tell apart.
EQUAL = (0.55, 0.55, 0.55)
BRIGHTER = (0.90, 0.62, 0.0)
DARKER = (0.0, 0.45, 0.70)
EXTRA = (0.80, 0.47, 0.65)
MISSING = (0.0, 0.62, 0.45)


def for_display(linear: Tensor) -> Tensor:
    """Encode linear colour `[..., C]` for a screen (sRGB, IEC 61966-2-1)."""
    return torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )


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


def data_address(picture: Tensor) -> str:
    """A picture `[H, W, C]` in [0, 1], C of 1, 3 or 4, as a `data:` address."""
    array = (picture.detach().cpu().clamp(0, 1) * 255).round().byte().numpy()
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, -1)
    data = io.BytesIO()
    Image.fromarray(array).save(data, "WEBP", quality=QUALITY, method=2)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
