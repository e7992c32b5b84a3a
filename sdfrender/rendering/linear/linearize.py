"""`linearize`: render once, and keep what each pixel depends on.

Gauss-Newton wants `J v` and `Jᵀ r` many times at one point. What is kept are short lists of local
terms, see `engines.cpu.jacobian.linear_terms` for images and silhouettes, `hit_terms` for depths
and normals; `linearization` multiplies with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.eager import eager, need_plain
from sdfrender.engines.cpu import engine as cpu
from sdfrender.engines.cpu.jacobian.coverage_terms import coverage_terms
from sdfrender.engines.cpu.jacobian.hit_terms import hit_terms
from sdfrender.engines.cpu.jacobian.linear_shares import Share
from sdfrender.engines.cpu.jacobian.linear_terms import Terms, linear_terms
from sdfrender.geometry.sparse.lattice import AnyLattice
from sdfrender.kernels.light_terms import INTENSITY
from sdfrender.rendering.linear.linearization import OUTPUTS, Linearization
from sdfrender.rendering.ops import make_scene
from sdfrender.rendering.render import (
    MAX_EVENTS,
    check_arguments,
    near_the_origin,
    over,
    rendering,
)
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting

LINEAR_ENGINES = ("auto", "cpu", "cuda")


@eager
def linearize(
    lattice: AnyLattice,
    cameras: Cameras,
    *,
    lighting: Lighting | None = None,
    albedo: float | Tensor = 1.0,
    background: float | Tensor = 0.0,
    coverage: bool = True,
    reattach: str = "implicit",
    outputs: Sequence[str] = ("images", "silhouettes"),
    engine: str = "auto",
) -> Linearization:
    """Render, and keep the derivative of the outputs, images and silhouettes, in `lattice.values`.

    The derivative is that of `render` with the same engine: none in cameras, light, albedo and
    background. With `coverage=False` silhouettes are constant.

    Args:
        lattice: `[X, Y, Z]` or `[B, X, Y, Z]` float32 or float64 values, on the CPU or on an NVIDIA
            card; or a `SparseLattice`. Tangents have the shape of its values: they are zero in
            blocks that are not kept.
        cameras: N views.
        lighting: as in `render`, as are all that follow.
        albedo: a number, `[C]`, or a lattice of colours `[X, Y, Z, C]`.
        background: a number, `[C]`, or images `[N, H, W, C]`.
        coverage: anti-aliased silhouettes; otherwise one ray per pixel.
        reattach: `"implicit"`, or `"one_step"`.
        outputs: what to keep the derivative of: some of `"images"`, `"silhouettes"`, `"depths"` and
            `"normals"`, in the order in which `jvp` should return them. What is not asked for costs
            nothing; without images the others take a fraction of the time.
        engine: `"cpu"`, `"cuda"`, or `"auto"`: the one for where the lattice is.

    Raises:
        ValueError: as `render` with that engine, or an unknown output.

    Example: raising all values shrinks a sphere, so that coverage falls on its contour alone.

    >>> import torch, sdfrender as sr
    >>> camera = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=64)
    >>> J = sr.linearize(sr.Lattice.sphere(0.5), camera)
    >>> images, silhouettes = J.jvp(torch.full((64, 64, 64), 0.01))
    >>> bool((silhouettes <= 0).all()), bool((silhouettes < 0).float().mean() < 0.1)
    (True, True)
    """
    outputs = _checked(outputs)
    need_plain("linearize")
    if engine not in LINEAR_ENGINES:
        raise ValueError(f"engine: need one of {', '.join(LINEAR_ENGINES)}, got {engine!r}")
    if engine == "auto":
        engine = "cuda" if lattice.values.device.type == "cuda" else "cpu"
    check_arguments(lattice, albedo, "exact", reattach, engine, coverage)
    lattice, cameras = near_the_origin(lattice, cameras)
    with torch.no_grad():
        lighting = lighting or Lighting()
        lighting.check_views(len(cameras))
        if engine == "cuda":
            scene_of = (lattice, cameras, lighting, albedo, coverage, reattach, MAX_EVENTS)
            return _on_card(scene_of, background, outputs)
        _, scene = make_scene(lattice, cameras, lighting, albedo, coverage, reattach, MAX_EVENTS)
        traced, pixels = cpu.render(scene)
        colors, silhouettes, depths, normals, hit_mask = map(torch.from_numpy, pixels)
        images = over(colors, silhouettes, background, cameras)
        C = images.shape[-1]
        terms: list[Terms] = []
        if "images" in outputs:
            behind = _behind(background, images, cameras).numpy()
            terms = linear_terms(_with_channels(scene, C), traced, behind)
        elif "silhouettes" in outputs:
            terms = coverage_terms(scene, traced)
        hits = hit_terms(scene, traced, "depths" in outputs, "normals" in outputs)
        shares = [Share(*x) for x in zip_longest(terms, *hits)]
    out = rendering(lattice, images, silhouettes, depths, normals, hit_mask)
    return Linearization(out, scene, outputs, shares, [near.bricks for near in traced.cells])


def _on_card(
    scene_of: tuple[Any, ...], background: float | Tensor, outputs: tuple[str, ...]
) -> Linearization:
    """`linearize` where the lattice is on a card; `scene_of` is what `make_scene` is given."""
    from sdfrender.engines.cuda import engine as cuda
    from sdfrender.rendering.cuda_ops import make_scene_on_card
    from sdfrender.rendering.linear.card_linearization import LinearizationOnCard

    lattice, cameras = scene_of[:2]
    _, scene = make_scene_on_card(*scene_of)
    found, (colors, silhouettes, *others) = cuda.render(scene)
    images = over(colors, silhouettes, background, cameras)
    C = images.shape[-1]
    if scene.channels != C:  # one channel, in front of a coloured background
        kinds, intensities = scene.lights[..., :INTENSITY], scene.lights[..., INTENSITY:]
        lights = torch.cat((kinds, intensities.expand(*kinds.shape[:2], C)), -1)
        albedo = scene.albedo.expand(*scene.albedo.shape[:3], C).contiguous()
        scene = replace(scene, lights=lights, albedo=albedo)
    out = rendering(lattice, images, silhouettes, *others)
    return LinearizationOnCard(out, scene, outputs, found, _behind(background, images, cameras))


def _behind(background: float | Tensor, images: Tensor, cameras: Cameras) -> Tensor:
    """The background of each pixel `[N H W, C]`, or of all `[1, C]`."""
    C = images.shape[-1]
    behind = torch.as_tensor(background).to(images).expand(*_sizes(background, cameras), C)
    return behind.reshape(-1, C).contiguous()


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
