"""Pictures for a page: colours as a screen shows them, data addresses."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

QUALITY = 88  # of WebP, in percent


def for_display(linear: Tensor) -> Tensor:
    """Encode linear colour `[..., C]` for a screen (sRGB, IEC 61966-2-1)."""
    return torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )


def data_address(picture: Tensor) -> str:
    """A picture `[H, W, C]` in [0, 1], C of 1, 3 or 4, as a `data:` address."""
    array = (picture.detach().cpu().clamp(0, 1) * 255).round().byte().numpy()
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, -1)
    data = io.BytesIO()
    Image.fromarray(array).save(data, "WEBP", quality=QUALITY, method=2)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
