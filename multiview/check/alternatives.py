"""What people get wrong with cameras and masks, each with what it would be if put right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multiview.check.agreement import Outlines


@dataclass(frozen=True)
class Alternative:
    """A mistake.

    Args:
        kind: short name.
        text: what is likely, a sentence.
        advice: what to do.
        repair: the outlines if the mistake is taken back.
    """

    kind: str
    text: str
    advice: str
    repair: Callable[[Outlines], Outlines]


def _turned(axes: tuple[float, float, float]) -> Callable[[Outlines], Outlines]:
    """Other directions of the camera's axes."""
    return lambda x: x.changed(c2w=x.c2w @ torch.diag(torch.tensor((*axes, 1.0))))


def _inverse(x: Outlines) -> Outlines:
    return x.changed(c2w=torch.linalg.inv(x.c2w))


def _inverse_opengl(x: Outlines) -> Outlines:
    """World to camera was stored, then read as OpenGL's camera to world."""
    back = torch.diag(torch.tensor((1.0, -1.0, -1.0, 1.0)))
    return x.changed(c2w=torch.linalg.inv(x.c2w @ back))


def _inverse_opengl_both(x: Outlines) -> Outlines:
    back = torch.diag(torch.tensor((1.0, -1.0, -1.0, 1.0)))
    return x.changed(c2w=torch.linalg.inv(x.c2w @ back) @ back)


def _world(axes: tuple[float, float, float]) -> Callable[[Outlines], Outlines]:
    """Other directions of the rotation's rows, with the eyes where they are."""

    def repair(x: Outlines) -> Outlines:
        c2w = x.c2w.clone()
        c2w[:, :3, :3] = torch.diag(torch.tensor(axes)) @ c2w[:, :3, :3]
        return x.changed(c2w=c2w)

    return repair


def _transposed(x: Outlines) -> Outlines:
    c2w = x.c2w.clone()
    c2w[:, :3, :3] = c2w[:, :3, :3].mT
    return x.changed(c2w=c2w)


def _focal(factor: float) -> Callable[[Outlines], Outlines]:
    def repair(x: Outlines) -> Outlines:
        Ks = x.Ks.clone()
        Ks[:, (0, 1), (0, 1)] *= factor
        return x.changed(Ks=Ks)

    return repair


def _scaled(factor: float) -> Callable[[Outlines], Outlines]:
    """Intrinsics of pictures of another size."""
    return lambda x: x.changed(Ks=x.Ks * torch.tensor([factor, factor, 1.0])[:, None])


def _centred(x: Outlines) -> Outlines:
    Ks = x.Ks.clone()
    Ks[:, 0, 2], Ks[:, 1, 2] = x.size[0] / 2, x.size[1] / 2
    return x.changed(Ks=Ks)


def _pictures(change: Callable[[Tensor], Tensor]) -> Callable[[Outlines], Outlines]:
    return lambda x: x.changed(silhouettes=change(x.silhouettes), weights=change(x.weights))


AXES = "the axes of its cameras: OpenCV has x right, y down, z forward, OpenGL y up, z back"
ALTERNATIVES = (
    Alternative(
        "OpenCV and OpenGL mixed",
        "the camera axes are OpenCV's where the format wants OpenGL's, or the other way round",
        f"negate columns 2 and 3 of each camera-to-world matrix; check {AXES}",
        _turned((1.0, -1.0, -1.0)),
    ),
    Alternative(
        "c2w and w2c swapped",
        "the poses are world to camera where the format wants camera to world, or the other way "
        "round",
        "invert each pose",
        _inverse,
    ),
    Alternative(
        "c2w and w2c swapped",
        "the poses are world to camera where the format wants camera to world (OpenGL axes)",
        "invert each pose",
        _inverse_opengl_both,
    ),
    Alternative(
        "c2w and w2c swapped",
        "the poses are world to camera in OpenCV axes, where the format wants camera to world in "
        "OpenGL's",
        "invert each pose, then negate columns 2 and 3",
        _inverse_opengl,
    ),
    Alternative(
        "rotation transposed",
        "the rotations of the poses are transposed",
        "transpose the 3×3 rotation of each pose and leave the position",
        _transposed,
    ),
    *(
        Alternative(
            "flipped axes",
            f"the {names} of the cameras point the other way",
            f"negate the matching columns of each pose; check {AXES}",
            _turned(axes),
        )
        for names, axes in (
            ("x and y axes", (-1.0, -1.0, 1.0)),
            ("x and z axes", (-1.0, 1.0, -1.0)),
        )
    ),
    *(
        Alternative(
            "flipped axes",
            f"the world's {names} axes are flipped in the rotations but not in the positions",
            "flip rotations and positions alike",
            _world(axes),
        )
        for names, axes in (
            ("x and y", (-1.0, -1.0, 1.0)),
            ("x and z", (-1.0, 1.0, -1.0)),
            ("y and z", (1.0, -1.0, -1.0)),
        )
    ),
    *(
        Alternative(
            "focal length",
            f"the focal length is {name}",
            f"{advice} fl_x and fl_y (pixels of the stored pictures, not millimetres)",
            _focal(factor),
        )
        for name, advice, factor in (
            ("twice what it should be", "halve", 0.5),
            ("half of what it should be", "double", 2.0),
        )
    ),
    *(
        Alternative(
            "intrinsics of another size",
            f"the intrinsics are for pictures {name} as large",
            f"multiply fl_x, fl_y, cx and cy by {factor:g}",
            _scaled(factor),
        )
        for name, factor in (
            ("half", 2.0),
            ("twice", 0.5),
            ("a quarter", 4.0),
            ("four times", 0.25),
        )
    ),
    Alternative(
        "principal point",
        "the principal point is off",
        "set cx and cy near to the middle of the picture, in pixels from its top left corner",
        _centred,
    ),
    Alternative(
        "mirrored",
        "the pictures are mirrored left to right",
        "mirror them back",
        _pictures(lambda x: x.flip(2)),
    ),
    Alternative(
        "upside down",
        "the pictures are upside down",
        "turn them by 180 degrees, or remove what turned them",
        _pictures(lambda x: x.flip(1, 2)),
    ),
    Alternative(
        "flipped top to bottom",
        "the pictures are flipped top to bottom",
        "flip them back",
        _pictures(lambda x: x.flip(1)),
    ),
    *(
        Alternative(
            "pictures in another order",
            f"the pictures are shifted by {abs(shift)} against the cameras",
            "match each picture with its own camera (names sorted as 1, 10, 2, or a frame lost?)",
            _pictures(lambda x, s=shift: x.roll(s, 0)),  # type: ignore[misc]
        )
        for shift in (1, -1)
    ),
)
