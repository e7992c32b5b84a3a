"""All texels together, so that pictures of the textured mesh are the photographs.

A picture is linear in the texels, so the best texture solves a sparse linear least-squares
problem: the blend of single views only comes close, for it knows neither what a pixel averages nor
how wrong the shape is. Nothing here is differentiable.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import binary_dilation
from torch import Tensor

from multiview.photo.targets import Targets
from sdfrender.meshes.atlas import Atlas
from sdfrender.meshes.rasterize import rasterize_mesh

Singles = NDArray[np.float32]

PRIOR = 0.1  # weight of a texel's blended colour, as a fraction of that of the photographs
SMOOTH = 0.5  # weight of differences between neighbouring texels' changes, likewise
STEPS = 20  # of conjugate gradients
TINY = np.finfo(np.float32).tiny
SAMPLES = 3  # rays per pixel side
MOST_RAYS = 16_000_000  # of all views together: beyond, one ray a pixel, then a part of the pixels


def fit_texture(
    atlas: Atlas,
    texture: Tensor,
    targets: Targets,
    on_view: Callable[[], object] = lambda: None,
) -> Tensor:
    """Minimise `|A x − photographs|² + μ |x − texture|² + λ |∇(x − texture)|²` over the texels x.

    A pixel of `A x` is the mean over its rays of the bilinear value of the texture where they meet
    the mesh, black where they miss it, as the photographs are outside their masks. Only pixels
    inside the mask count. The others keep noise out, where views contradict each other; μ and λ are
    `PRIOR` and `SMOOTH` times the pixels that fall on a texel in the mean.

    Args:
        atlas: the mesh, and where it lies in the texture.
        texture: `[H, W, C]` to start from, and to stay close to where photographs say little.
        targets: the photographs.
        on_view: called when a view has been looked at.

    Returns:
        `[H, W, C]` in [0, 1].
    """
    samples, step = _effort(targets)
    rows, wanted = [], []
    for view in range(len(targets.cameras)):
        A, b = _equations(atlas, targets[[view]], samples, step)
        rows.append(A)
        wanted.append(b)
        on_view()
    x0 = texture.reshape(-1, texture.shape[-1]).numpy()
    A = sparse.vstack(rows, format="csr")
    density = A.sum() / max(np.count_nonzero(A.sum(0)), 1)
    inner = binary_dilation(atlas.fragments().covered, np.ones((3, 3)))
    Q = density * (SMOOTH * _laplacian(inner) + PRIOR * sparse.eye_array(inner.size))
    x = x0 + _solve(A, np.concatenate(wanted) - A @ x0, Q.astype(np.float32).tocsr())
    return torch.from_numpy(x).reshape(texture.shape).clamp(0, 1)


def _effort(targets: Targets) -> tuple[int, int]:
    """Rays per pixel side, and every which pixel to take."""
    inside = int((targets.silhouettes > 0.5).sum())
    if inside * SAMPLES**2 <= MOST_RAYS:
        return SAMPLES, 1
    return 1, -(-inside // MOST_RAYS)


def _equations(
    atlas: Atlas, view: Targets, samples: int, step: int
) -> tuple[sparse.csr_array, Singles]:
    """One view's rows of A `[P, H·W]` and the colours `[P, C]` they should give."""
    s, camera = samples, view.cameras
    H, W = camera.height, camera.width
    seen = rasterize_mesh(atlas.mesh, camera.resized(s * W, s * H))
    touched = torch.from_numpy(seen.covered.reshape(H, s, W, s).any((1, 3)))
    touched &= (view.silhouettes[0] > 0.5) & (view.image_weights[0] > 0.5)
    pixels = touched.flatten().nonzero()[::step, 0].numpy()
    row_of = np.full(H * W, -1)
    row_of[pixels] = np.arange(len(pixels))

    rows, columns = np.nonzero(seen.covered)
    ray_rows = row_of[rows // s * W + columns // s]  # of A
    kept = ray_rows >= 0
    where = seen.interpolate(atlas.pixel_corners())[kept] - 0.5  # from the centre of texel 0
    low = np.floor(where).astype(np.int64)
    share = where - low
    texels, values = [], []
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column = np.clip(low[:, 0] + right, 0, atlas.width - 1)
        row = np.clip(low[:, 1] + down, 0, atlas.height - 1)
        texels.append(row * atlas.width + column)
        values.append(np.abs(1 - right - share[:, 0]) * np.abs(1 - down - share[:, 1]) / s**2)
    A = sparse.csr_array(
        (
            np.concatenate(values).astype(np.float32),
            (np.tile(ray_rows[kept], 4), np.concatenate(texels)),
        ),
        shape=(len(pixels), atlas.height * atlas.width),
    )
    return A, view.images[0].reshape(H * W, -1).numpy()[pixels]


def _laplacian(inside: NDArray[np.bool_]) -> sparse.csr_array:
    """`[H·W, H·W]` of differences between texels side by side, where both are inside."""
    ids = np.arange(inside.size).reshape(inside.shape)
    across, down = inside[:, 1:] & inside[:, :-1], inside[1:] & inside[:-1]
    a = np.concatenate((ids[:, :-1][across], ids[:-1][down]))
    b = np.concatenate((ids[:, 1:][across], ids[1:][down]))
    edges, n = np.arange(len(a)), len(a)
    ones = np.ones(n, np.float32)
    shape = (n, inside.size)
    D = sparse.csr_array((ones, (edges, a)), shape) - sparse.csr_array((ones, (edges, b)), shape)
    return (D.T @ D).tocsr()


def _solve(A: sparse.csr_array, b: Singles, Q: sparse.csr_array) -> Singles:
    """Conjugate gradients on `(AᵀA + Q) x = Aᵀb`, all channels at once, from zero."""
    r: Singles = A.T @ b
    x, p, before = np.zeros_like(r), r, (r * r).sum(0)
    for _ in range(STEPS):
        if not before.max() > 0:
            break
        q = A.T @ (A @ p) + Q @ p
        length = before / np.maximum((p * q).sum(0), TINY)
        x, r = x + length * p, r - length * q
        after = (r * r).sum(0)
        p = r + after / np.maximum(before, TINY) * p
        before = after
    return x
