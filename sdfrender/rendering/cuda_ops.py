"""The one differentiable operation over the CUDA engine: save, call, return."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sdfrender.eager import INSTEAD, need_plain
from sdfrender.engines.cuda import engine as cuda
from sdfrender.engines.cuda.scene import SceneTensors
from sdfrender.geometry.lattice import Lattice
from sdfrender.rendering.ops import REATTACH, RenderPixels, pack_light, pack_views, place
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting


class RenderOnCard(torch.autograd.Function):
    """Premultiplied colours, silhouettes, depths, normals and hits of a scene."""

    @staticmethod
    def forward(ctx: Any, scene: SceneTensors, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`inputs` are the tensors whose memory `scene` has."""
        ctx.save_for_backward(*inputs)  # so that a change before `backward` is noticed
        found, out = cuda.render(scene)
        if any(ctx.needs_input_grad):
            ctx.scene, ctx.found = scene, found
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(out[4:] if scene.coverage else (out[1], out[4])))
        return tuple(out)

    jvp = staticmethod(RenderPixels.jvp)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of values, views, lights and albedo."""
        need_plain("the derivative of render")
        ctx.saved_tensors  # noqa: B018  # raises if one of them has changed
        if any(torch._C._functorch.is_batchedtensor(g) for g in grads[:4] if g is not None):
            raise RuntimeError(f"the derivative of render: {INSTEAD}")
        _, _, camera, *light = ctx.needs_input_grad
        sums = cuda.pull(ctx.scene, ctx.found, grads[:4], light=any(light), camera=camera)
        wanted = ctx.needs_input_grad[1:]
        return None, *(x if w else None for x, w in zip(sums, wanted, strict=True))


def render_pixels_on_card(
    lattice: Lattice,
    cameras: Cameras,
    lighting: Lighting,
    albedo: float | Tensor,
    coverage: bool,
    reattach: str,
    max_events: int,
    deterministic: bool = False,
) -> tuple[Tensor, ...]:
    """As `ops.render_pixels`, on the lattice's card."""
    inputs, scene = make_scene_on_card(
        lattice, cameras, lighting, albedo, coverage, reattach, max_events, deterministic
    )
    out: tuple[Tensor, ...] = RenderOnCard.apply(scene, *inputs)  # type: ignore[no-untyped-call]
    return out


def make_scene_on_card(
    lattice: Lattice,
    cameras: Cameras,
    lighting: Lighting,
    albedo: float | Tensor,
    coverage: bool,
    reattach: str,
    max_events: int,
    deterministic: bool = False,
) -> tuple[tuple[Tensor, ...], SceneTensors]:
    """The tensors that gradients flow to, and the scene that has their memory.

    Returns:
        `[B, X, Y, Z]` values, `[N, 16]` views, lights, albedo lattice; and the scene.
    """
    values = lattice.values.reshape(-1, *lattice.resolution).contiguous()
    lights, colors = pack_light(lighting, albedo, values)
    inputs = (
        values,
        pack_views(cameras).to(values.device).contiguous(),
        lights.to(values.device).contiguous(),
        colors,
    )
    low, spacing = place(lattice)
    scene = SceneTensors(
        values=values.detach(),
        lo=tuple(low.tolist()),
        h=tuple(spacing.tolist()),
        views=inputs[1].detach(),
        width=cameras.width,
        height=cameras.height,
        lights=inputs[2].detach(),
        albedo=inputs[3].detach(),
        coverage=coverage,
        most=max_events,
        reattach=REATTACH[reattach],
        deterministic=deterministic,
    )
    return inputs, scene
