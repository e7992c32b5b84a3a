from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from singleview_tiny import tiny_dataset

import singleview.demo
from sdfrender import Cameras, InputError, Lattice, Lighting, load_lattice, load_mesh, render
from sdfrender.files.formats.pngs import read_png, write_png
from sdfrender.meshes.metrics import occupancy_iou
from singleview.config import PredictConfig, TrainConfig
from singleview.models import Small
from singleview.pictures.input_pictures import FIT_BRIGHTNESS, frame, load_picture, resize
from singleview.predict.predict import load_predictor, predict
from singleview.training.batches import Sampler
from singleview.training.checkpoint import load_model, save_model
from singleview.training.refine import (
    LEARN_STEPS,
    RefineSettings,
    Rig,
    camera_numbers,
    refine,
    teach_cameras,
)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Small(1, 16, width=8, code=8, anchors=3)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, model, {"steps": 0})
    return path


def disk(
    size: int = 48, radius: float = 0.3, center: tuple[float, float] = (0.5, 0.5)
) -> np.ndarray:
    """`[size, size]` bool."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    return np.asarray((x - center[0]) ** 2 + (y - center[1]) ** 2 < radius**2)


def test_predictor_takes_images_of_any_size_and_colour(weights: Path) -> None:
    predictor = load_predictor(weights)
    for H, W, C in ((64, 64, 1), (40, 40, 3), (80, 60, 1)):
        lattice = predictor(torch.rand(2, H, W, C))
        assert lattice.values.shape == (2, 16, 16, 16)
    assert not lattice.values.requires_grad
    with pytest.raises(ValueError, match=r"images: need \[B, H, W, 1 to 4\]"):
        predictor(torch.rand(2, 3, 64, 65))
    with pytest.raises(ValueError, match="images: need finite numbers"):
        predictor(torch.full((1, 64, 64, 1), float("nan")))


def test_a_mirrored_picture_gives_the_mirrored_shape(weights: Path) -> None:
    predictor = load_predictor(weights)
    images = torch.rand(2, 64, 64, 1)
    straight, mirrored = predictor(images), predictor(images.flip(2))
    away = [(mirrored.values - straight.values.flip(axis)).abs().amax((1, 2, 3)) for axis in (1, 3)]
    assert float(torch.minimum(*away).max()) < 1e-5


def test_weights_come_back_as_they_were_in_half_precision(weights: Path, tmp_path: Path) -> None:
    model, about = load_model(weights)
    assert about == {"steps": 0}
    save_model(tmp_path / "again.safetensors", model, about)
    again, _ = load_model(tmp_path / "again.safetensors")
    for name, x in model.state_dict().items():
        assert torch.equal(x, again.state_dict()[name])


def test_bad_weights_are_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.safetensors: need the weights"):
        load_predictor(tmp_path / "nothing.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cut\.safetensors: need the weights"):
        load_predictor(cut)
    model, about = load_model(weights)
    torch.nn.init.constant_(model.start, float("nan"))
    save_model(tmp_path / "nan.safetensors", model, about)
    with pytest.raises(InputError, match="need finite weights"):
        load_predictor(tmp_path / "nan.safetensors")


def test_predict_writes_mesh_lattice_and_pictures(weights: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write_png(folder / "ball.png", (np.where(disk(), 200, 0)[..., None]).astype(np.uint8))
    config = PredictConfig(
        tuple(folder / "ball.png" for folder in folders),
        tmp_path / "out",
        weights,
        frames=4,
        size=32,
    )
    predictions = predict(config)
    assert [p.folder.name for p in predictions] == ["ball", "ball-2"]
    for p in predictions:
        assert load_mesh(p.folder / "mesh.ply").is_watertight
        assert load_lattice(p.folder / "lattice.safetensors").resolution == (16, 16, 16)
        assert iio.imread(p.folder / "turntable.gif").shape[:3] == (4, 32, 32)
        assert read_png(p.folder / "sheet.png").shape == (32, 32 * 5, 1)


def test_masks_from_alpha_background_and_file_agree(tmp_path: Path) -> None:
    inside = disk()
    grey = np.where(inside, 180, 250).astype(np.uint8)[..., None]
    alpha = np.where(inside, 255, 0).astype(np.uint8)[..., None]
    write_png(tmp_path / "plain.png", grey)
    write_png(tmp_path / "alpha.png", np.concatenate((grey, alpha), -1))
    write_png(tmp_path / "mask.png", alpha)
    found = load_picture(tmp_path / "plain.png", "auto", False)
    plain = found.image
    assert plain.shape == (48, 48, 1)
    assert torch.equal(found.coverage > 0.5, torch.from_numpy(inside))
    assert torch.equal((plain[..., 0] > 0), torch.from_numpy(inside))
    assert torch.equal(plain, load_picture(tmp_path / "alpha.png", "auto", False).image)
    by_file = load_picture(tmp_path / "plain.png", str(tmp_path / "mask.png"), False)
    assert torch.equal(plain, by_file.image)
    linear = load_picture(tmp_path / "alpha.png", "alpha", True).image
    assert float(linear.max()) == pytest.approx(180 / 255)
    # .456 in linear light is darker than what was taught, and made as bright
    assert float(plain.max()) == pytest.approx(FIT_BRIGHTNESS)


def test_pictures_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    write_png(tmp_path / "noise.png", noise)
    write_png(tmp_path / "empty.png", np.zeros((20, 20, 1), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    cases = {
        ("noise.png", "auto"): r"noise\.png: need an object in the picture that differs",
        ("noise.png", "alpha"): r"noise\.png: need an alpha channel",
        ("empty.png", "auto"): r"empty\.png: need an object in the picture",
        ("text.png", "auto"): r"text\.png: need a complete image",
        ("gone.png", "auto"): r"gone\.png: no such file",
        ("noise.png", str(tmp_path / "empty.png")): r"empty\.png: need a mask of the size of",
    }
    for (name, mask), message in cases.items():
        with pytest.raises(InputError, match=message):
            load_picture(tmp_path / name, mask, False)


def test_framing_keeps_usual_pictures_and_centres_others() -> None:
    usual = torch.from_numpy(disk()).float()[..., None].expand(-1, -1, 2)
    assert frame(usual) is usual
    small = torch.from_numpy(disk(100, 0.08, (0.8, 0.3))).float()[..., None].expand(-1, -1, 2)
    framed = frame(small)
    assert framed.shape[0] == framed.shape[1]
    inside = (framed[..., 0] > 0.5).nonzero().float()
    middle = (inside.amin(0) + inside.amax(0) + 1) / 2
    torch.testing.assert_close(middle, torch.full((2,), framed.shape[0] / 2), atol=1.0, rtol=0)
    wide = frame(torch.nn.functional.pad(usual, (0, 0, 0, 60)))
    assert wide.shape[0] == wide.shape[1]


def test_resizing_averages() -> None:
    dataset = tiny_dataset()
    image = dataset[0].views.images[0]
    small = resize(image, 8)
    assert small.shape == (8, 8, 1)
    assert float(small.mean()) == pytest.approx(float(image.mean()), rel=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 1}, "--frames"),
        ({"size": 4}, "--size"),
        ({"faces": 3}, "--faces"),
        ({"levels": 6}, "--levels"),
        ({"count": 0}, "--count"),
        ({"between": -1}, "--between"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_prediction_settings_out_of_range_are_refused(
    changes: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        PredictConfig((Path("x.png"),), Path("out"), **changes)  # type: ignore[arg-type]


def test_a_network_for_pictures_needs_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="need at least one picture"):
        predict(PredictConfig((), tmp_path / "out"))


def test_refining_makes_a_shape_agree_with_its_picture(tmp_path: Path) -> None:
    radii = torch.linspace(0.35, 0.75, 9)
    shapes = torch.stack([Lattice.sphere(float(r), resolution=20).values for r in radii])
    torch.manual_seed(0)
    model = Small(1, 20, width=8, code=12, anchors=9, cameras=4).eval()
    model.span(shapes, shapes[:0])
    rig = Rig(Cameras.orbit(4, width=32), Lighting())
    true = Lattice.sphere(0.68, resolution=20)
    image = render(true, rig.cameras[2], lighting=rig.lighting).images
    start = Lattice.sphere(0.5, resolution=20).values[None]
    found = refine(model, rig, image, start, RefineSettings(blend=1.0))
    before, after = (float(occupancy_iou(v < 0, true.values[None] < 0)) for v in (start, found))
    assert after > max(0.9, before + 0.2)

    save_model(tmp_path / "model.safetensors", model, {"rig": rig.to_dict()})
    plain = load_predictor(tmp_path / "model.safetensors", refining=False)(image)
    refined = load_predictor(tmp_path / "model.safetensors")(image)
    scores = [float(occupancy_iou(x.values < 0, true.values[None] < 0)) for x in (plain, refined)]
    assert scores[1] > scores[0]


def test_cameras_can_be_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singleview.training.refine.LEARN_STEPS", LEARN_STEPS)  # all of them
    dataset = tiny_dataset(size=32).split("train")
    rig = Rig.of(dataset)
    assert rig is not None
    sampler = Sampler(TrainConfig(Path("x"), Path("y")), dataset)
    torch.manual_seed(0)
    model = Small(1, 16, width=8, code=8, anchors=3).eval()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    told = teach_cameras(model, sampler, rig)
    assert told > 0.6
    for name, x in before.items():
        assert torch.equal(x, model.state_dict()[name])
    assert camera_numbers(dataset, rig).tolist() == list(range(dataset.views)) * len(dataset)
    again = Rig.from_dict(rig.to_dict())
    torch.testing.assert_close(again.cameras.c2w, rig.cameras.c2w)
    assert Rig.of(replace(dataset, lighting=None)) is None


def test_the_demo_finds_what_comes_with_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PredictConfig] = []
    monkeypatch.setattr(singleview.demo, "predict", lambda config: [seen.append(config)])
    singleview.demo.demo(Path("somewhere"))
    assert seen[0].model is not None
    assert seen[0].model.is_file()
    assert seen[0].images[0].is_file()
    assert load_predictor(seen[0].model).refining is not None
