"""Inputs one by one: what is written beside results, and what one bad input does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sdfrender import InputError
from sdfrender.files.formats.pngs import read_png, write_png
from singleview.config import PredictConfig
from singleview.models import Small
from singleview.models.small import object_mask, picture_planes
from singleview.pictures.input_pictures import BRIGHT, FIT_BRIGHTNESS, exposed, load_picture
from singleview.predict.inputs import distinct, each_input
from singleview.predict.predict import load_predictor, predict
from singleview.training.checkpoint import save_model
from singleview.training.refine import albedo_of


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, Small(1, 16, width=8, code=8, anchors=3), {"steps": 0})
    return path


def write_ball(path: Path, value: int = 200) -> None:
    y, x = (np.mgrid[:48, :48] + 0.5) / 48
    inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.09
    write_png(path, np.where(inside, value, 0).astype(np.uint8)[..., None])


def test_one_bad_picture_stops_no_other(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_ball(tmp_path / "ball.png")
    write_png(tmp_path / "empty.png", np.full((40, 40, 1), 99, np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    files = tuple(tmp_path / f"{name}.png" for name in ("text", "ball", "empty"))
    config = PredictConfig(files, tmp_path / "out", weights, frames=2, size=16)
    done = predict(config)
    assert [prediction.folder.name for prediction in done] == ["ball"]
    assert "text.png: need" in caplog.text
    assert "empty.png: need an object in the picture" in caplog.text
    assert read_png(tmp_path / "out" / "ball" / "input.png").shape == (48, 48, 1)
    assert set(np.unique(read_png(tmp_path / "out" / "ball" / "mask.png"))) == {0, 255}
    assert (tmp_path / "out" / "empty" / "mask.png").exists()
    with pytest.raises(InputError, match="none of 2 inputs gave a shape"):
        predict(PredictConfig(files[::2], tmp_path / "other", weights))
    with pytest.raises(InputError, match=r"text\.png"):
        predict(PredictConfig(files[:1], tmp_path / "other", weights))


def test_the_network_sees_nothing_and_what_it_saw_is_there(weights: Path, tmp_path: Path) -> None:
    model = load_predictor(weights).model
    assert isinstance(model, Small)
    torch.nn.init.constant_(model.start, 9.0)
    save_model(tmp_path / "blind.safetensors", model, {"steps": 0})
    write_ball(tmp_path / "ball.png")
    config = PredictConfig(
        (tmp_path / "ball.png",), tmp_path / "out", tmp_path / "blind.safetensors"
    )
    with pytest.raises(InputError, match=r"ball\.png: the network sees no object"):
        predict(config)
    assert (tmp_path / "out" / "ball" / "input.png").exists()
    assert (tmp_path / "out" / "ball" / "mask.png").exists()


def test_inputs_are_worked_on_in_turn() -> None:
    def fail() -> int:
        raise InputError("wrong")

    path = Path("x")
    assert each_input([(path, lambda: 1), (path, fail), (path, lambda: 3)]) == [1, 3]
    assert distinct(["x", "y", "x", "x-2", "x"]) == ["x", "y", "x-2", "x-2-2", "x-3"]


def test_a_dark_object_is_as_bright_to_the_network_as_a_white_one(tmp_path: Path) -> None:
    write_ball(tmp_path / "dark.png", 30)
    picture = load_picture(tmp_path / "dark.png", "none", False)
    light = picture.image[..., 0][picture.coverage > 0.5]
    assert float(light.quantile(BRIGHT)) == pytest.approx(FIT_BRIGHTNESS)
    usual = 0.8 * picture.coverage[..., None]
    assert exposed(usual, picture.coverage) is usual


def test_known_coverage_is_what_the_network_sees_of_a_black_object() -> None:
    coverage = torch.zeros(1, 64, 64, 1)
    coverage[:, 20:44, 20:44] = 1
    black = torch.cat((torch.zeros_like(coverage), coverage), -1)
    planes = picture_planes(black)
    assert planes.shape == (1, 2, 64, 64)
    assert torch.equal(planes[0, 1], coverage[0, ..., 0])
    assert torch.equal(picture_planes(coverage)[0, 1], coverage[0, ..., 0])
    assert not object_mask(torch.zeros(1, 4, 4, 1)).any()


def test_the_albedo_that_fits_best() -> None:
    white = torch.rand(2, 5, 7, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = albedo_of(torch.tensor([0.5, 0.1]).double()[:, None, None, None] * white, white)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.5, 0.1]).double())
