"""`sdfrender render RUN --light other.hdr`: a mesh with materials in another light."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import sdfrender.cli
from sdfrender.files.images import read_image
from sdfrender.materials.environment import HEIGHT, Environment
from sdfrender.materials.shading import sky_directions
from sdfrender.materials.surface import FILE, MaterialMesh


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the materials of a red ball, and two lights."""
    mesh = trimesh.creation.icosphere(2, 0.5)
    normals = torch.from_numpy(np.array(mesh.vertices / 0.5)).float()
    mesh.apply_translation((3, 1, -2))
    V = len(normals)
    seen = (normals @ sky_directions().float().T > 0).to(torch.uint8)
    light = Environment(torch.full((HEIGHT, 2 * HEIGHT, 3), 0.5))
    paint = torch.tensor([[0.8, 0.2, 0.1]]).expand(V, 3)
    folder = tmp_path / "run"
    folder.mkdir()
    surface = MaterialMesh(mesh, normals, paint, torch.full((V,), 0.5), seen, 0.04, 0.0, light)
    surface.save(folder / FILE)
    light.save(folder / "even.hdr")
    Environment(light.radiance * torch.tensor([0.0, 4.0, 0.0])).save(folder / "green.hdr")
    return folder


def render(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    size = ("--width", "24", "--height", "20", "--views", "2", "--rig", "orbit")
    monkeypatch.setattr(sys, "argv", ["sdfrender", "render", *map(str, arguments), *size])
    return sdfrender.cli.main()


def test_the_light_is_that_of_the_file(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    colors = {}
    for name, exposure in (("even", 1.0), ("green", 1.0), ("green", 0.25)):
        out = run / f"{name}-{exposure}"
        light = ("--light", run / f"{name}.hdr", "--exposure", str(exposure))
        assert render(monkeypatch, run, *light, "--out", out) == 0
        color, alpha = read_image(out / "images" / "view_001.png")
        assert alpha is not None
        colors[name, exposure] = color[alpha == 1]
    told = capsys.readouterr().err
    assert "brighter" not in told
    even, green, dark = (x.mean(0) for x in colors.values())
    assert even[0] > 2.5 * even[1] > 2.5 * 1.1 * even[2]
    np.testing.assert_allclose(green[[0, 2]], 0, atol=0.01)
    assert green[1] == pytest.approx(4 * even[1], rel=0.05)
    assert dark[1] == pytest.approx(even[1], rel=0.05)


def test_what_is_too_bright_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    light = ("--light", run / "even.hdr", "--exposure", "9")
    assert render(monkeypatch, run, *light, "--out", run / "out") == 0
    assert "brighter than full scale" in capsys.readouterr().err


def test_what_cannot_be_lit_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ball = tmp_path / "ball.ply"
    trimesh.creation.icosphere(1).export(ball)
    (tmp_path / "empty").mkdir()
    for arguments, told in (
        ((run, "--light", "sun"), "a run has its own colours, light and size, got sun"),
        ((tmp_path / "empty", "--light", run / "even.hdr"), "multiview materials RUN"),
        ((run, "--light", run / "gone.hdr"), "gone.hdr"),
        ((run, "--light", run / "even.hdr", "--depth"), "--depth: belongs to meshes"),
        ((ball, "--light", run / "even.hdr"), "is no run folder"),
        ((ball, "--light", "moon"), "or a .hdr file, got moon"),
        ((ball, "--exposure", "0"), "--exposure: need positive, got 0"),
    ):
        assert render(monkeypatch, *arguments, "--out", tmp_path / "out") == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
