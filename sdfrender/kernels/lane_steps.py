"""Steps that sixteen points take together, so that their long chains of arithmetic overlap.

Each step is a loop over lanes that calls the per-point functions; the compiler makes vector
instructions of it. `w`, float64, has rows of one number per lane; `g` has 32 rows of what was read
from the lattice, in its own precision: the cell's 8 corners and the 24 differences.
`w` is `[SIZE]` and `g` `[SIZE_READ]`; `light` and `v_light` `[16 C]` have a row of lanes for each
channel.

A lattice cannot be read inside such a loop (the compiler must see that nothing it writes is what it
reads), so reading is a step of its own.
"""

from __future__ import annotations

from numba import float64, uint64

from sdfrender.kernels.adjoint import point_adjoint
from sdfrender.kernels.arrays import Doubles, Floats
from sdfrender.kernels.compiled import floor, inlined, inlined_lanes, shared
from sdfrender.kernels.light_terms import INTENSITY, kind_and_direction, term, term_slopes
from sdfrender.kernels.ray_walk import CROSSING, OPAQUE
from sdfrender.kernels.surface_point import Place, Point, locate_along, normal_at
from sdfrender.kernels.trilinear_cell import (
    ONE,
    TWO,
    Corners,
    Grid,
    Index,
    blend,
    blend_gradient,
)
from sdfrender.kernels.view import View, direction

LANES = 16
# Where the rows of `w` begin.
PIXEL = 0  # flat index in the view
DEPTH, T = 32, 48  # along the optical axis, and along the ray
DX, DY, DZ = 64, 80, 96  # direction of the ray: unit, world
COSINE = 112  # of the angle between ray and optical axis
CELL = 128  # flat index of the cell
X, Y, Z = 144, 160, 176  # position in the cell
NX, NY, NZ = 192, 208, 224  # unit normal
LENGTH = 240  # of the normal field
TRUSTED = 256  # 1 where `polish` did well
V_NX, V_NY, V_NZ = 272, 288, 304  # derivatives of the loss: in the normal
V_X, V_Y, V_Z = 320, 336, 352  # in the position
V_DX, V_DY, V_DZ = 368, 384, 400  # in the ray's direction
V_T = 416  # in the distance
V_OX, V_OY, V_OZ = 432, 448, 464  # in the ray's origin
V_PHI = 480  # in φ
V_GX, V_GY, V_GZ = 496, 512, 528  # in the normal field
TERM = 544  # of one light
DEEP = 560  # 1 where φ is half a pixel deep where the ray leaves the cell
SIZE = 576
SIZE_READ = 32 * 16

# Longer Newton steps, in units of the spacing, are not to be trusted.
LONGEST_FIRST = 0.2
LONGEST_POLISH = 1e-3


@inlined
def eight(g: Floats, n: int) -> Corners:
    """Eight rows of one lane, from place `n` on."""
    return (
        float64(g[n]),
        float64(g[n + 16]),
        float64(g[n + 32]),
        float64(g[n + 48]),
        float64(g[n + 64]),
        float64(g[n + 80]),
        float64(g[n + 96]),
        float64(g[n + 112]),
    )


@inlined
def place_of(w: Doubles, n: int) -> Place:
    """The place of lane n."""
    return Place(int(w[CELL + n]), w[X + n], w[Y + n], w[Z + n])


@shared
@inlined_lanes
def find_places(grid: Grid, view: View, w: Doubles, from_depth: bool) -> None:
    """From pixel and depth (or distance) to ray, distance and place."""
    per_width = 1.0 / view.width
    for n in range(LANES):
        line = floor((w[PIXEL + n] + 0.5) * per_width)
        column = w[PIXEL + n] - line * view.width
        dx, dy, dz, length = direction(view, column, line)
        t = w[DEPTH + n] * length if from_depth else w[T + n]
        s = 1 / length
        dx, dy, dz = dx * s, dy * s, dz * s
        w[T + n] = t
        w[DX + n], w[DY + n], w[DZ + n] = dx, dy, dz
        w[COSINE + n] = dx * view.axis[0] + dy * view.axis[1] + dz * view.axis[2]
        p, x, y, z = locate_along(grid, view.o, (dx, dy, dz), t)
        w[CELL + n], w[X + n], w[Y + n], w[Z + n] = p, x, y, z


