"""`multiview benchmark`: scenes with exact ground truth, no fit done twice, the table."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import tiny
import torch
import trimesh
from processes.dask_threads import scheduler_in_threads

from multiview import cli
from multiview.benchmark import run as runs
from multiview.benchmark import scenes
from multiview.benchmark.lamps import FROM_THE_CAMERA, lamps
from multiview.benchmark.meshes import Topology, find_meshes
from multiview.benchmark.paint import FINE, MIDDLE, SPREAD, painted, solid_texture
from multiview.benchmark.run import BenchmarkConfig, benchmark
from multiview.benchmark.scenes import SceneSpec, make_scene, well_spread
from multiview.benchmark.table import CAPTION, headings, markdown
from multiview.config import FitConfig
from multiview.fit import fit
from multiview.photo.unknown_light import FIXED_TO, FixedTo
from multiview.recipes import RECIPES, Level
from multiview.scenes import load_scene
from sdfrender import Cameras, InputError, load_mesh, metrics
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.rendering.raytrace import raytrace
from sdfrender.view.lighting import STUDIO

SPEC = SceneSpec(image_size=24)
RECIPE = replace(tiny.ADAM, levels=(Level(1, 1, 2),))


@pytest.fixture(autouse=True)
def threads_for_processes() -> Iterator[None]:
    """Views are traced in this process: a new one takes seconds to import torch."""

    def pool(workers: int, mp_context: object) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)

    with patch.object(scenes, "ProcessPoolExecutor", pool):
        yield


def torus_mesh() -> trimesh.Trimesh:
    """Neither at the origin nor of unit size."""
    mesh = trimesh.creation.torus(4.0, 1.5, major_sections=24, minor_sections=12)
    return mesh.apply_translation((10.0, -7.0, 3.0))


@pytest.fixture(scope="module")
def torus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("meshes") / "ring.ply"
    save_mesh(file, torus_mesh())
    return file


@pytest.fixture
def ring_scene(torus_file: Path, tmp_path: Path) -> Path:
    make_scene(torus_file, tmp_path / "ring", SPEC, quiet=True)
    return tmp_path / "ring"


# ---------------------------------------------------------------------- scenes


def test_a_scene_holds_what_the_ray_tracer_saw(ring_scene: Path) -> None:
    scene = load_scene(ring_scene)
    assert scene.train == tuple(range(26))
    assert scene.held_out == tuple(range(26, 32))
    assert scene.color_space == "linear"
    assert scene.bounds is not None
    assert scene.bounds.tolist() == [[-1, -1, -1], [1, 1, 1]]
    assert scene.lighting is not None
    assert scene.lighting.headlight == STUDIO.headlight
    assert scene.mesh is not None
    mesh = load_mesh(scene.mesh)
    assert mesh.extents.max() == pytest.approx(1.5)
    np.testing.assert_allclose(mesh.bounds.mean(0), 0, atol=1e-6)
    ids = [0, 13, 31]
    seen = raytrace(mesh, scene.cameras[ids], lighting=STUDIO, albedo=1.0)
    # 16-bit pixels, and a mesh stored in float32
    torch.testing.assert_close(scene.silhouettes[ids], seen.silhouettes, atol=2e-5, rtol=0)
    expected = seen.images.expand(-1, -1, -1, 3)
    other = (scene.images[ids] - expected).abs().amax(-1) > 2e-5
    assert other.float().mean() < 0.01  # a ray along an edge may meet either triangle


@pytest.mark.parametrize("fixed_to", FIXED_TO)
def test_a_painted_scene_has_colours_and_a_light_of_its_own(
    fixed_to: FixedTo, torus_file: Path, tmp_path: Path
) -> None:
    spec = replace(SPEC, paint=True, lamps=fixed_to)
    make_scene(torus_file, tmp_path / "ring", spec, quiet=True)
    scene = load_scene(tmp_path / "ring")
    assert scene.lighting is None
    inside = scene.silhouettes == 1
    assert float(scene.images[inside].std(0).min()) > 0.05  # in each channel
    assert scene.mesh is not None
    mesh, albedo = painted(load_mesh(scene.mesh))
    lights = lamps(fixed_to, scene.cameras)
    for n in (3, 17):
        seen = raytrace(mesh, scene.cameras[n], lighting=lights[n], albedo=torch.from_numpy(albedo))
        assert float((scene.images[n] - seen.images[0]).abs().mean()) < 1e-4


def test_lamps_of_the_camera_turn_with_it() -> None:
    cameras = scenes.benchmark_cameras(32)
    lights = lamps("camera", cameras)
    for n in (0, 9):
        to_camera = cameras.c2w[n, :3, :3].double().T
        for light, expected in zip(lights[n].directional, FROM_THE_CAMERA, strict=True):
            seen_from_there = to_camera @ torch.as_tensor(light.to_light).double()
            np.testing.assert_allclose(seen_from_there, expected, atol=1e-6)
    first, second = (lamps("view", cameras)[n].directional[0].to_light for n in (0, 1))
    again = lamps("view", cameras)[0].directional[0].to_light
    assert torch.equal(torch.as_tensor(first), torch.as_tensor(again))
    assert not torch.equal(torch.as_tensor(first), torch.as_tensor(second))


def test_paint_is_on_the_surface_it_was_given(torus_file: Path) -> None:
    mesh = scenes.normalized(load_mesh(torus_file), torus_file)
    fine, colors = painted(mesh)
    assert fine.area == pytest.approx(mesh.area)
    assert fine.edges_unique_length.max() <= FINE
    assert colors.shape == (len(fine.vertices), 3)
    assert colors.min() >= MIDDLE - SPREAD
    assert colors.max() <= MIDDLE + SPREAD
    # Solid: the same place has the same colour whatever triangles there are.
    np.testing.assert_array_equal(solid_texture(fine.vertices[:50]), colors[:50])
    step = np.abs(colors[fine.edges[:, 0]] - colors[fine.edges[:, 1]])
    assert step.max() < 0.5 * SPREAD  # and triangles resolve it


def test_fits_of_painted_meshes_estimate_the_light(torus_file: Path, tmp_path: Path) -> None:
    config = settings(torus_file, tmp_path, paint="slow")
    assert config.scene_spec.paint
    assert config.fit_config(Path(), Path(), 64).light == "auto"  # and none is stated
    assert config.title.endswith("painted")
    other = settings(torus_file, tmp_path, paint="slow", lamps="camera")
    assert other.title.endswith("painted, lamps of the camera")
    with pytest.raises(InputError, match="--paint"):
        settings(torus_file, tmp_path, lamps="view")


def test_the_cameras_stand_where_they_should(ring_scene: Path) -> None:
    cameras = load_scene(ring_scene).cameras
    torch.testing.assert_close(cameras.centers.norm(dim=1), torch.full((32,), 3.2))
    torch.testing.assert_close(cameras.centers[:26], Cameras.cube(3.2).centers)
    direction = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(cameras.centers[26], 3.2 * direction / direction.norm())
    fov = 2 * math.atan(12 / float(cameras.Ks[0, 1, 1]))
    assert math.degrees(fov) == pytest.approx(40, abs=1e-4)


def test_a_mesh_that_is_inside_out_is_turned(tmp_path: Path, torus_file: Path) -> None:
    mesh = torus_mesh()
    mesh.invert()
    assert scenes.normalized(mesh, tmp_path).volume > 0


def test_views_are_well_spread() -> None:
    assert well_spread(26) == list(range(26))
    directions = scenes.cube_directions()
    eight, four = directions[well_spread(8)], directions[well_spread(4)]
    assert len(eight) == 8
    assert sorted(eight.abs().sum(1).tolist()) == 6 * [1] + 2 * [3]  # faces and corners
    assert not eight.sum(0).any()  # from opposite sides
    assert len(four) == 4
    between = four @ four.T  # a regular tetrahedron: all angles are the same
    torch.testing.assert_close(between, 4 * torch.eye(4).double() - 1)
    with pytest.raises(InputError, match=r"--views: need one of \[32, 26, 8, 4\], got 5"):
        well_spread(5)


@pytest.mark.slow
def test_noise_is_on_the_training_views_inside_the_mask_and_seeded(
    torus_file: Path, tmp_path: Path
) -> None:
    for name, spec in (
        ("clean", SPEC),
        ("a", replace(SPEC, noise=0.02)),
        ("b", replace(SPEC, noise=0.02)),
        ("c", replace(SPEC, noise=0.02, seed=1)),
    ):
        make_scene(torus_file, tmp_path / name, spec, quiet=True)
    clean, a, b, c = (load_scene(tmp_path / name) for name in ("clean", "a", "b", "c"))
    assert torch.equal(a.images, b.images)
    assert not torch.equal(a.images, c.images)
    assert torch.equal(a.silhouettes, clean.silhouettes)
    assert torch.equal(a.images[26:], clean.images[26:])
    difference = (a.images - clean.images)[:26]
    assert not difference[clean.silhouettes[:26] == 0].any()
    # Where clipping to [0, 1] plays no part.
    inside = (clean.silhouettes[:26] == 1) & (clean.images[:26, ..., 0] > 0.1)
    inside &= clean.images[:26, ..., 0] < 0.9
    assert float(difference[inside].std()) == pytest.approx(0.02, rel=0.1)


def test_the_key_changes_with_all_that_defines_a_scene(torus_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.ply"
    save_mesh(other, trimesh.creation.icosphere(1))
    copy = tmp_path / "copy.ply"
    copy.write_bytes(torus_file.read_bytes())
    others = {"image_size": 32, "noise": 0.1, "seed": 3, "paint": True, "lamps": "view"}
    others |= {"fine": True, "ring": True, "disturbed": "drift", "gloss": True}
    keys = [
        SPEC.key(torus_file),
        SPEC.key(other),
        *(replace(SPEC, **{name: value}).key(torus_file) for name, value in others.items()),
    ]
    assert len(set(keys)) == 2 + len(asdict(SPEC))
    assert SPEC.key(copy) == keys[0]


# ---------------------------------------------------------------------- meshes


def test_meshes_are_found_at_any_depth_and_named(tmp_path: Path) -> None:
    for name in ("a/x.obj", "b/c/x.ply", "b/y.STL", "b/readme.md", "z.off"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_meshes([tmp_path])) == ["a-x", "b-c-x", "y", "z"]
    assert find_meshes([tmp_path / "z.off"]) == {"z": tmp_path / "z.off"}
    files = [tmp_path / "b" / "c" / "x.ply", tmp_path / "a" / "x.obj"]
    assert list(find_meshes(files)) == ["c-x", "a-x"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "MESHES: need at least one"),
        (["gone.obj"], "gone.obj: need a mesh or a folder"),
        (["empty"], "empty: need a folder with .obj"),
        (["text.txt"], r"text.txt: unknown extension '.txt'"),
        (["a.obj", "a.obj"], "need each mesh once"),
    ],
)
def test_wrong_meshes(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").touch()
    (tmp_path / "a.obj").touch()
    with pytest.raises(InputError, match=message):
        find_meshes([tmp_path / name for name in names])


def test_topology() -> None:
    ring, ball = torus_mesh(), trimesh.creation.icosphere(2)
    assert Topology.of(ring) == Topology(True, 1, 0, 1)
    apart = trimesh.util.concatenate([ring, ball.apply_translation((50, 0, 0))])
    assert Topology.of(apart) == Topology(True, 2, 2, 1)
    opened = trimesh.Trimesh(ring.vertices, ring.faces[1:], process=False)
    assert Topology.of(opened).genus is None


# ---------------------------------------------------------------------- runs


class Fits:
    """Fits in this process, with a recipe of a few passes; remembers what it was asked for."""

    def __init__(self) -> None:
        self.configs: list[FitConfig] = []

    def __call__(self, config: FitConfig, quiet: bool) -> dict[str, Any]:
        self.configs.append(config)
        return fit(config, quiet=True)


@pytest.fixture
def fits() -> Iterator[Fits]:
    compare, chamfer = metrics.compare_meshes, metrics.chamfer
    with (
        patch.dict(RECIPES, {"fast": lambda _: RECIPE}),
        patch("multiview.results.results.write_report"),
        patch.object(metrics, "compare_meshes", lambda *pair: compare(*pair, samples=500)),
        patch.object(metrics, "chamfer", lambda *pair: chamfer(*pair, samples=500)),
    ):
        yield Fits()


def settings(torus_file: Path, out: Path, **changes: Any) -> BenchmarkConfig:
    """Of 4 views; `test_the_command` takes all."""
    defaults = {"resolutions": (12, 16), "preset": "fast", "image_size": 24, "views": 4}
    return BenchmarkConfig((torus_file,), out, **{**defaults, **changes})


@pytest.mark.slow
def test_a_benchmark_measures_each_mesh(torus_file: Path, tmp_path: Path, fits: Fits) -> None:
    config = settings(torus_file, tmp_path, views=8)
    result = benchmark(config, fits)
    assert result == json.loads((tmp_path / "benchmark.json").read_text())
    (row,) = result["meshes"]
    assert row["mesh"] == "ring"
    assert row["topology"] == asdict(Topology.of(torus_mesh()))
    assert 0 < row["hull_chamfer"] < 0.1
    assert list(row["runs"]) == ["12", "16"]
    for resolution, found in row["runs"].items():
        run = tmp_path / found["folder"]
        summary = json.loads((run / "metrics.json").read_text())
        assert {key: found[key] for key in summary} == summary
        assert found["views"] == {"train": 8, "held_out": 6}
        assert max(found["resolution"]) == int(resolution)
        assert found["topology"] == asdict(Topology.of(load_mesh(run / "mesh.ply")))
    table = (tmp_path / "benchmark.md").read_text()
    assert table == markdown(config.title, result["meshes"], config.resolutions)


@pytest.mark.slow
def test_nothing_is_done_twice(torus_file: Path, tmp_path: Path, fits: Fits) -> None:
    config = settings(torus_file, tmp_path, resolutions=(12,))
    first = benchmark(config, fits)
    with (
        patch.object(runs, "make_scene", side_effect=AssertionError),
        patch.object(runs, "visual_hull", side_effect=AssertionError),
    ):
        assert benchmark(config, fits) == first
        assert len(fits.configs) == 1
        benchmark(settings(torus_file, tmp_path, resolutions=(12, 14)), fits)
        assert [c.resolution for c in fits.configs] == [12, 14]
        benchmark(replace(config, again=True), fits)
        assert [c.resolution for c in fits.configs] == [12, 14, 12]
        other = replace(RECIPE, learning_rate=0.1)
        with patch.dict(RECIPES, {"fast": lambda _: other}):
            benchmark(config, fits)  # the same settings, another recipe
        assert len(fits.configs) == 4
        assert not any(c.resume for c in fits.configs)


@pytest.mark.slow
def test_fits_under_an_unknown_light_are_not_done_twice(
    torus_file: Path, tmp_path: Path, fits: Fits
) -> None:
    """Their recipe is another one: see `FitConfig.recipe`."""
    config = settings(torus_file, tmp_path, resolutions=(12,), paint="slow", preset="fast")
    with patch.dict(RECIPES, {"fast": lambda _: tiny.QUICK["fast"]}):
        first = benchmark(config, fits)
        assert "error" not in first["meshes"][0]
        assert benchmark(config, fits) == first
        assert len(fits.configs) == 1


@pytest.mark.slow
def test_a_run_that_was_cut_short_goes_on(torus_file: Path, tmp_path: Path, fits: Fits) -> None:
    config = settings(torus_file, tmp_path, resolutions=(12,))
    with (
        patch("multiview.optimize.greedy.shuffled_pass", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        benchmark(config, fits)
    (row,) = benchmark(config, fits)["meshes"]
    assert [c.resume for c in fits.configs] == [False, True]
    assert "error" not in row
    assert "interrupted" not in row["runs"]["12"]


@pytest.mark.slow
def test_one_bad_mesh_does_not_stop_the_others(
    torus_file: Path, tmp_path: Path, fits: Fits, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad.obj"
    bad.write_text("v 0 0 0\n")
    flat = tmp_path / "point.obj"
    flat.write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    config = replace(
        settings(torus_file, tmp_path / "out", resolutions=(12,)), meshes=(bad, torus_file, flat)
    )

    def stumble(c: FitConfig, quiet: bool) -> dict[str, Any]:
        raise RuntimeError("out of luck")

    rows = benchmark(config, stumble)["meshes"]
    assert rows[1]["error"] == "out of luck"
    assert "RuntimeError" in caplog.text  # a bug keeps its traceback
    rows = benchmark(config, fits)["meshes"]
    assert [row["mesh"] for row in rows] == ["bad", "ring", "point"]
    assert [row for row in rows if "error" not in row] == [rows[1]]
    table = (tmp_path / "out" / "benchmark.md").read_text()
    assert f"bad: {rows[0]['error']}" in table
    assert "| bad | – | – |" in table


@pytest.mark.slow
def test_an_open_mesh_is_only_worth_a_warning(
    tmp_path: Path, fits: Fits, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = torus_mesh()
    save_mesh(tmp_path / "open.ply", trimesh.Trimesh(mesh.vertices, mesh.faces[1:]))
    config = settings(tmp_path / "open.ply", tmp_path / "out", resolutions=(12,))
    (row,) = benchmark(config, fits)["meshes"]
    assert "error" not in row
    assert "open.ply is not watertight" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolutions": ()}, "--resolutions: need one or more"),
        ({"resolutions": (64, 32)}, "--resolutions: .* got 64 32"),
        ({"resolutions": (4,)}, "--resolution: need at least 8"),
        ({"views": 7}, "--views"),
        ({"noise": -0.1}, "--noise: need a number from 0 to 1, got -0.1"),
        ({"noise": math.nan}, "--noise"),
        ({"image_size": 4}, "--image-size"),
        ({"threads": 0}, "--threads"),
    ],
)
def test_wrong_settings(torus_file: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings(torus_file, Path("unused"), **changes)


# ---------------------------------------------------------------------- the table

RUN = {
    "seconds": 61.4,
    "held_out": {"psnr": 41.94, "silhouette_iou": 0.99},
    "reference": {
        "chamfer_l1": 0.00029,
        "hausdorff": 0.00421,
        "f_score_0.5pct": 1.0,
        "f_score_1pct": 1.0,
        "normal_consistency": 0.9904,
        "volume_iou": 0.991,
    },
    "topology": {"bodies": 3, "genus": 1},
}
ROW = {
    "mesh": "rocker-arm",
    "topology": {"bodies": 1, "genus": 1},
    "hull_chamfer": 0.0065,
    "runs": {"64": {**RUN, "reference": {"chamfer_l1": 0.00074}}, "128": RUN},
}


def test_the_table_as_markdown() -> None:
    failed = {"mesh": "other", "error": "no good"}
    lines = markdown("title", [ROW, failed], (64, 128)).splitlines()
    assert lines[0] == "title"
    assert lines[2:6] == [
        "| mesh | hull | 64³ | 128³ | Hausdorff | F@0.5% | F@1% | normals | IoU | held-out PSNR "
        "| bodies | genus | s |",
        "| --- |" + " --- |" * 12,
        "| rocker-arm | .00650 | .00074 | .00029 | .0042 | 1.000 | 1.000 | .990 | .991 | 41.9 "
        "| 3 (1) | 1 | 61 |",
        "| other |" + " – |" * 12,
    ]
    assert lines[7:] == [CAPTION, "", "other: no good"]


@pytest.mark.slow
def test_the_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    torus_file: Path,
    tmp_path: Path,
    fits: Fits,
) -> None:
    monkeypatch.setattr(runs, "fit_apart", fits)
    settings = ["--out", str(tmp_path / "out"), "--resolutions", "12", "14"]
    settings += ["--preset", "fast", "--image-size", "24"]

    def output(*options: str | Path, code: int = 0) -> str:
        arguments = ["multiview", "benchmark", torus_file, *options]
        monkeypatch.setattr(sys, "argv", [*map(str, arguments), *settings])
        assert cli.main() == code
        return capsys.readouterr().out

    shown = output()
    for heading in headings((12, 14)):
        assert heading in shown  # nothing is cut off
    assert output("--markdown") == (tmp_path / "out" / "benchmark.md").read_text()
    assert json.loads(output("--json"))["meshes"][0]["mesh"] == "ring"
    output("--json", "--markdown", code=2)
    bad = tmp_path / "bad.obj"
    bad.write_text("v 0 0 0\n")
    assert "bad" in output(bad, code=2)  # and the table of what went well


@pytest.mark.release
def test_meshes_are_tasks_of_a_cluster(torus_file: Path, tmp_path: Path, fits: Fits) -> None:
    bad = tmp_path / "bad.obj"
    bad.write_text("v 0 0 0\n")
    config = settings(torus_file, tmp_path / "there", resolutions=(12,))
    config = replace(config, meshes=(bad, torus_file))
    with scheduler_in_threads() as cluster:
        there = benchmark(config, cluster=cluster)
    here = benchmark(replace(config, out=tmp_path / "here"), fits)
    cost = ("seconds", "peak_memory_mb")
    for result in (there, here):
        assert [row["mesh"] for row in result["meshes"]] == ["bad", "ring"]
        for key in cost:
            del result["meshes"][1]["runs"]["12"][key]
    assert there["meshes"] == here["meshes"]


@pytest.mark.slow
def test_the_pixels_do_not_depend_on_the_processes(torus_file: Path) -> None:
    """The one test with processes of their own."""
    mesh, cameras = scenes.normalized(load_mesh(torus_file), torus_file), Cameras.cube(3.2, width=8)
    traced, lights = scenes.TracedMesh(mesh), [STUDIO] * 3
    here = scenes.trace_views(traced, cameras[:3], lights, "ring", quiet=True)
    with patch.object(scenes, "ProcessPoolExecutor", ProcessPoolExecutor):
        there = scenes.trace_views(traced, cameras[:3], lights, "ring", quiet=True)
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a, b)
