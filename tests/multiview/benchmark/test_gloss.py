"""Ground truth of shiny meshes: limits that are known, what a scene of them holds, the options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import trimesh

from multiview.benchmark import gloss, scenes
from multiview.benchmark.config import BenchmarkConfig, SceneSpec
from multiview.benchmark.gloss import GlossyMesh, photograph, polish
from multiview.benchmark.gloss_lights import HELD_OUT_LIGHTS, LIGHT, GlossLight, lamp_directions
from multiview.benchmark.gloss_truth import compare, lights_of
from multiview.benchmark.paint import solid_texture
from multiview.benchmark.table import headings, markdown
from multiview.scenes import load_scene
from sdfrender import Cameras, InputError
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.materials.environment import Environment, picture_directions, solid_angles
from sdfrender.materials.microfacet import reflected
from sdfrender.materials.shading import sky_directions
from sdfrender.materials.surface import MaterialMesh

SPEC = SceneSpec(image_size=24, paint=True, gloss=True)
EVEN = GlossLight.of([(0, 1, 0, 0.0, 0.5, 0.6, 0.7)], [])


@pytest.fixture(scope="module", autouse=True)
def coarse_shadows() -> Iterator[None]:
    """Balls need no finer ones."""
    with patch.object(gloss, "SHADOW_RESOLUTION", 40):
        yield


@cache
def plain_ball() -> GlossyMesh:
    return gloss.glossy(trimesh.creation.icosphere(3, 0.7), torch.tensor(scenes.BOUNDS))


def ball(base: float = 0.5, rough: float = 0.4, specular: float = 0.04) -> GlossyMesh:
    made = plain_ball()
    return replace(
        made,
        base_color=np.full_like(made.base_color, base),
        roughness=np.full_like(made.roughness, rough),
        specular=specular,
    )


def test_even_light_on_a_ball() -> None:
    """A ball hides nothing of the sky: paint and split sum tell what it shows where it is faced."""
    camera = Cameras.look_at([[0.0, 0.0, 4.0]], width=33, fov=0.4)
    images, silhouettes = photograph(ball(), camera, EVEN)
    scale, bias = reflected(torch.ones(1), torch.tensor([0.4]))
    expected = (0.5 + float(0.04 * scale + bias)) * torch.tensor([0.5, 0.6, 0.7])
    middle = images[0, 15:18, 15:18].mean((0, 1))
    torch.testing.assert_close(middle, expected, rtol=0.02, atol=0)
    assert silhouettes[0, 16, 16] == 1
    assert silhouettes[0, 0, 0] == 0


@pytest.mark.parametrize("rough", [0.2, 0.5])
def test_a_lamp_gives_what_its_light_is(rough: float) -> None:
    """A perfect reflector under one lamp: the power over all pixels, by roughness and exactly."""
    camera = Cameras.look_at([[0.0, 0.0, 4.0]], width=65, fov=0.4)
    light = GlossLight.of([], [(0.2, 0.1, 1, 0.12, 5, 5, 5)])
    shine, _ = photograph(ball(0.0, rough, 1.0), camera, light)
    paint, _ = photograph(ball(1.0, rough, 1.0), camera, light)
    diffuse = (paint - shine)[0, 32, 32, 0]
    solid = 2 * math.pi * (1 - math.cos(0.12))
    cosine = 1 / math.sqrt(1 + 0.05)
    assert float(diffuse) == pytest.approx(5 * solid * cosine / math.pi, rel=0.03)
    # A ball mirrors a far lamp with an image of 1/4 (R θ)² whatever its roughness is.
    assert 0.2 < float(shine.sum() / paint.sum()) < 0.4


def test_what_stands_before_a_lamp_casts_a_shadow() -> None:
    mesh = trimesh.util.concatenate(
        [trimesh.creation.icosphere(3, 0.25), trimesh.creation.icosphere(3, 0.35)]
    )
    half = len(mesh.vertices) // 2
    mesh.vertices[half:] += (0, 0.68, 0)  # above the other
    made = gloss.glossy(mesh, torch.tensor(scenes.BOUNDS))
    light = GlossLight.of([], [(0, 1, 0, 0.05, 90, 90, 90)])
    camera = Cameras.look_at([[0.0, 0.3, 4.0]], target=[0.0, 0.3, 0.0], width=48, fov=0.5)
    images, silhouettes = photograph(made, camera, light)
    rows = (images.mean(-1) * (silhouettes == 1))[0].amax(1)
    upper, lower = rows[:24], rows[26:]
    assert upper.max() > 0.05
    assert lower.max() < 0.02 * upper.max()


def test_lights_and_their_pictures_are_one() -> None:
    for light in (LIGHT, *HELD_OUT_LIGHTS.values()):
        directions, strength = lamp_directions(light)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1)
        weight = solid_angles(64).double().numpy()[:, None, None]
        picture = light.picture(64)
        sky = light.sky(picture_directions(64).numpy())
        lamps = ((picture - sky) * weight).sum((0, 1))
        np.testing.assert_allclose(lamps, strength.sum(0) * directions.shape[1], rtol=0.2)


def test_polish_goes_from_smooth_to_rough() -> None:
    rough = polish(np.random.default_rng(0).uniform(-0.75, 0.75, (4000, 3)))
    low, high = gloss.ROUGHNESS
    assert rough.min() >= low
    assert rough.max() <= high
    assert np.quantile(rough, 0.8) - np.quantile(rough, 0.2) > 0.25


@pytest.mark.release
def test_a_scene_and_its_truth(tmp_path: Path) -> None:
    mesh = trimesh.creation.torus(4.0, 1.5, major_sections=24, minor_sections=12)
    save_mesh(tmp_path / "ring.ply", mesh)
    scenes.make_scene(tmp_path / "ring.ply", tmp_path / "ring", SPEC, quiet=True)
    scene = load_scene(tmp_path / "ring")
    assert scene.lighting is None
    inside = scene.silhouettes > 0.999
    assert 0.9 < float(scene.images[inside].max()) <= 1
    lights = lights_of(tmp_path / "ring")
    assert {file.stem for file in lights.glob("*.hdr")} == {"scene", *HELD_OUT_LIGHTS}
    # The materials themselves come near, materials that are wrong do not.
    small, _ = scenes.painted(scenes.load_mesh(tmp_path / "ring" / "mesh.ply"))
    points = np.asarray(small.vertices)
    base = torch.from_numpy(solid_texture(points)).float()
    rough = torch.from_numpy(polish(points)).float()
    normals = torch.from_numpy(np.array(small.vertex_normals)).float()
    seen = (normals @ sky_directions().float().T > 0).to(torch.uint8)
    light = Environment.load(lights / "scene.hdr")
    true = MaterialMesh(small, normals, 0.5 * base, rough, seen, 0.04, 0.0, light)
    views = scene.held_out
    cameras = scene.cameras[list(views)]
    found = compare(true, tmp_path / "ring", cameras, views, False)
    assert found["factor"] == pytest.approx(2, rel=1e-4)
    assert found["base_color_psnr"] > 60
    assert found["roughness_error"] < 1e-6
    assert found["relit_psnr"] > 20  # facets, and the torus shades itself
    grey = replace(true, base_color=torch.full_like(base, 0.5), roughness=1 - rough)
    worse = compare(grey, tmp_path / "ring", cameras, views, False)
    assert worse["base_color_psnr"] < 20
    assert worse["roughness_error"] > worse["roughness_error_of_one"] > 0.05
    assert worse["relit_psnr"] < found["relit_psnr"] - 3


def test_options_that_do_not_belong_together() -> None:
    files = (Path("a.obj"),)
    with pytest.raises(InputError, match=r"--gloss: need --paint"):
        BenchmarkConfig(files, gloss=True)
    with pytest.raises(InputError, match=r"--gloss: has a light of its own"):
        BenchmarkConfig(files, paint="slow", gloss=True, lamps="camera")
    config = BenchmarkConfig(files, paint="slow", gloss=True)
    assert config.scene_spec.gloss
    assert config.title.endswith("painted and polished")


def test_the_table_tells_materials_where_there_are_any() -> None:
    figures = {"base_color_psnr": 27.31, "roughness_error": 0.052,
               "roughness_error_of_one": 0.15, "relit_psnr": 30.04}  # fmt: skip
    rows = [{"mesh": "a", "runs": {"64": {"gloss": figures}}}, {"mesh": "b", "runs": {}}]
    table = markdown("title", rows, [64])
    assert "| 27.3 | .052 (.150) | 30.0 |" in table
    assert "base colour" not in headings([64])
