"""Fits from depth maps, or normal maps and masks, where pictures are black."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from multiview.config import FitConfig
from multiview.fit import fit
from sdfrender import InputError, extract_mesh, metrics, render


def write_black(folder: Path, kind: str, noise: float = 0.0) -> Path:
    """The torus with black pictures; depths with noise and holes, or normals."""
    out = render(tiny.true_lattice(), tiny.ring())
    random = torch.Generator().manual_seed(0)
    depths = out.depths + noise * torch.randn(out.depths.shape, generator=random)
    depths[torch.rand(depths.shape, generator=random) < 0.1] = 0
    maps = {"depths": depths} if kind == "depths" else {"normals": out.normals}
    return tiny.write_torus(folder, images=torch.zeros_like(out.images), lighting=None, **maps)


def distance(state: object) -> float:
    lattice = state.lattice  # type: ignore[attr-defined]
    return metrics.compare_meshes(extract_mesh(lattice), extract_mesh(tiny.true_lattice(48)))[
        "chamfer_l1"
    ]


@pytest.mark.parametrize("kind", ["depths", "normals"])
def test_maps_alone_give_the_shape(tmp_path: Path, kind: str) -> None:
    scene = write_black(tmp_path / "scene", kind, noise=0.01)
    state = tiny.optimize_tiny(scene, tmp_path / "run", tiny.LONG["fast"])
    assert not state.colors
    found = distance(state)
    assert found < 0.012, found


@pytest.mark.slow
def test_a_whole_run_of_black_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = write_black(tmp_path / "scene", "depths")
    with caplog.at_level("INFO", "multiview"):
        tiny.fit_tiny(scene, tmp_path / "run", tiny.SHORT["fast"])
    told = caplog.text
    assert "depth maps: of 6 of 6 views to fit" in told
    assert "colours: not looked at" in told
    rows = tiny.read_losses(tmp_path / "run")
    assert all(float(row["maps"]) > 0 and float(row["color"]) == 0 for row in rows)
    assert (tmp_path / "run" / "mesh.ply").is_file()
    lying = json.loads((tmp_path / "run" / "depth_maps.json").read_text())
    assert len(lying) == 6
    assert all(told["scale"] == 1 and told["off_cells"] < 1 for told in lying.values())


def test_depths_in_a_wrong_unit_are_refused(tmp_path: Path) -> None:
    scene = write_black(tmp_path / "scene", "depths")
    for file in (scene / "depth").glob("*.npz"):
        np.savez(file, depths=1000 * np.load(file)["depths"])
    with pytest.raises(InputError, match=r"need depths in world units, .* only 0% .*--depth-unit"):
        fit(FitConfig(scene, tmp_path / "run", preset="fast"))
    assert not (tmp_path / "run").exists()


def test_no_colours_need_maps(tmp_path: Path) -> None:
    scene = tiny.write_torus(tmp_path / "scene")
    with pytest.raises(InputError, match="--colors off: need depth or normal maps"):
        fit(FitConfig(scene, tmp_path / "run", preset="fast", colors="off"))
    with pytest.raises(InputError, match="--colors off: need --preset best or fast, got adam"):
        FitConfig(scene, tmp_path / "run", preset="adam", colors="off")
    with pytest.raises(InputError, match=r"--depth-unit: need a positive number, got 0"):
        FitConfig(scene, tmp_path / "run", depth_unit=0.0)
