"""What the events of one pixel show: colour, coverage, depth and normal."""

from __future__ import annotations

from numba import float64, int64

from sdfrender.kernels.arrays import Doubles, Events, Flags, Floats
from sdfrender.kernels.compiled import inlined, scalar
from sdfrender.kernels.coverage import coverage_at
from sdfrender.kernels.light_terms import irradiance
from sdfrender.kernels.ray_walk import CAP, CROSSING, OPAQUE
from sdfrender.kernels.surface_point import albedo_at, surface_point
from sdfrender.kernels.trilinear_cell import Grid, Vector
from sdfrender.kernels.view import View, pixel_ray


@scalar
def shade_events(
    v: Floats, grid: Grid, view: View, lights: Doubles, albedo: Floats,
    events: Events, first: int, end: int,
    colors: Floats, silhouettes: Floats, depths: Floats, normals: Floats, hits: Flags,
    light: Doubles, reflected: Doubles,
) -> None:  # fmt: skip
    """Composite the events of one pixel front to back, and take its first hit.

    Args:
        v: values of the lattice, see `bricks.stored`.
        grid: its size and place.
        view: the camera.
        lights: `[K, 4 + C]`, see `light_terms`.
        albedo: `[X, Y, Z, C]` over the lattice's box; `[0, 0, 0, C]` for 1.
        events: in order of depth.
        first: the first one of the pixel.
        end: one past its last.
        colors: `[H W, C]` premultiplied, added to; zero at first, as all the others are.
        silhouettes: `[H W]`.
        depths: `[H W]`, left as it is where there is no hit.
        normals: `[H W, 3]`.
        hits: `[H W]` bool.
        light: scratch `[C]`.
        reflected: scratch `[C]`, ones where there is no albedo lattice.
    """
    pixel, clear, hit = int64(events[first].pixel), 1.0, False
    d, cosine = pixel_ray(view, pixel)
    for e in range(first, end):
        n, alpha = look_at(v, grid, view, lights, albedo, events, e, d, cosine, light, reflected)
        for c in range(len(light)):
            colors[pixel, c] += clear * alpha * reflected[c] * light[c]
        clear *= 1 - alpha
        if not hit and int64(events[e].bits) & (CROSSING | CAP):
            hit = True
            depths[pixel] = float64(events[e].t) * cosine
            normals[pixel, 0], normals[pixel, 1], normals[pixel, 2] = n
            hits[pixel] = True
    silhouettes[pixel] = 1 - clear


@inlined
def see_events(
    v: Floats, grid: Grid, view: View, lights: Doubles, albedo: Floats,
    events: Events, first: int, end: int,
    d: Vector, cosine: float, light: Doubles, reflected: Doubles,
    colors: Doubles, alphas: Doubles, clear: Doubles,
) -> int:  # fmt: skip
    """Colour and coverage of each event of one pixel, for the way back through them.

    Arguments as in `shade_events`, and the direction and the cosine of the pixel's ray. Fills
    `colors` `[MOST_EVENTS, C]`, `alphas` `[MOST_EVENTS]` and `clear` `[MOST_EVENTS + 1]`: what
    passes the events before each one.

    Returns:
        How many events the pixel has.
    """
    pixel = int64(events[first].pixel)
    size = 0
    while first + size < end and events[first + size].pixel == pixel:
        _, alphas[size] = look_at(
            v, grid, view, lights, albedo, events, first + size, d, cosine, light, reflected
        )
        for c in range(len(light)):
            colors[size, c] = reflected[c] * light[c]
        clear[size + 1] = clear[size] * (1 - alphas[size])
        size += 1
    return size


@inlined
def look_at(
    v: Floats, grid: Grid, view: View, lights: Doubles, albedo: Floats, events: Events, e: int,
    d: Vector, cosine: float, light: Doubles, reflected: Doubles,
) -> tuple[Vector, float]:  # fmt: skip
    """Normal and coverage of an event; `light` and `reflected` `[C]` are filled."""
    flags, t = int64(events[e].bits), float64(events[e].t)
    n = surface_point(v, grid, view.o, d, t, flags).n
    irradiance(lights, n, d, t, light)
    albedo_at(albedo, grid, view.o, d, t, reflected)
    alpha = 1.0
    if flags & OPAQUE == 0:
        t_min = float64(events[e].t_min)
        alpha, _ = coverage_at(v, grid, view.o, d, cosine / view.focal, t_min)
        alpha = min(max(alpha, 0.0), 1.0)
    return n, alpha
