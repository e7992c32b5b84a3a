"""The derivative of images in a lattice, as an operator.

Gauss-Newton wants `J v` and `Jᵀ r` many times at one point. `linearize` renders once and keeps what
each pixel depends on: short lists of local terms, see `engines.linear_terms` for images and
silhouettes, `engines.hit_terms` for depths and normals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.engines.cpu import engine as cpu
from sdfrender.engines.cpu.jacobian.coverage_terms import coverage_terms
from sdfrender.engines.cpu.jacobian.hit_terms import hit_terms
from sdfrender.engines.cpu.jacobian.linear_shares import Rows, Share
from sdfrender.engines.cpu.jacobian.linear_terms import Terms, linear_terms
from sdfrender.geometry.lattice import Lattice
from sdfrender.kernels.light_terms import INTENSITY
from sdfrender.kernels.padding import add_unpadded, pad
from sdfrender.kernels.threads import run_all
from sdfrender.rendering.ops import make_scene
from sdfrender.rendering.render import (
    MAX_EVENTS,
    Rendering,
    check_arguments,
    near_the_origin,
    over,
    rendering,
)
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting

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
    ) -> None:
        self.rendering, self.outputs = rendering, outputs
        self.num_terms = sum(terms.count for share in shares for terms in share.lists)
        self.memory = sum(share.nbytes for share in shares)
        self._scene, self._shares = scene, shares
        self._batched = rendering.silhouettes.ndim == 4

    def __repr__(self) -> str:
        return (
            f"Linearization({', '.join(self.outputs)} of {list(self.rendering.images.shape)}, "
            f"{self.num_terms} terms, {self.memory / 2**20:.1f} MiB)"
        )

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
        tangents = [pad(x, s.threads).ravel() for x in v]
        results = self._zeros(out)
        rows = self._rows(**dict(zip(self.outputs, results, strict=True)))

        def push(share: Share) -> None:
            b = share.lattice
            for terms, images, silhouettes in share.of_images(rows):
                terms.push(tangents[b], s.grid, images, silhouettes)
            for hits, depths in share.of_depths(rows):
                hits.push(tangents[b], s.grid, depths)

        run_all(push, self._shares, s.threads)
        return results

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
        rows, grid = self._rows(images, silhouettes, depths, normals), self._scene.grid

        def pull(share: Share, g: Any) -> None:
            for terms, colors, masks in share.of_images(rows):
                terms.pull(colors, masks, grid, g)
            for hits, z in share.of_depths(rows):
                hits.pull(z, grid, g)

        return self._gather(pull)

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
        rows, grid = self._rows(images, silhouettes, depths, normals), self._scene.grid

        def pull(share: Share, g: Any) -> None:
            for terms, colors, masks in share.of_images(rows):
                terms.square(colors, masks, exact, grid, g)
            for hits, z in share.of_depths(rows):
                hits.pull(z, grid, g, squared=True)

        return self._gather(pull)

    def _gather(self, pull: Callable[[Share, Any], None]) -> Tensor:
        """Sum what `pull` adds to padded lattices, by share, then in order."""
        scene = self._scene
        _, X, Y, Z = scene.values.shape
        out = np.zeros(scene.values.shape, scene.values.dtype)

        def part(share: Share) -> Any:
            g = np.zeros((X + 2) * (Y + 2) * (Z + 2), scene.values.dtype)
            pull(share, g)
            return g.reshape(X + 2, Y + 2, Z + 2)

        for b, total in enumerate(out):
            parts = run_all(part, [x for x in self._shares if x.lattice == b], scene.threads)
            add_unpadded(parts, total, scene.threads)
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
        B, s = len(self._scene.values), self._scene
        P = len(s.views) * s.width * s.height
        given = dict(zip(OUTPUTS, (images, silhouettes, depths, normals), strict=True))
        arrays = {}
        for name, x in given.items():
            if x is None:
                continue
            if name not in self.outputs:
                raise ValueError(
                    f"{name}: not among the outputs {', '.join(self.outputs)} that were linearised,"
                    f" see linearize(..., outputs=...)"
                )
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

    def _array(self, name: str, x: Tensor, shape: tuple[int, ...]) -> Any:
        if tuple(x.shape) != tuple(shape):
            raise ValueError(f"{name}: need {tuple(shape)}, got {tuple(x.shape)}")
        return x.detach().to(self.rendering.images).contiguous().numpy()

    def _shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._scene.values.shape
        return shape if self._batched else shape[1:]


def linearize(
    lattice: Lattice,
    cameras: Cameras,
    *,
    lighting: Lighting | None = None,
    albedo: float | Tensor = 1.0,
    background: float | Tensor = 0.0,
    coverage: bool = True,
    reattach: str = "implicit",
    outputs: Sequence[str] = ("images", "silhouettes"),
) -> Linearization:
    """Render, and keep the derivative of the outputs, images and silhouettes, in `lattice.values`.

    The derivative is that of `render(engine="cpu")`: no derivatives in cameras, light, albedo and
    background. With `coverage=False` silhouettes are constant.

    Args:
        lattice: `[X, Y, Z]` or `[B, X, Y, Z]` float32 or float64 values, on the CPU.
        cameras: N views.
        lighting: as in `render`, as are all that follow.
        albedo: a number, `[C]`, or a lattice of colours `[X, Y, Z, C]`.
        background: a number, `[C]`, or images `[N, H, W, C]`.
        coverage: anti-aliased silhouettes; otherwise one ray per pixel.
        reattach: `"implicit"`, or `"one_step"`.
        outputs: what to keep the derivative of: some of `"images"`, `"silhouettes"`, `"depths"` and
            `"normals"`, in the order in which `jvp` should return them. What is not asked for costs
            nothing; without images the others take a fraction of the time.

    Raises:
        ValueError: as `render(engine="cpu")`, or an unknown output.

    Worked value: with `J = linearize(Lattice.sphere(0.5), cameras)`, raising all values by 0.01
    shrinks the sphere: `J.jvp(torch.full((64, 64, 64), 0.01))[1]` is negative on the contour and
    zero elsewhere.
    """
    outputs = _checked(outputs)
    check_arguments(lattice, albedo, "exact", reattach, "cpu", coverage)
    lattice, cameras = near_the_origin(lattice, cameras)
    with torch.no_grad():
        lighting = lighting or Lighting()
        lighting.check_views(len(cameras))
        _, scene = make_scene(lattice, cameras, lighting, albedo, coverage, reattach, MAX_EVENTS)
        traced, pixels = cpu.render(scene)
        colors, silhouettes, depths, normals, hit_mask = map(torch.from_numpy, pixels)
        images = over(colors, silhouettes, background, cameras)
        C = images.shape[-1]
        terms: list[Terms] = []
        if "images" in outputs:
            behind = torch.as_tensor(background).to(images).expand(*_sizes(background, cameras), C)
            terms = linear_terms(
                _with_channels(scene, C), traced, behind.reshape(-1, C).contiguous().numpy()
            )
        elif "silhouettes" in outputs:
            terms = coverage_terms(scene, traced)
        hits = hit_terms(scene, traced, "depths" in outputs, "normals" in outputs)
        shares = [Share(*x) for x in zip_longest(terms, *hits)]
    out = rendering(lattice, images, silhouettes, depths, normals, hit_mask)
    return Linearization(out, scene, outputs, shares)


def _checked(outputs: Sequence[str]) -> tuple[str, ...]:
    """The names of the outputs, if they are known and each is named once."""
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not names or len(set(names)) < len(names) or not set(names) <= set(OUTPUTS):
        raise ValueError(f"outputs: need one or more of {', '.join(OUTPUTS)}, got {outputs!r}")
    return names


def _sizes(background: float | Tensor, cameras: Cameras) -> tuple[int, ...]:
    """Sizes of the background but for its channels."""
    if isinstance(background, Tensor) and background.ndim == 4:
        return len(cameras), cameras.height, cameras.width
    return (1,)


def _with_channels(scene: cpu.SceneArrays, C: int) -> cpu.SceneArrays:
    """The same scene with one channel repeated C times, as a coloured background asks for."""
    L, K, columns = scene.lights.shape
    if columns - INTENSITY == C:
        return scene
    kinds, intensities = np.split(scene.lights, [INTENSITY], -1)
    lights = np.concatenate((kinds, np.broadcast_to(intensities, (L, K, C))), -1)
    albedo = np.broadcast_to(scene.albedo, (*scene.albedo.shape[:3], C)).copy()
    return replace(scene, lights=lights, albedo=albedo)
