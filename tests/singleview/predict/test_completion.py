"""Shapes from one depth image, and shapes between shapes, with a family of ellipsoids."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import places
import pytest
import torch
import trimesh
from latent_tiny import AXES, ellipsoid, ellipsoids
from torch import Tensor

from sdfrender import Cameras, InputError, Lattice, extract_mesh, load_mesh, metrics, save_mesh
from sdfrender.files.formats.pngs import read_png
from sdfrender.latent.field import LatentField
from sdfrender.rendering.field_render import render_field
from singleview.cli import COMMANDS
from singleview.config import CompleteConfig, CompletionSettings, CompletionStudy, InterpolateConfig
from singleview.evaluate.completion import METHODS, evaluate_completion, hull_of, markdown_of
from singleview.predict.complete import complete_depths, folder_names
from singleview.predict.completion import (
    complete,
    depth_noise,
    evidence,
    free_space,
    normals,
    smoothed,
)
from singleview.predict.depth_view import DepthView, load_depth
from singleview.predict.interpolate import code_told, interpolate

UNSEEN = (0.75, 0.42, 0.58)  # half axes between those that the family was taught


def view_of(field: Callable[[Tensor], Tensor], width: int = 70, height: int = 54) -> DepthView:
    """From the front and above, off-centre, wider than high."""
    camera = Cameras.look_at([[1.3, 1.4, 2.4]], width=width, height=height)
    Ks = camera.Ks + torch.tensor([[0.0, 0.0, 2.3], [0.0, 0.0, -1.7], [0.0, 0.0, 0.0]])
    camera = Cameras(camera.c2w, Ks, width, height)
    return DepthView(render_field(field, camera).depths[0], camera)


@pytest.fixture(scope="module")
def view() -> DepthView:
    return view_of(lambda p: ellipsoid(p, UNSEEN))


@pytest.fixture(scope="module")
def truth() -> trimesh.Trimesh:
    return extract_mesh(Lattice.from_function(lambda p: ellipsoid(p, UNSEEN), 64))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    ellipsoids().save(path)
    return path


# ---------------------------------------------------------------------- what is seen


def test_points_lie_on_the_surface_and_normals_point_out(view: DepthView) -> None:
    points = view.points()
    assert float(ellipsoid(points, UNSEEN).abs().max()) < 1e-4
    n = normals(points, points[::7], view, 0.0)
    gradient = points[::7] / torch.tensor(UNSEEN).square()
    exact = gradient / gradient.norm(dim=-1, keepdim=True)
    cosines = (n * exact).sum(-1)
    assert float(cosines.median()) > 0.995
    assert float(cosines.min()) > 0.7  # at the rim, neighbours lie on one side


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.03])
def test_noise_is_estimated(view: DepthView, sigma: float) -> None:
    noisy = view.noisy(sigma, torch.Generator().manual_seed(3))
    assert depth_noise(noisy) == pytest.approx(sigma, rel=0.12, abs=1e-3)


def test_noisy_points_are_smoothed_along_their_rays(view: DepthView) -> None:
    noisy = view.noisy(0.03, torch.Generator().manual_seed(3))
    points, eye = noisy.points(), view.camera.centers[0]
    some = points[::5]
    moved = smoothed(points, some, noisy, 0.03)
    rays = torch.linalg.cross(moved - eye, some - eye)
    assert float(rays.abs().max()) < 1e-4
    before, after = (ellipsoid(x, UNSEEN).abs().mean() for x in (some, moved))
    assert float(after) < 0.8 * float(before)
    clean = view.points()
    assert torch.equal(smoothed(clean, clean[::5], view, 0.0), clean[::5])


def test_free_space_is_free_and_fills_what_the_camera_sees(view: DepthView) -> None:
    free = free_space(view, 3000, 0.02, torch.Generator().manual_seed(0))
    assert free.shape == (3000, 3)
    assert float(ellipsoid(free, UNSEEN).min()) > 0
    uv, z = view.camera.project(free)
    col, row = uv[0].floor().long().unbind(-1)
    depths = view.depths[row.clamp(0, 53), col.clamp(0, 69)]
    assert bool((z[0] < depths + 1e-3).all())  # never behind what was seen
    assert bool(depths.isinf().any())
    assert bool(depths.isfinite().any())


def test_what_is_unknown_says_nothing(view: DepthView) -> None:
    """Pixels without a depth give neither points nor free space."""
    depths = view.depths.clone()
    depths[:, 35:] = torch.nan
    half = replace(view, depths=depths)
    seen = evidence(half, CompletionSettings())
    for points in (seen.points, seen.free):
        uv, _ = view.camera.project(points)
        assert float(uv[0, :, 0].max()) < 35 + 2.5  # but for the offset along normals
    assert len(evidence(view, CompletionSettings(surface=100, free=50)).points) == 200


# ---------------------------------------------------------------------- completion


def test_the_hidden_side_is_completed(view: DepthView, truth: trimesh.Trimesh) -> None:
    """Better than each known shape, and than the hull."""
    family = ellipsoids()
    found = complete(family, view)
    field = family.field(found.code)
    mesh = extract_mesh(
        Lattice.from_function(lambda p: field(p.reshape(-1, 3)).reshape(p.shape[:-1]), 64)
    )
    off = metrics.chamfer(mesh, truth, 4000)
    known = [extract_mesh(Lattice.from_function(lambda p, a=a: ellipsoid(p, a), 64)) for a in AXES]
    assert off < 0.5 * min(metrics.chamfer(other, truth, 4000) for other in known)
    assert off < 0.3 * metrics.chamfer(hull_of(view), truth, 4000)
    assert found.energies[-1] <= found.energies[0]


def test_settings_matter(view: DepthView) -> None:
    family = ellipsoids()
    plain = complete(family, view).code
    assert torch.equal(complete(family, view).code, plain)
    for change in (
        {"offset": 0.05},
        {"surface": 300},
        {"free": 100},
        {"free_weight": 50.0},
        {"prior_weight": 1.0},
        {"starts": 1, "prior_weight": 1.0, "seed": 5},
        {"seed": 7},
    ):
        assert not torch.equal(complete(family, view, CompletionSettings(**change)).code, plain)
    with pytest.raises(InputError, match="--starts: need at least 1, got 0"):
        CompletionSettings(starts=0)
    with pytest.raises(InputError, match=r"--offset: need between 0 and 0\.1, got 0\.2"):
        CompletionSettings(offset=0.2)


def save_depth(file: Path, view: DepthView) -> None:
    """As `load_depth` reads it, in the canonical frame."""
    K, c2w = view.camera.Ks[0].numpy(), view.camera.c2w[0].numpy()
    np.savez(file, depths=view.depths.numpy(), K=K, c2w=c2w)


def test_complete_writes_a_folder_in_the_inputs_frame(
    view: DepthView, weights: Path, tmp_path: Path
) -> None:
    save_depth(tmp_path / "seen.npz", view)
    scale, center = 2.5, np.array([3.0, -1.0, 7.0])
    c2w = view.camera.c2w[0].double().numpy().copy()
    c2w[:3, 3] = scale * c2w[:3, 3] + center
    K, depths = view.camera.Ks[0].numpy(), scale * view.depths.numpy()
    np.savez(tmp_path / "moved.npz", depths=depths, K=K, c2w=c2w, scale=scale, center=center)
    files = (tmp_path / "seen.npz", tmp_path / "moved.npz")
    config = CompleteConfig(files, weights, tmp_path / "out", levels=0, size=32)
    plain, moved = complete_depths(config, quiet=True)
    for folder in (plain, moved):
        names = {p.name for p in folder.iterdir()}
        assert names == {"mesh.ply", "points.ply", "lattice.safetensors", "code.json", "sheet.png"}
        height, width = read_png(folder / "sheet.png").shape[:2]
        assert (height, width) == (32, 2 * 41 + 4 * 32)
    a, b = (load_mesh(folder / "mesh.ply") for folder in (plain, moved))
    assert np.allclose(scale * a.bounds + center, b.bounds, atol=0.02 * scale)
    about = json.loads((plain / "code.json").read_text())
    assert len(about["code"]) == ellipsoids().shape.code
    # and its code.json is a shape for interpolate
    assert torch.equal(
        code_told(ellipsoids(), str(plain / "code.json")), torch.tensor(about["code"])
    )


def test_depth_images_that_cannot_be_used(view: DepthView, weights: Path, tmp_path: Path) -> None:
    good = {
        "depths": view.depths.numpy(),
        "K": view.camera.Ks[0].numpy(),
        "c2w": view.camera.c2w[0].numpy(),
    }
    file = tmp_path / "x.npz"
    for change, message in (
        ({"depths": np.zeros((5, 4))}, "need an object, 0 pixels have a depth"),
        ({"depths": -good["depths"]}, "need depths in front of the camera"),
        ({"depths": good["depths"][0]}, r"'depths' needs numbers \[H, W\], got \[70\]"),
        ({"c2w": 2 * good["c2w"]}, "need a rotation"),
        ({"c2w": np.zeros(3)}, "x.npz: "),
        ({"K": np.zeros((3, 3))}, "need positive focal lengths"),
        ({"scale": np.array(0.0)}, "need 'scale' above 0"),
    ):
        np.savez(file, **{**good, **change})
        with pytest.raises(InputError, match=message):
            load_depth(file)
    np.savez(file, depths=good["depths"])
    with pytest.raises(InputError, match="need the array 'K'"):
        load_depth(file)
    for name, message in (
        ("no.npz", "no.npz: no such file"),
        ("x.jpg", "x.jpg: need a depth image, one of .npz, .exr"),
    ):
        with pytest.raises(InputError, match=message):
            load_depth(tmp_path / name)
    np.savez(file, **good)
    with pytest.raises(InputError, match="need the weights of a DeepSDF network"):
        complete_depths(CompleteConfig((file,), tmp_path / "none", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_names_of_folders() -> None:
    paths = (Path("a/x.npz"), Path("b/x.npz"), Path("1a40/depth/0001.exr"))
    assert folder_names(paths) == ["x", "x-2", "1a40-0001"]


def test_depths_of_dvr(tmp_path: Path) -> None:
    """An OpenEXR file and its camera, against points of the object's surface."""
    OpenEXR = pytest.importorskip("OpenEXR", reason="the extra `exr` is not installed")
    view = view_of(lambda p: ellipsoid(p, UNSEEN))
    folder = tmp_path / "object"
    (folder / "depth").mkdir(parents=True)
    halves = (view.depths / 1.5).half().numpy()  # the cube of side 1
    channels = dict.fromkeys("RGB", halves)
    for name in ("0000.exr", "0001.exr"):
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, channels).write(str(folder / "depth" / name))
    w2c = np.linalg.inv(view.camera.c2w[0].double().numpy())
    w2c[:3, 3] /= 1.5
    to_ndc = np.array([[2 / 70, 0, -1], [0, 2 / 54, -1], [0, 0, 1]])
    camera = np.eye(4)
    camera[:3, :3] = to_ndc @ view.camera.Ks[0].double().numpy()
    wrong = np.eye(4)
    np.savez(
        folder / "cameras.npz",
        world_mat_0=wrong, camera_mat_0=wrong, world_mat_1=w2c, camera_mat_1=camera,
    )  # fmt: skip
    found = load_depth(folder / "depth" / "0001.exr")
    assert found.scale == pytest.approx(1 / 1.5)
    assert torch.equal(found.seen, view.seen)
    assert float((found.points() - view.points()).abs().max()) < 3e-3  # half precision
    (folder / "depth" / "0001.exr").write_bytes(b"v/1\x01 and then nothing")
    with pytest.raises(InputError, match=r"0001.exr: not a readable OpenEXR file"):
        load_depth(folder / "depth" / "0001.exr")


