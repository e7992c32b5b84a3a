"""The blur of a lens, a Gaussian; and how blurred a set of photographs is.

A photograph of a sharp contour rises over one or two pixels, a rendering over one. Where the
model knows of the blur, residuals at contours say where the surface is and not how soft it looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from multiview.photo.parts import Part
from sdfrender.cluster.ranks import ALONE
from sdfrender.kernels.compiled import lane_kernel
from sdfrender.kernels.threads import run_all, slabs

LEAST = 0.25  # pixels; a narrower Gaussian changes nothing
REACH = 3.0  # standard deviations
CANDIDATES = (0.0, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)  # pixels


def blur(images: Tensor, sigma: float) -> Tensor:
    """Convolve images with a Gaussian.

    Differentiable. The images continue as their mirror image beyond the frame, which makes the
    operation its own adjoint.

    Args:
        images: `[N, H, W, C]` float32 or float64, on any device.
        sigma: standard deviation, pixels.
    """
    if sigma < LEAST:
        return images
    out: Tensor = _Blur.apply(images, sigma)  # type: ignore[no-untyped-call]
    return out


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, sigma: float) -> Tensor:
        ctx.sigma = sigma
        return _convolved(images.detach(), sigma)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        return _convolved(v, ctx.sigma), None


def blur_(images: Tensor, sigma: float) -> Tensor:
    """`blur` in place, without derivatives: images `[N, H, W, C]`, contiguous."""
    if sigma < LEAST:
        return images
    if images.device.type != "cpu":
        return images.copy_(convolved(images, sigma))
    _convolve(images.numpy(), sigma)
    return images


def _convolved(images: Tensor, sigma: float) -> Tensor:
    if images.device.type != "cpu":
        return convolved(images, sigma)
    out = np.array(images.numpy(), order="C")
    _convolve(out, sigma)
    return torch.from_numpy(out)


def convolved(images: Tensor, sigma: float) -> Tensor:
    """Images `[N, H, W, C]` with a Gaussian, in torch: the twin of what the CPU has compiled."""
    taps = _taps(sigma).tolist()
    radius = len(taps) - 1
    for axis in (2, 1):
        n = images.shape[axis]
        at = torch.arange(-radius, n + radius, device=images.device)
        inside = torch.where(at < 0, (-1 - at).clamp(max=n - 1), at)
        inside = torch.where(at >= n, (2 * n - 1 - at).clamp(min=0), inside)
        wide = images.index_select(axis, inside)
        out = taps[0] * wide.narrow(axis, radius, n)
        for r in range(1, radius + 1):
            out += taps[r] * (wide.narrow(axis, radius - r, n) + wide.narrow(axis, radius + r, n))
        images = out
    return images


def _taps(sigma: float) -> Any:
    """Weights of the middle and of so many pixels away on either side."""
    radius = math.ceil(REACH * sigma)
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    return taps / (2 * taps.sum() - taps[0])


def _convolve(images: Any, sigma: float) -> None:
    """In place."""
    taps = _taps(sigma).astype(images.dtype)
    radius = len(taps) - 1
    _, H, W, C = images.shape
    inside = slice(radius, radius + H)

    def some(views: slice) -> None:
        rows = np.zeros((H + 2 * radius, W * C), images.dtype)
        spans = np.zeros((H + 2 * radius, 2), np.int32)
        for image in images[views].reshape(-1, H, W * C):
            blur_rows(image, taps, C, rows[inside], spans[inside])
            blur_columns(rows, spans, taps, image)

    threads = torch.get_num_threads()
    run_all(some, slabs(len(images), threads), threads)


@lane_kernel
def blur_rows(image: Any, taps: Any, C: int, out: Any, spans: Any) -> None:
    """Along the rows of `[H, W C]` with mirrored ends, into `out`.

    Most of a picture of one object is empty: only what is not is looked at, from `spans[y, 0]` up
    to `spans[y, 1]`, which are filled here; nothing for an empty row.
    """
    H, n = image.shape
    radius = len(taps) - 1
    reach = radius * C
    row = np.zeros(n + 2 * reach, image.dtype)
    for y in range(H):
        first, end = 0, n
        while first < n and image[y, first] == 0:
            first += 1
        while end > first and image[y, end - 1] == 0:
            end -= 1
        spans[y] = 0
        out[y] = 0
        if first == n:
            continue
        first, end = max(first - reach, 0), min(end + reach, n)
        spans[y, 0], spans[y, 1] = first, end
        row[reach : reach + n] = image[y]
        W = n // C
        for r in range(radius):
            for c in range(C):
                row[(radius - 1 - r) * C + c] = image[y, min(r, W - 1) * C + c]
                row[(radius + W + r) * C + c] = image[y, max(W - 1 - r, 0) * C + c]
        for x in range(first, end):
            out[y, x] = taps[0] * row[reach + x]
        for r in range(1, radius + 1):
            before, after = (radius - r) * C, (radius + r) * C
            for x in range(first, end):
                out[y, x] += taps[r] * (row[before + x] + row[after + x])


@lane_kernel
def blur_columns(rows: Any, spans: Any, taps: Any, out: Any) -> None:
    """Down the columns of `[H + 2 radius, n]`, whose margins are filled here, into `out`."""
    H, n = out.shape
    radius = len(taps) - 1
    for r in range(radius):
        for into, of in ((radius - 1 - r, min(r, H - 1)), (radius + H + r, max(H - 1 - r, 0))):
            rows[into] = rows[radius + of]
            spans[into] = spans[radius + of]
    for y in range(H):
        first, end = n, 0
        for k in range(y, y + 2 * radius + 1):
            if spans[k, 1] > 0:
                first, end = min(first, spans[k, 0]), max(end, spans[k, 1])
        for x in range(first, end):
            out[y, x] = taps[0] * rows[y + radius, x]
        for r in range(1, radius + 1):
            for x in range(first, end):
                out[y, x] += taps[r] * (rows[y + radius - r, x] + rows[y + radius + r, x])


class LensEstimate:
    """The blur that makes renderings most like photographs, from views shown one by one.

    Args:
        before: the estimate so far, a fraction of the image's width; `best` without views.
    """

    def __init__(self, before: float) -> None:
        self.before = before
        self.errors = [0.0] * len(CANDIDATES)
        self.width, self.ranks = 0, ALONE

    def observe(
        self, images: Tensor, photographs: Tensor, weights: Tensor, part: Part | None = None
    ) -> None:
        """Compare sharp renderings `[n, H, W, C]` with photographs, pixels weighted `[n, H, W]`.

        `part` tells of which views these are one process's part, if they are.
        """
        self.width = images.shape[2]
        count = len(images) if part is None else part.count
        step = max(1, count // 8)  # a few views are enough
        every: slice | list[int] = slice(None, None, step)
        if part is not None:
            self.ranks = part.ranks
            every = [n for n, place in enumerate(part.places) if place % step == 0]
        for index, sigma in enumerate(CANDIDATES):
            residual = blur(images[every], sigma) - photographs[every]
            self.errors[index] += float((weights[every, ..., None] * residual**2).sum())

    def best(self) -> float:
        """The standard deviation, as a fraction of the image's width."""
        if not self.width:
            return self.before
        errors = self.ranks.sum(torch.tensor(self.errors, dtype=torch.float64)).tolist()
        return parabola_minimum(CANDIDATES, errors) / self.width


def parabola_minimum(x: Sequence[float], y: Sequence[float]) -> float:
    """Where the parabola through the least of some samples and its neighbours is least."""
    at = int(np.argmin(y))
    if at in (0, len(x) - 1):
        return x[at]
    (a, b, c), (fa, fb, fc) = x[at - 1 : at + 2], y[at - 1 : at + 2]
    p, q = (b - a) * (fb - fc), (b - c) * (fb - fa)
    return b - 0.5 * ((b - a) * p - (b - c) * q) / (p - q) if p != q else b
