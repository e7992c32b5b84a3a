"""Recipes: how networks learn as published, and how ours do."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from singleview_tiny import tiny_dataset
from tiny_training import read_rows, train_tiny, write_dataset

from sdfrender import InputError, Lattice
from singleview.config import LossWeights, OccupancyConfig, TrainConfig
from singleview.data.dataset import Dataset
from singleview.models import Small
from singleview.predict.predict import load_predictor
from singleview.settings.choices import Kind
from singleview.training.batches import Sampler
from singleview.training.distributed import Job
from singleview.training.learners.sdfdiff import SdfdiffLearner, render_views
from singleview.training.losses import LossTerms, image_losses
from singleview.training.prepare import check_dataset, fits_shapes, makes_up
from singleview.training.schedule import schedule
from singleview.training.state import State

ONE = Job(0, 1, torch.device("cpu"))
CONFIG = TrainConfig(Path("x"), Path("y"))


@pytest.mark.parametrize(
    ("model", "batch", "rate", "later"),
    [
        ("sdfdiff", 32, 3e-4, [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("occupancy", 64, 1e-4, [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("deepsdf", 64, 5e-4, [1.0, 1.0, 0.5, 0.25, 0.125]),
    ],
)
def test_published_settings_are_those_of_the_papers(
    model: Kind, batch: int, rate: float, later: list[float]
) -> None:
    config = replace(CONFIG, model=model, size="paper")
    assert (config.chosen_recipe, config.chosen_batch, config.chosen_ema) == ("paper", batch, 0)
    assert config.chosen_augment == "none"
    rates = [schedule(config, u).rate for u in (0.0, 0.2, 0.3, 0.6, 1.0)]
    assert rates == pytest.approx([rate * part for part in later])
    assert replace(config, batch=5).chosen_batch == 5
    conv = replace(config, model="occupancy", occupancy=OccupancyConfig(decoder="conv"))
    assert conv.chosen_batch == 32


def test_ours_goes_with_the_small_networks() -> None:
    assert (CONFIG.chosen_recipe, CONFIG.chosen_batch) == ("ours", 32)
    assert CONFIG.chosen_augment == "made-up"
    assert replace(CONFIG, size="paper", recipe="ours").chosen_augment == "flip"
    assert replace(CONFIG, recipe="paper").chosen_recipe == "paper"
    assert replace(CONFIG, recipe="paper").rate == 3e-4


def test_the_published_optimiser_neither_decays_nor_cuts_nor_averages() -> None:
    config = replace(CONFIG, recipe="paper")
    state = State(Small(1, 12), config)
    assert type(state.optimizer) is torch.optim.Adam
    group = state.optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.999), 0)
    for x in state.model.parameters():
        x.grad = torch.full_like(x, 7.0)
    state.update(1e-3)
    assert all(float(x.grad.mean()) == 7 for x in state.model.parameters() if x.grad is not None)
    weights = state.model.state_dict()
    assert all(torch.equal(x, weights[name]) for name, x in state.averaged.items())
    ours = State(Small(1, 12), CONFIG)
    assert type(ours.optimizer) is torch.optim.AdamW
    assert (ours.largest, state.largest) == (1.0, math.inf)


def test_the_papers_loss_is_that_of_images_alone() -> None:
    weights = schedule(replace(CONFIG, recipe="paper"), 0.0).weights
    assert (weights.silhouette, weights.overlap, weights.shading) == (0, 0, 0)
    assert weights.image > 0
    own = LossWeights(image=2.0)
    assert replace(CONFIG, recipe="paper", weights=own).chosen_weights == own
    source = tiny_dataset()
    step = Sampler(replace(CONFIG, batch=2, augment="none"), source).draw(ONE)
    values = Lattice.sphere(0.5, resolution=12).values.expand(2, -1, -1, -1)
    out = render_views(Lattice(values, source.bounds), step, source.lighting)
    terms = image_losses(out, step.images, step.silhouettes)
    assert torch.allclose(terms.image, (out.images - step.images).square().mean())
    only = replace(LossTerms.of(values), image=terms.image)
    bare = replace(weights, eikonal=0.0, laplacian=0.0)
    assert torch.allclose(terms.total(bare), only.total(bare))


def test_the_papers_renderer_hits_or_misses() -> None:
    source = tiny_dataset()
    step = Sampler(replace(CONFIG, batch=2, augment="none"), source).draw(ONE)
    values = Lattice.sphere(0.5, resolution=12).values.repeat(2, 1, 1, 1).requires_grad_()
    out = render_views(Lattice(values, source.bounds), step, source.lighting, plain=True)
    assert set(out.silhouettes.unique().tolist()) == {0.0, 1.0}
    assert not out.silhouettes.requires_grad
    out.images.sum().backward()
    assert values.grad is not None
    assert float(values.grad.abs().sum()) > 0


def test_images_alone_need_a_light() -> None:
    dark = replace(tiny_dataset(), lighting=None)
    config = replace(CONFIG, recipe="paper")
    with pytest.raises(InputError, match="--recipe: the paper's compares images, x does not tell"):
        check_dataset(config, dark)
    check_dataset(replace(config, supervision="shape"), dark)


def test_fitted_shapes_without_made_up_objects() -> None:
    source: Dataset = tiny_dataset()
    chosen = {
        a: (fits_shapes(c), makes_up(c, source))
        for a in ("made-up", "fitted", "flip", "none")
        for c in [replace(CONFIG, augment=a)]  # type: ignore[arg-type]
    }
    assert chosen == {
        "made-up": (True, True),
        "fitted": (True, False),
        "flip": (False, False),
        "none": (False, False),
    }


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("recipes") / "tiny")


def test_what_learns_from_images_is_chosen_by_images(objects: Path, tmp_path: Path) -> None:
    """The validation with the best silhouettes wins, not the one with the best true shapes."""
    found = [
        {"iou_32": 0.1, "iou_64": 0.1, "silhouette_iou": 0.9},
        {"iou_32": 0.9, "iou_64": 0.9, "silhouette_iou": 0.1},
    ]
    for supervision, best in (("images", 3), ("shape", 6)):
        scores = [*found, found[best // 3 - 1]]  # at the end: of the network that was chosen
        with patch("singleview.training.learners.sdfdiff.validate", side_effect=scores):
            metrics = train_tiny(objects, tmp_path / supervision, supervision=supervision)
        assert metrics["validation"]["step"] == best


@pytest.mark.slow
def test_the_papers_recipe_trains(objects: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    metrics = train_tiny(objects, out, recipe="paper", augment="auto", batch=None)
    assert metrics["recipe"] == "paper"
    rows = read_rows(out / "losses.csv")
    assert {row["rate"] for row in rows} == {"0.0003"}
    for row in rows:
        expected = 15 * float(row["image"]) + 0.02 * (
            float(row["eikonal"]) + float(row["laplacian"])
        )
        assert float(row["total"]) == pytest.approx(expected, rel=1e-5)
    assert load_predictor(out).model is not None
    assert SdfdiffLearner.terms[0] == "image"
