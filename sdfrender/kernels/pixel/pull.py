"""From the derivatives in one pixel back to the lattice, the light and the camera."""

from __future__ import annotations

from numba import float64, int64

from sdfrender.kernels.adjoint import (
    V_A,
    V_AXIS,
    V_FOCAL,
    V_O,
    add_point,
    albedo_adjoint,
    light_adjoint,
    point_adjoint,
)
from sdfrender.kernels.arrays import Doubles, Events, Floats
from sdfrender.kernels.compiled import add_at, inlined, scalar
from sdfrender.kernels.coverage import coverage_adjoint
from sdfrender.kernels.light_terms import irradiance
from sdfrender.kernels.pixel.shade import see_events
from sdfrender.kernels.ray_walk import CAP, CROSSING, OPAQUE
from sdfrender.kernels.surface_point import albedo_at, surface_point
from sdfrender.kernels.trilinear_cell import Grid, Vector
from sdfrender.kernels.view import View, direction, pixel_ray


@scalar
def pull_pixel(
    v: Floats, grid: Grid, view: View, lights: Doubles, albedo: Floats,
    events: Events, e: int, end: int, reattach: int,
    v_colors: Floats, v_silhouettes: Floats, v_depths: Floats, v_normals: Floats,
    v_values: Floats, v_lights: Doubles, v_albedo: Floats, v_views: Doubles, n_view: int,
    values: bool, want_lights: bool, want_albedo: bool, camera: bool,
    light: Doubles, reflected: Doubles, v_light: Doubles, v_reflected: Doubles,
    colors: Doubles, behind: Doubles, alphas: Doubles, clear: Doubles,
) -> int:  # fmt: skip
    """Back through the pixel whose events begin at `e`; returns where the next one's do.

    Arguments as in `shade_events`, and of the derivatives as in the CPU engine's `pull_back`, with
    those wanted of values, lights, albedo and camera. The last eight are scratch: `[C]` but for
    `colors` `[MOST, C]`, `alphas` `[MOST]` and `clear` `[MOST + 1]`, which begins with 1, for MOST
    events.
    """
    C, o = len(light), view.o
    pixel = int64(events[e].pixel)
    d, cosine = pixel_ray(view, pixel)
    footprint = cosine / view.focal
    size = see_events(
        v, grid, view, lights, albedo, events, e, end, d, cosine, light, reflected,
        colors, alphas, clear,
    )  # fmt: skip
    hit = 0
    while hit < size and int64(events[e + hit].bits) & (CROSSING | CAP) == 0:
        hit += 1
    v_o, v_d, v_cosine, v_footprint = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 0.0
    v_silhouette = float(v_silhouettes[pixel]) if len(v_silhouettes) else 0.0
    clear_behind = 1.0
    for c in range(C):
        behind[c] = 0.0
    # back to front: `clear[k]` passes the events before k, `behind` is the colour after it
    for k in range(size - 1, -1, -1):
        flags, t = int64(events[e + k].bits), float64(events[e + k].t)
        alpha = alphas[k]
        point = surface_point(v, grid, o, d, t, flags)
        if len(albedo):
            albedo_at(albedo, grid, o, d, t, reflected)
            irradiance(lights, point.n, d, t, light)
        v_alpha = v_silhouette * clear[k] * clear_behind
        for c in range(C):
            v_c = float(v_colors[pixel, c]) if len(v_colors) else 0.0
            v_color = v_c * clear[k] * alpha
            v_light[c], v_reflected[c] = v_color * reflected[c], v_color * light[c]
            v_alpha += v_c * clear[k] * (colors[k, c] - behind[c])
            behind[c] = alpha * colors[k, c] + (1 - alpha) * behind[c]
        clear_behind *= 1 - alpha
        v_n, s_d, v_t = light_adjoint(lights, point.n, d, t, v_light, v_lights, want_lights)
        v_x = albedo_adjoint(albedo, grid, o, d, t, v_reflected, v_albedo, want_albedo)
        if k == hit:
            if len(v_depths):
                v_z = float(v_depths[pixel])
                v_t, v_cosine = v_t + v_z * cosine, v_cosine + v_z * t
            if len(v_normals):
                v_n = (
                    v_n[0] + float(v_normals[pixel, 0]),
                    v_n[1] + float(v_normals[pixel, 1]),
                    v_n[2] + float(v_normals[pixel, 2]),
                )
        a = point_adjoint(grid, point, d, t, flags, reattach, v_n, v_x, s_d, v_t)
        if values:
            add_point(v_values, grid, point.at, d, a)
        v_o, v_d = _add(v_o, a.v_o), _add(v_d, a.v_d)
        if flags & OPAQUE == 0:
            t_min = float64(events[e + k].t_min)
            c_o, c_d, c_footprint = coverage_adjoint(
                v, grid, o, d, footprint, t_min, v_alpha, v_values, values, camera
            )
            v_o, v_d, v_footprint = _add(v_o, c_o), _add(v_d, c_d), v_footprint + c_footprint
    if camera:
        add_ray(view, pixel, d, cosine, v_o, v_d, v_cosine, v_footprint, v_views, n_view)
    return e + size


