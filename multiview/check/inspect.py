"""The whole of a check: read what can be read, compare, name what is likely wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multiview.check.agreement import Array, Outlines
from multiview.check.findings import (
    Finding,
    listed,
    lone_masks,
    lone_pictures,
    mistakes_of_all,
    odd_views,
    placed,
    shuffled,
)
from multiview.check.unreadable import is_lack, unreadable
from multiview.scenes import describe_scene
from multiview.scenes.pixels import read_view
from multiview.scenes.scene import Description, View
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.files.images import area_average
from sdfrender.hull.bounds import bounds_from_masks
from sdfrender.view.cameras import Cameras

PIXELS = 192  # longest side of the pictures that are looked at
FIT_PIXELS = 800  # that a fit loads by default
SECONDS = 45.0  # of a processor, for a million pixels at 64 samples; to a factor of two
BYTES = 40  # of memory for each value of a picture


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a check found.

    Args:
        told: figures and findings, for JSON.
        names: of the N views that were read.
        images: `[N, H, W, 3]` small, in [0, 1].
        silhouettes: `[N, H, W]`.
        agreements: `[N]` of masks and the hull of all, 0 where there is none.
    """

    told: dict[str, Any]
    names: tuple[str, ...]
    images: Tensor
    silhouettes: Tensor
    agreements: Array


@dataclass(frozen=True, eq=False)
class _Read:
    """Small pictures of the views that could be read."""

    views: list[View]
    images: Tensor
    silhouettes: Tensor
    weights: Tensor
    sources: list[str]


def inspect(path: Path) -> Inspection:
    """Look at a scene and say what is in it and what is likely wrong.

    It raises nothing for what is wrong with the scene: that is a finding.
    """
    try:
        scene = describe_scene(path)
    except InputError as error:
        finding = unreadable(str(error))
        told = {"scene": str(path), "views": 0, "findings": [finding.told()]}
        nothing = torch.zeros(0, 1, 1)
        return Inspection(told, (), torch.zeros(0, 1, 1, 3), nothing, np.zeros(0))
    views = sorted(scene.views, key=lambda view: natural_key(view.name))
    read, findings = _read(scene, views)
    names = [view.name for view in read.views]
    axes = np.array([view.c2w[:3, 2] for view in read.views]).reshape(-1, 3)
    lone = lone_masks(read.silhouettes, read.weights, names)
    figures, fits, agreements = _together(scene, read, lone)
    findings += [*lone, *lone_pictures(read.images, read.silhouettes, names, axes)]
    findings = [*fits, *findings, *(unreadable(note) for note in scene.notes if is_lack(note))]
    findings.sort(key=lambda finding: not finding.grave)
    told = {
        "scene": str(path),
        "views": len(views),
        "read": len(read.views),
        "sizes": _sizes(views),
        "masks": dict(Counter(read.sources)),
        **figures,
        **_cost(views),
        "findings": [finding.told() for finding in findings],
    }
    return Inspection(told, tuple(names), read.images, read.silhouettes, agreements)


def _read(scene: Description, views: list[View]) -> tuple[_Read, list[Finding]]:
    """The pictures that can be read, of the size that most have."""
    findings = []
    common = Counter(view.size for view in views).most_common(1)[0][0]
    scale = min(1.0, PIXELS / max(common))
    width, height = (max(1, round(n * scale)) for n in common)
    kept: list[View] = []
    planes: list[Tensor] = []
    sources: list[str] = []
    odd = [view.name for view in views if view.size != common]
    turned = [view.name for view in views if view.size == common[::-1] != common]
    if odd:
        findings.append(_other_size(odd, turned, common))
    for view in views:
        if view.size != common:
            continue
        try:
            stored, source = _read_one(scene, view, (width, height))
        except InputError as error:
            findings.append(replace(unreadable(str(error)), views=(view.name,)))
            continue
        kept.append(view)
        planes.append(torch.from_numpy(area_average(stored, width, height)))
        sources.append(source)
    stack = torch.stack(planes) if planes else torch.zeros(0, height, width, 6)
    images = stack[..., :-3].expand(*stack.shape[:3], 3)
    return _Read(kept, images, stack[..., -3], stack[..., -2], sources), findings


def _read_one(scene: Description, view: View, size: tuple[int, int]) -> tuple[Any, str]:
    """A view's planes; one whose mask is empty as one that has none of the object in it."""
    try:
        return read_view(scene, view, size, None)
    except InputError as error:
        if "its mask is empty" not in str(error):
            raise
    stored, _ = read_view(scene, replace(view, mask=None), size, None)
    stored[..., -3], stored[..., -2] = 0, 1
    return stored, "file"


def _other_size(odd: list[str], turned: list[str], common: tuple[int, int]) -> Finding:
    size = f"{common[0]}×{common[1]}"
    if turned:
        return Finding(
            "pictures turned",
            f"turned by 90 degrees against the others ({size}): {listed(turned)}",
            "store them as the camera was calibrated: something applied or dropped their EXIF "
            "orientation",
            tuple(turned),
        )
    text = f"of another size than most ({size}): {listed(odd)}"
    return Finding("sizes differ", text, "check that nothing resized or cropped them", tuple(odd))


