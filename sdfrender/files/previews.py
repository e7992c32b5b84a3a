"""Pictures inside HTML: colours as a screen shows them, data addresses, a strip for a notebook."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

QUALITY = 88  # of WebP, in percent
HEIGHT = 120  # of the pictures of a strip, pixels of the screen


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


def strip(title: str, pictures: Mapping[str, Tensor]) -> str:
    """HTML of pictures beside each other, for `_repr_html_`.

    Args:
        title: a line above them.
        pictures: by their captions, `[H, W, C]` in [0, 1], C of 1, 3 or 4, as a screen shows them.
    """
    figures = "".join(
        f'<figure style="display:inline-block;margin:2px;text-align:center">'
        f'<img src="{data_address(picture)}" alt="{html.escape(caption)}" '
        f'style="height:{HEIGHT}px;image-rendering:pixelated">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, picture in pictures.items()
    )
    return f"<div><code>{html.escape(title)}</code><br>{figures}</div>"
