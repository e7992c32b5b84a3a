"""Coverage: how much of its pixel an event covers, `α = ½ − φ/(t·footprint)`, and back through it.

The scalar twin of `sdfrender.rendering.coverage`; `t` is the distance of the closest approach.
"""

from __future__ import annotations

from sdfrender.kernels.arrays import Floats
from sdfrender.kernels.bricks import cell_corners, stored
from sdfrender.kernels.compiled import inlined
from sdfrender.kernels.surface_point import cell_gradient, face_axis, place
from sdfrender.kernels.trilinear_cell import Grid, Vector, add_to_corners, blend, weights


@inlined
def coverage_at(
    v: Floats, grid: Grid, o: Vector, d: Vector, footprint: float, t: float
) -> tuple[float, float]:
    """`½ − φ/(t·footprint)` at the closest approach, not yet clamped, and φ there.

    Args:
        v: values of the lattice, see `bricks.stored`.
        grid: its size and place.
        o: origin of the ray, world units.
        d: its unit direction.
        footprint: size of a pixel per unit of t.
        t: distance of the closest approach, world units.
    """
    at = place(grid, o, d, t)
    phi = blend(cell_corners(v, grid, at.p), at.x, at.y, at.z)
    return 0.5 - phi / (t * footprint), phi


@inlined
def coverage_adjoint(
    v: Floats, grid: Grid, o: Vector, d: Vector, footprint: float, t: float,
    v_alpha: float, v_values: Floats, values: bool, camera: bool,
) -> tuple[Vector, Vector, float]:  # fmt: skip
    """Back through the coverage at distance `t`: `v_o`, `v_d` and `v_footprint`.

    Adds to `v_values`, which is laid out as `v`, if values are wanted; what is
    returned is zero unless the camera is.
    """
    at = place(grid, o, d, t)
    c = cell_corners(v, grid, at.p)
    phi = blend(c, at.x, at.y, at.z)
    zero = (0.0, 0.0, 0.0)
    alpha = 0.5 - phi / (t * footprint)
    if not 0 <= alpha <= 1:
        return zero, zero, 0.0
    v_phi = -v_alpha / (t * footprint)
    if values:
        q, sx, sy = stored(grid, at.p)
        add_to_corners(v_values, q, sx, sy, weights(at.x, at.y, at.z), v_phi)
    if not camera:
        return zero, zero, 0.0
    # a ∇φ with ∇φ·d = φ/t, see `rendering.coverage`
    g = cell_gradient(grid, c, at)
    axis = face_axis(grid, at, d)
    excess = (phi / t - (g[0] * d[0] + g[1] * d[1] + g[2] * d[2])) / d[axis]
    v_o = (
        v_phi * (g[0] + (excess if axis == 0 else 0.0)),
        v_phi * (g[1] + (excess if axis == 1 else 0.0)),
        v_phi * (g[2] + (excess if axis == 2 else 0.0)),
    )
    return v_o, (t * v_o[0], t * v_o[1], t * v_o[2]), v_alpha * phi / (t * footprint * footprint)
