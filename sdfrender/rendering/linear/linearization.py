"""The derivative of images in a lattice, as an operator: its products with vectors.

It goes over lists of local terms, see `engines.cpu.jacobian.linear_terms` for images and
silhouettes, `hit_terms` for depths and normals. `Linearization.on` multiplies on some vertices
alone, in a time that grows with their number and not with the lattice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.eager import eager
from sdfrender.engines.cpu import engine as cpu
from sdfrender.engines.cpu.bricks import BrickMap
from sdfrender.engines.cpu.jacobian.brick_vertices import BrickVertices
from sdfrender.engines.cpu.jacobian.linear_shares import Rows, Share
from sdfrender.kernels.threads import run_all
from sdfrender.rendering.linear.vertex_products import Pull, VertexProducts
from sdfrender.rendering.render import Rendering

OUTPUTS = ("images", "silhouettes", "depths", "normals")  # what of a rendering has a derivative


class Linearization:
    """`J = ∂outputs / ∂values` at one lattice, for the cameras and light given.

    The outputs are those asked for, by default images and silhouettes. Depths and normals are those
    of the first hit: rows of pixels without one, or with one on a face of the box, are zero, and
    what is given for them is not read.

    Nothing here is differentiable. All tensors have the lattice's dtype. Results are bitwise the
    same every time for one number of threads, and to rounding for another.

    Args:
        rendering: images at this point, without gradients; all of them, whatever the outputs.
        outputs: names of the fields of `rendering` that J is the derivative of, in their order.
        num_terms: local terms kept.
        memory: bytes kept for them.
    """

    def __init__(
        self,
        rendering: Rendering,
        scene: cpu.SceneArrays,
        outputs: tuple[str, ...],
        shares: list[Share],
        bricks: list[BrickMap],
    ) -> None:
        self.rendering, self.outputs = rendering, outputs
        self.num_terms = sum(terms.count for share in shares for terms in share.lists)
        self.memory = sum(share.nbytes for share in shares)
        self._scene, self._shares, self._bricks = scene, shares, bricks
        self._batched = rendering.silhouettes.ndim == 4

    def __repr__(self) -> str:
        return (
            f"Linearization({', '.join(self.outputs)} of {list(self.rendering.images.shape)}, "
            f"{self.num_terms} terms, {self.memory / 2**20:.1f} MiB)"
        )

    @eager
    def jvp(self, values: Tensor, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """`J v`: how the outputs change with the lattice.

        Args:
            values: tangent of the lattice's values, of their shape.
            out: what to write the result to, contiguous; by default new tensors.

        Returns:
            The tangent of each of `outputs`, in their order and of their shapes: by default those
            of `rendering.images` and of `rendering.silhouettes`.

        Raises:
            ValueError: a shape that does not fit.
        """
        s = self._scene
        v = self._array("values", values, self._shape()).reshape(s.values.shape)
        given = zip(self._bricks, s.tangents(v), strict=True)
        return self._push([bricks.cut(x, s.threads) for bricks, x in given], out)

    @eager
    def vjp(
        self,
        images: Tensor | None = None,
        silhouettes: Tensor | None = None,
        depths: Tensor | None = None,
        normals: Tensor | None = None,
    ) -> Tensor:
        """`Jᵀ r`: the derivative of `⟨images, r_C⟩ + ⟨silhouettes, r_A⟩ + …` in the lattice.

        Args:
            images: of the shape of `rendering.images`, or None for zeros.
            silhouettes: of the shape of `rendering.silhouettes`, or None for zeros.
            depths: of the shape of `rendering.depths`, or None for zeros.
            normals: of the shape of `rendering.normals`, or None for zeros.

        Returns:
            Of the shape of the lattice's values.

        Raises:
            ValueError: a shape that does not fit, or what is not among the outputs.
        """
        return self._gather(self._pull(images, silhouettes, depths, normals))

    @eager
    def squared_vjp(
        self,
        images: Tensor | None = None,
        silhouettes: Tensor | None = None,
        exact: bool = True,
        *,
        depths: Tensor | None = None,
        normals: Tensor | None = None,
    ) -> Tensor:
        """The diagonal of `Jᵀ W J`: the square of each entry of J, weighted by row, and summed.

        Args:
            images: weights W of the shape of `rendering.images`, or None for zeros.
            silhouettes: weights of the shape of `rendering.silhouettes`, or None for zeros.
            exact: add up what a channel of a pixel owes to a vertex through several terms before it
                is squared. Otherwise each term is squared by itself, which is two to three times as
                fast and good enough for a preconditioner. Depths have one term a pixel: it makes
                no difference to them.
            depths: weights of the shape of `rendering.depths`, or None for zeros.
            normals: weights of the shape of `rendering.normals`, or None for zeros.

        Returns:
            Of the shape of the lattice's values.

        Raises:
            ValueError: a shape that does not fit, or what is not among the outputs.
        """
        return self._gather(self._squares(images, silhouettes, depths, normals, exact))

    def on(self, vertices: Any) -> VertexProducts:
        """The same operator for lattices that change at some vertices alone.

        Args:
            vertices: `[M]` their flat indices in `[X, Y, Z]`, whole numbers, ascending.

        Returns:
            Products of the columns of J that belong to them. They hold as much memory for each
            thread as the surface needs.

        Raises:
            ValueError: a batch of lattices, or indices that do not fit.
        """
        if len(self._bricks) != 1:
            raise ValueError(f"on: need one lattice, got {len(self._bricks)}")
        found = np.asarray(vertices)
        X, Y, Z = self._scene.sizes
        if found.ndim != 1 or found.dtype.kind not in "iu" or (np.diff(found) <= 0).any():
            raise ValueError(f"vertices: need [M] ascending whole numbers, got {vertices!r}")
        if len(found) and not (found[0] >= 0 and found[-1] < X * Y * Z):
            raise ValueError(f"vertices: need indices in 0 … {X * Y * Z - 1}, got {vertices!r}")
        bricks = self._bricks[0]
        ways = self._push, self._pull, self._squares, self._rows
        places = BrickVertices(bricks, found)
        return VertexProducts(self._scene, self._shares, places, bricks.size, *ways)

    def _push(self, tangents: Sequence[Any], out: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """The tangents of the outputs, from those of the lattices in bricks."""
        s, results = self._scene, self._zeros(out)
        rows = self._rows(**dict(zip(self.outputs, results, strict=True)))

        def push(share: Share) -> None:
            b = share.lattice
            for terms, images, silhouettes in share.of_images(rows):
                terms.push(tangents[b], images, silhouettes)
            for hits, depths in share.of_depths(rows):
                hits.push(tangents[b], depths)

        run_all(push, self._shares, s.threads)
        return results

    def _pull(self, *cotangents: Tensor | None) -> Pull:
        """What adds a share's part of `Jᵀ r` to bricks."""
        rows = self._rows(*cotangents)

        def pull(share: Share, g: Any) -> None:
            for terms, colors, masks in share.of_images(rows):
                terms.pull(colors, masks, g)
            for hits, z in share.of_depths(rows):
                hits.pull(z, g)

        return pull

    def _squares(
        self,
        images: Tensor | None,
        silhouettes: Tensor | None,
        depths: Tensor | None,
        normals: Tensor | None,
        exact: bool,
    ) -> Pull:
        """What adds a share's part of the diagonal of `Jᵀ W J` to bricks."""
        rows = self._rows(images, silhouettes, depths, normals)

        def pull(share: Share, g: Any) -> None:
            for terms, colors, masks in share.of_images(rows):
                terms.square(colors, masks, exact, self._bricks[share.lattice], g)
            for hits, z in share.of_depths(rows):
                hits.pull(z, g, squared=True)

        return pull

    def _gather(self, pull: Pull) -> Tensor:
        """Sum what `pull` adds to the lattices' bricks, by share, then in order."""
        scene = self._scene
        out = np.zeros(scene.values.shape, scene.values.dtype)

        sums = scene.tangents(out)
        for b, (bricks, total) in enumerate(zip(self._bricks, sums, strict=True)):

            def part(share: Share, size: int = bricks.size) -> Any:
                g = np.zeros(size, scene.values.dtype)
                pull(share, g)
                return g

            parts = run_all(part, [x for x in self._shares if x.lattice == b], scene.threads)
            bricks.add(parts, total, scene.threads)
        return torch.from_numpy(out).reshape(self._shape())

    def _zeros(self, out: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """Zeros for each output: `out`, if there is one."""
        if out is None:
            return tuple(torch.zeros_like(getattr(self.rendering, name)) for name in self.outputs)
        if len(out) != len(self.outputs):
            raise ValueError(f"out: need {', '.join(self.outputs)}, got {len(out)} tensors")
        for x in out:
            if not x.is_contiguous() or x.dtype != self.rendering.images.dtype:
                raise ValueError(f"out: need contiguous tensors of {self.rendering.images.dtype}")
            x.zero_()
        return tuple(out)

    def _rows(
        self,
        images: Tensor | None = None,
        silhouettes: Tensor | None = None,
        depths: Tensor | None = None,
        normals: Tensor | None = None,
    ) -> Rows:
        """What is given for the rows of J, as arrays."""
        B, s = len(self._bricks), self._scene
        P = len(s.views) * s.width * s.height
        given = dict(zip(OUTPUTS, (images, silhouettes, depths, normals), strict=True))
        arrays = {}
        for name, x in given.items():
            if x is None:
                continue
            self._check_output(name)
            like = getattr(self.rendering, name)
            array = self._array(name, x, like.shape)
            arrays[name] = array.reshape(B, P, *like.shape[3 + self._batched :])
        if "images" in arrays or "silhouettes" in arrays:
            if "images" not in arrays:
                C = self.rendering.images.shape[-1] if "images" in self.outputs else 0
                arrays["images"] = np.zeros((B, P, C), s.values.dtype)
            if "silhouettes" not in arrays:
                arrays["silhouettes"] = np.zeros((B, P), s.values.dtype)
        return Rows(*(arrays.get(name) for name in OUTPUTS))

    def _check_output(self, name: str) -> None:
        if name not in self.outputs:
            raise ValueError(
                f"{name}: not among the outputs {', '.join(self.outputs)} that were linearised,"
                f" see linearize(..., outputs=...)"
            )

    def _check_shape(self, name: str, x: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(x.shape) != tuple(shape):
            raise ValueError(f"{name}: need {tuple(shape)}, got {tuple(x.shape)}")

    def _array(self, name: str, x: Tensor, shape: tuple[int, ...]) -> Any:
        self._check_shape(name, x, shape)
        return x.detach().to(self.rendering.images).contiguous().numpy()

    def _shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._scene.values.shape
        return shape if self._batched or self._scene.blocks is not None else shape[1:]
