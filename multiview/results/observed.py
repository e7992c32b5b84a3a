"""The part of a surface that was seen: all that a fit without silhouettes vouches for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from multiview.dense.depth_steps import rendered
from multiview.photo.targets import Targets
from multiview.scenes import Scene
from sdfrender import Lattice, extract_mesh

LEAST = 0.1  # views' worth of depths near a point of the surface: those of one, a cell away
RENDERED = 768  # pixels along the longer side of the renderings that tell where it is seen
SMALLEST = 0.001  # of the area: pieces that are smaller are cut away


def seen_vertices(mesh: trimesh.Trimesh, lattice: Lattice, observed: Tensor) -> NDArray[np.bool_]:
    """`[V]` whether photographs confirm the surface at each vertex.

    Args:
        mesh: of the lattice.
        lattice: the surface.
        observed: `[X, Y, Z]` views that saw the surface near each vertex of the lattice.
    """
    points = torch.from_numpy(np.array(mesh.vertices)).to(lattice.bounds)
    rim = 0.01 * lattice.spacing  # what is on a face of the box is where the box ends
    inner = ((points > lattice.bounds[0] + rim) & (points < lattice.bounds[1] - rim)).all(-1)
    weights = Lattice(observed, lattice.bounds).sample(points.float())
    return ((weights > LEAST) & inner).numpy()


def seen_mesh(lattice: Lattice, observed: Tensor) -> trimesh.Trimesh:
    """The part of the surface that was seen, open where it ends, without small loose pieces."""
    mesh = extract_mesh(lattice)
    kept = seen_vertices(mesh, lattice, observed)[mesh.faces].all(1)
    if not kept.any():
        return mesh
    part = trimesh.Trimesh(mesh.vertices, mesh.faces[kept], process=False)
    label = trimesh.graph.connected_component_labels(  # type: ignore[no-untyped-call]
        part.face_adjacency, node_count=len(part.faces)
    )
    areas = np.bincount(label, part.area_faces)
    large = (areas >= SMALLEST * areas.sum())[label]
    part.update_faces(large)
    part.remove_unreferenced_vertices()
    return part


def invented(lattice: Lattice, observed: Tensor) -> float:
    """How much of the closed surface's area no view saw."""
    mesh = extract_mesh(lattice)
    seen = seen_vertices(mesh, lattice, observed)[mesh.faces].all(1)
    return float(mesh.area_faces[~seen].sum() / mesh.area)


def scene_of_part(scene: Scene, lattice: Lattice, observed: Tensor) -> Scene:
    """The scene with the part that was seen in the place of masks, to show and to score.

    Silhouettes and colours' weights are 1 where a view shows that part, and colours are kept only
    there; silhouettes still weigh nothing.
    """
    H, W = scene.silhouettes.shape[1:]
    weights = Lattice(observed, lattice.bounds)
    masks = torch.zeros(scene.silhouettes.shape)
    row, column = torch.arange(H), torch.arange(W)
    for view in (*scene.train, *scene.held_out):
        small = Targets.of(scene, [view]).within(RENDERED)
        out = rendered(lattice, small)
        shown = out.hit_mask.clone()
        points = small.cameras.unproject(out.depths, shown)
        shown[out.hit_mask] = weights.sample(points) > LEAST
        h, w = shown.shape[1:]
        masks[view] = shown[0][row * h // H][:, column * w // W].float()
    return replace(
        scene,
        images=scene.images * masks[..., None],
        silhouettes=masks,
        image_weights=scene.image_weights * masks,
    )
