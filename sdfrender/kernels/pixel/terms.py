"""The local terms of one pixel that may see several events.

What a term is, and what is kept of it, says `engines.cpu.jacobian.linear_terms`.
"""

from __future__ import annotations

from typing import Any

from numba import float64, int64

from sdfrender.kernels.adjoint import albedo_adjoint, light_adjoint, point_adjoint
from sdfrender.kernels.bricks import cell_corners, stored
from sdfrender.kernels.compiled import inlined, scalar
from sdfrender.kernels.coverage import coverage_at
from sdfrender.kernels.light_terms import irradiance
from sdfrender.kernels.pixel.shade import see_events
from sdfrender.kernels.ray_walk import CAP, OPAQUE
from sdfrender.kernels.reattach import ONE_STEP, slope_at_hit
from sdfrender.kernels.surface_point import (
    Place,
    Point,
    albedo_at,
    cell_gradient,
    normal_at,
    place,
    vertex_differences,
)
from sdfrender.kernels.trilinear_cell import (
    Corners,
    Grid,
    Vector,
    corners,
    differences,
    dot,
    weight_slopes,
    weights,
)
from sdfrender.kernels.view import View, pixel_ray


@scalar
def fill_pixel(
    v: Any, grid: Grid, view: View, lights: Any, albedo: Any, background: Any,
    events: Any, e: int, end: int, first_pixel: int, reattach: int, at: Any, begin: int,
    ends: Any, pixels: Any, table: Any,
    corner_cells: Any, corner_pixels: Any, corner_table: Any, k: int, mixed: Any, m: int,
    light: Any, reflected: Any, unit_l: Any, unit_r: Any, colors: Any, behind: Any, motion: Any,
    alphas: Any, clear: Any, no_lights: Any, no_albedo: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """Write the terms of the pixel whose events begin at `e`.

    The arguments up to `m` are those of the CPU engine's `linear_fill.fill_terms`, the others are
    room to work in. `at` has flat indices of cells, all else places, see `bricks.stored`. Where
    `ends` `[1]` has one number, surface terms go one after the other.

    Returns:
        Where the next pixel's events begin, `k` and `m`.
    """
    C, o, of = len(light), view.o, table.dtype.type
    pixel = int64(events[e].pixel)
    d, cosine = pixel_ray(view, pixel)
    footprint = cosine / view.focal
    size = see_events(
        v, grid, view, lights, albedo, events, e, end, d, cosine, light, reflected,
        colors, alphas, clear,
    )  # fmt: skip
    pixel += first_pixel
    for c in range(C):
        behind[c] = background[pixel if len(background) > 1 else 0, c]
    clear_behind = 1.0
    # back to front: `clear[n]` passes the events before n, `behind` is the colour after it
    for n in range(size - 1, -1, -1):
        flags, t = int64(events[e + n].bits), float64(events[e + n].t)
        w = clear[n] * alphas[n]
        if flags & CAP == 0:
            p = int64(at[e + n - begin])
            point = _point(v, grid, o, d, t, p)
            q = point.at
            stored_at, _, _ = stored(grid, p)
            place_of = stored_at if len(ends) > 1 else 0
            slot = ends[place_of]
            ends[place_of] += 1
            pixels[slot] = pixel
            table[0, slot], table[1, slot], table[2, slot] = of(q.x), of(q.y), of(q.z)
            if len(albedo):
                albedo_at(albedo, grid, o, d, t, reflected)
                irradiance(lights, point.n, d, t, light)
            moves = False
            for c in range(C):
                unit_l[c], unit_r[c] = w * reflected[c], w * light[c]
                v_n, s_d, v_t = light_adjoint(lights, point.n, d, t, unit_l, no_lights, False)
                v_x = albedo_adjoint(albedo, grid, o, d, t, unit_r, no_albedo, False)
                unit_l[c], unit_r[c] = 0.0, 0.0
                a = point_adjoint(grid, point, d, t, flags, reattach, v_n, v_x, s_d, v_t)
                table[3 + 4 * c, slot] = of(a.v_phi)
                table[4 + 4 * c, slot] = of(0.5 * a.v_G[0] * grid.ih[0])
                table[5 + 4 * c, slot] = of(0.5 * a.v_G[1] * grid.ih[1])
                table[6 + 4 * c, slot] = of(0.5 * a.v_G[2] * grid.ih[2])
                motion[c] = a.v_slope
                moves = moves or a.v_slope != 0
            mixed[m] = slot
            m += 1
            if moves:
                D = (d[0] * grid.ih[0], d[1] * grid.ih[1], d[2] * grid.ih[2])
                put_weights(corner_table, k, weight_slopes(q.x, q.y, q.z, D[0], D[1], D[2]))
                for c in range(C):
                    corner_table[k, 8 + c] = of(motion[c])
                corner_cells[k], corner_pixels[k] = stored_at, pixel
                mixed[m] = ~k
                k, m = k + 1, m + 1
        if flags & OPAQUE == 0:
            t_min = float64(events[e + n].t_min)
            alpha, _ = coverage_at(v, grid, o, d, footprint, t_min)
            if 0 <= alpha <= 1:
                q, s = place(grid, o, d, t_min), -clear[n] / (t_min * footprint)
                put_weights(corner_table, k, weights(q.x, q.y, q.z))
                for c in range(C):
                    corner_table[k, 8 + c] = of(s * (colors[n, c] - behind[c]))
                corner_table[k, 8 + C] = of(s * clear_behind)
                corner_cells[k], _, _ = stored(grid, q.p)
                corner_pixels[k] = pixel
                mixed[m] = ~k
                k, m = k + 1, m + 1
        for c in range(C):
            behind[c] = alphas[n] * colors[n, c] + (1 - alphas[n]) * behind[c]
        clear_behind *= 1 - alphas[n]
    return e + size, k, m


@inlined
def _point(v: Any, grid: Grid, o: Vector, d: Vector, t: float, p: int) -> Point:
    """The point of an event in a cell that is known."""
    at = place(grid, o, d, t)
    x, y, z = put_place(grid, at.p, p, at.x, at.y, at.z)
    at = Place(p, x, y, z)
    differences = vertex_differences(v, grid, p)
    n, length = normal_at(grid, at, differences)
    return Point(at, n, length, cell_corners(v, grid, p), differences)


@inlined
def put_place(
    grid: Grid, old: int, new: int, x: float, y: float, z: float
) -> tuple[float, float, float]:
    """The position in the cell `new` of what is at `(x, y, z)` in the cell `old`."""
    return (
        x + (old // grid.sx - new // grid.sx),
        y + (old % grid.sx // grid.sy - new % grid.sx // grid.sy),
        z + (old % grid.sy - new % grid.sy),
    )


@inlined
def at_border(grid: Grid, p: int) -> bool:
    """Whether a cell touches a face of the box."""
    i, j, k = p // grid.sx, p % grid.sx // grid.sy, p % grid.sy
    return i == 1 or j == 1 or k == 1 or i == grid.X - 1 or j == grid.Y - 1 or k == grid.Z - 1


@inlined
def put_weights(table: Any, k: int, w: Corners) -> None:
    """The weights of corner term k."""
    of = table.dtype.type
    for n in range(8):
        table[k, n] = of(w[n])


@inlined
def corner_weights(table: Any, k: int) -> Corners:
    """The weights of corner term k, as `put_weights` wrote them."""
    return (
        float64(table[k, 0]), float64(table[k, 1]), float64(table[k, 2]), float64(table[k, 3]),
        float64(table[k, 4]), float64(table[k, 5]), float64(table[k, 6]), float64(table[k, 7]),
    )  # fmt: skip


@inlined
def surface_weights(table: Any, i: int) -> Corners:
    """The trilinear weights of the place of surface term i."""
    return weights(float64(table[0, i]), float64(table[1, i]), float64(table[2, i]))


@inlined
def term_samples(v: Any, p: int, sx: int, sy: int, w: Corners) -> tuple[float, float, float, float]:
    """What a surface term at the weights w of the cell at `p` has of a lattice: φ and D."""
    return (
        dot(w, corners(v, p, sx, sy)),
        dot(w, differences(v, p, sx, sy, sx)),
        dot(w, differences(v, p, sx, sy, sy)),
        dot(w, differences(v, p, sx, sy, 1)),
    )


@inlined
def depth_rate(v: Any, grid: Grid, at: Place, d: Vector, cosine: float, reattach: int) -> float:
    """What φ at a hit moves its depth by: `cosine · dt/dφ`, see `reattach`."""
    if reattach == ONE_STEP:
        return cosine
    return -cosine / slope_at_hit(cell_gradient(grid, cell_corners(v, grid, at.p), at), d)
