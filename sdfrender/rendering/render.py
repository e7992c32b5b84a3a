"""Images of lattices, with gradients."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from sdfrender.eager import eager, need_plain
from sdfrender.engines.cuda.available import device_obstacle
from sdfrender.equality import EqualByValue
from sdfrender.files.previews import for_display, strip
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.sparse.lattice import AnyLattice, SparseLattice
from sdfrender.magnitude import needed, usable
from sdfrender.rendering.ops import render_pixels
from sdfrender.rendering.reference_pixels import reference_pixels
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting

TRACERS = ("exact", "sphere")
REATTACHMENTS = ("implicit", "one_step")
ENGINES = ("auto", "cpu", "cuda", "reference")
MAX_EVENTS = 4  # events composited per ray
MAX_SHOWN = 4  # views shown in a notebook

log = logging.getLogger("sdfrender")


@dataclass(frozen=True, eq=False)
class Rendering(EqualByValue):
    """What `render` returns. For a batch of B lattices each tensor has a leading `[B]`.

    Args:
        images: `[N, H, W, C]` linear colour, premultiplied by coverage, over the background.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        depths: `[N, H, W]` camera z of the first hit, world units; infinity on a miss.
        normals: `[N, H, W, 3]` unit, outward, world frame, at the first hit; zero on a miss.
        hit_mask: `[N, H, W]` bool, the ray through the pixel's centre meets the surface.
    """

    images: Tensor
    silhouettes: Tensor
    depths: Tensor
    normals: Tensor
    hit_mask: Tensor

    def _repr_html_(self) -> str:
        """In a notebook: images of the first views, and what else there is of the first."""
        return strip(*preview(self))


@eager
def render(
    lattice: AnyLattice,
    cameras: Cameras,
    *,
    lighting: Lighting | None = None,
    albedo: float | Tensor = 1.0,
    background: float | Tensor = 0.0,
    coverage: bool = True,
    tracer: str = "exact",
    reattach: str = "implicit",
    engine: str = "auto",
    deterministic: bool = False,
) -> Rendering:
    """Render one lattice, or each of B lattices, from every camera.

    `torch.compile` leaves it alone, and `torch.func` does not see into it.

    Differentiable in `lattice.values`, `albedo`, the tensors in `lighting`, `background`,
    `cameras.c2w` and `cameras.Ks`. Not differentiable: where along the ray an event is looked for
    and in which cell, how many events there are, `hit_mask`, `lattice.bounds`. Depths and normals
    carry gradients at hits only. With `coverage=False` silhouettes are 0 or 1 and constant.

    World units and frame are the lattice's. The hit is the first root of the trilinear function
    along the ray; outside its box the lattice is empty, so a solid that reaches the box is cut off
    flat there.

    Args:
        lattice: `[X, Y, Z]` or `[B, X, Y, Z]` values, or a `SparseLattice`, which the CPU engine
            renders without making it dense.
        cameras: N views; moved to the lattice's dtype and device. In float64 if the lattice is so
            far from the origin that its bounds are.
        lighting: default `Lighting()`, a headlight of intensity 1; may be another for each camera.
        albedo: a number, `[C]`, or a lattice of colours `[X, Y, Z, C]` (any resolution, same box).
        background: a number, `[C]`, or images `[N, H, W, C]`.
        coverage: anti-aliased silhouettes with up to `MAX_EVENTS` composited events per ray
            (φ/t against the pixel's footprint); otherwise one ray per pixel, hit or miss.
        tracer: `"exact"`, or `"sphere"` (the paper's, which needs `coverage=False`).
        reattach: `"implicit"` (implicit function theorem), or `"one_step"` (the paper's).
        engine: `"cpu"` (compiled; differentiable once), `"cuda"` (the same formulas on an NVIDIA
            card), `"reference"` (PyTorch, any device), or `"auto"`: the first of them that can be
            used where the lattice is.
        deterministic: with `"cuda"`, derivatives that are the same to the bit every time, in twice
            the time; so it is, too, where `torch.use_deterministic_algorithms` asks for that. With
            `"cpu"` they are in any case; `"reference"` goes by what torch is told alone.

    Raises:
        ValueError: an unknown name, a shape or a dtype that does not fit, the sphere tracer with
            coverage, or an engine that cannot do what is asked of it.

    Source: SDFDiff (Jiang, Ji, Han, Zwicker, CVPR 2020) §4; coverage as in docs/concepts.

    Example:
        >>> import sdfrender as sr
        >>> camera = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=65)
        >>> out = sr.render(sr.Lattice.sphere(0.5, resolution=65), camera)
        >>> round(float(out.depths[0, 32, 32]), 3), round(float(out.images[0, 32, 32, 0]), 3)
        (2.5, 1.0)
    """
    need_plain("render")
    check_arguments(lattice, albedo, tracer, reattach, engine, coverage)
    lattice, cameras = near_the_origin(lattice, cameras)
    lighting = lighting or Lighting()
    lighting.check_views(len(cameras))
    if engine == "auto":
        engine = chosen_engine(lattice, tracer)
    if engine == "cpu":
        pixels = render_pixels(lattice, cameras, lighting, albedo, coverage, reattach, MAX_EVENTS)
    elif engine == "cuda":
        assert isinstance(lattice, Lattice)  # as checked
        from sdfrender.rendering.cuda_ops import render_pixels_on_card as on_card  # a second

        exact = deterministic or torch.are_deterministic_algorithms_enabled()
        pixels = on_card(lattice, cameras, lighting, albedo, coverage, reattach, MAX_EVENTS, exact)
    else:
        assert isinstance(lattice, Lattice)
        pixels = reference_pixels(
            lattice, cameras, lighting, albedo, coverage, tracer, reattach, MAX_EVENTS
        )
    colors, silhouettes, depths, normals, hit_mask = pixels
    images = over(colors, silhouettes, background, cameras)
    return rendering(lattice, images, silhouettes, depths, normals, hit_mask)


def preview(seen: Rendering) -> tuple[str, dict[str, Tensor]]:
    """A title for what was rendered, and pictures by their captions, of the first lattice."""
    batched = seen.silhouettes.ndim == 4
    fields = (x.detach().cpu() for x in (seen.images, seen.silhouettes, seen.depths, seen.normals))
    images, coverage, depths, normals = ((x[0] if batched else x) for x in fields)
    title = f"Rendering {'×'.join(map(str, seen.silhouettes.shape))}"
    if len(images) == 0:
        return title, {}
    if images.shape[-1] not in (1, 3):
        images = images.mean(-1, keepdim=True)
    pictures = {f"images[{n}]": for_display(images[n]) for n in range(min(len(images), MAX_SHOWN))}
    hit = torch.isfinite(depths[0])
    near, far = depths[0][hit].aminmax() if bool(hit.any()) else (torch.zeros(()),) * 2
    nearness = 1 - 0.9 * (depths[0] - near) / (far - near).clamp(min=1e-12)
    pictures["silhouettes[0]"] = coverage[0, ..., None]
    pictures["depths[0]"] = torch.where(hit, nearness, 0.0)[..., None]
    pictures["normals[0]"] = torch.where(hit[..., None], (normals[0] + 1) / 2, 0.0)
    return title, pictures


def near_the_origin(lattice: AnyLattice, cameras: Cameras) -> tuple[AnyLattice, Cameras]:
    """Both moved to the origin if the lattice is too far from it for its dtype; else the same.

    Raises:
        ValueError: cameras that are in float32 there.
    """
    if lattice.bounds.dtype == lattice.values.dtype:
        return lattice, cameras
    if cameras.c2w.dtype != lattice.bounds.dtype:
        raise ValueError(
            f"cameras: need c2w in float64 so far from the origin, got {cameras.c2w.dtype} "
            f"(the lattice's box is {lattice.bounds.tolist()})"
        )
    middle = lattice.bounds.mean(0)
    shift = torch.zeros(4, 4).to(middle)
    shift[:3, 3] = middle
    near = Cameras(cameras.c2w - shift.to(cameras.c2w), cameras.Ks, cameras.width, cameras.height)
    return replace(lattice, bounds=lattice.bounds - middle), near


def rendering(lattice: AnyLattice, *fields: Tensor) -> Rendering:
    """A `Rendering` of tensors with a leading `[B]`, which one lattice goes without."""
    return Rendering(*(x if lattice.batched else x.squeeze(0) for x in fields))


def over(
    colors: Tensor, silhouettes: Tensor, background: float | Tensor, cameras: Cameras
) -> Tensor:
    """Premultiplied `colors` `[B, N, H, W, C]` over a number, `[C]`, or images `[N, H, W, C]`."""
    if isinstance(background, int | float) and background == 0:
        return colors
    check_numbers("background", background)
    x = torch.as_tensor(background).to(colors)
    need = (len(cameras), cameras.height, cameras.width)
    if x.ndim > 1 and (x.ndim != 4 or x.shape[:3] != need):
        raise ValueError(
            f"background: need a number, [C] or {[*need, 'C']}, got shape {tuple(x.shape)}"
        )
    return colors + (1 - silhouettes)[..., None] * x


def cpu_obstacle(lattice: AnyLattice, tracer: str) -> str | None:
    """Why the compiled engine cannot be used, or None."""
    if tracer != "exact":
        return f"tracer={tracer!r}"
    if lattice.values.device.type != "cpu":
        return f"a lattice on {lattice.values.device}"
    return None


def cuda_obstacle(lattice: AnyLattice, tracer: str) -> str | None:
    """Why the engine for NVIDIA cards cannot be used, and what to do, or None."""
    if tracer != "exact":
        return f"it does not know tracer={tracer!r}: use engine='reference'"
    return device_obstacle(lattice.values.device)


def chosen_engine(lattice: AnyLattice, tracer: str) -> str:
    """What `engine="auto"` is."""
    if not cpu_obstacle(lattice, tracer):
        return "cpu"
    if lattice.values.device.type != "cuda" or tracer != "exact":
        return "reference"
    obstacle = cuda_obstacle(lattice, tracer)
    if obstacle:
        _tell_once(f"engine='reference' is used, which is slower than engine='cuda': {obstacle}")
    return "reference" if obstacle else "cuda"


@lru_cache
def _tell_once(message: str) -> None:
    log.warning("%s", message)


def check_numbers(name: str, value: float | Tensor) -> None:
    """Raise ValueError unless all numbers are finite and not too large to be computed with."""
    x = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)
    if not usable(x):
        raise ValueError(f"{name}: need {needed(x)}")


def check_arguments(
    lattice: AnyLattice,
    albedo: float | Tensor,
    tracer: str,
    reattach: str,
    engine: str,
    coverage: bool,
) -> None:
    """Check what `render` is given; an `albedo` is a number, `[C]` or `[X, Y, Z, C]`.

    Raises:
        ValueError: what it cannot do with these arguments, and why.
    """
    if lattice.values.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"lattice: need float32 or float64 values, got {lattice.values.dtype}")
    for name, value, known in (
        ("tracer", tracer, TRACERS),
        ("reattach", reattach, REATTACHMENTS),
        ("engine", engine, ENGINES),
    ):
        if value not in known:
            raise ValueError(f"{name}: need one of {', '.join(known)}, got {value!r}")
    if isinstance(lattice, SparseLattice) and (engine not in ("auto", "cpu") or tracer != "exact"):
        raise ValueError(
            "lattice: a SparseLattice needs engine='cpu' and tracer='exact', got "
            f"{engine!r} and {tracer!r}: use to_dense() for others"
        )
    if tracer == "sphere" and coverage:
        raise ValueError("tracer='sphere' knows hit or miss only: pass coverage=False")
    obstacle = cpu_obstacle(lattice, tracer)
    if engine == "cpu" and obstacle:
        raise ValueError(f"engine='cpu': does not know {obstacle}, use engine='reference'")
    obstacle = cuda_obstacle(lattice, tracer) if engine == "cuda" else None
    if obstacle:
        raise ValueError(f"engine='cuda': {obstacle}")
    check_numbers("albedo", albedo)
    if isinstance(albedo, Tensor) and (
        albedo.ndim not in (0, 1, 4) or (albedo.ndim == 4 and min(albedo.shape[:3]) < 2)
    ):
        raise ValueError(
            "albedo: need a number, [C] or [X, Y, Z, C] with at least 2 samples along each axis, "
            f"got {tuple(albedo.shape)}"
        )
