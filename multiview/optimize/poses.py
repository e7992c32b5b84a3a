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
from dataclasses import dataclass, replace

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
    units = PixelUnits.of(targets, lattice, corrections.center)

    moved = there_and_back(corrections, given, units, 9 if intrinsics else 6)
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
        ties, lens_ties = likely_corrections(corrections, targets, lattice, units)
        x, y = solve_step(H, g, ties, lens_ties)
    return without_common_motion(corrections.moved(x * units.views, y * units.lens), given)


@dataclass(frozen=True, eq=False)
class PixelUnits:
    """What moves a picture by about a pixel: the unit of each unknown.

    Args:
        views: `[N, 6]` rotations, radians, and translations, world units.
        lens: `[3]` logarithm of the focal length, principal point as a fraction of the width.
    """

    views: Tensor
    lens: Tensor

    @classmethod
    def of(cls, targets: Targets, lattice: Lattice, center: Tensor) -> PixelUnits:
        """Those of N views of a lattice whose middle, `center` `[3]`, rotations are about."""
        pixel = targets.pixel_sizes(lattice)  # (N,)
        radius = 0.25 * float((lattice.bounds[1] - lattice.bounds[0]).norm())
        turned, shifted = (pixel / radius)[:, None], pixel[:, None]
        width = targets.cameras.width
        return cls(
            torch.cat((turned.expand(-1, 3), shifted.expand(-1, 3)), 1),
            torch.tensor([float((pixel / radius).mean()), *2 * (1 / width,)]),
        )


def there_and_back(
    corrections: Corrections, given: Cameras, units: PixelUnits, unknowns: int
) -> list[Cameras]:
    """`[1 + 2 unknowns]` cameras of N views: corrected, then moved either way along each unknown.

    The first 6 unknowns are the poses', of each view for itself; the last 3 the lens's.
    """
    moved = [corrections.apply(given)]
    for step in torch.eye(9)[:unknowns] * DIFFERENCE:  # in pixels
        for s in (step, -step):
            moved.append(corrections.moved(s[:6] * units.views, s[6:] * units.lens).apply(given))
    return moved


Tie = tuple[Tensor, Tensor]  # how strongly unknowns are drawn to 0, and where they are; in pixels


def likely_corrections(
    corrections: Corrections, targets: Targets, lattice: Lattice, units: PixelUnits
) -> tuple[Tie, Tie]:
    """The prior: of the poses (`[N, 6]` each) and of the lens (`[3]` each)."""
    distances = (targets.cameras.centers - corrections.center).norm(dim=-1)
    now = torch.cat((corrections.rotations, corrections.translations), 1) / units.views
    likely = torch.cat(
        (torch.full_like(now[:, :3], SPREAD), SPREAD * distances[:, None].expand(-1, 3)), 1
    )
    cells = (targets.pixel_sizes(lattice) / lattice.spacing.max())[:, None] ** 2
    prior = (cells * (NOISE * units.views / likely) ** 2).double()
    loose = (cells.mean() * (NOISE * units.lens / torch.tensor(LIKELY_LENS)) ** 2).double()
    return (prior, now), (loose, corrections.intrinsics.double() / units.lens)


def solve_step(H: Tensor, g: Tensor, ties: Tie, lens_ties: Tie) -> tuple[Tensor, Tensor]:
    """The step of the poses `[N, 6]` and of the lens `[3]`, in pixels; see `refine_cameras`.

    Args:
        H: `[N, 6, 6]`, or `[N, 9, 9]` with the lens, whose step is 0 without: Jᵀ J of each view.
        g: `[N, 6 or 9, 1]` Jᵀ r.
        ties: of the poses, see `likely_corrections`.
        lens_ties: of the lens.
    """
    (prior, now), (loose, lens_now) = ties, lens_ties
    A, b = H[:, :6, :6] + torch.diag_embed(prior), g[:, :6] + (prior * now)[..., None]
    y = torch.zeros(3, 1, dtype=torch.float64)
    if H.shape[-1] > 6:
        B = H[:, :6, 6:]
        C = H[:, 6:, 6:].sum(0) + loose.diag()
        c = g[:, 6:].sum(0) + (loose * lens_now)[:, None]
        against = torch.linalg.solve(A, torch.cat((B, b), -1))  # A⁻¹ B and A⁻¹ b
        S = C - (B.mT @ against[..., :3]).sum(0)
        y = -torch.linalg.solve(S, c - (B.mT @ against[..., 3:]).sum(0))
        y = y.clamp(-LARGEST_STEP, LARGEST_STEP)
        b = b + B @ y
    x = -torch.linalg.solve(A, b)[..., 0].float()
    return x.clamp(-LARGEST_STEP, LARGEST_STEP), y[:, 0].float()


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
