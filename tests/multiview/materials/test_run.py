"""`multiview materials RUN` and `sdfrender render RUN --light`: their files, read again."""

from __future__ import annotations

import json
import shutil
import sys
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import trimesh

import sdfrender.cli
from multiview import cli
from sdfrender import load_mesh
from sdfrender.files.images import read_image
from sdfrender.materials.environment import HEIGHT, Environment
from sdfrender.materials.glb import in_tangent_frame, save_material_glb, vertex_tangents
from sdfrender.materials.surface import FILE, MaterialMesh
from sdfrender.meshes.atlas import unwrap

only_once = pytest.mark.parametrize("preset", ["fast"], indirect=True)


def command(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
    return {"multiview": cli, "sdfrender": sdfrender.cli}[program].main()


@pytest.fixture
def run(torus_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(torus_run, tmp_path / "run"))


@pytest.mark.slow
@only_once
def test_a_run_gets_materials_and_is_lit_anew(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xatlas", reason="needs the extra `texture`")
    before = json.loads((run / "metrics.json").read_text())
    coarse = patch("multiview.materials.observations.LEAST", 0.0)  # all is near an edge there
    with coarse, patch("multiview.materials.exported.SIZE", 128):
        assert command(monkeypatch, "multiview", "materials", run, "--json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert "photographs are taken as" in err
    assert json.loads((run / "metrics.json").read_text()) == {**before, "materials": told}
    assert told["train_psnr"] > 10  # a lamp at the camera is no light all around
    assert told["vertices_told"] > 0.3
    surface = MaterialMesh.load(run / FILE)
    mesh = load_mesh(run / "mesh.ply")
    np.testing.assert_allclose(surface.mesh.bounds, mesh.bounds, atol=1e-3)
    assert 0 <= float(surface.base_color.min()) <= float(surface.base_color.max()) <= 1

    glb = trimesh.load(BytesIO((run / "materials.glb").read_bytes()), file_type="glb")
    (shown,) = glb.geometry.values()
    assert {*shown.visual.material.__dict__["_data"]} >= {
        "baseColorTexture",
        "metallicRoughnessTexture",
        "normalTexture",
    }
    rough = np.asarray(shown.visual.material.metallicRoughnessTexture)[..., 1] / 255
    assert abs(np.median(rough) - float(surface.roughness.median())) < 0.25

    # In its own light, and in one that is twice as bright.
    light = Environment.load(run / "environment.hdr")
    assert light.radiance.shape == (HEIGHT, 2 * HEIGHT, 3)
    Environment(2 * light.radiance).save(run / "brighter.hdr")
    brightness = []  # in 16 bits: dark pictures have few steps in 8
    for name in ("environment", "brighter"):
        size = ("--width", "24", "--height", "20", "--views", "2", "--rig", "orbit", "--bits", "16")
        arguments = ("--light", run / f"{name}.hdr", "--out", run / name, "--exposure", "0.2")
        assert command(monkeypatch, "sdfrender", "render", run, *size, *arguments) == 0
        color, alpha = read_image(run / name / "images" / "view_000.png")
        assert alpha is not None
        assert color.shape == (20, 24, 3)
        brightness.append(color[alpha == 1].mean())
    assert brightness[1] == pytest.approx(2 * brightness[0], rel=0.03)


@only_once
def test_what_cannot_be_lit_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, told in (
        ((run, "--light", "sun"), "a run has its own colours, light and size, got sun"),
        ((run, "--light", "a.hdr"), "multiview materials RUN"),
        ((run / "mesh.ply", "--light", "a.hdr"), "is no run folder"),
        ((run / "mesh.ply", "--light", "moon"), "or a .hdr file, got moon"),
    ):
        out = run / "out"
        assert command(monkeypatch, "sdfrender", "render", *arguments, "--out", out) == 2
        assert told in capsys.readouterr().err
        assert not out.exists()
    with patch.dict(sys.modules, {"xatlas": None}):
        assert command(monkeypatch, "multiview", "materials", run) == 2
    assert 'pip install "sdfrender[texture]"' in capsys.readouterr().err
    config = json.loads((run / "config.json").read_text())
    config["settings"]["scene"] = str(run / "gone")
    (run / "config.json").write_text(json.dumps(config))
    assert command(monkeypatch, "multiview", "materials", run) == 2
    assert "gone" in capsys.readouterr().err


# ---------------------------------------------------------------------- glTF


def test_normals_in_the_frame_of_a_texture_come_back() -> None:
    """As a viewer multiplies them out: x tangent + y cross(normal, tangent) sign + z normal."""
    mesh = trimesh.creation.icosphere(2)
    random = np.random.default_rng(0)
    uvs = random.uniform(0, 1, (len(mesh.vertices), 2))  # mirrored here and there
    outward = np.asarray(mesh.vertices)
    tangents = vertex_tangents(outward, mesh.faces, uvs, outward)
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1)
    np.testing.assert_allclose((tangents[:, :3] * outward).sum(1), 0, atol=1e-9)
    assert {*np.unique(tangents[:, 3])} == {-1.0, 1.0}
    bent = outward + 0.3 * random.normal(size=outward.shape)
    bent /= np.linalg.norm(bent, axis=1, keepdims=True)
    x, y, z = in_tangent_frame(bent, outward, tangents).T[..., None]
    side = np.cross(outward, tangents[:, :3]) * tangents[:, 3:]
    np.testing.assert_allclose(x * tangents[:, :3] + y * side + z * outward, bent, atol=1e-6)


def test_tangents_follow_the_texture() -> None:
    """A flat sheet with u to the right and glTF's v downwards: the frame is right, up, front."""
    verts = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    uvs = np.column_stack((verts[:, 0], 1 - verts[:, 1]))
    tangents = vertex_tangents(verts, faces, uvs, np.tile((0, 0, 1.0), (4, 1)))
    np.testing.assert_allclose(tangents, np.tile((1, 0, 0, 1.0), (4, 1)), atol=1e-12)


def test_another_specular_is_stated(tmp_path: Path) -> None:
    pytest.importorskip("xatlas", reason="needs the extra `texture`")
    mesh = trimesh.creation.icosphere(1)
    atlas = unwrap(mesh, 64)
    count = int(atlas.fragments().covered.sum())
    for specular, extension in ((0.04, False), (0.08, True)):
        surface = MaterialMesh(
            mesh, torch.zeros(0), torch.zeros(0), torch.zeros(0), torch.zeros(0), specular, 1.0,
            Environment(torch.ones(4, 8, 3)),
        )  # fmt: skip
        color, rough = torch.full((count, 3), 0.5), torch.full((count,), 0.25)
        normals = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 3)
        save_material_glb(tmp_path / "a.glb", atlas, color, rough, normals, surface)
        data = (tmp_path / "a.glb").read_bytes()
        assert (b"KHR_materials_specular" in data) == extension
        assert b'"TANGENT"' in data
        assert b"_TANGENT" not in data
    loaded = trimesh.load(BytesIO(data), file_type="glb")
    material = next(iter(loaded.geometry.values())).visual.material
    pixels = np.asarray(material.metallicRoughnessTexture).reshape(-1, 3)
    np.testing.assert_allclose(pixels.mean(0) / 255, (1, 0.25, 1), atol=0.01)
    paint = np.asarray(material.baseColorTexture).reshape(-1, 3)
    np.testing.assert_allclose(paint.mean(0) / 255, 0.735, atol=0.01)  # 0.5 as sRGB
