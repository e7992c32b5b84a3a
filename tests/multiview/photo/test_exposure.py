"""Exposures that differ between photographs are found and undone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from multiview.config import FitConfig
from multiview.photo.appearance import Appearance
from multiview.photo.exposure import estimate_gains, exposed, relative
from multiview.photo.targets import Targets
from multiview.results.finished_run import evaluate_run
from sdfrender import InputError, render
from sdfrender.meshes.metrics import psnr

VIEWS = tiny.ring(10, 44, 36)


def gains(count: int, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return 0.5 + 0.5 * torch.rand(count, channels, generator=generator)


@pytest.fixture(scope="module")
def uneven_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The torus, each view at another exposure; two are held out."""
    out = render(tiny.true_lattice(), VIEWS, lighting=tiny.LIGHT)
    return tiny.write_torus(
        tmp_path_factory.mktemp("scenes") / "uneven",
        images=out.images * gains(10)[:, None, None],
        silhouettes=out.silhouettes,
        cameras=VIEWS,
        held_out=(8, 9),
    )


def test_gains_are_those_of_the_photographs() -> None:
    """Three channels, one view that sees nothing, some wrong pixels."""
    cameras, lattice, truth = tiny.ring(4, 41, 33), tiny.true_lattice(), gains(4, 3)
    look = Appearance(3, tiny.LIGHT)
    out = render(lattice, cameras, lighting=tiny.LIGHT)
    ones = torch.ones_like(out.silhouettes)
    images = out.images.expand(-1, -1, -1, 3) * truth[:, None, None]
    images[:, ::7] = 0.9  # highlights, say
    silhouettes = out.silhouettes.clone()
    silhouettes[2] = 0
    targets = Targets(cameras, images, silhouettes, ones, ones)
    found = estimate_gains(lattice, look, targets)
    seen = [0, 1, 3]
    torch.testing.assert_close(found[seen], truth[seen], rtol=0.04, atol=0)
    assert torch.equal(found[2], torch.ones(3))
    torch.testing.assert_close(relative(found).log().mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    even = exposed(targets, found)
    torch.testing.assert_close(even.images[0, 1], images[0, 1] / found[0])


@pytest.mark.slow
@pytest.mark.parametrize(("light", "gain", "spread"), [("auto", 6, 1.05), ("estimate", 3, 1.15)])
def test_a_fit_of_uneven_photographs(
    light: str, gain: float, spread: float, uneven_scene: Path, tmp_path: Path
) -> None:
    recipe = tiny.LONG["fast"]
    settings = {"light": light, "preset": "fast"}
    plain = tiny.fit_tiny(uneven_scene, tmp_path / "plain", recipe, **settings)
    even = tiny.fit_tiny(uneven_scene, tmp_path / "even", recipe, exposure="per-view", **settings)
    for group in ("train", "held_out"):
        assert even[group]["psnr"] > plain[group]["psnr"] + gain
    assert even["reference"]["chamfer_l1"] < 0.9 * plain["reference"]["chamfer_l1"]
    assert not (tmp_path / "plain" / "exposures.json").exists()
    told = json.loads((tmp_path / "even" / "exposures.json").read_text())["gains"]
    found = torch.tensor(list(told.values()))
    assert len(found) == 10
    ratio = found[:8] / gains(10)[:8]
    assert float(ratio.max() / ratio.min()) < spread
    # Measured again, the photographs are at the exposure at which the run left them.
    measured = evaluate_run(tmp_path / "even", None)
    for group in ("train", "held_out"):
        assert measured[group] == pytest.approx(even[group], rel=1e-5)


def test_with_cameras_that_are_refined_too(uneven_scene: Path, tmp_path: Path) -> None:
    state = tiny.optimize_tiny(
        uneven_scene,
        tmp_path / "run",
        tiny.LONG["fast"],
        preset="fast",
        exposure="per-view",
        refine_cameras=True,
    )
    assert state.gains is not None
    assert state.corrections is not None
    ratio = state.gains / gains(10)[:8]
    assert float(ratio.max() / ratio.min()) < 1.05
    assert float(state.corrections.rotations.abs().max()) < 0.02  # they were right
    targets = Targets.of(state.scene, state.scene.train)
    seen = state.appearance.render(state.lattice, targets).images.detach()
    even = replace(targets, images=targets.images / state.gains[:, None, None])
    assert psnr(seen, even.images) > psnr(seen, targets.images) + 5


def test_an_interrupted_fit_goes_on(uneven_scene: Path, tmp_path: Path) -> None:
    recipe, settings = tiny.SHORT["fast"], {"exposure": "per-view", "preset": "fast"}
    whole = tiny.optimize_tiny(uneven_scene, tmp_path / "whole", recipe, **settings)
    with tiny.stopped_after(0, 2):
        tiny.optimize_tiny(uneven_scene, tmp_path / "part", recipe, **settings)
    resumed = tiny.optimize_tiny(uneven_scene, tmp_path / "part", recipe, resume=True, **settings)
    assert whole.gains is not None
    assert resumed.gains is not None
    assert torch.equal(resumed.gains, whole.gains)
    assert torch.equal(resumed.lattice.values, whole.lattice.values)


def test_the_papers_method_takes_photographs_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--exposure"):
        FitConfig(tmp_path, tmp_path, "sdfdiff", exposure="per-view")