def _together(
    scene: Description, read: _Read, lone: list[Finding]
) -> tuple[dict[str, Any], list[Finding], Array]:
    """Cameras and masks together: figures, findings, and `[N]` agreements."""
    names = [view.name for view in read.views]
    left_out = {name for finding in lone for name in finding.views if finding.grave}
    told = [
        n for n, name in enumerate(names)
        if name not in left_out and bool((read.weights[n] > 0.5).any())
    ]  # fmt: skip
    agreements = np.zeros(len(names))
    try:
        cameras = _cameras(read)
    except ValueError as error:
        rule = str(error)
        advice = "make each pose a rotation and a position: right-handed, without scale"
        return {}, [Finding("not a camera", rule, advice)], agreements
    centers = cameras.centers.double().numpy()
    axes = cameras.c2w[:, :3, 2].double().numpy()
    target = _looked_at(centers, axes)
    figures: dict[str, Any] = {"baseline": _baseline(centers, target)}
    if len(told) < 2 and lone:
        return figures, placed(centers, target, None), agreements
    if len(told) < 2:
        advice = (
            "run `multiview mask` on the scene, give masks/NAME.png (white = object), or fit with "
            "--silhouettes none"
        )
        finding = Finding("no masks", "nothing says where the object is", advice, (), False)
        return figures, [finding, *placed(centers, target, None)], agreements
    outlines = Outlines.of(cameras[told], read.silhouettes[told], read.weights[told])
    own = outlines.agreements()
    agreements[told] = own
    chosen = [names[n] for n in told]
    findings = mistakes_of_all(outlines, own) or odd_views(outlines, own, chosen)
    findings += shuffled(own, findings, len(told) > 3)
    size, box = _size(cameras[told], read, told)
    if not findings and size is not None:
        findings += _box(scene, box, size)
    findings += placed(centers, target, size if not findings else None)
    figures |= {"agreement": round(float(own.mean()), 3), "object_size": size}
    return figures, findings, agreements


def _cameras(read: _Read) -> Cameras:
    height, width = read.silhouettes.shape[1:]
    Ks = []
    for view in read.views:
        scale = np.array([[width / view.size[0]], [height / view.size[1]], [1.0]])
        Ks.append(view.K * scale)
    c2w = torch.tensor(np.stack([view.c2w for view in read.views]), dtype=torch.float32)
    return Cameras(c2w, torch.tensor(np.stack(Ks), dtype=torch.float32), width, height)


def _looked_at(centers: Array, axes: Array) -> Array:
    """The point nearest to the optical axes; the mean of the eyes where these are parallel."""
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    A = across.sum(0)
    if np.linalg.eigvalsh(A)[0] < 1e-3 * len(axes):
        return np.asarray(centers.mean(0) + axes.mean(0))
    return np.linalg.solve(A, np.einsum("nij,nj->i", across, centers))


def _baseline(centers: Array, target: Array) -> dict[str, float]:
    """Angles between neighbouring views, and the part of all directions that are seen from."""
    directions = centers - target
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True).clip(1e-12)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -1)
    nearest = np.degrees(np.arccos(cosines.max(1).clip(-1, 1)))
    sphere = np.random.default_rng(0).standard_normal((2000, 3))
    sphere /= np.linalg.norm(sphere, axis=-1, keepdims=True)
    seen = (sphere @ directions.T).max(1) > np.cos(np.radians(60))
    return {
        "nearest_view_degrees_median": round(float(np.median(nearest)), 1),
        "coverage_within_60_degrees": round(float(seen.mean()), 3),
    }


def _size(cameras: Cameras, read: _Read, told: list[int]) -> tuple[float | None, Tensor | None]:
    """The longest side of the box that the masks show, world units, and the box `[2, 3]`."""
    try:
        box = bounds_from_masks(cameras, read.silhouettes[told], read.weights[told], 0.0)
    except (InputError, ValueError):
        return None, None
    return float((box[1] - box[0]).max()), box


def _box(scene: Description, box: Tensor | None, size: float) -> list[Finding]:
    """Whether a stated box holds the object that the masks show."""
    if scene.bounds is None or box is None:
        return []
    stated = scene.bounds.float()
    overlap = torch.minimum(box[1], stated[1]) - torch.maximum(box[0], stated[0])
    ratio = size / float((stated[1] - stated[0]).max())
    if 0.1 < ratio < 3 and bool((overlap > 0.5 * (box[1] - box[0])).all()):
        return []
    return [
        Finding(
            "scale",
            f"the object that masks and cameras show is {size:.3g} world units large, {ratio:.3g} "
            "times the box that the scene states",
            "bring positions of cameras and box to one unit (metres or millimetres?), or give "
            "--bounds",
        )
    ]


def _sizes(views: list[View]) -> dict[str, int]:
    return dict(Counter(f"{view.size[0]}×{view.size[1]}" for view in views))


def _cost(views: list[View]) -> dict[str, float]:
    """What a fit with its defaults takes, roughly."""
    pixels = 0.0
    for view in views:
        scale = min(1.0, FIT_PIXELS / max(view.size))
        pixels += view.size[0] * view.size[1] * scale**2
    return {
        "expected_cpu_seconds": round(SECONDS * pixels / 1e6),
        "expected_memory_mb": round(300 + BYTES * 6 * pixels / 1e6),
    }
