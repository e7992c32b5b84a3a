"""Take out handles that are too thin to have been seen: hairs of solid, and pinholes.

Each pixel asks for its own side of a surface, and where two sheets come within a cell of each other
a few of them can join by a bridge that is thinner than half a cell. No photograph shows it, but it
changes the genus.
"""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import torch
from numpy.typing import NDArray

from sdfrender import Lattice, extract_mesh
from sdfrender.geometry.blocks import within

THIN = 0.25  # cells; a vertex of a thin handle is at most so far from the surface
REACH = 3  # cells; a thin handle is wholly within so many of it
FACES = [4, 10, 12, 14, 16, 22]  # of a block of 3 × 3 × 3, the neighbours of the one in the middle
AFTER = 0.1  # cells from the surface, on its other side


def remove_thin_handles(lattice: Lattice, reach: float = math.inf) -> Lattice:
    """Cut hairs and close pinholes of up to two `THIN` cells, one vertex each. Not differentiable.

    Where the sign of one vertex close to the surface stands between a handle and none, it is
    turned, if the surface around it has as many pieces afterwards as before. A handle that reaches
    farther than `REACH`, as the ring of a torus does, is left alone.

    Args:
        lattice: one lattice of distances.
        reach: of the new distances, as in `Lattice.redistance`.

    Returns:
        A lattice of distances; the same one if there is no such handle.
    """
    values = lattice.values.detach().cpu().contiguous().numpy()
    h = float(lattice.spacing.max())
    vertices = doubtful_vertices(values, THIN * h)
    changed = False
    for vertex in vertices[np.argsort(np.abs(values[tuple(vertices.T)]))]:
        around = tuple(slice(max(n - REACH, 0), n + REACH + 1) for n in vertex)
        block, turned = values[around], values[around].copy()
        inner = tuple(np.minimum(vertex, REACH))
        turned[inner] = -np.copysign(AFTER * h, block[inner])
        if (turned < 0).any() and _loses_a_handle(block, turned):
            values = values if changed else values.copy()
            values[around] = turned
            changed = True
    if not changed:
        return lattice
    new = lattice.with_values(torch.from_numpy(values).to(lattice.values))
    return new.redistance(reach=reach, reuse=True)


def doubtful_vertices(values: NDArray[np.float32], near: float) -> NDArray[np.int64]:
    """`[M, 3]` index of the vertices up to `near` from the surface whose sign may matter to genus.

    They are those that would raise the Euler number of the cubes between the vertices inside, or
    of those between the vertices outside, and would not be alone on the other side.
    """
    vertices = np.stack(np.unravel_index(within(values, near), values.shape), -1)
    around = vertices[:, None] + np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), -1) - 1
    nearest = around.clip(0, np.array(values.shape) - 1)
    blocks = (values[tuple(np.moveaxis(nearest, -1, 0))] < 0) & (around == nearest).all(-1)
    blocks = blocks.reshape(-1, 3, 3, 3)
    inside = blocks[:, 1, 1, 1]
    entering = np.where(inside, -1, 1)  # the vertices inside; it is leaving those outside
    raises = (entering * euler_gain(blocks) > 0) | (entering * euler_gain(~blocks) < 0)
    neighbors = blocks.reshape(-1, 27)[:, FACES] != inside[:, None]
    doubtful: NDArray[np.int64] = vertices[raises & neighbors.any(1)]
    return doubtful


def euler_gain(blocks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """What the vertex in the middle adds to the Euler number, given which others there are.

    Args:
        blocks: `[M, 3, 3, 3]` whether a vertex is there; the one in the middle is not asked.

    Returns:
        `[M]`: 1 vertex − edges + squares − cubes that it completes.
    """
    gain = np.ones(len(blocks), np.int64)
    for dimension in (1, 2, 3):
        for axes in combinations(range(3), dimension):
            for signs in product((-1, 1), repeat=dimension):
                part = [slice(1, 2)] * 3
                for axis, sign in zip(axes, signs, strict=True):
                    part[axis] = slice(0, 2) if sign < 0 else slice(1, 3)
                cell = blocks[:, part[0], part[1], part[2]].reshape(len(blocks), -1)
                others = cell.sum(1) - blocks[:, 1, 1, 1]
                gain += (-1) ** dimension * (others == 2**dimension - 1)
    return gain


def _loses_a_handle(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether a block of a lattice has fewer handles after a change, and as many bodies."""
    bodies, genus = _topology(before)
    if genus == 0:  # the rule
        return False
    bodies_after, genus_after = _topology(after)
    return bodies_after == bodies and genus_after < genus


def _topology(block: NDArray[np.float32]) -> tuple[int, int]:
    """Number of closed surfaces and of handles of what is inside a block, capped at its faces."""
    box = torch.tensor([[0.0] * 3, [n - 1.0 for n in block.shape]])
    mesh = extract_mesh(Lattice(torch.from_numpy(np.ascontiguousarray(block)), box))
    return mesh.body_count, mesh.body_count - mesh.euler_number // 2
