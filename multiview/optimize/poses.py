"""Corrections of the cameras: where photographs say that they stood a little elsewhere.

Each view's pose is moved by a rotation about the middle of the box and a translation, so that its
rendering agrees better with its photograph; the shape is held fixed. Focal length and principal
point may be corrected too, alike for all views: one camera took them. The derivative of an image in
these few unknowns is taken by central differences, and a step of Gauss-Newton solves for all views
at once. The motion that all views share would move the shape along with them; it is taken out, as
is a common change of distance, which would scale it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from multiview.optimize.energy import pixel_weights, residuals
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import Weights
from multiview.scenes.corrections import Corrections
from sdfrender import Cameras, Lattice
from sdfrender.system import pieces

DIFFERENCE = 0.25  # pixels that a central difference moves the picture by
LARGEST_STEP = 2.0  # pixels
SPREAD = math.radians(1.0)  # of corrections that are likely: an angle, and a fraction of distance
LIKELY_LENS = (0.03, 0.02, 0.02)  # the same of focal length (a fraction) and principal point (of W)
NOISE = 0.5  # of pixels, against which the likely corrections count
BYTES = 32 * 4  # per residual: 9 derivatives twice, images and what they are made of; float32


def refine_cameras(
    corrections: Corrections,
    lattice: Lattice,
    targets: Targets,
    appearance: Appearance,
    weights: Weights,
    intrinsics: bool = False,
) -> Corrections:
    """One step of Gauss-Newton for the poses of all views. Not differentiable.

    With `A` the 6×6 block of a view, `C` that of the intrinsics and `B` what couples them, the
    intrinsics solve the Schur complement `(C − Σ Bᵀ A⁻¹ B) y = −(c − Σ Bᵀ A⁻¹ b)`, and then each
    view `A x = −(b + B y)`.

    Args:
        corrections: so far.
        lattice: the shape, held fixed.
        targets: N views with their cameras as they were given, not corrected.
        appearance: colour, light and lens, held fixed.
        weights: of the energy.
        intrinsics: correct focal length and principal point too.
    """
    given = targets.cameras
    distances = (given.centers - corrections.center).norm(dim=-1)
    pixel = targets.pixel_sizes(lattice)  # (N,)
    radius = 0.25 * float((lattice.bounds[1] - lattice.bounds[0]).norm())
    units = torch.cat(((pixel / radius)[:, None].expand(-1, 3), pixel[:, None].expand(-1, 3)), 1)
    lens_units = torch.tensor([float((pixel / radius).mean()), *2 * (1 / given.width,)])
    moved = [corrections.apply(given)]  # and then there and back along each unknown
    for step in torch.eye(9)[: 9 if intrinsics else 6] * DIFFERENCE:  # in pixels
        for s in (step, -step):
            moved.append(corrections.moved(s[:6] * units, s[6:] * lens_units).apply(given))

    with torch.no_grad():
        at_once = targets.silhouettes[0].numel() * (targets.images.shape[-1] + 1) * BYTES
        equations = [
            _normal_equations(
                lattice,
                targets[range(len(given))[part]],
                [cameras[part] for cameras in moved],
                appearance,
                weights,
            )
            for part in pieces(len(given), at_once)
        ]
        H, g = (torch.cat(x) for x in zip(*equations, strict=True))
        now = torch.cat((corrections.rotations, corrections.translations), 1) / units
        likely = torch.cat(
            (torch.full_like(units[:, :3], SPREAD), SPREAD * distances[:, None].expand(-1, 3)), 1
        )
        cells = (pixel / lattice.spacing.max())[:, None] ** 2
        prior = (cells * (NOISE * units / likely) ** 2).double()  # (N, 6)
        A, b = H[:, :6, :6] + torch.diag_embed(prior), g[:, :6] + (prior * now)[..., None]
        lens = torch.zeros(3)
        if intrinsics:
            B = H[:, :6, 6:]
            loose = (cells.mean() * (NOISE * lens_units / torch.tensor(LIKELY_LENS)) ** 2).double()
            C = H[:, 6:, 6:].sum(0) + loose.diag()
            c = g[:, 6:].sum(0) + (loose * corrections.intrinsics / lens_units)[:, None]
            against = torch.linalg.solve(A, torch.cat((B, b), -1))  # A⁻¹ B and A⁻¹ b
            S = C - (B.mT @ against[..., :3]).sum(0)
            y = -torch.linalg.solve(S, c - (B.mT @ against[..., 3:]).sum(0))
            y = y.clamp(-LARGEST_STEP, LARGEST_STEP)
            b = b + B @ y
            lens = lens_units * y[:, 0].float()
        x = -torch.linalg.solve(A, b)[..., 0].float()
        x = x.clamp(-LARGEST_STEP, LARGEST_STEP) * units
    return without_common_motion(corrections.moved(x, lens), given)


def _normal_equations(
    lattice: Lattice,
    targets: Targets,
    moved: list[Cameras],
    appearance: Appearance,
    weights: Weights,
) -> tuple[Tensor, Tensor]:
    """`Jᵀ J` `[n, K, K]` and `Jᵀ r` `[n, K, 1]` of each of some views, float64.

    Args:
        lattice: as for `refine_cameras`, as are all that follow.
        targets: n views.
        moved: `[1 + 2 K]` their cameras: where they are, then there and back along each unknown.
        appearance: held fixed.
        weights: of the energy.
    """
    w_color, w_silhouette = pixel_weights(lattice, targets, appearance, weights)

    def weighted_residuals(cameras: Cameras) -> Tensor:  # (n, R)
        seen = replace(targets, cameras=cameras)
        out = appearance.render(lattice, seen)
        r_color, r_silhouette = residuals(seen, out, appearance)
        color = r_color * (w_color[..., None] / r_color.shape[-1]).sqrt()
        return torch.cat((color.flatten(1), (r_silhouette * w_silhouette.sqrt()).flatten(1)), 1)

    r = weighted_residuals(moved[0])
    columns = [
        (weighted_residuals(ahead) - weighted_residuals(behind)) / (2 * DIFFERENCE)
        for ahead, behind in zip(moved[1::2], moved[2::2], strict=True)
    ]
    J = torch.stack(columns, -1)  # (n, R, K)
    # View by view: then it does not matter which others are in the same piece.
    squares = [(x.mT @ x, x.mT @ y[:, None]) for x, y in zip(J, r, strict=True)]
    H, g = (torch.stack(x).double() for x in zip(*squares, strict=True))
    return H, g


def without_common_motion(corrections: Corrections, cameras: Cameras) -> Corrections:
    """The same but for a motion, and a change of distance, that all views have in common.

    Cameras that all stand in one place have no distances from each other that could change. A
    single camera shares everything with itself: it keeps no correction.
    """
    rotations = corrections.rotations - corrections.rotations.mean(0)
    translations = corrections.translations - corrections.translations.mean(0)
    arms = cameras.centers - cameras.centers.mean(0)
    room = (arms * arms).sum()
    stretch = (translations * arms).sum() / room if room > 0 else 0.0
    return replace(corrections, rotations=rotations, translations=translations - stretch * arms)
