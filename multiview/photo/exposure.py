"""Exposures: how much brighter each photograph is than the others show it should be.

A camera that chooses its own exposure, or white balance, multiplies a photograph by a number per
channel. With the shape held fixed the best gain of view v is that of a line through the origin:
`g_v = Σ w r C / Σ w r²` over pixels inside, of what is rendered (r) and photographed (C), with w
as in the light's estimate so that shadows and highlights count less. What all views share is not
the exposures' but the light's and the colours': the geometric mean of each channel is 1.

Photographs are divided by their gains; everything after that sees them at a common exposure.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiview.photo.appearance import ROBUST_SCALE, Appearance
from multiview.photo.targets import Targets
from multiview.scenes import Scene
from sdfrender import Lattice

LEAST, MOST = 0.2, 5.0  # gains that are believed
FEW = 50  # pixels that say nothing yet
ROUNDS = 3  # of reweighting
ENCODED = 2.2  # gamma of what is stored for a screen


def estimate_gains(lattice: Lattice, appearance: Appearance, targets: Targets) -> Tensor:
    """The gain of each photograph against what is rendered: `[N, C]`, 1 where too little is seen.

    Nothing is taken out of them: `relative` does that.

    Not differentiable.

    Args:
        lattice: the shape, held fixed.
        appearance: colour, light and lens, held fixed.
        targets: N photographs as they were taken.
    """
    gains = torch.ones(len(targets.cameras), targets.channels)
    for view in range(len(gains)):
        one = targets[[view]]
        with torch.no_grad():
            out = appearance.render(lattice, one)
            inside = appearance.certain(out, one)
            color = one.images[inside]
            rendered = appearance.photograph(out.images)[inside].expand_as(color)
        if len(color) >= FEW:
            gains[view] = _line(rendered, color).clamp(LEAST, MOST)
    return gains


def _line(x: Tensor, y: Tensor) -> Tensor:
    """Slope per channel of the line through the origin, `[C]`, of points `[P, C]`."""
    slope = torch.ones(x.shape[-1])
    for _ in range(ROUNDS):
        w = ROBUST_SCALE / (slope * x - y).abs().clamp(min=ROBUST_SCALE)
        slope = (w * x * y).sum(0) / (w * x * x).sum(0).clamp(min=1e-12)
    return slope


def starting_gains(scene: Scene) -> Tensor:
    """Gains `[N, C]` to begin with: 1, or what EXIF tells of exposures that differ.

    Photographs that were stored for a screen have about the 2.2th root of what fell on the sensor.
    """
    N, C = len(scene.names), scene.images.shape[-1]
    if scene.exposures is None:
        return torch.ones(N, C)
    root = ENCODED if scene.color_space == "as stored" else 1.0
    gains = torch.tensor(scene.exposures)[:, None] ** (1 / root)
    return gains.expand(N, C).clone()


def relative(gains: Tensor) -> Tensor:
    """Gains `[N, C]` with a geometric mean of 1 over the views, in each channel."""
    return gains / gains.log().mean(0).exp()


def exposed(targets: Targets, gains: Tensor) -> Targets:
    """The N photographs at a common exposure: divided by their gains `[N, C]`."""
    return targets.exposed(gains)


def all_gains(gains: Tensor, lattice: Lattice, appearance: Appearance, scene: Scene) -> Tensor:
    """Gains `[N, C]` of all views of a scene: as fitted of the training views, else estimated.

    `gains` are those of the training views, `[n, C]`, in their order.
    """
    found = torch.ones(len(scene.names), gains.shape[1])
    found[list(scene.train)] = gains
    if scene.held_out:
        held_out = Targets.of(scene, scene.held_out)
        found[list(scene.held_out)] = estimate_gains(lattice, appearance, held_out)
    return found
