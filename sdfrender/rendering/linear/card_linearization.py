"""`Linearization` on a card: the same operator, on the card's lists of local terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdfrender.eager import eager
from sdfrender.engines.cuda.arrays import padded, unpadded
from sdfrender.engines.cuda.linear import card_terms
from sdfrender.engines.cuda.scene import Met, SceneTensors
from sdfrender.rendering.linear.linearization import OUTPUTS, Linearization
from sdfrender.rendering.render import Rendering


class LinearizationOnCard(Linearization):
    """`J = ∂outputs / ∂values` where lattice, images and terms are on one card.

    As `Linearization`, but for two things: threads add up in no fixed order, so that last bits
    vary; and `squared_vjp` knows `exact=False` only.
    """

    def __init__(
        self,
        rendering: Rendering,
        scene: SceneTensors,
        outputs: tuple[str, ...],
        found: Sequence[Met],
        background: Tensor,
    ) -> None:
        self.rendering, self.outputs = rendering, outputs
        shown = "images" in outputs or "silhouettes" in outputs
        self._terms = [
            card_terms(scene, met, background, shown, "depths" in outputs, "normals" in outputs)
            for met in found
        ]
        self.num_terms = sum(x.count for x in self._terms)
        self.memory = sum(x.nbytes for x in self._terms)
        self._size, self._batched = scene.values.shape, rendering.silhouettes.ndim == 4

    @eager
    def jvp(self, values: Tensor, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """`J v`, see `Linearization.jvp`."""
        v, results = self._tensor("values", values, self._shape()), self._zeros(out)
        rows = self._pixels(dict(zip(self.outputs, results, strict=True)))
        for b, terms in enumerate(self._terms):
            tangent = padded(v.reshape(self._size)[b]).flatten()
            terms.push(tangent, [None if x is None else x[b] for x in rows])
        return results

    def on(self, vertices: Any) -> Any:
        """There is none on a card."""
        raise ValueError("on: need a lattice on the CPU: on a card use jvp and vjp")

    def _pull(self, *cotangents: Tensor | None) -> Any:
        """What is given for each pixel, and whether terms are squared."""
        return self._given(*cotangents), False

    def _squares(
        self,
        images: Tensor | None,
        silhouettes: Tensor | None,
        depths: Tensor | None,
        normals: Tensor | None,
        exact: bool,
    ) -> Any:
        if exact:
            raise ValueError("squared_vjp: on a card need exact=False, got True")
        return self._given(images, silhouettes, depths, normals), True

    def _gather(self, pull: Any) -> Tensor:
        """Sum over the terms of each lattice."""
        rows, squared = pull
        _, X, Y, Z = self._size
        sums = []
        for b, terms in enumerate(self._terms):
            g = self.rendering.images.new_zeros((X + 2) * (Y + 2) * (Z + 2))
            terms.pull([None if x is None else x[b] for x in rows], g, squared)
            g = g.reshape(X + 2, Y + 2, Z + 2)
            sums.append(g[1:-1, 1:-1, 1:-1].clone() if squared else unpadded(g))
        return torch.stack(sums).reshape(self._shape())

    def _given(self, *given: Tensor | None) -> list[Tensor | None]:
        """Cotangents or weights, checked, as `_pixels` returns them."""
        fields = {}
        for name, x in zip(OUTPUTS, given, strict=True):
            if x is not None:
                self._check_output(name)
                fields[name] = self._tensor(name, x, getattr(self.rendering, name).shape)
        return self._pixels(fields)

    def _pixels(self, fields: dict[str, Tensor]) -> list[Tensor | None]:
        """`[B, N H W, …]` of each output; images and silhouettes are both there, or neither is."""
        B = self._size[0]
        if "images" in fields or "silhouettes" in fields:
            for name in ("images", "silhouettes"):
                fields.setdefault(name, torch.zeros_like(getattr(self.rendering, name)))
        flat: list[Tensor | None] = []
        for name in OUTPUTS:
            x = fields.get(name)
            tail = () if x is None else x.shape[3 + self._batched :]
            flat.append(None if x is None else x.reshape(B, -1, *tail))
        return flat

    def _tensor(self, name: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        self._check_shape(name, x, shape)
        return x.detach().to(self.rendering.images).contiguous()

    def _shape(self) -> tuple[int, ...]:
        return tuple(self._size if self._batched else self._size[1:])
