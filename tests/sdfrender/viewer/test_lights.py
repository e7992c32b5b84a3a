"""Lights of the viewer: where they are, and what turns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import trimesh

from sdfrender.materials.environment import Environment, picture_directions, solid_angles
from sdfrender.viewer.exhibit import Exhibit, Materials, load_exhibit
from sdfrender.viewer.lights import FOUND, MOST, OWN, lamps_of
from sdfrender.viewer.server import MATERIALS, Viewer

UP = np.array([0.0, 1.0, 0.0])


def one_window(row: int, column: int) -> Environment:
    """A dark room with a window of 2 × 2 pixels."""
    radiance = torch.full((12, 24, 3), 1e-6)
    radiance[row : row + 2, column : column + 2] = torch.tensor([4.0, 2.0, 1.0])
    return Environment(radiance)


def test_a_window_is_a_lamp_in_its_place() -> None:
    light = one_window(3, 4)  # within one part of the coarse picture
    directions, colors = lamps_of(light)
    angles = solid_angles(12)
    total = (light.radiance.double() * angles[:, None, None]).sum((0, 1)).numpy()
    np.testing.assert_allclose(colors.sum(0), total, rtol=1e-9)
    middle = picture_directions(12)[3:5, 4:6].mean((0, 1))
    assert directions[0] @ (middle / middle.norm()).numpy() > 0.999
    assert colors[0] / colors[0].max() == pytest.approx([1, 0.5, 0.25], rel=1e-3)


def test_an_even_light_is_lamps_all_around() -> None:
    directions, colors = lamps_of(Environment(torch.ones(10, 20, 3)))
    assert len(directions) == MOST
    np.testing.assert_allclose(colors.sum(0), 4 * np.pi, rtol=1e-3)


def shown(folder: Path, light: Environment) -> Exhibit:
    glb = trimesh.creation.box().export(file_type="glb")
    assert isinstance(glb, bytes)
    return Exhibit("box", tiny.true_lattice(12), materials=Materials(glb, light))


def test_a_slider_turns_the_light_that_was_found(tmp_path: Path) -> None:
    viewer = Viewer(shown(tmp_path, one_window(6, 18)))  # on the right: φ = 90 degrees
    try:
        lights = viewer.lights
        before = np.array(lights.lamps[0].position)
        assert before[0] > 0.9
        lights.turn.value = 90
        lights.update()
        after = np.array(lights.lamps[0].position)
        np.testing.assert_allclose(after @ UP, before @ UP, atol=1e-9)
        assert after[2] < -0.9  # from +x over −z, about +y
        assert lights.lamps[0].visible
        assert not lights.lamp.visible
        lights.menu.value = OWN
        lights.update()
        assert lights.lamp.visible
        assert not lights.lamps[0].visible
        lights.around.value, lights.height.value = 90, 0
        lights.update()
        np.testing.assert_allclose(lights.lamp.position, (1, 0, 0), atol=1e-9)
        assert MATERIALS in viewer._menu.options
        assert lights.menu.options == (OWN, FOUND)
    finally:
        viewer.close()


def test_a_run_with_materials_has_them(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "mesh.ply")
    assert load_exhibit(tmp_path).materials is None
    trimesh.creation.box().export(tmp_path / "materials.glb")
    one_window(3, 4).save(tmp_path / "environment.hdr")
    found = load_exhibit(tmp_path).materials
    assert found is not None
    assert found.glb == (tmp_path / "materials.glb").read_bytes()
    assert found.light.radiance.shape == (12, 24, 3)
