"""Pictures of how a rendering differs from a photograph, and how photographs agree."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multiview.stereo.agreement import Map

DIFFERENCE_GAIN = 4.0  # that differences are shown with

# Okabe and Ito's colours, which people with any colour vision tell apart.
EQUAL = (0.55, 0.55, 0.55)
BRIGHTER = (0.90, 0.62, 0.0)
DARKER = (0.0, 0.45, 0.70)
EXTRA = (0.80, 0.47, 0.65)
MISSING = (0.0, 0.62, 0.45)

# Of a ZNCC from 0 to 1: a blue, a red and a yellow that get steadily lighter, evenly spaced.
SCALE = ("#0d0887", "#5c01a6", "#9c179e", "#cc4778", "#ed7953", "#fdb42f", "#f0f921")
NOT_COMPARED = "#bfbfbf"


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


def agreement_picture(agreed: Map, width: int, height: int) -> Tensor:
    """How photographs agree in one view, as a picture `[height, width, 4]` with alpha.

    A ZNCC from 0 to 1 has the colours of `SCALE`. Where nothing could be compared it is grey,
    outside the mask transparent. Each pixel shows one score, none a mean of two.

    Args:
        agreed: `[h, w]` scores of the view.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    h, w = agreed.scores.shape
    rows = ((np.arange(height) + 0.5) * h / height).astype(int)
    columns = ((np.arange(width) + 0.5) * w / width).astype(int)
    scores, inside = (values[np.ix_(rows, columns)] for values in agreed)
    stops = np.array([rgb(name) for name in SCALE])
    at = np.linspace(0, 1, len(stops))
    color = np.stack([np.interp(scores, at, stops[:, c]) for c in range(3)], -1)
    color[np.isnan(scores)] = rgb(NOT_COMPARED)
    return torch.from_numpy(np.concatenate((color, inside[..., None]), -1)).float()


def rgb(name: str) -> tuple[float, float, float]:
    """A colour of the web, `#rrggbb`, in 0 … 1."""
    red, green, blue = (int(name[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue
