"""The derivative of images in a lattice, as an operator.

Gauss-Newton wants `J v` and `Jᵀ r` many times at one point. `linearize` renders once and keeps what
each pixel depends on: a short list of local terms, see `engines.linear_terms`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.engines.cpu import engine as cpu
from sdfrender.engines.cpu.jacobian.linear_apply import (
    pull_corners,
    pull_surface,
    push_corners,
    push_surface,
)
from sdfrender.engines.cpu.jacobian.linear_squares import (
    square_corners,
    square_mixed,
    square_surface,
)
from sdfrender.engines.cpu.jacobian.linear_terms import Terms, linear_terms
from sdfrender.geometry.lattice import Lattice
from sdfrender.kernels.light_terms import INTENSITY
from sdfrender.kernels.padding import add_unpadded, pad
from sdfrender.kernels.threads import run_all
from sdfrender.kernels.trilinear_cell import numbers
from sdfrender.rendering.ops import make_scene
from sdfrender.rendering.render import MAX_EVENTS, Rendering, check_arguments, over, rendering
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting


class Linearization:
    """`J = ∂(images, silhouettes) / ∂values` at one lattice, for the cameras and light given.

    Nothing here is differentiable. All tensors have the lattice's dtype. Results are bitwise the
    same every time for one number of threads, and to rounding for another.

    Args:
        rendering: images at this point, without gradients.
        num_terms: local terms kept.
        memory: bytes kept for them.
    """

    def __init__(self, rendering: Rendering, scene: cpu.Scene, terms: list[Terms]) -> None:
        self.rendering = rendering
        self.num_terms = sum(x.count for x in terms)
        self.memory = sum(x.nbytes for x in terms)
        self._scene, self._terms = scene, terms
        self._batched = rendering.silhouettes.ndim == 4

    def __repr__(self) -> str:
        return (
            f"Linearization(images {list(self.rendering.images.shape)}, "
            f"{self.num_terms} terms, {self.memory / 2**20:.1f} MiB)"
        )

    def jvp(
        self, values: Tensor, out: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """`J v`: how images and silhouettes change with the lattice.

        Args:
            values: tangent of the lattice's values, of their shape.
            out: what to write the result to, contiguous; by default new tensors.

        Returns:
            Tangents of `rendering.images` and of `rendering.silhouettes`, of their shapes.

        Raises:
            ValueError: a shape that does not fit.
        """
        s = self._scene
        v = self._array("values", values, self._shape()).reshape(s.values.shape)
        tangents = [pad(x, s.threads).ravel() for x in v]
        images, silhouettes = self._cotangents(*self._zeros(out))
        sx, sy = s.grid.sx, s.grid.sy

        def push(t: Terms) -> None:
            b = t.lattice
            push_surface(t.cells, t.starts, t.pixels, t.table, tangents[b], sx, sy, images[b])
            push_corners(
                t.corner_cells, t.corner_pixels, t.corner_table, tangents[b], sx, sy,
                images[b], silhouettes[b],
            )  # fmt: skip

        run_all(push, self._terms, s.threads)
        shown = self.rendering
        return (
            torch.from_numpy(images).reshape(shown.images.shape),
            torch.from_numpy(silhouettes).reshape(shown.silhouettes.shape),
        )

    def vjp(self, images: Tensor | None, silhouettes: Tensor | None) -> Tensor:
        """`Jᵀ r`: the derivative of `⟨images, r_C⟩ + ⟨silhouettes, r_A⟩` in the lattice.

        Args:
            images: of the shape of `rendering.images`, or None for zeros.
            silhouettes: of the shape of `rendering.silhouettes`, or None for zeros.

        Returns:
            Of the shape of the lattice's values.

        Raises:
            ValueError: a shape that does not fit.
        """
        colors, masks = self._cotangents(images, silhouettes)
        sx, sy = self._scene.grid.sx, self._scene.grid.sy

        def pull(t: Terms, g: Any) -> None:
            b = t.lattice
            pull_surface(t.cells, t.starts, t.pixels, t.table, colors[b], sx, sy, g)
            pull_corners(
                t.corner_cells, t.corner_pixels, t.corner_table, colors[b], masks[b], sx, sy, g
            )

        return self._gather(pull)

    def squared_vjp(
        self, images: Tensor | None, silhouettes: Tensor | None, exact: bool = True
    ) -> Tensor:
        """The diagonal of `Jᵀ W J`: the square of each entry of J, weighted by row, and summed.

        Args:
            images: weights W of the shape of `rendering.images`, or None for zeros.
            silhouettes: weights of the shape of `rendering.silhouettes`, or None for zeros.
            exact: add up what a channel of a pixel owes to a vertex through several terms before it
                is squared. Otherwise each term is squared by itself, which is two to three times as
                fast and good enough for a preconditioner.

        Returns:
            Of the shape of the lattice's values.

        Raises:
            ValueError: a shape that does not fit.
        """
        colors, masks = self._cotangents(images, silhouettes)
        grid = self._scene.grid

        def pull(t: Terms, g: Any) -> None:
            b = t.lattice
            surface = (t.pixels, t.table)
            corners = (t.corner_cells, t.corner_pixels, t.corner_table)
            steps = (grid.sx, grid.sy)
            mixed = t.mixed if exact else t.mixed[:0]
            square_surface(t.cells, t.starts, *surface, mixed, colors[b], *steps, g)
            if not exact:
                square_corners(*corners, colors[b], masks[b], *steps, g)
                padded = g.reshape(grid.X + 2, grid.Y + 2, grid.Z + 2)
                padded[[0, -1]] = padded[:, [0, -1]] = padded[:, :, [0, -1]] = 0
                return
            row = np.zeros(len(g), np.float64)
            square_mixed(
                t.cells, t.starts, *surface, *corners, t.mixed, colors[b], masks[b], numbers(grid),
                row, g,
            )  # fmt: skip

        return self._gather(pull)

    def _gather(self, pull: Callable[[Terms, Any], None]) -> Tensor:
        """Sum what `pull` adds to padded lattices, by list of terms, then in order."""
        scene = self._scene
        _, X, Y, Z = scene.values.shape
        out = np.zeros(scene.values.shape, scene.values.dtype)

        def part(t: Terms) -> Any:
            g = np.zeros((X + 2) * (Y + 2) * (Z + 2), scene.values.dtype)
            pull(t, g)
            return g.reshape(X + 2, Y + 2, Z + 2)

        for b, total in enumerate(out):
            parts = run_all(part, [t for t in self._terms if t.lattice == b], scene.threads)
            add_unpadded(parts, total, scene.threads)
        return torch.from_numpy(out).reshape(self._shape())

    def _zeros(self, out: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Images and silhouettes of zeros: `out`, if there is one."""
        if out is None:
            shown = self.rendering
            return torch.zeros_like(shown.images), torch.zeros_like(shown.silhouettes)
        for x in out:
            if not x.is_contiguous() or x.dtype != self.rendering.images.dtype:
                raise ValueError(f"out: need contiguous tensors of {self.rendering.images.dtype}")
            x.zero_()
        return out

    def _cotangents(self, images: Tensor | None, silhouettes: Tensor | None) -> tuple[Any, Any]:
        """`[B, N H W, C]` and `[B, N H W]` arrays."""
        B, P, C = len(self._scene.values), self._pixels(), self._channels()
        sizes = {"images": (B, P, C), "silhouettes": (B, P)}
        out = []
        for name, x in (("images", images), ("silhouettes", silhouettes)):
            like = getattr(self.rendering, name)
            array = self._array(name, torch.zeros_like(like) if x is None else x, like.shape)
            out.append(array.reshape(sizes[name]))
        return out[0], out[1]

    def _array(self, name: str, x: Tensor, shape: tuple[int, ...]) -> Any:
        if tuple(x.shape) != tuple(shape):
            raise ValueError(f"{name}: need {tuple(shape)}, got {tuple(x.shape)}")
        return x.detach().to(self.rendering.images).contiguous().numpy()

    def _shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._scene.values.shape
        return shape if self._batched else shape[1:]

    def _channels(self) -> int:
        return int(self.rendering.images.shape[-1])

    def _pixels(self) -> int:
        return len(self._scene.views) * self._scene.width * self._scene.height