@shared
@inlined
def read_cell(v: Floats, sx: Index, sy: Index, p: Index, g: Floats, n: int) -> None:
    """Corners and differences of the cell at `p` into lane n."""
    p, sx, sy = uint64(p), uint64(sx), uint64(sy)
    c0, c1, c2, c3 = v[p], v[p + ONE], v[p + sy], v[p + sy + ONE]
    q = p + sx
    c4, c5, c6, c7 = v[q], v[q + ONE], v[q + sy], v[q + sy + ONE]
    g[n], g[16 + n], g[32 + n], g[48 + n] = c0, c1, c2, c3
    g[64 + n], g[80 + n], g[96 + n], g[112 + n] = c4, c5, c6, c7
    a, b = p - sx, p + TWO * sx  # along x
    g[128 + n], g[144 + n] = c4 - v[a], c5 - v[a + ONE]
    g[160 + n], g[176 + n] = c6 - v[a + sy], c7 - v[a + sy + ONE]
    g[192 + n], g[208 + n] = v[b] - c0, v[b + ONE] - c1
    g[224 + n], g[240 + n] = v[b + sy] - c2, v[b + sy + ONE] - c3
    a, b = p - sy, p + TWO * sy  # along y
    g[256 + n], g[272 + n] = c2 - v[a], c3 - v[a + ONE]
    g[288 + n], g[304 + n] = v[b] - c0, v[b + ONE] - c1
    g[320 + n], g[336 + n] = c6 - v[a + sx], c7 - v[a + sx + ONE]
    g[352 + n], g[368 + n] = v[b + sx] - c4, v[b + sx + ONE] - c5
    g[384 + n], g[400 + n] = c1 - v[p - ONE], v[p + TWO] - c0  # along z
    g[416 + n], g[432 + n] = c3 - v[p + sy - ONE], v[p + sy + TWO] - c2
    g[448 + n], g[464 + n] = c5 - v[q - ONE], v[q + TWO] - c4
    g[480 + n], g[496 + n] = c7 - v[q + sy - ONE], v[q + sy + TWO] - c6


@shared
@inlined_lanes
def polish(grid: Grid, view: View, w: Doubles, g: Floats, coverage: bool) -> None:
    """Two Newton steps on hits; trusted if the second is short and φ falls there.

    For coverage, also whether the ray leaves the cell half a pixel deep inside the solid.
    """
    for n in range(LANES):
        c = eight(g, n)
        x, y, z = w[X + n], w[Y + n], w[Z + n]
        dx, dy = w[DX + n] * grid.ih[0], w[DY + n] * grid.ih[1]
        dz = w[DZ + n] * grid.ih[2]
        gx, gy, gz = blend_gradient(c, x, y, z)
        first = -blend(c, x, y, z) / (gx * dx + gy * dy + gz * dz)
        x, y, z = x + first * dx, y + first * dy, z + first * dz
        gx, gy, gz = blend_gradient(c, x, y, z)
        slope = gx * dx + gy * dy + gz * dz
        step = -blend(c, x, y, z) / slope
        trusted = slope < 0 and abs(step) <= LONGEST_POLISH * grid.h_min
        trusted = trusted and abs(first) <= LONGEST_FIRST * grid.h_min
        if coverage:  # as far as the cell reaches
            L = min(
                min(((1 - x) if dx >= 0 else -x) / dx, ((1 - y) if dy >= 0 else -y) / dy),
                ((1 - z) if dz >= 0 else -z) / dz,
            )
            end = blend(c, x + L * dx, y + L * dy, z + L * dz)
            deep = -0.5 * (w[COSINE + n] / view.focal) * (w[T + n] + first + L)
            w[DEEP + n] = 1.0 if end <= deep else 0.0
        w[T + n] += first + step
        w[X + n], w[Y + n] = x + step * dx, y + step * dy
        w[Z + n] = z + step * dz
        w[TRUSTED + n] = 1.0 if trusted else 0.0


