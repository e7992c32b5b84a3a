"""Measures, baselines, the evaluation and its tables."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from singleview_tiny import RESOLUTION, VIEWS, tiny_dataset, write_meshes

from sdfrender import Cameras, Lattice, extract_mesh, render
from sdfrender.errors import InputError
from sdfrender.geometry.primitives import box
from sdfrender.hull.outlines import pixel_distance
from sdfrender.meshes.metrics import occupancy_iou
from singleview import cli
from singleview.config import EvaluateConfig, RenderDatasetConfig
from singleview.data.dataset import Dataset, Item, spread_views
from singleview.data.hull import visual_hull
from singleview.data.stretched import stretched, stretched_copies
from singleview.evaluate.baselines import (
    LatticeMethod,
    baselines,
    hull,
    lattice_from_solid,
    mean_shape,
    nearest_neighbour,
    oracle_neighbour,
)
from singleview.evaluate.evaluate import evaluate_method
from singleview.from_meshes.render_dataset import render_dataset
from singleview.measures import tables
from singleview.measures.shapes import (
    inside,
    rendered_silhouette_iou,
    surface_measures,
    true_inside,
)

CONFIG = EvaluateConfig(Path(), baselines=True, samples=500, surface_views=2)
UNIT = torch.tensor([[-1.0] * 3, [1.0] * 3])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return tiny_dataset()


# ---------------------------------------------------------------------- measures


def test_iou_is_of_the_samples_below_zero() -> None:
    whole = Lattice.from_function(box((0.5, 0.5, 0.5)), 33)
    half = Lattice.from_function(box((0.25, 0.5, 0.5), (-0.25, 0.0, 0.0)), 33)
    a, b = inside(whole, 33), inside(half, 33)
    assert float(occupancy_iou(a, a)) == 1
    # 15 and 7 planes of samples lie strictly inside along x.
    assert float(occupancy_iou(a, b)) == pytest.approx(7 / 15)
    nothing = torch.zeros_like(a)
    assert float(occupancy_iou(a, nothing)) == 0
    assert float(occupancy_iou(nothing, nothing)) == 1
    pairs = occupancy_iou(torch.stack((a, b)), a)
    assert pairs.tolist() == pytest.approx([1.0, 7 / 15])


def test_lattices_are_compared_at_one_resolution(dataset: Dataset) -> None:
    for R in (16, 24):
        solids = true_inside(dataset, R)
        assert solids is not None
        assert solids.shape == (6, R, R, R)
    assert inside(Lattice.sphere(0.5, resolution=20), 10).shape == (10, 10, 10)


def test_surfaces_are_measured_in_units_of_the_longest_side() -> None:
    truth = extract_mesh(Lattice.sphere(0.6, resolution=48))
    measured = surface_measures(Lattice.sphere(0.5, resolution=48), truth, 3000, seed=0)
    assert measured["chamfer"] == pytest.approx(0.1 / 1.2, abs=0.002)
    assert measured["normal_consistency"] > 0.99


def test_a_silhouette_is_compared_from_each_camera() -> None:
    cameras = Cameras.orbit(3, 3.2, width=32)
    ball = Lattice.sphere(0.5, resolution=24)
    seen = render(ball, cameras).silhouettes
    assert rendered_silhouette_iou(ball, seen, cameras) == 1
    assert rendered_silhouette_iou(Lattice.sphere(0.4, resolution=24), seen, cameras) < 0.8


# ---------------------------------------------------------------------- the hull


def test_the_outline_is_where_coverage_is_half() -> None:
    row = torch.tensor([[1.0, 1.0, 0.25, 0.0]]).numpy()
    assert pixel_distance(row)[0].tolist() == [-1.5, -0.5, 0.25, 1.5]
    assert bool((pixel_distance(0 * row) > 0).all())
    assert bool((pixel_distance(0 * row + 1) < 0).all())


def test_the_hull_of_a_ball_is_a_ball() -> None:
    cameras = Cameras.cube(3.2, width=48)
    ball = Lattice.sphere(0.6, resolution=32)
    carved = visual_hull(render(ball, cameras).silhouettes, cameras, UNIT, 32)
    assert float(occupancy_iou(inside(carved, 32), inside(ball, 32))) > 0.9
    near = ball.values.abs() < 0.1
    assert float((carved.values - ball.values)[near].abs().mean()) < 0.03


def test_views_that_cut_the_object_say_nothing_beyond_their_frame() -> None:
    cameras = Cameras.orbit(4, 3.2, width=24)
    everything = torch.ones(4, 24, 24)
    carved = visual_hull(everything, cameras, UNIT, 12, whole=False)
    assert bool((carved.values < 0).all())
    with pytest.raises(InputError, match="no point of the box is inside all 4 views"):
        visual_hull(0 * everything, cameras, UNIT, 12)


# ---------------------------------------------------------------------- baselines


def score(method: LatticeMethod, dataset: Dataset, i: int, resolution: int = RESOLUTION) -> float:
    truth = true_inside(dataset, resolution)
    assert truth is not None
    predicted = method.predict(dataset[i])
    return float(occupancy_iou(inside(predicted, resolution), truth[i]).mean())


def test_the_neighbour_of_a_training_picture_is_itself(dataset: Dataset) -> None:
    method = nearest_neighbour([dataset], "itself")
    for i in range(len(dataset)):
        assert method.predict(dataset[i]).values.shape == (VIEWS, *(RESOLUTION,) * 3)
        assert score(method, dataset, i) == 1


def test_the_oracle_is_at_least_as_good_as_the_neighbour(dataset: Dataset) -> None:
    train, test = dataset.split("train"), dataset.split("test")
    oracle, neighbour = oracle_neighbour(train), nearest_neighbour([train], "")
    for R in (32, 64):
        assert score(oracle, test, 0, R) >= score(neighbour, test, 0, R)
    assert torch.equal(oracle.predict(test[0]).values, train[0].values)


def test_the_mean_of_equal_shapes_is_the_shape(dataset: Dataset) -> None:
    twins = dataset.subset([4, 4, 4])
    assert score(mean_shape(twins), dataset, 4) == 1
    # Each category has its own.
    both = mean_shape(dataset.subset([0, 4]))
    assert score(both, dataset, 0) == score(both, dataset, 4) == 1


def test_the_hull_sees_all_views(dataset: Dataset) -> None:
    method = hull(VIEWS)
    assert method.sees_all_views
    assert score(method, tiny_dataset(size=48), 3) > 0.6


def test_samples_inside_become_distances() -> None:
    ball = Lattice.sphere(0.6, resolution=33)
    again = lattice_from_solid(ball.values < 0, UNIT)
    assert torch.equal(again.values < 0, ball.values < 0)
    assert float((again.values - ball.values).abs().max()) < 1.5 * float(ball.spacing[0])


def test_stretching_keeps_the_longest_side() -> None:
    brick = Lattice.from_function(box((0.75, 0.4, 0.3)), 65)
    wide = stretched(brick, torch.tensor([1.0, 1.5, 1.0]))
    solid = wide.vertices[wide.values < 0]
    extents = solid.amax(0) - solid.amin(0)
    torch.testing.assert_close(extents, torch.tensor([1.5, 1.2, 0.6]), atol=0.07, rtol=0)
    thin = stretched(brick, torch.tensor([1.0, 2.5, 1.0]))  # y becomes the longest
    solid = thin.vertices[thin.values < 0]
    extents = solid.amax(0) - solid.amin(0)
    torch.testing.assert_close(extents, torch.tensor([1.125, 1.5, 0.45]), atol=0.07, rtol=0)


def test_stretched_copies_look_like_what_they_are(dataset: Dataset) -> None:
    copies = stretched_copies(dataset.split("train"), 2, seed=0)
    assert copies.names == ("box/0", "box/0", "box/1", "box/1", *("capsule/0",) * 2,
                            *("capsule/1",) * 2)  # fmt: skip
    assert copies.values is not None
    assert copies.shared_cameras is not None
    assert not torch.equal(copies.values[0], copies.values[1])
    seen = render(Lattice(copies.values[1].float(), copies.bounds), copies.shared_cameras)
    torch.testing.assert_close(seen.silhouettes, copies[1].views.silhouettes, atol=0.02, rtol=0)
    again = stretched_copies(dataset.split("train"), 2, seed=0)
    assert torch.equal(copies.images, again.images)
    with pytest.raises(InputError, match="--stretched: need true distances"):
        stretched_copies(Dataset(*(getattr(dataset, n) for n in (
            "names", "splits", "images", "silhouettes", "c2w", "Ks"))), 1, seed=0)  # fmt: skip


# ---------------------------------------------------------------------- the evaluation


def test_every_measure_is_there(dataset: Dataset) -> None:
    result = evaluate_method(nearest_neighbour([dataset.split("train")], "nn"), dataset, CONFIG)
    keys = {"iou_32", "iou_64", "chamfer", "normal_consistency", "silhouette_iou"}
    assert set(result) == keys | {"categories", "objects", "intervals"}
    assert set(result["categories"]) == {"box", "capsule"}
    assert result["objects"]["capsule/0"]["iou_64"] == 1
    assert result["objects"]["capsule/0"]["chamfer"] < 1e-6
    assert result["objects"]["capsule/0"]["silhouette_iou"] > 0.99
    for key in keys:
        means = [measures[key] for measures in result["categories"].values()]
        assert result[key] == pytest.approx(sum(means) / 2)
        boxes = [result["objects"][f"box/{i}"][key] for i in range(4)]
        assert result["categories"]["box"][key] == pytest.approx(sum(boxes) / 4)


def test_iou_is_the_mean_over_all_input_views(dataset: Dataset) -> None:
    train = dataset.split("train")

    def first_view_only(item: object) -> Lattice:
        values = torch.ones(VIEWS, *(RESOLUTION,) * 3)
        values[0] = dataset[3].values if dataset[3].values is not None else values[0]
        return Lattice(values, train.bounds)

    test = dataset.split("test")
    result = evaluate_method(LatticeMethod("a quarter", first_view_only), test, CONFIG)
    assert result["iou_32"] == result["iou_64"] == 1 / VIEWS
    # The views without a surface have no Chamfer distance.
    assert result["chamfer"] < 1e-6


def test_some_pictures_can_stand_for_all(dataset: Dataset) -> None:
    """Predictions are asked for those alone, and judged on views that they were not made from."""
    asked = []

    def spheres(item: Item) -> Lattice:
        asked.append(item.views)
        V = len(item.views.cameras)
        return Lattice(Lattice.sphere(0.5, resolution=RESOLUTION).values.repeat(V, 1, 1, 1), UNIT)

    test = dataset.split("test")
    config = replace(CONFIG, pictures=2)
    result = evaluate_method(LatticeMethod("spheres", spheres), test, config)
    ids = spread_views(VIEWS, 2)
    torch.testing.assert_close(asked[0].images, test[0].views.images[ids])
    torch.testing.assert_close(asked[0].cameras.c2w, test[0].views.cameras[ids].c2w)
    everywhere = evaluate_method(LatticeMethod("spheres", spheres), test, CONFIG)
    assert result["iou_32"] == pytest.approx(everywhere["iou_32"])
    item, ball = test[0], Lattice.sphere(0.5, resolution=RESOLUTION)
    unseen = [[v for v in range(VIEWS) if v != i] for i in ids]
    expected = [
        rendered_silhouette_iou(ball, item.views.silhouettes[v], item.views.cameras[v])
        for v in unseen
    ]
    found = result["objects"][item.name]["silhouette_iou"]
    assert found == pytest.approx(sum(expected) / 2)
    evaluate_method(hull(VIEWS), test, config)  # sees them all, as its name says


def test_what_sees_all_views_has_no_unseen_ones(dataset: Dataset) -> None:
    result = evaluate_method(hull(VIEWS), dataset.split("test"), CONFIG)
    assert "silhouette_iou" not in result
    assert "chamfer" in result


def test_the_surface_views_differ_in_elevation() -> None:
    assert spread_views(24, 4) == [0, 7, 14, 21]
    assert {v % 4 for v in spread_views(24, 4)} == {0, 1, 2, 3}
    assert spread_views(3, 8) == [0, 1, 2]
    assert len(spread_views(24, 24)) == 24


def test_the_table_has_a_row_per_method_and_a_column_per_category(dataset: Dataset) -> None:
    test = dataset.split("test")
    methods = [
        {"name": m.name, "told": m.told, **evaluate_method(m, test, CONFIG)}
        for m in baselines(dataset.split("train"), stretched_copies(dataset.split("train"), 1, 0))
    ]
    result = {"objects": 1, "split": "test", "views": VIEWS, "methods": methods}
    lines = tables.markdown(result).splitlines()
    assert lines[2] == "| method | box | mean | Chamfer | normals | silhouettes |"
    assert len(lines) == 4 + 5
    assert lines[4].startswith("| category mean shape (told the category) | ")
    assert "4 stretched copies too" in lines[6]
    assert lines[-1].endswith("| – |")
    assert tables.terminal(result).row_count == 5
    assert tables.number(0.4812) == ".481"
    assert tables.number(0.0312) == ".0312"
    assert tables.number(1.0) == "1.000"


# ---------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluate")
    meshes = write_meshes(root / "meshes", count=4)
    out = root / "dataset"
    render_dataset(RenderDatasetConfig(
        meshes, out, size=16, views=4, resolution=16, supersampling=1, jobs=1))  # fmt: skip
    return out


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["singleview", *map(str, arguments)])
    return cli.main()


def test_the_command_prints_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    common = ["evaluate", folder, "--baselines", "--samples=200", "--pictures=2"]
    assert run(monkeypatch, *common, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["split"] == "test"
    assert result["objects"] == 2
    assert [m["name"] for m in result["methods"]] == [
        "category mean shape",
        "nearest neighbour by image",
        "oracle nearest neighbour",
        "visual hull of 4 views",
    ]
    assert 0 < result["methods"][0]["iou_32"] <= 1
    assert run(monkeypatch, *common, "--split=val", "--markdown") == 0
    assert "| method | ball | brick | mean |" in capsys.readouterr().out
    assert run(monkeypatch, *common) == 0
    assert "test objects" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "need a RUN to evaluate, or --baselines"),
        (["--baselines", "--samples=0"], "--samples: need at least 1"),
        (["--baselines", "--surface-views=0"], "--surface-views: need at least 1"),
        (["--baselines", "--stretched=-1"], "--stretched: need 0, or more with --baselines"),
        (["--baselines", "--json", "--markdown"], "--json, --markdown: need one of them"),
    ],
)
def test_the_command_refuses(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    options: list[str],
    problem: str,
) -> None:
    assert run(monkeypatch, "evaluate", folder, *options) == 2
    assert problem in capsys.readouterr().err
