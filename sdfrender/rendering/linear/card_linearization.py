"""`Linearization` on a card: the same operator, on the card's lists of local terms.

`Linearization.on` has a twin, too: products on some vertices go over a whole lattice here, which on
a card is cheaper than to look for the part of it that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdfrender.eager import eager
from sdfrender.engines.cuda.arrays import padded, unpadded
from sdfrender.engines.cuda.linear import card_terms
from sdfrender.engines.cuda.normal import WeightedTerms
from sdfrender.engines.cuda.scene import Met, SceneTensors
from sdfrender.rendering.linear.linearization import OUTPUTS, Linearization
from sdfrender.rendering.render import Rendering

PULLED, SQUARED, EXACT = range(3)  # what is done with what is given for the pixels


class LinearizationOnCard(Linearization):
    """`J = ∂outputs / ∂values` where lattice, images and terms are on one card.

    As `Linearization`, but that threads add up in no fixed order, so that last bits vary.
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
        """The same operator on some vertices, see `Linearization.on`.

        Args:
            vertices: `[M]` their flat indices in `[X, Y, Z]`, whole numbers, ascending.

        Returns:
            A `VertexProductsOnCard`.

        Raises:
            ValueError: a batch of lattices, or indices that do not fit.
        """
        if self._size[0] != 1:
            raise ValueError(f"on: need one lattice, got {self._size[0]}")
        found = torch.as_tensor(vertices, device=self.rendering.images.device)
        whole = found.ndim == 1 and not found.is_floating_point() and not found.is_complex()
        if not whole or found.dtype == torch.bool or bool((found.diff() <= 0).any()):
            raise ValueError(f"vertices: need [M] ascending whole numbers, got {vertices!r}")
        most = self._size[1:].numel()
        if len(found) and not (int(found[0]) >= 0 and int(found[-1]) < most):
            raise ValueError(f"vertices: need indices in 0 … {most - 1}, got {vertices!r}")
        return VertexProductsOnCard(self, found.long())

    def _pull(self, *cotangents: Tensor | None) -> Any:
        """What is given for each pixel, and whether terms are squared."""
        return self._given(*cotangents), PULLED

    def _squares(
        self,
        images: Tensor | None,
        silhouettes: Tensor | None,
        depths: Tensor | None,
        normals: Tensor | None,
        exact: bool,
    ) -> Any:
        return self._given(images, silhouettes, depths, normals), EXACT if exact else SQUARED

    def _gather(self, pull: Any) -> Tensor:
        """Sum over the terms of each lattice."""
        rows, how = pull
        _, X, Y, Z = self._size
        sums = []
        for b, terms in enumerate(self._terms):
            of_one = [None if x is None else x[b] for x in rows]
            if how == EXACT:
                sums.append(self.rendering.images.new_zeros(X, Y, Z))
                terms.square(of_one, sums[-1])
                continue
            g = self.rendering.images.new_zeros((X + 2) * (Y + 2) * (Z + 2))
            terms.pull(of_one, g, how == SQUARED)
            g = g.reshape(X + 2, Y + 2, Z + 2)
            sums.append(g[1:-1, 1:-1, 1:-1].clone() if how == SQUARED else unpadded(g))
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


class VertexProductsOnCard:
    """Products with the columns of a `LinearizationOnCard` that belong to M vertices.

    As `VertexProducts`, with tensors on the card.

    Args:
        J: what was linearised: one lattice.
        vertices: `[M]` int64 flat indices.
    """

    def __init__(self, J: LinearizationOnCard, vertices: Tensor) -> None:
        self._J, self._vertices = J, vertices

    def jvp(self, x: Tensor, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """`J v` of a lattice that is `x` `[M]` at the vertices and zero elsewhere.

        `out` and what is returned are those of `Linearization.jvp`.
        """
        return self._J.jvp(self.scattered(x).reshape(self._J._shape()), out)

    def vjp(self, *rows: Tensor | None, **named: Tensor | None) -> Tensor:
        """`Jᵀ r` at the vertices: `[M]`; see `Linearization.vjp`."""
        return self.read(self._J.vjp(*rows, **named))

    def squared_vjp(
        self,
        images: Tensor | None = None,
        silhouettes: Tensor | None = None,
        **others: Tensor | None,
    ) -> Tensor:
        """The diagonal of `Jᵀ W J` at the vertices `[M]`, each term squared by itself.

        See `Linearization.squared_vjp` with `exact=False`.
        """
        return self.read(self._J.squared_vjp(images, silhouettes, False, **others))

    @eager
    def normal(
        self, images: Tensor | None = None, silhouettes: Tensor | None = None
    ) -> NormalProductsOnCard:
        """`Jᵀ W J` at the vertices, for weights W that stay as they are: `VertexProducts.normal`.

        Args:
            images: weights of the shape of `rendering.images`, or None for zeros; none negative.
            silhouettes: weights of the shape of `rendering.silhouettes`, or None for zeros.

        Raises:
            ValueError: what was linearised has other outputs too, a shape that does not fit, or a
                weight that is negative.
        """
        given = self._J._given(images, silhouettes, None, None)
        for name, x in zip(OUTPUTS, given, strict=True):
            if x is not None and x.numel() and not float(x.min()) >= 0:
                raise ValueError(f"{name}: need weights of 0 or more, got {float(x.min())}")
        if not set(self._J.outputs) <= {"images", "silhouettes"}:
            raise ValueError("normal: need images and silhouettes as the only outputs")
        shown = [x[0] for x in given[:2] if x is not None]  # both, or none
        weighted = WeightedTerms.of(self._J._terms[0], shown[0], shown[1]) if shown else None
        return NormalProductsOnCard(self, weighted)

    def scattered(self, x: Tensor) -> Tensor:
        """`[X, Y, Z]` with `x` `[M]` at the vertices and zero elsewhere."""
        values = self._J.rendering.images.new_zeros(self._J._size[1:].numel())
        values[self._vertices] = x.to(values)
        return values.reshape(self._J._size[1:])

    def read(self, values: Tensor) -> Tensor:
        """`[M]` of values at all vertices."""
        return values.reshape(-1)[self._vertices]


class NormalProductsOnCard:
    """`Jᵀ W J` of images and silhouettes on M vertices; `VertexProductsOnCard.normal` makes it.

    Args:
        vertices: which.
        weighted: the weighted terms, or None for weights of zero.
    """

    def __init__(self, vertices: VertexProductsOnCard, weighted: WeightedTerms | None) -> None:
        self._vertices, self._weighted = vertices, weighted

    def __call__(self, x: Tensor) -> Tensor:
        """`Jᵀ W J x` for `x` `[M]` at the vertices: `[M]`."""
        if self._weighted is None:
            return torch.zeros_like(x)
        v = padded(self._vertices.scattered(x))
        g = torch.zeros_like(v)
        self._weighted.add(v.view(-1), g.view(-1))
        return self._vertices.read(unpadded(g))
