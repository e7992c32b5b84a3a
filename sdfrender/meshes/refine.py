"""Fewer triangles, and better ones: simplification, and vertices moved onto a field's surface.

After Mescheder et al. 2019, §3.3. Both take any mesh; refinement takes any field
(`extraction.Field`) that torch can differentiate, and lattices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import trimesh
from torch import Tensor
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.far import far_offset, is_far, moved
from sdfrender.geometry.mesh_files import Indices, drop_unused, mesh_arrays
from sdfrender.meshes.mise import Field

Gradient: TypeAlias = Callable[[Tensor], Tensor]  # points [P, 3] to gradients of a field [P, 3]

TINY = 1e-12  # least length of a vector that is divided by its length
AGGRESSION = 5  # of the edge collapse: below, it gives up before it is done; above, it is cruder
CHUNK = 1 << 14  # faces whose terms are held in memory together


@dataclass(frozen=True)
class RefineMeshSettings:
    """How vertices are moved.

    Args:
        steps: of RMSprop.
        rate: of its first step, as a fraction of the mesh's longest side; it falls to a tenth.
        normal_weight: λ of the second-order term.
        samples: random points on each face in each step.
    """

    steps: int = 30
    rate: float = 3e-4
    normal_weight: float = 0.01
    samples: int = 1


def simplify_mesh(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """The mesh with about `faces` triangles, by fast quadric edge collapse.

    A closed mesh stays closed: where the collapse would tear it, up to twice as many triangles are
    kept, or four times, and so on. Bodies for which no triangles are left vanish. A mesh that has
    no more than `faces` triangles comes back as it is.

    Raises:
        ValueError: fewer than 4 faces asked for.
        InputError: a mesh without triangles.
    """
    if faces < 4:
        raise ValueError(f"faces: need at least 4, got {faces}")
    offset = far_offset(mesh_arrays(mesh)[0])
    if offset.any():  # the collapse is in float32
        return moved(simplify_mesh(moved(mesh, -offset), faces), offset)
    verts, triangles = mesh_arrays(mesh)
    if len(triangles) <= faces:
        return trimesh.Trimesh(verts, triangles, process=False)
    from fast_simplification import simplify

    target = faces
    while target < len(triangles):
        v, f = simplify(verts, triangles, target_count=target, agg=AGGRESSION)
        kept = _without_flat_bodies(f.astype(np.int64))
        if len(kept):
            simple = trimesh.Trimesh(*drop_unused(v.astype(np.float64), kept), process=False)
            closed = simple.is_watertight and simple.is_winding_consistent
            if closed or not mesh.is_watertight:
                return simple
        target *= 2
    return trimesh.Trimesh(verts, triangles, process=False)


def _without_flat_bodies(faces: Indices) -> Indices:
    """Faces `[F, 3]` without the pairs that have the same vertices: a triangle and its back."""
    _, ids, counts = np.unique(
        np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    kept: Indices = faces[counts[ids.reshape(-1)] == 1]
    return kept


def refine_mesh(
    mesh: trimesh.Trimesh,
    field: Field,
    gradient: Gradient | None = None,
    settings: RefineMeshSettings | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> trimesh.Trimesh:
    """Move the vertices of a mesh so that its faces lie in the zero surface of a field.

    Minimises over the vertices, for random points p on every face,

        Σ (f(p) / (|∇f(p)| ℓ))² + λ |n_face − ∇f(p)/|∇f(p)||²

    by RMSprop; ℓ is the mesh's mean edge. The first-order term is the paper's (f − τ)² as a
    distance in edges, by which fields of any scale are treated alike: occupancies, their logits,
    distances. The second-order term asks faces to look where the field does. Faces and their
    neighbours stay as they are.

    Args:
        mesh: near the surface, as extracted from the field; counter-clockwise from outside.
        field: points `[P, 3]` float32 (float64 so far from the origin that float32 does not hold
            the mesh) to values `[P]`, negative inside, differentiable.
        gradient: ∇f, differentiable; for a lattice `lattice.gradient`, which is continuous.
            Default: by autograd, twice where the second-order term is differentiated.
        settings: of the descent.
        seed: of the random points.
        quiet: no progress bar.

    Returns:
        A mesh with the same triangles, closed if the given one is.

    Raises:
        InputError: a mesh without triangles, or a value or gradient that is not finite.
    """
    settings = settings or RefineMeshSettings()
    start, triangles = mesh_arrays(mesh)
    size = float((start.max(0) - start.min(0)).max())
    edge = float(mesh.edges_unique_length.mean())
    faces = torch.from_numpy(triangles)
    dtype = torch.float64 if is_far(start) else torch.float32
    verts = torch.from_numpy(start).to(dtype).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.RMSprop([verts], lr=settings.rate * size)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / settings.steps))
    slopes = gradient or _autograd(field)
    for _ in tqdm(range(settings.steps), desc="refining the mesh", disable=quiet):
        optimizer.zero_grad()
        for some in torch.split(faces, CHUNK):
            points, normals = points_on_faces(verts, some, settings.samples, generator)
            loss = surface_loss(points, normals, field, slopes, edge, settings.normal_weight)
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay.step()
    return trimesh.Trimesh(verts.detach().double().numpy(), triangles, process=False)


def surface_loss(
    points: Tensor,
    normals: Tensor,
    field: Field,
    gradient: Gradient,
    edge: float,
    normal_weight: float,
) -> Tensor:
    """What `refine_mesh` minimises. Differentiable in points and normals; |∇f| counts as constant.

    Args:
        points: `[P, 3]` on the faces, world units.
        normals: `[P, 3]` unit, of the faces they are on.
        field: whose zero surface is wanted.
        gradient: of the field.
        edge: unit of length, world units.
        normal_weight: λ.

    Raises:
        InputError: a value or gradient that is not finite.
    """
    values, slope = field(points), gradient(points)
    if not bool(values.isfinite().all() and slope.isfinite().all()):
        raise InputError("field: need finite values and gradients, got NaN or infinity")
    norm = slope.norm(dim=-1).clamp(min=TINY)
    distance = values / (norm.detach() * edge)
    turned = (normals - slope / norm[:, None]).square().sum(-1)
    loss: Tensor = (distance.square() + normal_weight * turned).sum()
    return loss


def points_on_faces(
    verts: Tensor, faces: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`samples` points on each face, uniform by area, and the faces' normals: `[P, 3]` twice."""
    u = torch.rand(samples, len(faces), 2, generator=generator).to(verts)
    root = u[..., :1].sqrt()
    weights = torch.cat((1 - root, root * (1 - u[..., 1:]), root * u[..., 1:]), -1)  # (S, F, 3)
    corners = verts[faces]  # (F, 3, 3)
    points = (weights[..., None] * corners).sum(-2)  # (S, F, 3)
    a, b, c = corners.unbind(1)
    cross = torch.linalg.cross(b - a, c - a)
    normals = cross / cross.norm(dim=-1, keepdim=True).clamp(min=TINY)
    return points.reshape(-1, 3), normals.repeat(samples, 1)


def _autograd(field: Field) -> Gradient:
    """The gradient of a field by autograd, differentiable in turn."""

    def gradient(points: Tensor) -> Tensor:
        if not points.requires_grad:
            points = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad(field(points).sum(), points, create_graph=True)
        return slope

    return gradient