BENCH = places.DATA / "shapenet_bench" / "02828884"


@pytest.mark.skipif(not BENCH.is_dir(), reason="needs ../shared/data/shapenet_bench")
def test_depths_of_shapenet_lie_on_its_point_cloud() -> None:
    pytest.importorskip("OpenEXR", reason="the extra `exr` is not installed")
    folder = sorted(BENCH.iterdir())[0]
    view = load_depth(sorted((folder / "depth").iterdir())[0])
    cloud = np.load(folder / "pointcloud.npz")["points"]
    from scipy.spatial import KDTree

    off = KDTree(1.5 * cloud).query(view.points().numpy())[0]
    assert float(np.median(off)) < 0.02  # between samples of the cloud


# ---------------------------------------------------------------------- the study


@pytest.mark.slow
def test_the_study(tmp_path: Path, truth: trimesh.Trimesh) -> None:
    meshes = tmp_path / "meshes"
    (meshes / "ball").mkdir(parents=True)
    # the fourth of a category is for testing
    for n, axes in enumerate((*AXES[:3], UNSEEN)):
        shape = Lattice.from_function(lambda p, a=axes: ellipsoid(p, a), 24)
        save_mesh(meshes / "ball" / f"{n}.ply", extract_mesh(shape))
    ellipsoids().save(tmp_path / "w.safetensors")
    config = CompletionStudy(
        meshes, tmp_path / "w.safetensors", tmp_path / "out", image_size=48, noise=(0.0, 0.03)
    )
    with pytest.raises(InputError, match="need a network that does not know ball/3"):
        evaluate_completion(config)
    family = ellipsoids()
    LatentField.save(_without(family, "ball/3"), tmp_path / "w.safetensors")
    result = evaluate_completion(config, quiet=True)
    methods = result["methods"]
    assert tuple(methods) == METHODS
    best = methods["completion"]["chamfer"]
    assert best < methods["nearest, told the truth"]["chamfer"]
    assert (
        methods["nearest, told the truth"]["chamfer"]
        <= 1.01 * (methods["nearest, by what is seen"]["chamfer"])
    )
    assert best < 0.3 * methods["hull"]["chamfer"]
    clean, noisy = result["noise"]
    assert clean["points"] == 0
    assert clean["chamfer"] == pytest.approx(best, rel=1e-6)
    assert noisy["chamfer"] - clean["chamfer"] < noisy["points"]
    assert "| completion |" in markdown_of(result)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"completion.json", "completion.md", "noise.png", "shapes.png"}
    assert read_png(tmp_path / "out" / "shapes.png").shape[:2] == (128, 7 * 128)
    for change, message in (
        ({"noise": (-1.0,)}, "--noise: need numbers of at least 0"),
        ({"image_size": 8}, "--image-size: need 16 to 2048"),
    ):
        with pytest.raises(InputError, match=message):
            replace(config, **change)


