"""Torch tensors as what kernels take, without a copy, and a lattice made ready for its views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numba import cuda
from torch import Tensor
from torch.nn.functional import max_pool3d
from torch.nn.functional import pad as with_margin

from sdfrender.engines.cuda.available import simulated
from sdfrender.kernels.bricks import BLOCK
from sdfrender.kernels.ray_walk import EVENT

BITS = list(EVENT.names or ()).index("bits")  # the fields before `t` are of four bytes each


@contextmanager
def current_stream(device: torch.device) -> Iterator[Any]:
    """The stream that torch uses now; the device is the current one inside."""
    if simulated():
        yield 0
        return
    with torch.cuda.device(device), cuda.gpus[device.index]:
        yield cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)


def array(x: Tensor) -> Any:
    """The memory of a contiguous tensor, as an argument of a kernel."""
    x = x.detach()
    if simulated():
        return x.numpy()
    return cuda.as_cuda_array(x, sync=False)  # launches are on torch's own stream


def records(x: Tensor) -> Any:
    """Bytes `[K, most · 24]` as records of events `[K, most]`, see `ray_walk.EVENT`."""
    return array(x).view(EVENT)


def room_for_events(count: int, most: int, device: torch.device) -> Tensor:
    """Bytes for `most` events of each of `count` pixels, see `records`."""
    return torch.zeros(count, most * EVENT.itemsize, dtype=torch.uint8, device=device)


def first_bits(events: Tensor) -> Tensor:
    """`[K]` int32 the flags of each pixel's first event, of `room_for_events`."""
    return events.view(torch.int32)[:, BITS]


def padded(values: Tensor) -> Tensor:
    """`[X, Y, Z]` to `[X+2, Y+2, Z+2]`, as `geometry.padding.pad` does it."""
    out = with_margin(values, (1,) * 6)
    inner = out[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        p, q = out.movedim(axis, 0), inner.movedim(axis, 0)
        p[0, 1:-1, 1:-1] = 2 * q[0] - q[1]
        p[-1, 1:-1, 1:-1] = 2 * q[-1] - q[-2]
    return out


def unpadded(g: Tensor) -> Tensor:
    """The transpose of `padded`: `[X+2, Y+2, Z+2]` to `[X, Y, Z]`."""
    out = g[1:-1, 1:-1, 1:-1].clone()
    for axis in range(3):
        q, p = out.movedim(axis, 0), g.movedim(axis, 0)[:, 1:-1, 1:-1]
        q[0] += 2 * p[0]
        q[1] -= p[0]
        q[-1] += 2 * p[-1]
        q[-2] -= p[-1]
    return out


def block_minima(values: Tensor) -> Tensor:
    """The smallest value in each block of cells `[⌈(X−1)/8⌉, …]`, see `ray_walk.find_events`."""
    margins = []
    for n in reversed(values.shape):
        blocks = -(-(n - 1) // BLOCK)
        margins += [0, blocks * BLOCK + 1 - n]
    filled = with_margin(-values, margins, value=-torch.inf)
    return -max_pool3d(filled[None, None], BLOCK + 1, BLOCK)[0, 0]


def with_sizes(views: Tensor, width: int, height: int) -> Tensor:
    """Views `[N, 16]` with the size of the images: `[N, 18]`, see `view.view_of`."""
    size = torch.tensor([width, height], dtype=views.dtype, device=views.device)
    return torch.cat((views, size.expand(len(views), 2)), 1).contiguous()
