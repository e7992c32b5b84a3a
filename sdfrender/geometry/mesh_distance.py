"""How far points are from a triangle mesh, and on which side. Nothing here is differentiable."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import igl
import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.far import far_offset
from sdfrender.geometry.grid import (
    Resolution,
    box_as_kept,
    check_box,
    grid_points,
    samples_per_axis,
)
from sdfrender.geometry.mesh_files import Doubles, Indices, mesh_arrays
from sdfrender.geometry.sides import explained, facing_outwards
from sdfrender.magnitude import SMALLEST

log = logging.getLogger("sdfrender")

CLEAR = 0.8  # of a surface that is the boundary of an inside: else that is told


def distances_on_grid(
    mesh: trimesh.Trimesh,
    resolution: Resolution = 64,
    bounds: Tensor | Sequence[Sequence[float]] | None = None,
    padding: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Exact distances to a triangle mesh at the vertices of a grid; see `Lattice.from_mesh`.

    Inside is where `|w| > ½` (Jacobson et al. 2013; fast evaluation of Barill et al. 2018), after
    triangles were turned that do not face one way: right for a closed mesh whichever way its
    triangles face, also if they are there twice, and a sensible guess for one with holes or
    self-intersections. If much of the surface has no inside beside it, the logger `sdfrender` says
    so.

    Args:
        mesh: at least one triangle.
        resolution: samples along the longest side of the box, or along each axis.
        bounds: `[2, 3]` world box. Default: the mesh's box grown by `padding`.
        padding: margin on every side as a fraction of the longest side of the mesh.

    Returns:
        `values` `[X, Y, Z]` float32, world units, negative inside, and `bounds` `[2, 3]` float64.

    Raises:
        InputError: a mesh without triangles, with vertices that are not finite, or with no sample
            inside.
        ValueError: a box or resolution that a `Lattice` cannot have.
    """
    verts, faces = mesh_arrays(mesh)
    if bounds is None:
        box, axes = _box_around(verts[faces].reshape(-1, 3), resolution, padding)
    else:
        box = torch.as_tensor(bounds, dtype=torch.float64)
        check_box(box)
        axes = samples_per_axis(resolution, box)
    box = box_as_kept(box, torch.float32).double()  # as the lattice will store it
    grid = grid_points(axes, box)  # (X, Y, Z, 3)
    values = _signed_distances(verts, faces, grid.reshape(-1, 3).numpy())
    _check_inside(verts, faces, values)
    return torch.from_numpy(values).reshape(grid.shape[:3]).float(), box


def signed_distances(mesh: trimesh.Trimesh, points: Doubles) -> Doubles:
    """Exact distances `[P]` from `points` `[P, 3]` to a mesh, signed as `distances_on_grid` says.

    Raises:
        InputError: a mesh without triangles or with vertices that are not finite.
    """
    return _signed_distances(*mesh_arrays(mesh), points)


def inside_mesh(mesh: trimesh.Trimesh, points: Doubles) -> NDArray[np.bool_]:
    """Which of `points` `[P, 3]` are inside, `[P]`; inside is what `distances_on_grid` says.

    Raises:
        InputError: a mesh without triangles or with vertices that are not finite.
    """
    return _inside(*mesh_arrays(mesh), points)


def _inside(verts: Doubles, faces: Indices, points: Doubles) -> NDArray[np.bool_]:
    return np.abs(winding_numbers(verts, faces, points)) > 0.5


def winding_numbers(verts: Doubles, faces: Indices, points: Doubles) -> Doubles:
    """Generalised winding numbers `[P]` at points `[P, 3]` (libigl, which computes in float32).

    Triangles that do not face one way are turned first, see `sdfrender.geometry.sides`.
    """
    offset = far_offset(verts)
    if offset.any():
        verts, points = verts - offset, points - offset
    faces = facing_outwards(verts, faces)
    if len(faces) == 0:
        return np.zeros(len(points))
    winding: Doubles = igl.fast_winding_number(verts, faces, points)
    return winding


def _signed_distances(verts: Doubles, faces: Indices, points: Doubles) -> Doubles:
    squared, _, _ = igl.point_mesh_squared_distance(points, verts, faces)
    inside = _inside(verts, faces, points)
    signed: Doubles = np.where(inside, -1.0, 1.0) * np.sqrt(squared)
    return signed


def _check_inside(verts: Doubles, faces: Indices, values: Doubles) -> None:
    """Tell if much of a surface has no inside, refuse it if none of the samples `[P]` has."""
    near = verts - far_offset(verts)
    share = explained(near, facing_outwards(near, faces))
    if not (values < 0).any():
        reason = (
            "its surface is closed, but no sample is within: raise the resolution"
            if share > CLEAR
            else "its surface is open or of sheets: close it, or give it a thickness"
        )
        raise InputError(f"mesh: need a mesh with an inside, this one has none: {reason}")
    if share < CLEAR:
        log.warning(
            "the mesh is not the surface of a solid: %.0f%% of it has no inside beside it, and the "
            "lattice is a guess there", 100 * (1 - share),
        )  # fmt: skip


def _box_around(
    points: Doubles, resolution: Resolution, padding: float
) -> tuple[Tensor, tuple[int, int, int]]:
    """A box around `points` `[P, 3]` with a margin, and the samples along its axes.

    With one number for `resolution` the box grows to whole cells, so that they are cubes.
    """
    low, high = points.min(0), points.max(0)
    margin = padding * float((high - low).max())
    low, high = low - margin, high + margin
    if not (high - low).max() > 0:
        raise InputError("mesh: need an extent, all its vertices are at one point")
    if not (high - low).max() > SMALLEST:
        raise InputError(
            f"mesh: need a longest side of at least {SMALLEST:g}, got {(high - low).max():.3g}"
        )
    axes = samples_per_axis(resolution, torch.from_numpy(np.stack((low, high))))
    if isinstance(resolution, int):
        h = (high - low).max() / (resolution - 1)
        cells = np.ceil((high - low) / h - 1e-9).clip(min=1)
        center = (low + high) / 2
        low, high = center - cells * h / 2, center + cells * h / 2
        X, Y, Z = (int(n) + 1 for n in cells)
        axes = X, Y, Z
    return torch.from_numpy(np.stack((low, high))), axes
