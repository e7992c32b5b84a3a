"""Depth and normal maps in a Gauss-Newton step.

    Σ_pixels (p/h)² (w_D ρ(r_D) + w_N ρ(r_N))

with p the width of a pixel at the object and h the spacing. r_D is the distance of the map's point
from the surface's tangent plane, in cells: `(z − z*) |n·D| / h` with D the ray whose z is 1. Beyond
NEAR it pulls no harder, as where a hull is far off; pixels beside a jump of depth do not count. A
surface in front of the map's is pushed back, which carves; one behind it comes forward. r_N is the
difference of the unit normals. The weights are one over the variance of the maps' own noise, as in
a log-likelihood, times `WEIGHT`, which is that of colours whose noise is a tenth of full scale.

Where depths are up to a scale a and a shift b for each map, `z* = a d + b` with those that fit the
surface best, and what a step changes is weighed without what a and b would follow (variable
projection): a surface is not held back by a scale that is found from itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiview.optimize.energy import pixels_in_cells, robust, robust_weights
from multiview.optimize.maps.noise import depth_noise, normal_noise
from multiview.optimize.maps.scales import fit_scales
from multiview.photo.targets import Targets
from sdfrender import Rendering
from sdfrender.geometry.sparse.lattice import AnyLattice

NEAR = 1.0  # cells; a depth that is farther off counts linearly
TURNED = 0.3  # the same of normals, about radians
WEIGHT = 0.01  # of a map whose noise is 1
LEAST_DEPTH_NOISE = 0.1  # cells: what the lattice itself, and pixels at its creases, leave
LEAST_NORMAL_NOISE = 0.05
JUMP = 2.0  # cells between neighbouring pixels: beside an edge, where sensors see neither side
SURELY = 6.0  # times the noise, for a difference to be a jump
INSIDE = 0.5  # of a silhouette that is known; what is less shows something else


class MapTerm:
    """The residuals of the maps at a rendering, and their weights.

    Args:
        lattice: what was rendered.
        targets: n views with maps.
        out: their rendering.
        count: how often each of the n views counts.

    Attributes:
        outputs: of a rendering, what is compared.
        weights: by output, those of the squares of its differences: `[n, H, W]` of depths in world
            units, `[n, H, W, 3]` of normals.
        pulls: by output, weights times residuals, of the same shapes.
        energy: `[n]`.
        scales: `[n, 2]` scale and shift of each depth map.
    """

    def __init__(self, lattice: AnyLattice, targets: Targets, out: Rendering, count: float) -> None:
        maps = targets.maps
        assert maps is not None
        self.weights: dict[str, Tensor] = {}
        self.pulls: dict[str, Tensor] = {}
        device = targets.images.device
        self.energy = torch.zeros(len(targets.cameras), device=device)
        self.scales = torch.tensor((1.0, 0.0), device=device).repeat(len(targets.cameras), 1)
        self._projected: Tensor | None = None
        cells = count * (pixels_in_cells(lattice, targets) ** 2)[:, None, None]
        object_ = torch.where(targets.silhouette_weights > 0.5, targets.silhouettes, 1.0) > INSIDE
        seen = cells * (out.hit_mask & object_)
        if maps.depths is not None and maps.depth_weights is not None:
            self._depths(lattice, targets, out, seen * maps.depth_weights)
        if maps.normals is not None and maps.normal_weights is not None:
            noise = max(normal_noise(maps.normals, maps.normal_weights), LEAST_NORMAL_NOISE)
            w = WEIGHT / noise**2 * seen * maps.normal_weights
            r = torch.where(w[..., None] > 0, out.normals - maps.normals, 0.0)
            length = r.norm(dim=-1)
            self.energy = self.energy + (w * robust(length, TURNED)).sum((1, 2))
            w = (w * robust_weights(length, TURNED))[..., None].expand_as(r).contiguous()
            self.weights["normals"], self.pulls["normals"] = w, w * r

    def _depths(self, lattice: AnyLattice, targets: Targets, out: Rendering, seen: Tensor) -> None:
        maps, h = targets.maps, float(lattice.spacing.max())
        assert maps is not None
        assert maps.depths is not None
        rays = torch.einsum(
            "nij,nhwj->nhwi", targets.cameras.c2w[:, :3, :3], targets.cameras.directions()
        )
        slope = (out.normals * rays).sum(-1).abs() / h  # cells for a unit of depth
        used = seen > 0
        z = torch.where(used, out.depths, 0.0)
        wanted = maps.depths
        if maps.scaled:
            self.scales = fit_scales(z, wanted, seen * slope**2, NEAR * h)
            wanted = self.scales[:, 0, None, None] * wanted + self.scales[:, 1, None, None]
        scale = float(self.scales[:, 0].mean())
        noise = scale * depth_noise(maps.depths, seen) / h
        jump = max(JUMP, SURELY * noise) * h / max(scale, 1e-9)
        seen = seen * ~beside_jumps(maps.depths, maps.depth_weights, jump)
        w = WEIGHT / max(noise, LEAST_DEPTH_NOISE) ** 2 * seen
        r = torch.where(used, (z - wanted) * slope, 0.0)
        self.energy = self.energy + (w * robust(r, NEAR)).sum((1, 2))
        self.weights["depths"] = w * slope**2
        self.pulls["depths"] = w * slope * r.clamp(-NEAR, NEAR)
        if maps.scaled:
            self._projected = basis(self.weights["depths"], maps.depths)
            self.pulls["depths"] = (
                self._free_of_scales(w.sqrt() * r.clamp(-NEAR, NEAR))
                * self.weights["depths"].sqrt()
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Of a rendering, what is compared."""
        return tuple(self.weights)

    def weigh_(self, tangents: dict[str, Tensor]) -> None:
        """Multiply changes of the outputs by the weights, in place."""
        for name, weights in self.weights.items():
            if name == "depths" and self._projected is not None:
                root = weights.sqrt()
                free = self._free_of_scales(tangents[name] * root)
                tangents[name].copy_(free.mul_(root))
            else:
                tangents[name].mul_(weights)

    def _free_of_scales(self, x: Tensor) -> Tensor:
        """`[n, H, W]` without what scales and shifts of the maps would explain."""
        Q = self._projected
        assert Q is not None
        explained: Tensor = torch.einsum("nkhw,nk->nhw", Q, torch.einsum("nkhw,nhw->nk", Q, x))
        return x - explained


