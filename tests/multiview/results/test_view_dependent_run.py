"""A run whose colours depend on the view: written, told, and measured again."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import tiny
import torch

from multiview import cli
from multiview.config import FixedTo
from multiview.photo.appearance import Appearance
from multiview.photo.choose_view_dependence import DEGREE
from multiview.photo.solve_view_dependence import Plan, Samples, solve_view_dependence
from multiview.photo.targets import Targets
from multiview.results.finished_run import evaluate_run
from sdfrender import Cameras, InputError, Lattice, save_lattice
from sdfrender.commands.render_config import RenderConfig
from sdfrender.commands.render_scene import render_scene
from sdfrender.files.tensors import load_tensors, save_tensors
from sdfrender.looks.run_look import RunLook


@pytest.mark.slow
def test_a_run_that_is_asked_for_it(torus_scene: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    summary = tiny.fit_tiny(
        torus_scene, run, tiny.SHORT["fast"], light="estimate", appearance="view"
    )
    plain = summary["without_view_dependence"]
    assert set(plain) == set(summary["held_out"]) - {"zncc"}
    assert plain["silhouette_iou"] == summary["held_out"]["silhouette_iou"]
    assert plain["psnr"] != summary["held_out"]["psnr"]

    beyond = json.loads((run / "appearance.json").read_text())["beyond"]
    assert beyond["degree"] == DEGREE
    assert {x["degree"] for x in beyond["candidates"]} == {None, 0, DEGREE}
    stored = load_tensors(run / "appearance.safetensors", "x")[0]
    assert {"view.0.values", "view.1.values"} <= set(stored)

    again = evaluate_run(run, None)
    assert again["held_out"] == summary["held_out"]
    assert again["without_view_dependence"] == plain
    page = (run / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="beyond">') : page.index('<section id="loss">')]
    assert "colours that depend on the view" in section
    assert section.count("<tr") == 5

    new = RenderConfig(run, tmp_path / "new", views=2, rig="orbit", width=20, height=16)
    scene = render_scene(new)
    assert float(scene.images.max()) > 0.1
    assert "lighting" not in json.loads((tmp_path / "new" / "transforms.json").read_text())


def kept_look(run: Path, fixed_to: FixedTo) -> Appearance:
    """The appearance of a run, made up, as `save_results` writes it."""
    run.mkdir()
    random = torch.Generator().manual_seed(0)
    look = Appearance(3, None, "albedo", fixed_to=fixed_to, views=2)
    sh = torch.rand(look.light.sh.shape, generator=random)
    look.light = replace(look.light, sh=sh)
    look.albedo = 0.5 + 0.5 * torch.rand((6, 5, 7, 3), generator=random)
    points, eyes = tiny_points(200), tiny_points(200, seed=1)
    samples = Samples(0.5 * points, eyes, 0.1 * torch.rand((200, 3), generator=random))
    plans = [Plan((6, 5, 7), (0, 0), 0.1, 0.1), Plan((5, 4, 4), (1, 2), 0.1, 0.1)]
    look.beyond = solve_view_dependence(samples, BOX, plans)
    save_lattice(run / "lattice.safetensors", BALL)
    save_tensors(run / "appearance.safetensors", look.state(), {})
    (run / "appearance.json").write_text(json.dumps(look.description()))
    return look


BOX = torch.tensor([[-0.9, -0.8, -1.0], [0.9, 0.8, 1.0]])
BALL = Lattice.sphere(0.5, resolution=(19, 17, 21), bounds=BOX)


def tiny_points(count: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn((count, 3), generator=random), dim=-1)


@pytest.mark.parametrize("fixed_to", ["scene", "camera"])
def test_new_views_are_rendered_as_the_fit_renders_its_own(
    fixed_to: FixedTo, tmp_path: Path
) -> None:
    look = kept_look(tmp_path / "run", fixed_to)
    cameras = Cameras.look_at([[2.0, 1.0, 0.3], [-0.5, 2.0, 1.0]], width=22, height=18)
    ones = torch.ones(2, 18, 22)
    with torch.no_grad():
        own = look.render(BALL, Targets(cameras, torch.zeros(2, 18, 22, 3), ones, ones, ones))
    found = RunLook.load(tmp_path / "run").render(BALL, cameras)
    torch.testing.assert_close(found.images, own.images, atol=1e-5, rtol=0)
    plain = replace(RunLook.load(tmp_path / "run"), beyond=None).render(BALL, cameras)
    assert float((plain.images - found.images).abs().max()) > 0.01


def test_lights_of_single_photographs_become_their_mean(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    look = kept_look(tmp_path / "run", "view")
    with caplog.at_level("WARNING", logger="sdfrender"):
        found = RunLook.load(tmp_path / "run")
    assert "light of its own" in caplog.text
    assert found.sh is not None
    torch.testing.assert_close(found.sh, look.light.sh.mean(0))


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a run that multiview fit has finished"):
        RunLook.load(tmp_path)
    run = tmp_path / "run"
    told = kept_look(run, "scene").description()
    with pytest.raises(InputError, match="--light: a run has its own"):
        render_scene(RenderConfig(run, tmp_path / "new", light="sun"))
    del told["lighting"]
    (run / "appearance.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="its light was stated"):
        RunLook.load(run)


def test_the_help_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        patch.object(sys, "argv", ["multiview", "fit", "--help"]),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "{auto,constant,albedo,radiance,view}" in text
    assert "depend on where one looks from" in text