@scalar
def pull_alone(
    v: Floats, grid: Grid, view: View, lights: Doubles, albedo: Floats,
    pixel: int, t: float, reattach: int, v_colors: Floats, v_depths: Floats, v_normals: Floats,
    v_values: Floats, v_lights: Doubles, v_albedo: Floats, v_views: Doubles, n_view: int,
    values: bool, want_lights: bool, want_albedo: bool, camera: bool,
    light: Doubles, reflected: Doubles, v_light: Doubles, v_reflected: Doubles,
) -> None:  # fmt: skip
    """`pull_pixel` where one opaque crossing, at the distance `t`, is all there is to the pixel.

    It covers the pixel whatever happens nearby, and nothing is in front of it. That is what most
    pixels are, and takes far fewer registers of a card.
    """
    d, cosine = pixel_ray(view, pixel)
    point = surface_point(v, grid, view.o, d, t, CROSSING)
    if len(albedo):
        albedo_at(albedo, grid, view.o, d, t, reflected)
        irradiance(lights, point.n, d, t, light)
    for c in range(len(light)):
        v_c = float(v_colors[pixel, c]) if len(v_colors) else 0.0
        v_light[c], v_reflected[c] = v_c * reflected[c], v_c * light[c]
    v_n, v_d, v_t = light_adjoint(lights, point.n, d, t, v_light, v_lights, want_lights)
    v_x = albedo_adjoint(albedo, grid, view.o, d, t, v_reflected, v_albedo, want_albedo)
    v_cosine = 0.0
    if len(v_depths):
        v_z = float(v_depths[pixel])
        v_t, v_cosine = v_t + v_z * cosine, v_z * t
    if len(v_normals):
        normal = (v_normals[pixel, 0], v_normals[pixel, 1], v_normals[pixel, 2])
        v_n = _add(v_n, (float(normal[0]), float(normal[1]), float(normal[2])))
    a = point_adjoint(grid, point, d, t, CROSSING | OPAQUE, reattach, v_n, v_x, v_d, v_t)
    if values:
        add_point(v_values, grid, point.at, d, a)
    if camera:
        add_ray(view, pixel, d, cosine, a.v_o, a.v_d, v_cosine, 0.0, v_views, n_view)


@inlined
def _add(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@inlined
def add_ray(
    view: View, pixel: int, d: Vector, cosine: float,
    v_o: Vector, v_d: Vector, v_cosine: float, v_footprint: float, v_views: Doubles, n: int,
) -> None:  # fmt: skip
    """Back through `footprint = cosine / focal`, `cosine = d·axis` and `d = A p / |A p|`."""
    v_cosine += v_footprint / view.focal
    add_at(v_views, (n, V_FOCAL), -v_footprint * cosine / (view.focal * view.focal))
    x, y = pixel % view.width, pixel // view.width
    _, _, _, length = direction(view, float(x), float(y))
    v_d = (
        v_d[0] + v_cosine * view.axis[0],
        v_d[1] + v_cosine * view.axis[1],
        v_d[2] + v_cosine * view.axis[2],
    )
    along = v_d[0] * d[0] + v_d[1] * d[1] + v_d[2] * d[2]
    for axis in range(3):
        add_at(v_views, (n, V_O + axis), v_o[axis])
        add_at(v_views, (n, V_AXIS + axis), v_cosine * d[axis])
        v_u = (v_d[axis] - along * d[axis]) / length
        add_at(v_views, (n, V_A + 3 * axis), v_u * (x + 0.5))
        add_at(v_views, (n, V_A + 3 * axis + 1), v_u * (y + 0.5))
        add_at(v_views, (n, V_A + 3 * axis + 2), v_u)
