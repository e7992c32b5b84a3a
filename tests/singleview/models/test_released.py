"""`--size paper`: what the published networks do that the small ones do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sdfrender.errors import InputError
from sdfrender.files.previews import for_display
from sdfrender.latent.field import PAPER, FieldShape, LatentField
from singleview.config import DeepsdfConfig, TrainConfig
from singleview.data.distances import Distances
from singleview.data.samples import HALF_CUBE, voxel_at, voxels
from singleview.models.deepsdf import AutoDecoder
from singleview.models.encoders import VoxelEncoder
from singleview.models.image_encoders import IMAGENET_MEAN, IMAGENET_STD, ImageEncoder
from singleview.models.occupancy import OccupancyNetwork, paper_shape
from singleview.models.sdfdiff import Dense
from singleview.training.distributed import Job
from singleview.training.learners import deepsdf
from singleview.training.learners.deepsdf import DeepsdfLearner, cut_codes, field_shape
from singleview.training.state import Clock

ONE = Job(0, 1, torch.device("cpu"))
CONFIG = TrainConfig(Path("x"), Path("y"), model="deepsdf", size="paper")


def test_dense_blocks_have_three_convolutions_and_one_of_size_1() -> None:
    block = Dense(64, growth=32)
    layers = [m for m in block.modules() if isinstance(m, torch.nn.Conv3d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in layers] == [
        (64, 32, 3), (96, 32, 3), (128, 32, 3), (160, 64, 1),
    ]  # fmt: skip
    assert block(torch.zeros(2, 64, 3, 4, 5)).shape == (2, 64, 3, 4, 5)


def test_voxels_fill_the_cube_around_the_object() -> None:
    solid = torch.tensor([[0.74, -0.74, 0.01], [-0.74, 0.1, 0.74]])
    grid = voxels(solid, 4, HALF_CUBE)
    assert grid.nonzero().tolist() == [[0, 2, 3], [3, 0, 2]]
    assert voxel_at(grid, solid, HALF_CUBE).tolist() == [1, 1]
    assert voxel_at(grid, solid * 1.05, HALF_CUBE).tolist() == [0, 0]  # beyond it there is none
    encoder = OccupancyNetwork(paper_shape("voxels")).encoder
    assert isinstance(encoder, VoxelEncoder)
    assert [layer.out_channels for layer in (encoder.first, *encoder.down)] == [  # type: ignore[union-attr]
        32, 64, 128, 256, 512,
    ]  # fmt: skip
    assert encoder.last.in_features == 4096


def test_images_are_seen_as_on_a_screen_over_white() -> None:
    torch.manual_seed(0)
    published = ImageEncoder(4, width=8, size=32, released=True).eval()
    plain = ImageEncoder(4, width=8, size=32).eval()
    plain.load_state_dict(published.state_dict())
    linear = torch.full((1, 32, 32, 3), 0.2)
    linear[:, :, 16:] = 0.0
    shown = for_display(linear)
    shown[:, :, 16:] = 1.0
    assert torch.allclose(published(linear).vector, plain(shown).vector, atol=1e-6)
    assert abs(sum(IMAGENET_MEAN) / 3 - 0.449) < 1e-3
    assert all(0.2 < x < 0.25 for x in IMAGENET_STD)


def test_the_model_without_an_observation_is_the_small_one_of_the_paper() -> None:
    shape = paper_shape("none")
    assert (shape.hidden, shape.code, shape.conditioning) == (128, 128, "input")
    model = OccupancyNetwork(shape)
    points = torch.rand(2, 20, 3) - 0.5
    mean, log_std = model.posterior(points, points[..., 0] > 0)
    assert mean.shape == log_std.shape == (2, 128)
    logits, kl = model(None, points, points[..., 0] > 0)
    assert logits.shape == (2, 20)
    assert kl.shape == (2,)


def test_deepsdf_has_the_papers_widths() -> None:
    field = LatentField(PAPER, "ab", torch.zeros(2, 256), normed=True)
    sizes = [(m.in_features, m.out_features) for m in field.layers]
    assert sizes == [(259, 512), *[(512, 512)] * 2, (512, 253), *[(512, 512)] * 4, (512, 1)]
    kept_apart = [hasattr(m, "parametrizations") for m in field.layers]
    assert kept_apart == [True] * 8 + [False]
    with pytest.raises(ValueError, match="narrow"):
        FieldShape(code=40, width=32, narrow=True)
    with pytest.raises(InputError, match="--code: need below 509"):
        field_shape(replace(CONFIG, deepsdf=DeepsdfConfig(code=600)))


def learner(monkeypatch: pytest.MonkeyPatch, **changes: object) -> DeepsdfLearner:
    """Of two shapes: one mostly outside, one without any point inside."""
    values = torch.cat((torch.full((1, 390), 0.05), torch.full((1, 10), -0.05)), 1)
    values = torch.cat((values[:, torch.randperm(400)], torch.full((1, 400), 0.05))).half()
    points = torch.rand(2, 400, 3).half()
    found = Distances(("a/0", "a/1"), ("train", "train"), points, values)
    monkeypatch.setattr(deepsdf, "open_distances", lambda *_: found)
    monkeypatch.setattr(deepsdf, "HELD_BACK", 4)
    own = DeepsdfConfig(drawn=100)
    return DeepsdfLearner(replace(CONFIG, deepsdf=own, **changes))  # type: ignore[arg-type]


def test_half_of_the_points_are_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner(monkeypatch)
    ids, _, values = one._step(ONE)
    inside = (values[ids.argsort()] < 0).sum(1)
    assert inside.tolist() == [50, 0]
    other = learner(monkeypatch, recipe="ours")
    ids, _, values = other._step(ONE)
    assert int((values[ids.argsort()] < 0).sum(1)[0]) < 20


def test_codes_are_cut_and_their_length_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner(monkeypatch, size="small", recipe="paper")
    model = AutoDecoder.fresh(FieldShape(code=4, width=8, layers=3, octaves=0), ["a", "b"])
    with torch.no_grad():
        model.decoder.codes.copy_(torch.tensor([[3.0, 0, 4.0, 0], [0.3, 0, 0, 0.4]]))
    cut_codes(model.decoder.codes, torch.tensor([0]))
    expected = torch.tensor([[0.6, 0, 0.8, 0], [0.3, 0, 0, 0.4]])
    torch.testing.assert_close(model.decoder.codes.detach(), expected)
    terms = one.learn(model, one.schedule(0.5), ONE, Clock())
    assert float(terms["codes"]) == pytest.approx(0.75)  # the mean of 1 and 0.5, not of squares
