"""The report of a training: its objects, its curves, its page."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import places
import pytest
import torch
from occupancy_tiny import train_occupancy, write_samples
from rich.console import Console
from singleview_tiny import tiny_dataset
from tiny_family import bench, family
from tiny_training import train_tiny, write_dataset

import singleview.cli
from sdfrender import Cameras, InputError, Lattice
from singleview.data.dataset import Dataset
from singleview.data.distances import Distances
from singleview.measures import tables
from singleview.predict.predict import Predictor
from singleview.report import curves
from singleview.report.dots import draw_points
from singleview.report.family import SEEN, Family, strips, surface_near
from singleview.report.galleries import open_gallery
from singleview.report.gallery import SIDES, Pictures
from singleview.report.page import write_report
from singleview.training.checkpoint import load_model

WAIT = 20_000  # milliseconds, for a busy machine


@pytest.fixture(scope="module")
def images_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training from images, of a few steps."""
    folder = tmp_path_factory.mktemp("images")
    train_tiny(write_dataset(folder / "data"), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def clouds_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training from clouds, of a few steps."""
    folder = tmp_path_factory.mktemp("clouds")
    train_occupancy(write_samples(folder), folder / "run")
    return folder / "run"


# ---------------------------------------------------------------------- pictures of points


def test_the_nearer_point_is_seen() -> None:
    camera = Cameras.look_at([[0.0, 0.0, 3.0]], width=31, height=25)
    points = torch.tensor([[0.0, 0, 0], [0, 0, 1], [5, 0, 0], [0, 0, 9]])  # beside, behind the eye
    normals = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    picture = draw_points(points, normals, camera)
    assert picture.shape == (25, 31, 4)
    assert int(picture[..., 3].sum()) == 9
    lit = picture[12, 15, :3]  # the one that faces the eye
    assert float(lit.min()) > 0.8
    assert float(draw_points(points[:1], normals[:1], camera)[12, 15, 0]) < 0.5
    plain = draw_points(points, None, camera)
    torch.testing.assert_close(plain[..., 3], picture[..., 3])
    assert float(draw_points(points[:0], None, camera).abs().sum()) == 0


def test_the_surface_of_a_ball_from_distances_around_it() -> None:
    points = 0.5 * torch.nn.functional.normalize(torch.randn(4000, 3), dim=1)
    points += 0.02 * torch.randn(4000, 3)
    found, normals = surface_near(points, points.norm(dim=1) - 0.5)
    assert len(found) > 1000
    assert float((found.norm(dim=1) - 0.5).abs().max()) < 1e-3
    cosines = (torch.nn.functional.normalize(found, dim=1) * normals).sum(1)
    assert float(cosines.mean()) > 0.995
    assert len(surface_near(points[:3], torch.zeros(3))[0]) == 0


# ---------------------------------------------------------------------- objects


def all_knowing(dataset: Dataset) -> Predictor:
    """A predictor that finds the true shape of a picture."""
    model, about = load_model(places.ROOT / "assets" / "singleview")
    predictor = Predictor(model, about)  # type: ignore[arg-type]
    assert dataset.values is not None

    def look_up(self: Predictor, images: torch.Tensor) -> Lattice:
        known = torch.stack([dataset[i].views.images for i in range(len(dataset))])
        apart = (known[:, :, None] - images).square().flatten(3).sum(3).amin(1)  # (N, B)
        return Lattice(dataset.values[apart.argmin(0)].float(), dataset.bounds)  # type: ignore[index]

    patch.object(Predictor, "__call__", look_up).start()
    return predictor


@pytest.fixture(autouse=True)
def stop_patches() -> Iterator[None]:
    yield
    patch.stopall()


@pytest.mark.parametrize("known", [True, False])
def test_right_guesses_look_like_the_truth(known: bool) -> None:
    dataset = tiny_dataset(24)
    predictor = all_knowing(dataset)
    if not known:
        dataset = Dataset(
            dataset.names, dataset.splits, dataset.images, dataset.silhouettes, dataset.c2w,
            dataset.Ks, dataset.bounds, dataset.lighting,
        )  # fmt: skip
    gallery = Pictures(predictor, dataset, "test", 2)
    assert gallery.measure.startswith("IoU" if known else "silhouette IoU")
    for i in (0, 4):
        guess = gallery.guess(i)
        assert guess.score > (0.999 if known else 0.9)
        assert guess.mean > (0.999 if known else 0.9)
        assert guess.lattice is not None
        drawn, truth = gallery.drawn(i, guess.lattice), gallery.truth(i)
        assert drawn.shape == truth.shape
        assert len(drawn) == SIDES
        apart = (drawn[..., 3] - truth[..., 3]).abs().mean()
        assert float(apart) < (1e-3 if known else 0.02)


def test_wrong_guesses_score_less() -> None:
    dataset = tiny_dataset()
    predictor = all_knowing(dataset)
    swapped = dataset.subset([4, 0])
    gallery = Pictures(predictor, swapped, "test", 2)
    gallery.solids = gallery.solids.flip(0) if gallery.solids is not None else None
    assert max(gallery.guess(i).mean for i in range(2)) < 0.6


def test_occupancy_of_clouds(clouds_run: Path) -> None:
    settings = json.loads((clouds_run / "config.json").read_text())["settings"]
    gallery = open_gallery(clouds_run, settings, "val", 2)
    assert gallery.split == "val"
    assert len(gallery.names) == 2
    with patch("singleview.report.gallery.logits_at") as logits:
        samples = gallery.observer.samples  # type: ignore[attr-defined]
        logits.return_value = samples.inside[0].float() * 20 - 10
        guess = gallery.guess(0)
    assert guess.score == guess.mean == 1.0
    assert guess.seen is not None
    assert float(guess.seen[..., 3].sum()) > 20
    truth = gallery.truth(0)
    assert truth.shape[0] == SIDES
    assert float(truth[..., 3].mean()) > 0.02


@pytest.mark.parametrize("kind", ["voxels", "none", "index"])
def test_occupancy_of_other_inputs(kind: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_occupancy(write_samples(tmp_path), run, input=kind, steps=1, evaluate_every=1)
    settings = json.loads((run / "config.json").read_text())["settings"]
    gallery = open_gallery(run, settings, None, 1)
    assert gallery.split == ("train" if kind == "index" else "val")
    guess = gallery.guess(0)
    assert (guess.seen is None) == (kind != "voxels")
    if guess.seen is not None:
        assert float(guess.seen[..., 3].mean()) > 0.02


@pytest.mark.slow
def test_a_family_finds_an_unknown_member() -> None:
    points = 2 * torch.rand(1, 2 * SEEN, 3) - 1
    values = bench(0.5, 0.45)(points[0])[None]
    unknown = Distances(("bench/unknown", "bench/x~1"), ("test", "test"),
                        points.expand(2, -1, -1).half(), values.expand(2, -1).half())  # fmt: skip
    gallery = Family(family(), unknown, "test")
    assert gallery.names == ("bench/unknown",)  # no warped copy
    guess = gallery.guess(0)
    assert guess.score > 0.8
    assert guess.lattice is not None
    found = strips(family())
    assert len(found) == 3
    assert found[0].start == "bench/0.3-0.25"
    for strip in found:
        shown = strip.pictures[..., 3].mean((1, 2))
        assert bool((shown > 0.05).all())
        assert float((strip.pictures[0] - strip.pictures[-1]).abs().mean()) > 0.01


# ---------------------------------------------------------------------- curves


def test_tables_of_any_training(tmp_path: Path) -> None:
    file = tmp_path / "losses.csv"
    assert curves.read_table(file) == {}
    rows = "".join(f"{k},{0.1 * k},1e-3,{2 / k},{1 / k},{2 / k},word\n" for k in range(1, 1001))
    file.write_text("step,seconds,rate,total,codes,same,note\n" + rows)
    table = curves.read_table(file)
    assert "note" not in table
    assert table["codes"][9] == pytest.approx(0.1)
    drawn = curves.loss_plot(table)
    assert drawn is not None
    assert ">codes<" in drawn
    assert ">same<" not in drawn  # all there is of the total
    assert "currentColor" in drawn
    assert len(drawn) < 60_000  # few points, however many steps
    binned = curves.binned(np.arange(1000.0))
    assert len(binned) == curves.BINS
    assert binned[0] == 1.5  # of the first four
    assert binned[-1] == 998.0
    file.write_text("step,total\n1,2\n3\n")
    with pytest.raises(InputError, match=r"losses.csv: need a table"):
        curves.read_table(file)
    file.write_text("step,seconds,rate,total\n")
    assert curves.loss_plot(curves.read_table(file)) is None
    assert curves.score_plot({}) is None


def test_the_distribution_names_the_categories() -> None:
    drawn = curves.score_distribution(["cup/1", "cup/2", "vase/1"], [0.2, 0.4, 0.9], "IoU at 64³")
    assert ">cup<" in drawn
    assert ">vase<" in drawn
    assert "IoU at 64³" in drawn


@pytest.mark.parametrize(
    "name", [r"$\frac{a$", "$x$", "a$b", r"\$", "<b>&", "_hidden", "100 %", "a_1^2"]
)
def test_any_name_is_written_as_it_is(name: str) -> None:
    drawn = curves.score_distribution([f"{name}/1", "vase/1"], [0.2, 0.9], name)
    written = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert drawn.count(f">{written}<") == 2
    table = {"step": np.arange(1.0, 9), name: np.arange(1.0, 9), "total": np.ones(8)}
    for plot in (curves.loss_plot, curves.score_plot):
        found = plot(table)
        assert found is not None
        assert f">{written.replace('_', ' ')}<" in found


# ---------------------------------------------------------------------- the page


def test_the_worst_comes_first(images_run: Path) -> None:
    page = write_report(images_run, "train", 2, quiet=True).read_text()
    means = [float(x) for x in re.findall(r'data-mean="([^"]+)"', page)]
    assert len(means) == 4
    assert means == sorted(means)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # no network
    rows = page.split("<tr data-name")[1:]
    for row in rows:
        assert row.count("reference, side") == SIDES
        assert row.count(", input") == 1
    for section in ("spread", "cases", "curves", "sheets", "figures", "settings"):
        assert f'<section id="{section}">' in page
    assert ">silhouette<" in page  # a term of the loss
    assert "iou 32" in page


def test_clouds_have_a_report(clouds_run: Path) -> None:
    page = write_report(clouds_run, "val", 1, quiet=True).read_text()
    assert page.count("<tr data-name") == 2
    assert "IoU at random points" in page
    assert "input: points" in page


def test_without_its_data_a_run_shows_its_curves(images_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(images_run, run)
    config = json.loads((run / "config.json").read_text())
    config["settings"]["dataset"] = "gone"
    (run / "config.json").write_text(json.dumps(config))
    page = write_report(run, quiet=True).read_text()
    assert "No objects are shown:" in page
    assert "gone" in page
    assert '<section id="cases">' not in page
    assert ">silhouette<" in page
    (run / "metrics.json").unlink()  # of a training that has not ended
    (run / "model.safetensors").unlink()
    assert "No objects are shown:" in write_report(run, quiet=True).read_text()


def test_damaged_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.json: need the folder of a training"):
        write_report(tmp_path, quiet=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config.json: need a file of a training"):
        write_report(tmp_path, quiet=True)


def test_only_some_are_judged_and_the_middle_turns(images_run: Path) -> None:
    page = write_report(images_run, "train", 1, objects=2, quiet=True).read_text()
    assert page.count("<tr data-name") == 2
    assert "Judged on 2 objects of the split train" in page
    with patch("singleview.report.page.SHOWN", 2):
        page = write_report(images_run, "train", 1, quiet=True).read_text()
    assert page.count("<tr data-name") == 2
    assert "The 1 worst and the 1 best of 4." in page


def test_the_commands(
    images_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["singleview", "report", str(images_run), "--split", "val"])
    assert singleview.cli.main() == 0
    assert capsys.readouterr().out.strip() == str(images_run / "report.html")
    monkeypatch.setattr("sys.argv", ["singleview", "report", str(images_run), "--views", "0"])
    assert singleview.cli.main() == 2
    assert "--views: need at least 1, got 0" in capsys.readouterr().err


@pytest.mark.slow
def test_it_works_in_a_browser(images_run: Path, browser: Any) -> None:
    write_report(images_run, "train", 1, quiet=True)
    complaints: list[str] = []
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
    page.goto((images_run / "report.html").as_uri())
    rows = page.locator("table.views tbody tr")
    page.locator("thead button[data-key=name]").click()
    names = rows.evaluate_all("rows => rows.map(row => row.dataset.name)")
    assert names == sorted(names)
    page.locator("table.views .grow").nth(1).click()
    assert page.locator("dialog[open] img").count() == 1
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    context.close()
    assert complaints == []


# ---------------------------------------------------------------------- tables in a terminal


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_of_methods_are_read_at_any_width(width: int) -> None:
    categories = {c: {"iou": 0.7} for c in ("airplane", "chair", "cup", "table", "vase")}
    method = {"told": "", "iou": 0.7123, "chamfer": 0.01, "categories": categories}
    names = ("clouds (τ = 0.45)", "nearest neighbour by input", "category mean shape")
    methods = [{**method, "name": name} for name in names]
    result = {"objects": 20, "split": "test", "input": "points", "methods": methods}
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(tables.terminal(result, width))
    text = captured.get()
    for word in ("nearest", "neighbour", "category", "clouds", "airplane", ".712", "Chamfer-L1"):
        assert word in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
