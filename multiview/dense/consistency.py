"""Keep the depths of a view that other views confirm: there and back again.

A pixel of view i at depth z is seen by view j where its own depth says; that depth, brought back,
has to land near the pixel and near z.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multiview.dense.sources import Ints
from sdfrender import Cameras
from sdfrender.kernels.compiled import kernel

PIXELS = 1.0  # by which a pixel may miss itself
DEPTH = 0.005  # of z, by which its depth may
CONFIRMED = 2  # other views that have to agree

Floats = NDArray[np.float32]


def confirmations(view: int, depths: Floats, cameras: Cameras, sources: Ints) -> NDArray[np.uint8]:
    """How many of its sources confirm each depth of a view: `[H, W]`.

    Args:
        view: which of N.
        depths: `[N, H, W]` z of all views, 0 where there is none.
        cameras: N views of that size.
        sources: the views that are asked.
    """
    eyes = cameras.c2w[:, :3, 3].double().numpy()
    P = cameras.Ks.double() @ cameras.c2w[:, :3, :3].double().mT
    out = np.zeros(depths.shape[1:], np.uint8)
    back = torch.linalg.inv(P).contiguous().numpy()
    count_confirmations(view, depths, eyes, P.contiguous().numpy(), back, sources, out)
    return out


@kernel
def count_confirmations(
    view: int, depths: Any, eyes: Any, projections: Any, backs: Any, sources: Any, out: Any
) -> None:
    """See `confirmations`.

    Args:
        view: which of N.
        depths: `[N, H, W]`.
        eyes: `[N, 3]`.
        projections: `[N, 3, 3]` K Rᵀ.
        backs: `[N, 3, 3]` their inverses.
        sources: numbers of views.
        out: `[H, W]` written.
    """
    _, H, W = depths.shape
    x, q = np.zeros(3), np.zeros(3)
    for row in range(H):
        for column in range(W):
            z = depths[view, row, column]
            if z <= 0:
                continue
            u, v = column + 0.5, row + 0.5
            for c in range(3):
                B = backs[view]
                x[c] = eyes[view, c] + z * (B[c, 0] * u + B[c, 1] * v + B[c, 2])
            for s in range(len(sources)):
                j = sources[s]
                for c in range(3):
                    q[c] = 0.0
                    for k in range(3):
                        q[c] += projections[j, c, k] * (x[k] - eyes[j, k])
                if q[2] <= 0:
                    continue
                uj, vj = q[0] / q[2], q[1] / q[2]
                if not (uj >= 0 and vj >= 0 and uj < W and vj < H):
                    continue
                zj = depths[j, int(vj), int(uj)]
                if zj <= 0 or abs(zj - q[2]) > DEPTH * q[2]:
                    continue
                for c in range(3):
                    q[c] = 0.0
                    for k in range(3):
                        # the point that view j sees there, from view i
                        B = backs[j]
                        y = eyes[j, k] + zj * (B[k, 0] * uj + B[k, 1] * vj + B[k, 2])
                        q[c] += projections[view, c, k] * (y - eyes[view, k])
                if q[2] <= 0 or abs(q[2] - z) > DEPTH * z:
                    continue
                if (q[0] / q[2] - u) ** 2 + (q[1] / q[2] - v) ** 2 <= PIXELS**2:
                    out[row, column] += 1