def map_outputs(targets: Targets) -> tuple[str, ...]:
    """Of a rendering, what the targets' maps are compared with."""
    maps = targets.maps
    if maps is None:
        return ()
    given = {"depths": maps.depths, "normals": maps.normals}
    return tuple(name for name, planes in given.items() if planes is not None)


def beside_jumps(depths: Tensor, weights: Tensor | None, jump: float) -> Tensor:
    """`[n, H, W]` whether a known neighbour in the row or column differs by more than `jump`.

    Sensors, and networks, give depths between those of the two sides at an edge.
    """
    assert weights is not None
    found = torch.zeros_like(depths, dtype=torch.bool)
    for axis in (1, 2):
        n = depths.shape[axis] - 1
        (a, b), known = ([x.narrow(axis, k, n) for k in (0, 1)] for x in (depths, weights > 0))
        far = ((a - b).abs() > jump) & known[0] & known[1]
        for k in (0, 1):
            found.narrow(axis, k, n).logical_or_(far)
    return found


def basis(weights: Tensor, depths: Tensor) -> Tensor:
    """`[n, 2, H, W]` orthonormal in each view: the root of the weights, and that times depths."""
    ones = weights.sqrt()
    total = weights.sum((1, 2)).clamp(min=1e-30)
    mean = (weights * depths).sum((1, 2)) / total
    planes = torch.stack((ones, ones * (depths - mean[:, None, None])), 1)
    lengths: Tensor = planes.norm(dim=(2, 3), keepdim=True).clamp(min=1e-15)
    return planes / lengths
