"""Photographs laid onto meshes: rasteriser, blend, atlas, fit, files."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor

from multiview import cli
from multiview.photo.targets import Targets
from multiview.texture import texture_fit
from multiview.texture.surface_colors import SURE, SurfacePoints, surface_colors, vertex_colors
from multiview.texture.texture import (
    TexturedMesh,
    bake,
    colored_vertices,
    draw,
    lighter,
    texture_size,
)
from multiview.texture.texture import view_psnr as psnr_of
from sdfrender import Cameras, InputError
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.meshes.atlas import Atlas, pad, sample_image, unwrap
from sdfrender.meshes.colors import save_colored_mesh, save_textured_mesh
from sdfrender.meshes.rasterize import Fragments, rasterize_flat, rasterize_mesh
from sdfrender.rendering.raytrace import MeshTracer

Floats = NDArray[np.float64]
CENTER = np.array([4.0, -2.0, 1.0])
WIDTH, HEIGHT = 75, 62


def pattern(points: Floats) -> Floats:
    """A smooth colour `[P, 3]` at world positions `[P, 3]`."""
    x, y, z = ((points - CENTER) * 3).T
    colors: Floats = 0.5 + 0.4 * np.stack((np.sin(x + y), np.cos(y - z), np.sin(z + 0.5)), -1)
    return colors


def around(count: int, width: int = WIDTH, height: int = HEIGHT) -> Cameras:
    """Views from all sides, close, with an off-centre principal point and two focal lengths."""
    golden = math.pi * (3 - math.sqrt(5))
    z = torch.linspace(0.9, -0.9, count, dtype=torch.float64)
    angle = golden * torch.arange(count)
    r = (1 - z * z).sqrt()
    eyes = torch.from_numpy(CENTER) + 4 * torch.stack((r * angle.cos(), r * angle.sin(), z), -1)
    cameras = Cameras.look_at(eyes, CENTER.tolist(), width=width, height=height, fov=0.8)
    Ks = cameras.Ks.clone()
    Ks[:, 0, 0] *= 1.1
    Ks[:, :2, 2] += torch.tensor([3.3, -2.6])
    return Cameras(cameras.c2w.float(), Ks.float(), width, height)


def photograph(mesh: trimesh.Trimesh, cameras: Cameras, supersampling: int = 3) -> Targets:
    """Ray-traced pictures of a mesh in `pattern`."""
    s, (H, W), N = supersampling, (cameras.height, cameras.width), len(cameras)
    fine = cameras.to(torch.zeros(0, dtype=torch.float64)).resized(s * W, s * H)
    tracer, images, masks = MeshTracer(mesh), [], []
    for view in range(N):
        rays_o, rays_d = (x.reshape(-1, 3).numpy() for x in fine[view].rays())
        hits = tracer.first_hits(rays_o, rays_d)
        image = np.zeros((s * H * s * W, 4))
        image[hits.rays, :3] = pattern(hits.interpolate(tracer.verts))
        image[hits.rays, 3] = 1
        image = image.reshape(H, s, W, s, 4).mean((1, 3))
        images.append(image[..., :3])
        masks.append(image[..., 3])
    silhouettes = torch.from_numpy(np.stack(masks)).float()
    ones = torch.ones_like(silhouettes)
    return Targets(cameras, torch.from_numpy(np.stack(images)).float(), silhouettes, ones, ones)


@pytest.fixture(scope="module")
def ball() -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=3)
    mesh.apply_translation(CENTER)
    return mesh


@pytest.fixture(scope="module")
def ball_views(ball: trimesh.Trimesh) -> Targets:
    return photograph(ball, around(14))


@pytest.fixture(scope="module")
def textured_ball(ball: trimesh.Trimesh, ball_views: Targets) -> TexturedMesh:
    pytest.importorskip("xatlas", reason="needs the extra `texture`")
    return bake(ball, ball_views, size=201, quiet=True)


def texel_places(atlas: Atlas) -> tuple[Fragments, Floats]:
    """The texels inside charts, and their places `[P, 3]` in the world."""
    fragments = atlas.fragments()
    return fragments, fragments.interpolate(atlas.at_corners(np.asarray(atlas.mesh.vertices)))


# ---------------------------------------------------------------------- rasteriser


def test_pixels_see_what_rays_hit(ball: trimesh.Trimesh) -> None:
    box = trimesh.creation.box((3.0, 0.3, 0.4))
    box.apply_translation(CENTER + np.array((0.2, 1.1, 0.3)))
    mesh = trimesh.util.concatenate([ball, box])
    camera = around(5)[3].to(torch.zeros(0, dtype=torch.float64))
    seen = rasterize_mesh(mesh, camera)
    rays_o, rays_d = (x.reshape(-1, 3).numpy() for x in camera.rays())
    hits = MeshTracer(mesh).first_hits(rays_o, rays_d)
    traced = np.zeros(HEIGHT * WIDTH, bool)
    traced[hits.rays] = True
    # A ray within rounding of an edge may go either way: Embree is in single precision.
    assert (traced != seen.covered.ravel()).sum() <= 1
    both = seen.covered.ravel()[hits.rays]
    depth = hits.t * (rays_d[hits.rays] @ camera.c2w[0, :3, 2].numpy())
    np.testing.assert_allclose(seen.depths.ravel()[hits.rays][both], depth[both], rtol=1e-5)
    verts = np.asarray(mesh.vertices)
    places = np.zeros((HEIGHT * WIDTH, 3))
    places[seen.covered.ravel()] = seen.interpolate(verts[mesh.faces])
    np.testing.assert_allclose(places[hits.rays][both], hits.interpolate(verts)[both], atol=1e-4)
    assert np.isinf(seen.depths[~seen.covered]).all()


def test_triangles_that_reach_behind_the_eye_are_left_out() -> None:
    camera = Cameras.look_at([[0.0, 0.0, 0.0]], (0.0, 0.0, -1.0), width=9, height=7)
    verts = np.array([[-9, -9, -2], [9, -9, -2], [0, 9, -2], [-9, -9, 2.0], [0, 9, -1]])
    seen = rasterize_mesh(trimesh.Trimesh(verts, [[0, 1, 2], [3, 1, 4]], process=False), camera)
    assert set(np.unique(seen.faces)) == {0}
    with pytest.raises(ValueError, match="camera: need one, got 2"):
        rasterize_mesh(trimesh.creation.box(), camera[[0, 0]])


def test_a_flat_drawing() -> None:
    triangles = np.array([[[0, 0], [5, 0], [0, 3]], [[5, 0], [5, 3], [0, 3]]], float)
    seen = rasterize_flat(triangles, 4, 7)
    assert seen.covered.tolist() == [[True] * 5 + [False] * 2] * 3 + [[False] * 7]
    # Linear functions are interpolated exactly.
    rows, columns = np.nonzero(seen.covered)
    np.testing.assert_allclose(seen.interpolate(triangles), np.c_[columns, rows] + 0.5)


# ---------------------------------------------------------------------- colours of points


def test_points_get_the_colour_of_the_surface(ball: trimesh.Trimesh, ball_views: Targets) -> None:
    points = SurfacePoints.vertices_of(ball)
    colors, weights = surface_colors(ball, points, ball_views)
    assert (weights > 0).all()
    error = (colors.double().numpy() - pattern(np.asarray(ball.vertices))).__abs__()
    assert error.mean() < 0.006  # a pixel is .05 of the radius, the pattern's slope about 1.2
    assert error.max() < 0.05


def two_walls() -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    """A plate, and a smaller one in front of its middle."""
    back, front = trimesh.creation.box((2.0, 2.0, 0.1)), trimesh.creation.box((0.7, 0.7, 0.1))
    back, front = back.subdivide().subdivide().subdivide(), front.subdivide().subdivide()
    front.apply_translation((0.0, 0.0, 0.5))
    return back, front


def test_what_is_hidden_never_gets_the_colour_of_what_hides_it() -> None:
    back, front = two_walls()
    mesh = trimesh.util.concatenate([back, front])
    red, blue = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    counts = [len(back.faces), len(front.faces)]
    paint = np.repeat([red, blue], counts, axis=0)
    eyes = [[x, y, 4.0] for x in (-1.5, 0.0, 1.5) for y in (-1.0, 0.4)]
    cameras = Cameras.look_at(eyes, width=81, height=60, fov=0.7)
    cameras = Cameras(cameras.c2w.float(), cameras.Ks.float(), 81, 60)

    def look(seen: Fragments) -> Floats:
        return paint[seen.faces[seen.covered]]

    images = torch.stack([draw(mesh, look, cameras[i]) for i in range(6)])
    masks = images.sum(-1).clamp(max=1)
    ones = torch.ones_like(masks)
    targets = Targets(cameras, images, masks, ones, ones)
    colors, weights = surface_colors(mesh, SurfacePoints.vertices_of(mesh), targets)
    seen = (weights > SURE).numpy()
    assert seen.sum() > 40
    of_back = np.arange(len(mesh.vertices)) < len(back.vertices)
    np.testing.assert_allclose(colors.numpy()[seen & of_back] @ blue, 0, atol=0.02)
    np.testing.assert_allclose(colors.numpy()[seen & ~of_back] @ red, 0, atol=0.02)
    # Behind, nothing is seen; what is filled in comes from the same plate.
    below = of_back & (np.asarray(mesh.vertices)[:, 2] < 0)
    assert (weights.numpy()[below] == 0).all()
    filled = vertex_colors(mesh, targets).numpy()
    np.testing.assert_allclose(filled[of_back], np.tile(red, (of_back.sum(), 1)), atol=0.02)


def test_an_outlier_is_outvoted(ball: trimesh.Trimesh, ball_views: Targets) -> None:
    images = ball_views.images.clone()
    images[5] = ball_views.silhouettes[5][..., None]  # one photograph is overexposed
    points = SurfacePoints.vertices_of(ball)
    wrong = surface_colors(ball, points, replace(ball_views, images=images))[0]
    right = surface_colors(ball, points, ball_views)[0]
    assert float((wrong - right).abs().mean()) < 0.02
    mean = float((images - ball_views.images)[5][ball_views.silhouettes[5] > 0.5].mean())
    assert mean > 0.3


def test_ignored_pixels_have_no_say(ball: trimesh.Trimesh, ball_views: Targets) -> None:
    points = SurfacePoints.vertices_of(ball)
    some = ball_views[[0, 3, 6, 9]]
    images, weights = some.images.clone(), some.image_weights.clone()
    images[1], weights[1] = 0.9, 0.0
    ignored = surface_colors(ball, points, replace(some, images=images, image_weights=weights))
    without = surface_colors(ball, points, some[[0, 2, 3]])
    torch.testing.assert_close(ignored[0], without[0])
    torch.testing.assert_close(ignored[1], without[1])


def test_without_a_view_the_colour_is_grey(ball: trimesh.Trimesh, ball_views: Targets) -> None:
    blind = replace(ball_views, image_weights=torch.zeros_like(ball_views.image_weights))
    assert (vertex_colors(ball, blind) == 0.5).all()


def test_grey_photographs(ball: trimesh.Trimesh, ball_views: Targets) -> None:
    grey = replace(ball_views, images=ball_views.images[..., :1])
    torch.testing.assert_close(
        vertex_colors(ball, grey), vertex_colors(ball, ball_views)[:, :1], atol=0.02, rtol=0
    )  # trust is by all channels together


# ---------------------------------------------------------------------- textures


def test_the_texture_is_the_pattern(textured_ball: TexturedMesh) -> None:
    atlas = textured_ball.atlas
    assert textured_ball.texture.shape == (atlas.height, atlas.width, 3)
    assert max(atlas.height, atlas.width) == 201
    fragments, places = texel_places(atlas)
    baked = textured_ball.texture[torch.from_numpy(fragments.covered)].numpy()
    error = np.abs(baked - pattern(places))
    assert error.mean() < 0.006
    assert np.quantile(error, 0.999) < 0.05


def test_pictures_of_the_texture_beat_those_of_vertex_colours(
    ball: trimesh.Trimesh, textured_ball: TexturedMesh, ball_views: Targets
) -> None:
    unseen = photograph(ball, around(5, 91, 64))  # other directions, another size
    texture = psnr_of(textured_ball.atlas.mesh, textured_ball.colors, unseen)
    assert texture > 38
    coarse = lighter(ball, 200)
    assert len(coarse.faces) <= 200
    vertices = psnr_of(coarse, colored_vertices(coarse, ball_views), unseen)
    assert psnr_of(coarse, bake(coarse, ball_views, 201, quiet=True).colors, unseen) > vertices + 1


def test_the_fit_solves_its_least_squares(
    ball: trimesh.Trimesh, ball_views: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conjugate gradients against a dense solution, and A against pictures of the texture."""
    coarse = lighter(ball, 60)
    atlas = unwrap(coarse, 24)
    start = torch.rand((atlas.height, atlas.width, 3), generator=torch.Generator().manual_seed(0))
    views = ball_views[[1, 4]]
    A, b = texture_fit._equations(atlas, views[[0]], 3, 1)
    drawn = draw(coarse, TexturedMesh(atlas, start).colors, views.cameras[0], supersampling=3)
    touched = (draw(coarse, lambda s: np.ones((s.covered.sum(), 1)), views.cameras[0]) > 0)[..., 0]
    touched &= views.silhouettes[0] > 0.5
    np.testing.assert_allclose(A @ start.reshape(-1, 3).numpy(), drawn[touched], atol=1e-5)
    np.testing.assert_array_equal(b, views.images[0][touched])

    monkeypatch.setattr(texture_fit, "STEPS", 200)
    parts = [texture_fit._equations(atlas, views[[i]], 3, 1) for i in (0, 1)]
    A = np.concatenate([part[0].toarray() for part in parts]).astype(np.float64)
    b = np.concatenate([part[1] for part in parts])
    x0 = start.reshape(-1, 3).numpy()
    inside = binary_dilation(atlas.fragments().covered, np.ones((3, 3)))
    Q = texture_fit.PRIOR * np.eye(A.shape[1])
    for i, j in itertools.combinations(np.flatnonzero(inside), 2):
        if j - i == atlas.width or (j - i == 1 and j % atlas.width):
            d = np.zeros(A.shape[1])
            d[[i, j]] = 1, -1
            Q += texture_fit.SMOOTH * np.outer(d, d)
    Q *= A.sum() / np.count_nonzero(A.sum(0))
    exact = x0 + np.linalg.solve(A.T @ A + Q, A.T @ (b - A @ x0))
    found = texture_fit.fit_texture(atlas, start, views)
    np.testing.assert_allclose(found.reshape(-1, 3), exact.clip(0, 1), atol=1e-4)