def _without(family: LatentField, name: str) -> LatentField:
    """The family with one known shape forgotten."""
    kept = [n for n, other in enumerate(family.names) if other != name]
    less = LatentField(family.shape, [family.names[n] for n in kept], family.codes[kept])
    weights = {k: x for k, x in family.state_dict().items() if k != "codes"}
    less.load_state_dict({**weights, "codes": family.codes[kept]})
    return less.requires_grad_(False)


# ---------------------------------------------------------------------- interpolation


def test_a_strip_from_one_shape_to_another(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "strip.png"
    config = InterpolateConfig("ball/0", "ball/8", weights, out, between=1, size=24, meshes=True)
    files = interpolate(config, quiet=True)
    picture = read_png(out)
    assert picture.shape[:2] == (24, 3 * 24)
    thirds = [picture[:, 24 * n : 24 * n + 24].reshape(-1) > 0 for n in range(3)]
    # ball/0 is slimmer than ball/8 in both axes; between them is between them
    assert thirds[0].sum() < thirds[1].sum() < thirds[2].sum()
    assert files == [out, *(tmp_path / "strip" / f"00{n}.ply" for n in range(3))]
    volumes = [load_mesh(file).volume for file in files[1:]]
    assert volumes[0] < volumes[1] < volumes[2]
    assert volumes[0] == pytest.approx(4 / 3 * math.pi * np.prod(AXES[0]), rel=0.1)
    turned = interpolate(replace(config, azimuth_deg=-60.0, meshes=False, between=0), quiet=True)
    assert turned == [out]
    assert (read_png(out)[:, :24] != picture[:, :24]).any()


def test_shapes_to_interpolate(view: DepthView, truth: trimesh.Trimesh, tmp_path: Path) -> None:
    family = ellipsoids()
    assert torch.equal(code_told(family, "ball/3"), family.codes[3])
    save_mesh(tmp_path / "shape.ply", truth)
    save_depth(tmp_path / "seen.npz", view)
    points = 2 * torch.rand(4000, 3) - 1
    near = ellipsoid(points, UNSEEN).abs() < 0.08
    for name in ("shape.ply", "seen.npz"):
        field = family.field(code_told(family, str(tmp_path / name)))
        error = (field(points[near]) - ellipsoid(points[near], UNSEEN)).abs().mean()
        assert float(error) < 0.02
    (tmp_path / "code.json").write_text('{"code": [1.0]}')
    for text, message in (
        ("ball/77", "ball/77: need a known shape"),
        (str(tmp_path / "code.json"), "need the code of a shape"),
        (str(tmp_path / "no.ply"), "no.ply"),
    ):
        with pytest.raises(InputError, match=message):
            code_told(family, text)
    for change, message in (
        ({"size": 8}, "--size: need 16 to 4096"),
        ({"out": Path("x.jpg")}, "x.jpg: need a name that ends in .png"),
    ):
        with pytest.raises(InputError, match=message):
            InterpolateConfig("a", "b", tmp_path, **change)


def test_the_commands_are_there() -> None:
    assert {"complete", "interpolate", "evaluate-completion"} <= set(COMMANDS)
