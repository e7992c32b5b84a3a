"""Pinhole cameras: where each pixel's ray starts and goes.

Axes are OpenCV's: x right, y down, z forward. Pixel centres are at +0.5, so the first pixel covers
[0, 1) and a principal point in the middle of the image is `(width / 2, height / 2)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.equality import EqualByValue
from sdfrender.far import is_far
from sdfrender.magnitude import LARGEST, needed


@dataclass(frozen=True, eq=False)
class Cameras(EqualByValue):
    """N pinhole cameras that share one image size.

    Args:
        c2w: `[N, 4, 4]` camera-to-world, rigid, OpenCV axes, world units.
        Ks: `[N, 3, 3]` intrinsics in pixels.
        width: pixels.
        height: pixels.

    Raises:
        ValueError: wrong shapes, values that are not finite, a focal length that is not positive,
            or a rotation that is not one (its columns are not orthonormal to 1e-3).
    """

    c2w: Tensor
    Ks: Tensor
    width: int
    height: int

    def __post_init__(self) -> None:
        N = self.c2w.shape[0] if self.c2w.ndim == 3 else -1
        if self.c2w.shape != (N, 4, 4) or self.Ks.shape != (N, 3, 3):
            raise ValueError(
                "cameras: need c2w [N, 4, 4] and Ks [N, 3, 3], "
                f"got {tuple(self.c2w.shape)} and {tuple(self.Ks.shape)}"
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(f"cameras: need a positive size, got {self.width}×{self.height}")
        for name, x in (("c2w", self.c2w), ("Ks", self.Ks)):
            bad = (~(x.detach().abs() <= LARGEST)).flatten(1).any(1).nonzero()
            if len(bad):
                raise ValueError(f"{name}: need {needed(x[bad[0, 0]])}: camera {int(bad[0])}")
        R = self.c2w.detach()[:, :3, :3]
        defect = (R.mT @ R - torch.eye(3).to(R)).abs().amax((1, 2))
        if N and (float(defect.max()) > 1e-3 or float(torch.linalg.det(R).min()) < 0):
            raise ValueError(
                f"c2w: need a rotation, camera {int(defect.argmax())} is off by "
                f"{float(defect.max()):.2g} (a mirrored or scaled matrix?)"
            )
        focal = self.Ks.detach()[:, (0, 1), (0, 1)].amin(1)  # (N,)
        if N and float(focal.min()) <= 0:
            raise ValueError(
                f"Ks: need positive focal lengths, camera {int(focal.argmin())} has "
                f"{float(focal.min()):g}"
            )

    def __len__(self) -> int:
        return self.c2w.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Cameras:
        """The chosen cameras, as a `Cameras` (also for a single number)."""
        if isinstance(index, int):
            index = [index]
        ids = torch.arange(len(self))[index]
        return Cameras(self.c2w[ids], self.Ks[ids], self.width, self.height)

    def to(self, like: Tensor) -> Cameras:
        """Dtype and device of `like` `[...]`."""
        return Cameras(self.c2w.to(like), self.Ks.to(like), self.width, self.height)

    @property
    def centers(self) -> Tensor:
        """`[N, 3]` world positions of the eyes."""
        return self.c2w[:, :3, 3]

    def resized(self, width: int, height: int) -> Cameras:
        """The same views at another image size (the intrinsics scale with it)."""
        scale = torch.tensor([width / self.width, height / self.height, 1.0]).to(self.Ks)
        return Cameras(self.c2w, self.Ks * scale[:, None], width, height)

    def directions(self) -> Tensor:
        """`[N, H, W, 3]` camera-frame directions with z = 1; differentiable in `Ks`."""
        v, u = torch.meshgrid(
            torch.arange(self.height).to(self.Ks) + 0.5,
            torch.arange(self.width).to(self.Ks) + 0.5,
            indexing="ij",
        )
        pixels = torch.stack((u, v, torch.ones_like(u)), -1)  # (H, W, 3)
        return torch.einsum("nij,hwj->nhwi", torch.linalg.inv(self.Ks), pixels)

    def rays(self) -> tuple[Tensor, Tensor]:
        """`rays_o`, `rays_d`: `[N, H, W, 3]`, world frame, unit directions.

        Differentiable in `c2w` and `Ks`.
        """
        d = torch.einsum("nij,nhwj->nhwi", self.c2w[:, :3, :3], self.directions())
        o = self.centers[:, None, None, :].expand_as(d)
        x, y, z = d.unbind(-1)  # torch reduces over a last axis of 3 slowly
        return o, d * (x * x + y * y + z * z).rsqrt()[..., None]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points to pixels.

        Args:
            points: `[P, 3]` (seen by all cameras) or `[N, P, 3]`.

        Returns:
            `uv` `[N, P, 2]` pixels, and `depths` `[N, P]`, camera z in world units. Points behind a
            camera have a negative depth and a meaningless `uv`.
        """
        local = (points - self.centers[:, None]) @ self.c2w[:, :3, :3]
        q = local @ self.Ks.mT
        return q[..., :2] / q[..., 2:], local[..., 2]

    def unproject(self, depths: Tensor, pixels: Tensor) -> Tensor:
        """The points that some pixels see, at the pixels' centres.

        Args:
            depths: `[N, H, W]` camera z, world units, as in a `Rendering`.
            pixels: `[N, H, W]` bool, P of them true.

        Returns:
            `[P, 3]` world points, in the order of `pixels.nonzero()`.
        """
        points = []
        Ks, poses = self.Ks.to(depths), self.c2w.to(depths)
        for K, c2w, depth, seen in zip(Ks, poses, depths, pixels, strict=True):
            row, column = seen.nonzero().to(depths).T + 0.5  # of the dtype that all is in
            y = (row - K[1, 2]) / K[1, 1]
            x = (column - K[0, 2] - K[0, 1] * y) / K[0, 0]
            local = torch.stack((x, y, torch.ones_like(x)), -1) * depth[seen][:, None]
            points.append(local @ c2w[:3, :3].T + c2w[:3, 3])
        return torch.cat(points)

    # ------------------------------------------------------------------ constructors

    @classmethod
    def look_at(
        cls,
        eyes: Tensor | Sequence[Sequence[float]],
        target: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
        up: Sequence[float] = (0.0, 1.0, 0.0),
        width: int = 256,
        height: int | None = None,
        fov: float = math.radians(40.0),
    ) -> Cameras:
        """Cameras at `eyes` `[N, 3]` looking at `target`; `fov` is vertical, in radians.

        In float32, or in float64 so far from the origin that float32 does not hold them.
        """
        height = height or width
        eye = torch.as_tensor(eyes, dtype=torch.float64)
        aim = torch.as_tensor(target, dtype=torch.float64)
        forward = aim - eye
        forward = forward / forward.norm(dim=-1, keepdim=True)
        ups = torch.as_tensor(up, dtype=torch.float64).expand_as(forward)
        # A camera that looks along `up` takes the next axis as its up.
        ups = torch.where(
            (forward * ups).sum(-1, keepdim=True).abs() > 0.98 * ups.norm(dim=-1, keepdim=True),
            ups.roll(1, -1),
            ups,
        )
        right = torch.linalg.cross(forward, ups)
        right = right / right.norm(dim=-1, keepdim=True)
        down = torch.linalg.cross(forward, right)
        c2w = torch.eye(4, dtype=torch.float64).repeat(len(eye), 1, 1)
        c2w[:, :3, :] = torch.stack((right, down, forward, eye), -1)
        Ks = _intrinsics(len(eye), width, height, fov)
        if len(eye) and is_far(eye.detach().cpu().numpy(), float((aim - eye).norm(dim=-1).max())):
            return cls(c2w, Ks.double(), width, height)
        return cls(c2w.float(), Ks, width, height)

    @classmethod
    def orbit(
        cls,
        views: int,
        distance: float = 3.2,
        elevation: float = math.radians(20.0),
        target: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
        width: int = 256,
        height: int | None = None,
        fov: float = math.radians(40.0),
    ) -> Cameras:
        """A ring of cameras about the y axis, all of which look at one point.

        Args:
            views: how many, evenly spaced; the first is on the side of +z.
            distance: from the point, world units.
            elevation: above the point's horizon, radians.
            target: `[3]` the point, world units.
            width: pixels.
            height: pixels; as `width` by default.
            fov: vertical field of view, radians.
        """
        a = torch.arange(views, dtype=torch.float64) * (2 * math.pi / views)
        c, s = math.cos(elevation), math.sin(elevation)
        eyes = distance * torch.stack((c * a.sin(), torch.full_like(a, s), c * a.cos()), -1)
        eyes = eyes + torch.as_tensor(target, dtype=torch.float64)
        return cls.look_at(eyes, target, width=width, height=height, fov=fov)

    @classmethod
    def cube(
        cls,
        distance: float = 3.2,
        target: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
        width: int = 256,
        height: int | None = None,
        fov: float = math.radians(40.0),
    ) -> Cameras:
        """The 26 views of SDFDiff §5: from the faces, edges and corners of a cube to its centre.

        All cameras are at `distance` from `target` `[3]`, world units. The rest is as in `orbit`.
        """
        grid = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)] * 3)
        directions = grid[grid.norm(dim=-1) > 0]
        eyes = distance * directions / directions.norm(dim=-1, keepdim=True)
        eyes = eyes + torch.as_tensor(target, dtype=torch.float64)
        return cls.look_at(eyes, target, width=width, height=height, fov=fov)


def _intrinsics(N: int, width: int, height: int, fov: float) -> Tensor:
    """`[N, 3, 3]` square pixels, centred principal point, vertical field of view in radians."""
    focal = 0.5 * height / math.tan(0.5 * fov)
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return K.repeat(N, 1, 1)
