"""How the derivatives of all pixels are added up: as they come, or the same every time.

Sums of floating-point numbers depend on their order, and threads have none. Whole numbers have the
same sum in any order. So where derivatives must be the same to the bit, the largest `|a|` of all
that is added comes first (a maximum has no order either); the derivatives in the images are then
multiplied by the power of two that lets a sum of as many such numbers just fit into 63 bits.
Everything is linear in them and powers of two are exact, so what is lost is less than 2⁻⁶⁰ of
the largest for each that is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdfrender.engines.cuda.arrays import array, records
from sdfrender.engines.cuda.backward import pull_alone_for, pull_for
from sdfrender.engines.cuda.scene import Met, SceneTensors
from sdfrender.engines.cuda.target import launch

BITS = 62
MOST_BITS = 900  # of the power of two, which is finite then
ADDED = 3  # times that an event adds to one number at most: hit, motion of a graze, coverage


class Back:
    """The way back from images of a scene.

    Args:
        scene: what was rendered.
        seen: `[B, N, H, W, …]` derivatives in colours, silhouettes, depths and normals, or None.
        stream: to launch on.

    Sums are in lists, see `backward`: the padded lattice, lights, albedo, views.
    """

    def __init__(self, scene: SceneTensors, seen: Sequence[Tensor | None], stream: Any) -> None:
        B, N, P = len(scene.values), len(scene.views), scene.pixels
        tails = ((scene.channels,), (), (), (3,))
        self.scene, self.stream = scene, stream
        self.numbers = scene.numbers()
        self.seen = [
            scene.values.new_zeros(B, N, 0, *tail)
            if x is None
            else x.reshape(B, N, P, *tail).contiguous()
            for x, tail in zip(seen, tails, strict=True)
        ]

    def add(self, b: int, met: Met, n: int, sums: Sequence[Tensor]) -> None:
        """Add what the pixels of lattice b say to sum n."""
        self._launch(b, met, n, [array(x) for x in sums], self.seen)

    def add_whole_numbers(self, b: int, met: Met, n: int, sums: Sequence[Tensor]) -> None:
        """As `add`, the same to the bit every time; goes over the pixels twice.

        If anything that is added is not finite, all of the sum is NaN.
        """
        outputs = [array(x) for x in sums]
        largest = self.scene.lights.new_zeros(1)
        outputs[n] = (array(largest),)
        self._launch(b, met, n, outputs, self.seen)
        count = ADDED * max(len(met.pixels) * self.scene.most, 1)
        _, exponent = torch.frexp(largest * count)
        power = torch.ldexp(torch.ones_like(largest), (BITS - exponent).clamp(max=MOST_BITS))
        power = torch.where((largest > 0) & (largest < torch.inf), power, 1.0)
        whole = torch.zeros_like(sums[n], dtype=torch.int64)
        outputs[n] = array(whole)
        self._launch(b, met, n, outputs, [x.double() * power for x in self.seen])
        total = torch.where(largest < torch.inf, whole.double() / power, torch.nan)
        sums[n].add_(total.to(sums[n]))

    def _launch(
        self, b: int, met: Met, n: int, outputs: Sequence[Any], seen: Sequence[Tensor]
    ) -> None:
        scene, (grid, views) = self.scene, self.numbers
        C, reattach = scene.channels, scene.reattach
        for kernel, chosen in (
            (pull_alone_for(C, reattach, n), met.alone),
            (pull_for(C, scene.most, reattach, n), met.mixed),
        ):
            launch(
                kernel, len(chosen), self.stream,
                array(met.lattice), grid, array(views), array(scene.lights), array(scene.albedo),
                array(chosen), array(met.pixels), records(met.events), array(met.counts),
                scene.pixels, *(array(x[b]) for x in seen), *outputs,
            )  # fmt: skip
