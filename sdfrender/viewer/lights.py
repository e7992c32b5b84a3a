"""What a page is lit by: a sky and a lamp, or the light that a run found; both can be turned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from sdfrender.materials.environment import Environment, picture_directions, solid_angles

GROUND = (90, 90, 105)  # the colour of the light from below
SKY, LAMP = 1.8, 2.6  # how bright they are
AROUND, HEIGHT = -27.0, 42.0  # degrees: the lamp is over the shoulder of the one in front
OWN, FOUND = "a lamp", "the light that was found"
ROWS, MOST = 4, 16  # of the coarse picture that lamps stand for, and lamps at most


class Lights:
    """The lights of a page, and what turns them.

    Args:
        server: viser's.
        frame: `[3, 3]` rows: right, up and front of whoever looks, world frame.
        found: the light of a run with materials, or None.
    """

    def __init__(self, server: Any, frame: Tensor, found: Environment | None = None) -> None:
        scene, gui = server.scene, server.gui
        self._frame = frame.double().numpy()
        scene.configure_environment_map(None)
        scene.configure_default_lights(False)
        self.sky = scene.add_light_hemisphere(
            "/light/sky", ground_color=GROUND, intensity=SKY, position=tuple(self._frame[1])
        )
        self.lamp = scene.add_light_directional("/light/lamp", intensity=LAMP, cast_shadow=False)
        self._directions = np.zeros((0, 3))
        self.lamps: list[Any] = []
        self._powers: list[float] = []
        with gui.add_folder("Light"):
            if found is not None:
                self._add_lamps(scene, found)
                self.menu = gui.add_dropdown("lit by", (OWN, FOUND), initial_value=FOUND)
                self.turn = gui.add_slider("turn", -180, 180, 1, 0)
                self.bright = gui.add_slider("brightness", 0.1, 4, 0.1, 1)
            self.around = gui.add_slider("lamp around", -180, 180, 1, AROUND)
            self.height = gui.add_slider("lamp height", -90, 90, 1, HEIGHT)
        controls = [self.around, self.height]
        if found is not None:
            controls += [self.menu, self.turn, self.bright]
        for control in controls:
            control.on_update(lambda _: self.update())
        self.update()

    def update(self) -> None:
        """Put the lights to where the page says."""
        around, height = (math.radians(x.value) for x in (self.around, self.height))
        ahead = (math.sin(around) * math.cos(height), math.sin(height))
        aside = np.array([*ahead, math.cos(around) * math.cos(height)])
        self.lamp.position = tuple(aside @ self._frame)
        if not self.lamps:
            return
        found = self.menu.value == FOUND
        self.lamp.visible = self.sky.visible = not found
        self.around.visible = self.height.visible = not found
        self.turn.visible = self.bright.visible = found
        turned = Rotation.from_rotvec(math.radians(self.turn.value) * self._frame[1])
        places = turned.apply(self._directions)
        for lamp, place, power in zip(self.lamps, places, self._powers, strict=True):
            lamp.visible, lamp.position = found, tuple(place)
            lamp.intensity = self.bright.value * power

    def _add_lamps(self, scene: Any, found: Environment) -> None:
        self._directions, colors = lamps_of(found)
        self._powers = colors.max(1).tolist()
        for n, (color, power) in enumerate(zip(colors, self._powers, strict=True)):
            r, g, b = np.rint(255 * color / power).astype(int).tolist()
            lamp = scene.add_light_directional(
                f"/light/found/{n}", color=(r, g, b), intensity=power, cast_shadow=False
            )
            self.lamps.append(lamp)


def lamps_of(found: Environment) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A few lamps far away in the place of a light from all around: the brightest parts of it.

    What the dimmer parts have is given to the lamps, so that the sum of all stays.

    Returns:
        Unit directions to them `[K, 3]`, world frame, and `[K, 3]` what falls on a surface that
        faces one, linear.
    """
    H = found.radiance.shape[0]
    power = found.radiance.double().clamp(min=0) * solid_angles(H)[:, None, None]
    toward = picture_directions(H)
    row = torch.arange(H) * ROWS // H
    column = torch.arange(2 * H) * ROWS // H
    part = (row[:, None] * 2 * ROWS + column).flatten()
    count = 2 * ROWS * ROWS
    colors = torch.zeros(count, 3).double().index_add_(0, part, power.reshape(-1, 3))
    moment = power.sum(-1, keepdim=True) * toward
    middles = torch.zeros(count, 3).double().index_add_(0, part, moment.reshape(-1, 3))
    bright = colors.sum(1)
    kept = bright.argsort(descending=True)[:MOST]
    kept = kept[bright[kept] > 1e-3 * bright.sum()]
    directions = torch.nn.functional.normalize(middles[kept], dim=-1)
    share = colors.sum(0) / colors[kept].sum(0).clamp(min=1e-12)
    return directions.numpy(), (colors[kept] * share).numpy()
