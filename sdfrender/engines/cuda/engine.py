"""The CUDA engine: images and their derivatives on a card, on torch's current stream.

Forward:  approach → the pixels that come near → walk → shade.
Backward: the same pixels → pull.

Tensors are neither copied nor moved. The host waits in a forward pass for the numbers of pixels:
those that come near, and of them those that see one thing or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sdfrender.engines.cuda.arrays import (
    array,
    block_minima,
    current_stream,
    first_bits,
    padded,
    records,
    room_for_events,
    unpadded,
)
from sdfrender.engines.cuda.backward import ALBEDO, LIGHTS, VALUES, VIEWS
from sdfrender.engines.cuda.forward import approach, shade_for, walk
from sdfrender.engines.cuda.scene import Met, SceneTensors
from sdfrender.engines.cuda.sums import Back
from sdfrender.engines.cuda.target import launch
from sdfrender.kernels.ray_walk import ALONE


class ImageTensors(NamedTuple):
    """Images of B lattices from N views.

    Args:
        colors: `[B, N, H, W, C]` premultiplied.
        silhouettes: `[B, N, H, W]`.
        depths: `[B, N, H, W]`, infinite on a miss.
        normals: `[B, N, H, W, 3]`, zero on a miss.
        hits: `[B, N, H, W]` bool.
    """

    colors: Tensor
    silhouettes: Tensor
    depths: Tensor
    normals: Tensor
    hits: Tensor


def render(scene: SceneTensors) -> tuple[list[Met], ImageTensors]:
    """Events and images of every lattice from every view."""
    B, N, P, C = len(scene.values), len(scene.views), scene.pixels, scene.channels
    new = scene.values.new_zeros
    images = (
        new(B, N, P, C),
        new(B, N, P),
        new(B, N, P).fill_(torch.inf),
        new(B, N, P, 3),
        new(B, N, P, dtype=torch.bool),
    )
    with current_stream(scene.values.device) as stream:
        grid, views = scene.numbers()
        found = [_find(scene, x, grid, views, stream) for x in scene.values]
        lights, albedo = array(scene.lights), array(scene.albedo)
        for b, met in enumerate(found):
            launch(
                shade_for(C), len(met.pixels), stream,
                array(met.lattice), grid, array(views), lights, albedo,
                array(met.pixels), records(met.events), array(met.counts),
                *(array(x[b]) for x in images),
            )  # fmt: skip
    shape = (B, N, scene.height, scene.width)
    return found, ImageTensors(*(x.reshape(*shape, *x.shape[3:]) for x in images))


def _find(
    scene: SceneTensors, values: Tensor, grid: tuple[float, ...], views: Tensor, stream: object
) -> Met:
    """What the rays meet of the lattice `[X, Y, Z]`."""
    lattice = padded(values).flatten()
    ray = (array(lattice), array(block_minima(values)), grid, array(views), scene.coverage)
    starts = views.new_zeros(len(views) * scene.pixels)
    launch(approach, len(starts), stream, *ray, array(starts))
    pixels = (starts >= 0).nonzero()[:, 0]
    events = room_for_events(len(pixels), scene.most, values.device)
    counts = pixels.new_zeros(len(pixels), dtype=torch.int32)
    launch(
        walk, len(pixels), stream,
        *ray, array(pixels), array(starts), records(events), array(counts),
    )  # fmt: skip
    alone = (counts == 1) & (first_bits(events) & ALONE != 0)
    mixed = (counts > 0) & ~alone
    return Met(lattice, pixels, events, counts, alone.nonzero()[:, 0], mixed.nonzero()[:, 0])


class Gradients(NamedTuple):
    """Derivatives of a loss.

    Args:
        values: `[B, X, Y, Z]`.
        views: `[N, 16]`.
        lights: as those of the scene.
        albedo: as the albedo lattice.
    """

    values: Tensor
    views: Tensor
    lights: Tensor
    albedo: Tensor


def pull(
    scene: SceneTensors,
    found: Sequence[Met],
    seen: Sequence[Tensor | None],
    light: bool,
    camera: bool,
) -> Gradients:
    """Derivatives of the loss from those in the images.

    Args:
        scene: what was rendered.
        found: what its rays meet.
        seen: `[B, N, H, W, …]` derivatives in colours, silhouettes, depths and normals, or None.
        light: also those of light and albedo.
        camera: also those of the views.
    """
    wanted = [VALUES, *((LIGHTS, ALBEDO) if light else ()), *((VIEWS,) if camera else ())]
    others = [torch.zeros_like(x) for x in (scene.lights, scene.albedo, scene.views)]
    values = []
    with current_stream(scene.values.device) as stream:
        back = Back(scene, seen, stream)
        add = back.add_whole_numbers if scene.deterministic else back.add
        for b, met in enumerate(found):
            sums = [torch.zeros_like(met.lattice), *others]
            for n in wanted:
                if sums[n].numel():
                    add(b, met, n, sums)
            values.append(unpadded(sums[VALUES].reshape([n + 2 for n in scene.values.shape[1:]])))
    lights, albedo, views = others
    return Gradients(torch.stack(values), views, lights, albedo)