def linearize(
    lattice: Lattice,
    cameras: Cameras,
    *,
    lighting: Lighting | None = None,
    albedo: float | Tensor = 1.0,
    background: float | Tensor = 0.0,
    coverage: bool = True,
    reattach: str = "implicit",
) -> Linearization:
    """Render, and keep the derivative of images and silhouettes in `lattice.values`.

    The derivative is that of `render(engine="cpu")`: no derivatives in cameras, light, albedo and
    background, and none of depths and normals. With `coverage=False` silhouettes are constant.

    Args:
        lattice: `[X, Y, Z]` or `[B, X, Y, Z]` float32 or float64 values, on the CPU.
        cameras: N views.
        lighting: as in `render`, as are all that follow.
        albedo: a number, `[C]`, or a lattice of colours `[X, Y, Z, C]`.
        background: a number, `[C]`, or images `[N, H, W, C]`.
        coverage: anti-aliased silhouettes; otherwise one ray per pixel.
        reattach: `"implicit"`, or `"one_step"`.

    Raises:
        ValueError: as `render(engine="cpu")`.

    Worked value: with `J = linearize(Lattice.sphere(0.5), cameras)`, raising all values by 0.01
    shrinks the sphere: `J.jvp(torch.full((64, 64, 64), 0.01))[1]` is negative on the contour and
    zero elsewhere.
    """
    check_arguments(lattice, albedo, "exact", reattach, "cpu", coverage)
    with torch.no_grad():
        lighting = lighting or Lighting()
        lighting.check_views(len(cameras))
        _, scene = make_scene(lattice, cameras, lighting, albedo, coverage, reattach, MAX_EVENTS)
        traced, pixels = cpu.render(scene)
        colors, silhouettes, depths, normals, hits = map(torch.from_numpy, pixels)
        images = over(colors, silhouettes, background, cameras)
        C = images.shape[-1]
        behind = torch.as_tensor(background).to(images).expand(*_sizes(background, cameras), C)
        terms = linear_terms(
            _with_channels(scene, C), traced, behind.reshape(-1, C).contiguous().numpy()
        )
    out = rendering(lattice, images, silhouettes, depths, normals, hits)
    return Linearization(out, scene, terms)


def _sizes(background: float | Tensor, cameras: Cameras) -> tuple[int, ...]:
    """Sizes of the background but for its channels."""
    if isinstance(background, Tensor) and background.ndim == 4:
        return len(cameras), cameras.height, cameras.width
    return (1,)


def _with_channels(scene: cpu.Scene, C: int) -> cpu.Scene:
    """The same scene with one channel repeated C times, as a coloured background asks for."""
    L, K, columns = scene.lights.shape
    if columns - INTENSITY == C:
        return scene
    kinds, intensities = np.split(scene.lights, [INTENSITY], -1)
    lights = np.concatenate((kinds, np.broadcast_to(intensities, (L, K, C))), -1)
    albedo = np.broadcast_to(scene.albedo, (*scene.albedo.shape[:3], C)).copy()
    return replace(scene, lights=lights, albedo=albedo)
