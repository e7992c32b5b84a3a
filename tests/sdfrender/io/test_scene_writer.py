"""Scene folders: what the files say is what was rendered, and nothing is ever half written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings

from multiview.scenes import load_scene
from sdfrender.errors import InputError
from sdfrender.files.formats.pngs import read_png
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.io.scene_writer import (
    RenderedScene,
    lighting_to_dict,
    straight_rgba,
    transforms,
    write_scene,
)
from sdfrender.rendering.raytrace import raytrace
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Directional, Headlight, Lighting

LIGHT = Lighting(
    ambient=0.05,
    headlight=Headlight(0.7),
    directional=(Directional((0.3, 0.8, 0.5), torch.tensor([0.3, 0.2, 0.1])),),
)
POINT = (0.35, -0.2, 0.15)


def odd_cameras() -> Cameras:
    """Three views, off centre, with pixels that are not square."""
    eyes = [[2.0, 1.0, 1.5], [-1.0, 2.0, -2.0], [0.1, -2.5, 1.0]]
    views = Cameras.look_at(eyes, (0.2, 0.0, 0.1), width=60, height=44)
    K = torch.tensor([[66.0, 0.0, 33.25], [0.0, 81.0, 19.5], [0.0, 0.0, 1.0]])
    return Cameras(views.c2w, K.repeat(3, 1, 1), 60, 44)


def make_scene(cameras: Cameras | None = None, **changes: Any) -> RenderedScene:
    cameras = cameras or odd_cameras()
    mesh = trimesh.creation.box((0.08, 0.08, 0.08))
    mesh.apply_translation(POINT)
    seen = raytrace(mesh, cameras, lighting=LIGHT, albedo=(0.9, 0.8, 0.7), supersampling=5)
    bounds = torch.tensor([[-1.0, -0.5, -0.75], [1.0, 0.5, 0.75]])
    scene = RenderedScene(seen.images, seen.silhouettes, cameras, LIGHT, bounds, mesh)
    return replace(scene, **changes)


def read_json(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "transforms.json").read_text())
    return content


# ---------------------------------------------------------------------- what is in the files


def test_a_known_point_is_where_the_file_says(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", make_scene())
    table = read_json(tmp_path / "scene")
    assert [f["file_path"] for f in table["frames"]] == [f"images/view_00{n}.png" for n in range(3)]
    for frame in table["frames"]:
        # OpenGL axes: x right, y up, z back. Pixel (column, row) covers [column, column + 1).
        world_to_camera = np.linalg.inv(frame["transform_matrix"])
        x, y, z, _ = world_to_camera @ (*POINT, 1.0)
        assert z < 0
        u = table["fl_x"] * (x / -z) + table["cx"]
        v = table["fl_y"] * (-y / -z) + table["cy"]

        pixels = read_png(tmp_path / "scene" / frame["file_path"])
        assert pixels.shape == (table["h"], table["w"], 4)
        alpha = pixels[..., 3] / 255
        rows, columns = np.indices(alpha.shape) + 0.5
        assert alpha.sum() > 3
        center = (columns * alpha).sum() / alpha.sum(), (rows * alpha).sum() / alpha.sum()
        # A box of 3 × 4 pixels, 25 rays each: an offset of half a pixel could not hide.
        np.testing.assert_allclose(center, (u, v), atol=0.1)
        mask = read_png(tmp_path / "scene" / "masks" / Path(frame["file_path"]).name)
        np.testing.assert_array_equal(mask[..., 0], pixels[..., 3])


def test_the_scene_describes_itself(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", make_scene(color_space="srgb"))
    assert read_json(tmp_path / "scene")["sdfrender"] == {
        "color_space": "srgb",
        "bounds": [[-1.0, -0.5, -0.75], [1.0, 0.5, 0.75]],
        "mesh": "mesh.ply",
        "lighting": {
            "ambient": 0.05,
            "headlight": {"intensity": 0.7, "falloff": False},
            "directional": [
                {"to_light": [0.3, 0.8, 0.5], "intensity": pytest.approx([0.3, 0.2, 0.1])}
            ],
        },
    }
    mesh = load_mesh(tmp_path / "scene" / "mesh.ply")
    np.testing.assert_allclose(mesh.bounds.mean(0), POINT, atol=1e-6)
    assert mesh.is_watertight


@pytest.mark.parametrize("bits", [8, 16])
def test_multiview_reads_back_what_was_rendered(tmp_path: Path, bits: Any) -> None:
    scene = make_scene(held_out=[1])
    write_scene(tmp_path / "scene", scene, bits=bits)
    back = load_scene(tmp_path / "scene")
    step = 1 / (2**bits - 1)
    torch.testing.assert_close(back.images, scene.images, atol=0.51 * step + 1e-7, rtol=0)
    torch.testing.assert_close(back.silhouettes, scene.silhouettes, atol=0.51 * step, rtol=0)
    torch.testing.assert_close(back.cameras.c2w, scene.cameras.c2w)
    torch.testing.assert_close(back.cameras.Ks, scene.cameras.Ks)
    assert (back.cameras.width, back.cameras.height) == (60, 44)
    assert (back.train, back.held_out) == ((0, 2), (1,))
    assert back.color_space == "linear"
    assert back.mesh == tmp_path / "scene" / "mesh.ply"
    assert back.bounds is not None
    torch.testing.assert_close(back.bounds, scene.bounds)
    assert back.lighting is not None
    assert lighting_to_dict(back.lighting) == lighting_to_dict(LIGHT)


def test_every_kind_of_light_survives(tmp_path: Path) -> None:
    for n, light in enumerate(
        [
            Lighting(headlight=None, sh=torch.arange(27.0).reshape(9, 3)),
            Lighting(ambient=torch.tensor([0.1, 0.2, 0.3]), headlight=Headlight(10.0, True)),
            Lighting(headlight=None, directional=[Directional([0.0, 1.0, 0.0])] * 2),
        ]
    ):
        write_scene(tmp_path / str(n), make_scene(lighting=light))
        back = load_scene(tmp_path / str(n)).lighting
        assert back is not None
        assert lighting_to_dict(back) == lighting_to_dict(light)


def test_cameras_that_differ_state_their_own_intrinsics(tmp_path: Path) -> None:
    cameras = odd_cameras()
    Ks = cameras.Ks.clone()
    Ks[1, 0, 0], Ks[2, 1, 2] = 50.0, 25.0
    scene = make_scene(Cameras(cameras.c2w, Ks, 60, 44))
    write_scene(tmp_path / "scene", scene)
    assert "fl_x" not in read_json(tmp_path / "scene")
    torch.testing.assert_close(load_scene(tmp_path / "scene").cameras.Ks, Ks)


def test_views_beyond_a_thousand_stay_in_order() -> None:
    cameras = Cameras.orbit(1001, width=1)
    scene = make_scene(
        images=torch.zeros(1001, 1, 1, 1), silhouettes=torch.zeros(1001, 1, 1), cameras=cameras
    )
    names = [frame["file_path"] for frame in transforms(scene)["frames"]]
    assert names == sorted(names)
    assert len(set(names)) == 1001


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([8, 16]), st.sampled_from([1, 3]))
def test_colour_times_alpha_is_within_half_a_step(seed: int, bits: Any, C: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    silhouette = (torch.rand(5, 4, generator=generator) * 1.5 - 0.25).clamp(0, 1)
    image = torch.rand(5, 4, C, generator=generator) * silhouette[..., None]
    rgba, alpha = straight_rgba(image, silhouette, bits)
    top = 2**bits - 1
    assert rgba.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(alpha[..., 0], rgba[..., 3])
    premultiplied = (rgba[..., :3] / top) * (alpha / top)
    # Rounding alpha down can leave a colour that would have to be brighter than white: one step.
    error = np.abs(premultiplied - image.expand(-1, -1, 3).numpy()) * top
    assert error.max() <= 0.5 + 0.5 + 1e-6
    unclipped = rgba[..., :3] < top
    assert error[unclipped].max(initial=0) <= 0.5 + 1e-4


def test_values_out_of_range_are_clipped() -> None:
    rgba, _ = straight_rgba(torch.tensor([[[2.0], [-1.0], [0.3]]]), torch.tensor([[1.5, 1, -1]]), 8)
    assert rgba.tolist() == [[[255] * 4, [0, 0, 0, 255], [0] * 4]]


# ---------------------------------------------------------------------- all or nothing


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    scene = make_scene()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("not a folder")
    before = everything(tmp_path)
    for name in ("mine", "file"):
        for force in (False, True):
            with pytest.raises(InputError, match=f"{name}: .*(not empty|not a scene|not a folder)"):
                write_scene(tmp_path / name, scene, force=force)
    assert everything(tmp_path) == before


def test_force_replaces_a_scene_whole(tmp_path: Path) -> None:
    write_scene(tmp_path / "a" / "scene", make_scene())
    with pytest.raises(InputError, match="--force replaces a scene"):
        write_scene(tmp_path / "a" / "scene", make_scene())
    smaller = make_scene(odd_cameras()[:1])
    write_scene(tmp_path / "a" / "scene", smaller, force=True)
    write_scene(tmp_path / "b", smaller)
    assert everything(tmp_path / "a" / "scene") == everything(tmp_path / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["scene"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    write_scene(tmp_path / "scene", make_scene())
    assert (tmp_path / "scene" / "transforms.json").is_file()


def skewed() -> RenderedScene:
    cameras = odd_cameras()
    Ks = cameras.Ks.clone()
    Ks[:, 0, 1] = 3.0
    return make_scene(cameras=Cameras(cameras.c2w, Ks, 60, 44))


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path / "scene", make_scene())
    before = everything(tmp_path)
    with pytest.raises(ValueError, match="skewed pixels"):
        write_scene(tmp_path / "scene", skewed(), force=True)
    assert everything(tmp_path) == before

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sdfrender.io.scene_writer.save_mesh", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_scene(tmp_path / "scene", make_scene(), force=True)
    assert everything(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["scene"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, silhouettes=s.silhouettes[:2]), "silhouettes: need"),
        (lambda s: replace(s, images=s.images[:, :, :-1]), "images: need"),
        (lambda s: replace(s, images=s.images[..., :2]), "images: need"),
        (lambda s: replace(s, bounds=s.bounds[0]), r"bounds: need \[2, 3\]"),
        (lambda s: replace(s, held_out=[0, 3]), r"held_out: views \[3\] of 3 do not exist"),
    ],
)
def test_parts_that_do_not_belong_together(
    change: Callable[[RenderedScene], RenderedScene], message: str
) -> None:
    scene = make_scene()
    with pytest.raises(ValueError, match=message):
        change(scene)
