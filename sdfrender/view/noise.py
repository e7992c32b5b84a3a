"""How noisy pictures are: images, and depths."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

# Immerkær 1996: a difference of two Laplacians. Zero for planes, whatever their slope; its
# response to noise is 6 σ.
KERNEL = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
MEDIAN = 0.6745  # the median of a normal distribution's absolute values, standard deviations


def picture_noise(pictures: Tensor, known: Tensor, fewest: int = 1) -> float:
    """Standard deviation of the noise of pictures, in their units. Not differentiable.

    From second differences, and by their median, which edges and texture hardly move as long as
    most of a picture is plain. A curved surface has a little too.

    J. Immerkær, "Fast Noise Variance Estimation", CVIU 64(2), 1996, with the median of absolute
    values for their mean.

    Args:
        pictures: `[N, H, W, C]`.
        known: `[N, H, W]` bool: pixels that count, if those around them do too.
        fewest: pixels that must count; 0 is returned where fewer do.

    Worked value: rows of 0, 0, 1, 0, 0, … repeated downwards: 0, for they do not differ.
    """
    return noise_of(second_differences(pictures, known), pictures.shape[-1], fewest)


def noise_of(responses: NDArray[np.float32], channels: int, fewest: int = 1) -> float:
    """The same of the second differences `[P C]` of P pixels."""
    if len(responses) < fewest * channels or not len(responses):
        return 0.0
    return float(np.median(np.abs(responses)) / (MEDIAN * float(KERNEL.norm())))


def second_differences(pictures: Tensor, known: Tensor) -> NDArray[np.float32]:
    """Of all pixels that count, `[P C]`, channel by channel of each picture."""
    nothing = np.zeros(0, np.float32)
    if min(known.shape[1:]) < len(KERNEL) or not len(known):
        return nothing
    whole = -max_pool2d(-known[:, None].float(), 3, 1)[:, 0] > 0.5  # (N, H - 2, W - 2)
    kernel = KERNEL.to(pictures)[None, None]
    responses = []
    for picture, seen, chosen in zip(pictures, known, whole, strict=True):
        filled = torch.where(seen[..., None], picture.detach(), 0)  # others may be infinite
        planes = conv2d(filled.permute(2, 0, 1)[:, None], kernel)[:, 0]
        responses.append(planes[:, chosen].flatten().numpy())
    return np.concatenate(responses)