@shared
@inlined_lanes
def find_normals(grid: Grid, w: Doubles, g: Floats) -> None:
    """Unit normals and the length of the normal field."""
    for n in range(LANES):
        differences = (eight(g, 128 + n), eight(g, 256 + n), eight(g, 384 + n))
        at = Place(0, w[X + n], w[Y + n], w[Z + n])
        normal, length = normal_at(grid, at, differences)
        w[NX + n], w[NY + n], w[NZ + n] = normal
        w[LENGTH + n] = length


@shared
@inlined_lanes
def find_light(lights: Doubles, w: Doubles, light: Doubles) -> None:
    """The irradiance of each channel, in the rows of `light`."""
    C = lights.shape[1] - INTENSITY
    for n in range(C * LANES):
        light[n] = 0.0
    for k in range(len(lights)):
        kind, to = kind_and_direction(lights, k)
        for n in range(LANES):
            normal, d = (w[NX + n], w[NY + n], w[NZ + n]), (w[DX + n], w[DY + n], w[DZ + n])
            w[TERM + n] = term(kind, to, normal, d, w[T + n])
        for c in range(C):
            intensity = lights[k, INTENSITY + c]
            for n in range(LANES):
                light[LANES * c + n] += w[TERM + n] * intensity


@inlined_lanes
def pull_light(lights: Doubles, w: Doubles, v_light: Doubles) -> None:
    """Back through `find_light`: adds to the rows `V_N`, `V_D` and `V_T`."""
    C = lights.shape[1] - INTENSITY
    for k in range(len(lights)):
        kind, to = kind_and_direction(lights, k)
        for n in range(LANES):
            w[TERM + n] = 0.0
        for c in range(C):
            intensity = lights[k, INTENSITY + c]
            for n in range(LANES):
                w[TERM + n] += v_light[LANES * c + n] * intensity
        for n in range(LANES):
            normal, d = (w[NX + n], w[NY + n], w[NZ + n]), (w[DX + n], w[DY + n], w[DZ + n])
            v_n, v_d, v_t = term_slopes(kind, to, normal, d, w[T + n])
            s = w[TERM + n]
            w[V_NX + n] += s * v_n[0]
            w[V_NY + n] += s * v_n[1]
            w[V_NZ + n] += s * v_n[2]
            w[V_DX + n] += s * v_d[0]
            w[V_DY + n] += s * v_d[1]
            w[V_DZ + n] += s * v_d[2]
            w[V_T + n] += s * v_t


@inlined_lanes
def pull_points(grid: Grid, w: Doubles, g: Floats, reattach: int) -> None:
    """Back through normals, positions and motion of crossings.

    From the rows `V_N`, `V_X`, `V_D` and `V_T` to `V_O`, `V_D`, `V_PHI` and `V_G`.
    """
    for n in range(LANES):
        at = Place(0, w[X + n], w[Y + n], w[Z + n])
        differences = (eight(g, 128 + n), eight(g, 256 + n), eight(g, 384 + n))
        normal = (w[NX + n], w[NY + n], w[NZ + n])
        point = Point(at, normal, w[LENGTH + n], eight(g, n), differences)
        a = point_adjoint(
            grid,
            point,
            (w[DX + n], w[DY + n], w[DZ + n]),
            w[T + n],
            CROSSING | OPAQUE,
            reattach,
            (w[V_NX + n], w[V_NY + n], w[V_NZ + n]),
            (w[V_X + n], w[V_Y + n], w[V_Z + n]),
            (w[V_DX + n], w[V_DY + n], w[V_DZ + n]),
            w[V_T + n],
        )
        w[V_DX + n], w[V_DY + n], w[V_DZ + n] = a.v_d
        w[V_OX + n], w[V_OY + n], w[V_OZ + n] = a.v_o
        w[V_PHI + n] = a.v_phi
        w[V_GX + n], w[V_GY + n], w[V_GZ + n] = a.v_G
