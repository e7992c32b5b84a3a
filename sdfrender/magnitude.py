"""How large and how small numbers may be: what is computed with them squares them in float32.

A number that is finite but larger becomes infinity on the way, and the images NaN without a word;
a mesh of such coordinates makes libigl read memory that is not its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.eager import transformed

LARGEST = 1e18  # its square is finite in float32
SMALLEST = 1 / LARGEST  # and that of this is not zero there


def usable(x: Tensor) -> bool:
    """Whether all numbers of `x` `[...]` are finite and none is beyond ±`LARGEST`.

    Inside a transform of `torch.func` nobody can look at them.
    """
    if not x.numel() or transformed():
        return True
    x = x.detach()
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        # torch would wake its threads, and they stay busy waiting for a while
        array = x.numpy()
        return bool(array.min() >= -LARGEST and array.max() <= LARGEST)  # not so for NaN
    low, high = x.aminmax()
    return bool(low >= -LARGEST and high <= LARGEST)


def usable_array(x: NDArray[np.floating[Any]]) -> bool:
    """The same of an array `[...]`."""
    return not x.size or bool(x.min() >= -LARGEST and x.max() <= LARGEST)


def needed(x: Tensor) -> str:
    """What numbers that are not `usable` lack: words for a message."""
    bad = x.detach().double().flatten()
    bad = bad[~(bad.abs() <= LARGEST)]
    if bool(bad.isfinite().all()):
        return f"numbers of at most {LARGEST:g}, got {float(bad[0]):g}"
    return "finite numbers, got NaN or infinity"