def test_many_pixels_are_thinned_out(
    ball: trimesh.Trimesh, ball_views: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = int((ball_views.silhouettes > 0.5).sum())
    for rays, expected in ((inside * 9, (3, 1)), (inside, (1, 1)), (inside // 4, (1, 5))):
        monkeypatch.setattr(texture_fit, "MOST_RAYS", rays)
        assert texture_fit._effort(ball_views) in (expected, (expected[0], expected[1] - 1 or 1))


def test_a_texel_is_no_larger_than_a_pixel(ball: trimesh.Trimesh, ball_views: Targets) -> None:
    size = texture_size(ball, ball_views)
    texels = 0.55 * size**2 / ball.area  # per area
    focal = float(ball_views.cameras.Ks[0, (0, 1), (0, 1)].prod().sqrt())
    assert (focal / 4) ** 2 <= texels * 1.01
    scaled = trimesh.Trimesh((ball.vertices - CENTER) * 1e-4 + CENTER, ball.faces)
    assert texture_size(scaled, ball_views) == 256


def test_padding_takes_the_nearest_texel() -> None:
    texture = torch.arange(20.0).reshape(4, 5, 1)
    covered = np.zeros((4, 5), bool)
    covered[1, 1] = covered[3, 4] = True
    padded = pad(texture, covered)[..., 0]
    assert padded[0].tolist() == [6.0] * 4 + [19.0] or padded[0].tolist() == [6.0] * 5
    assert padded[3, 3] == 19
    with pytest.raises(ValueError, match="at least one texel"):
        pad(texture, covered & False)


def test_images_are_sampled_at_pixel_centres() -> None:
    image = torch.rand((3, 5, 2), generator=torch.Generator().manual_seed(1))
    where = torch.tensor([[0.5, 0.5], [4.5, 2.5], [2.0, 1.5], [-3.0, 9.0]])
    expected = torch.stack([image[0, 0], image[2, 4], (image[1, 1] + image[1, 2]) / 2, image[2, 0]])
    torch.testing.assert_close(sample_image(image, where), expected)


# ---------------------------------------------------------------------- files


def gltf(file: Path) -> dict[str, Any]:
    """The JSON of a .glb file."""
    data = file.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    tree: dict[str, Any] = json.loads(data[20 : 20 + length])
    return tree


def test_a_textured_file_read_back_is_the_pattern(
    textured_ball: TexturedMesh, tmp_path: Path
) -> None:
    """Another reader puts the same colours at the same places: v is the right way up."""
    file = tmp_path / "ball.glb"
    save_textured_mesh(file, textured_ball.atlas, textured_ball.texture)
    (loaded,) = trimesh.load_scene(file, process=False).geometry.values()
    picture = loaded.visual.material.baseColorTexture
    colors = trimesh.visual.color.uv_to_interpolated_color(loaded.visual.uv, picture)[:, :3] / 255
    error = np.abs(colors - pattern(np.asarray(loaded.vertices)))
    assert error.mean() < 0.012
    tree = gltf(file)
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]
    (material,) = tree["materials"]
    assert material["extensions"] == {"KHR_materials_unlit": {}}
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 1
    assert tree["images"][0]["mimeType"] == "image/png"
    assert load_mesh(file).is_watertight  # seams close where positions are equal


@pytest.mark.parametrize("channels", [1, 3])
def test_coloured_files(ball: trimesh.Trimesh, tmp_path: Path, channels: int) -> None:
    colors = torch.from_numpy(pattern(np.asarray(ball.vertices)))[:, :channels]
    rgb = colors.expand(-1, 3).numpy()
    for name in ("a.ply", "a.glb"):
        save_colored_mesh(tmp_path / name, ball, colors)
        assert load_mesh(tmp_path / name).is_watertight
    ply = trimesh.load_mesh(tmp_path / "a.ply", process=False)
    np.testing.assert_allclose(ply.visual.vertex_colors[:, :3] / 255, rgb, atol=0.5 / 255)
    tree = gltf(tmp_path / "a.glb")
    (primitive,) = tree["meshes"][0]["primitives"]
    assert tree["accessors"][primitive["attributes"]["COLOR_0"]]["componentType"] == 5126
    assert tree["materials"][primitive["material"]]["extensions"] == {"KHR_materials_unlit": {}}
    (glb,) = trimesh.load_scene(tmp_path / "a.glb", process=False).geometry.values()
    linear = glb.visual.vertex_attributes["color"][:, :3]
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(encoded, rgb, atol=1e-5)


def test_wrong_arguments_of_writers(ball: trimesh.Trimesh, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.obj: unknown extension '\.obj', need \.ply or \.glb"):
        save_colored_mesh(tmp_path / "a.obj", ball, torch.zeros(len(ball.vertices), 3))
    with pytest.raises(ValueError, match="colors: need"):
        save_colored_mesh(tmp_path / "a.ply", ball, torch.zeros(3, 3))
    atlas = Atlas(ball, ball.faces, np.arange(len(ball.vertices)),
                  np.zeros((len(ball.vertices), 2)), 4, 5)  # fmt: skip
    with pytest.raises(InputError, match=r"a\.ply: unknown extension '\.ply', need \.glb"):
        save_textured_mesh(tmp_path / "a.ply", atlas, torch.zeros(4, 5, 3))
    with pytest.raises(ValueError, match=r"texture: need \[4, 5"):
        save_textured_mesh(tmp_path / "a.glb", atlas, torch.zeros(5, 4, 3))
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- the command


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["multiview", *map(str, arguments)])
    return cli.main()


@pytest.fixture
def run(torus_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(torus_run, tmp_path / "run"))


only_once = pytest.mark.parametrize("preset", ["fast"], indirect=True)


@only_once
def test_the_command_textures_a_run(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xatlas", reason="needs the extra `texture`")
    before = json.loads((run / "metrics.json").read_text())
    assert command(monkeypatch, "texture", run, "--size", "65", "--faces", "300", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["faces"] <= 300
    assert max(told["size"]) == 65
    groups = [f"{group}_{name}" for group in ("train", "held_out")
              for name in ("psnr", "psnr_vertex_colors", "psnr_mesh")]  # fmt: skip
    assert list(told) == ["size", "faces", *groups]
    assert all(told[name] > 12 for name in groups), told
    assert json.loads((run / "metrics.json").read_text()) == {**before, "texture": told}
    assert gltf(run / "textured.glb")["images"]
    assert command(monkeypatch, "evaluate", run, "--json") == 0
    assert json.loads(capsys.readouterr().out)["texture"] == told
    assert "texture train_psnr" in (run / "report.html").read_text()


@only_once
def test_without_xatlas_the_command_says_what_to_install(
    run: Path, torus_scene: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fit = ["fit", str(torus_scene), "--texture", "--out", str(run.parent / "new")]
    for arguments in (["texture", str(run)], fit):
        with patch.dict(sys.modules, {"xatlas": None}):
            assert command(monkeypatch, *arguments) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert 'pip install "sdfrender[texture]"' in told
    assert not (run / "textured.glb").exists()
    assert not (run.parent / "new").exists()


@only_once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "9"], "--size: need 16 to 8192 texels, got 9"),
        (["--size", "9000"], "--size: need 16 to 8192 texels, got 9000"),
        (["--faces", "99"], "--faces: need at least 100 triangles, got 99"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, run: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert command(monkeypatch, "texture", run, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (run / "textured.glb").exists()


@only_once
def test_a_run_has_the_photographs_colours(torus_run: Path) -> None:
    ply = trimesh.load_mesh(torus_run / "mesh.ply", process=False)
    colors: Tensor = torch.from_numpy(np.array(ply.visual.vertex_colors[:, :3]))
    assert colors.float().std() > 5
    assert (colors[:, 0] == colors[:, 1]).all()  # a grey scene
    assert "COLOR_0" in gltf(torus_run / "mesh.glb")["meshes"][0]["primitives"][0]["attributes"]
