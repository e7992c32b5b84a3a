"""The one differentiable operation over the CPU engine: save, call, return."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sdfrender.eager import INSTEAD, need_plain
from sdfrender.engines.cpu import engine as cpu
from sdfrender.geometry.sparse.lattice import AnyLattice, SparseLattice
from sdfrender.kernels.light_terms import AMBIENT, DIRECTIONAL, FALLOFF, HEADLIGHT, SH
from sdfrender.kernels.reattach import IMPLICIT, ONE_STEP
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting, channels

REATTACH = {"implicit": IMPLICIT, "one_step": ONE_STEP}


class RenderPixels(torch.autograd.Function):
    """Premultiplied colours, silhouettes, depths, normals and hits of a scene."""

    @staticmethod
    def forward(ctx: Any, scene: cpu.SceneArrays, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`inputs` are the tensors whose arrays `scene` holds."""
        ctx.save_for_backward(*inputs)  # so that a change before `backward` is noticed
        wanted = any(ctx.needs_input_grad)
        traced, pixels = cpu.render(scene, gradient=wanted, keep=wanted)
        out = tuple(torch.from_numpy(x) for x in pixels)
        ctx.scene, ctx.traced = scene, traced
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(out[4:] if scene.coverage else (out[1], out[4])))
        return out

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        """There is none: says what to use instead."""
        raise NotImplementedError(f"render: {INSTEAD}")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of values, views, lights and albedo."""
        need_plain("the derivative of render")
        ctx.saved_tensors  # noqa: B018  # raises if one of them has changed
        try:
            seen = [None if g is None else g.contiguous().numpy() for g in grads[:4]]
        except RuntimeError:  # gradients in a batch, as `vectorize=True` asks for
            raise RuntimeError(f"the derivative of render: {INSTEAD}") from None
        _, _, camera, *light = ctx.needs_input_grad
        sums = cpu.pull(ctx.scene, ctx.traced, seen, light=any(light), camera=camera)
        wanted = ctx.needs_input_grad[1:]
        return None, *(
            torch.from_numpy(x) if w else None for x, w in zip(sums, wanted, strict=True)
        )


def render_pixels(
    lattice: AnyLattice,
    cameras: Cameras,
    lighting: Lighting,
    albedo: float | Tensor,
    coverage: bool,
    reattach: str,
    max_events: int,
) -> tuple[Tensor, ...]:
    """Colours `[B, N, H, W, C]`, silhouettes, depths, normals and hits, all with a leading `[B]`.

    Differentiable once in the lattice's values, the cameras, the light and the albedo.
    """
    inputs, scene = make_scene(lattice, cameras, lighting, albedo, coverage, reattach, max_events)
    out: tuple[Tensor, ...] = RenderPixels.apply(scene, *inputs)  # type: ignore[no-untyped-call]
    return out


def make_scene(
    lattice: AnyLattice,
    cameras: Cameras,
    lighting: Lighting,
    albedo: float | Tensor,
    coverage: bool,
    reattach: str,
    max_events: int,
) -> tuple[tuple[Tensor, ...], cpu.SceneArrays]:
    """The tensors that gradients flow to, and the same as arrays.

    Returns:
        Values `[B, X, Y, Z]`, or `[n, 8, 8, 8]` of a sparse lattice; `[N, 16]` views, lights and
        the albedo lattice; and the scene.
    """
    values, blocks = lattice.values.contiguous(), None
    if isinstance(lattice, SparseLattice):
        blocks = lattice.blocked()
    else:
        values = values.reshape(-1, *lattice.resolution)
    inputs = (values, pack_views(cameras), *pack_light(lighting, albedo, values))
    arrays = [x.detach().numpy() for x in inputs]
    low, spacing = place(lattice)
    scene = cpu.SceneArrays(
        values=arrays[0],
        lo=low.numpy(),
        h=spacing.numpy(),
        views=arrays[1],
        width=cameras.width,
        height=cameras.height,
        lights=arrays[2],
        albedo=arrays[3],
        coverage=coverage,
        most=max_events,
        reattach=REATTACH[reattach],
        threads=torch.get_num_threads(),
        blocks=blocks,
    )
    return inputs, scene


def place(lattice: AnyLattice) -> tuple[Tensor, Tensor]:
    """The first vertex `[3]` and the spacing `[3]` of a lattice, float64.

    A float32 spacing moves the far side of the lattice by more than hits are exact to.
    """
    bounds = lattice.bounds.double().cpu()
    return bounds[0], (bounds[1] - bounds[0]) / (torch.tensor(lattice.resolution) - 1)


def pack_views(cameras: Cameras) -> Tensor:
    """`[N, 16]` float64: what takes a pixel to its ray, see `kernels.view.View`."""
    c2w, Ks = cameras.c2w.to("cpu", torch.float64), cameras.Ks.to("cpu", torch.float64)
    A = c2w[:, :3, :3] @ torch.linalg.inv(Ks)
    focal = (Ks[:, 0, 0] * Ks[:, 1, 1]).sqrt()
    return torch.cat((A.flatten(1), c2w[:, :3, 3], c2w[:, :3, 2], focal[:, None]), 1)


def pack_light(lighting: Lighting, albedo: float | Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Lights as rows, see `kernels.light_terms`, and the albedo lattice.

    A constant albedo goes into the intensities.

    Returns:
        `[L, K, 4 + C]` float64, L = 1 unless each camera has its own light; `[X, Y, Z, C]`.
    """
    like = torch.zeros((), dtype=torch.float64)
    none = torch.zeros(3, dtype=torch.float64)
    terms: list[tuple[int, Tensor, Tensor]] = []  # kind, direction, intensity [1 or L, 1 or C]
    if isinstance(lighting.ambient, Tensor) or lighting.ambient != 0:
        terms.append((AMBIENT, none, channels(lighting.ambient, like)))
    if lighting.headlight is not None:
        kind = FALLOFF if lighting.headlight.falloff else HEADLIGHT
        terms.append((kind, none, channels(lighting.headlight.intensity, like)))
    for light in lighting.directional:
        to_light = torch.as_tensor(light.to_light).to(like)
        direction = to_light / to_light.norm()
        terms.append((DIRECTIONAL, direction, channels(light.intensity, like)))
    if lighting.sh is not None:
        sh = lighting.sh.to(like)
        rows = (sh if lighting.varies else sh.reshape(1, 9, -1)).unbind(1)
        terms += [(SH + n, none, row) for n, row in enumerate(rows)]

    varies = isinstance(albedo, Tensor) and albedo.ndim == 4
    constant = channels(1.0 if varies else albedo, like)
    lattice = albedo.to(values) if varies else values.new_zeros(0, 0, 0, 1)  # type: ignore[union-attr]
    L = max((len(x) for *_, x in terms), default=1)
    C = max(constant.shape[-1], lattice.shape[-1], *(x.shape[-1] for *_, x in terms), 1)
    table = [
        torch.cat(
            (
                torch.cat((none.new_tensor([kind]), direction)).expand(L, -1),
                (intensity * constant).expand(L, C),
            ),
            -1,
        )
        for kind, direction, intensity in terms
    ]
    lights = torch.stack(table, 1) if table else none.new_zeros(1, 0, 4 + C)
    return lights, lattice.expand(*lattice.shape[:3], C).contiguous()
