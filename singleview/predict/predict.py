"""From a picture to a shape with a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sdfrender import (
    Cameras,
    InputError,
    Lattice,
    extract_mesh,
    render,
    save_lattice,
    save_mesh,
)
from sdfrender.files.assets import find_asset
from sdfrender.files.atomic import atomic_write
from sdfrender.files.tensors import expect
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.meshes.extraction import keep_bodies
from sdfrender.view.lighting import STUDIO
from singleview.models import AutoDecoder, OccupancyNetwork, Paper
from singleview.models.small import IMAGE_SIZE, Small
from singleview.pictures.contact_sheet import screen_pixels, write_picture
from singleview.pictures.input_pictures import load_picture, resize
from singleview.settings.prediction import PredictConfig
from singleview.training.checkpoint import load_model
from singleview.training.refine import RefineSettings, Rig, refine
from singleview.training.validate import lattices

DEMO_WEIGHTS = ("singleview", "singleview/model.safetensors")  # package, and path in `assets/`
SHEET_VIEWS = 6  # pictures of the shape beside the input
FRAME_MS = 80  # of the turntable: milliseconds of a frame


@dataclass(frozen=True)
class Predictor:
    """A trained network: pictures in, lattices out.

    Args:
        model: the network.
        about: how it was trained.
        rig: the training pictures' cameras and light, to refine with; None without.
        refining: how shapes are made to agree with the picture; None leaves them as they are.
    """

    model: Paper | Small
    about: dict[str, Any]
    rig: Rig | None = None
    refining: RefineSettings | None = None

    def __call__(self, images: Tensor) -> Lattice:
        """Predict a shape from each picture, in the object's canonical box [-1, 1]³.

        Not differentiable.

        Args:
            images: `[B, H, W, C]` linear, premultiplied by coverage over black, object in the
                middle; any size and 1 or 3 channels.

        Returns:
            A batch of B lattices.

        Raises:
            ValueError: another shape, or numbers that are not finite.
        """
        if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
            raise ValueError(f"images: need [B, H, W, 1 or 3], got {tuple(images.shape)}")
        if not bool(images.isfinite().all()):
            raise ValueError("images: need finite numbers, got NaN or infinity")
        x = images.float()
        if x.shape[-1] != self.model.channels:
            x = x.mean(-1, keepdim=True).expand(-1, -1, -1, self.model.channels)
        values = lattices(self.model, x)
        if self.rig is not None and self.refining is not None and isinstance(self.model, Small):
            size = (self.rig.cameras.height, self.rig.cameras.width)
            if x.shape[1:3] != size:
                x = interpolate(x.permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
                x = x.permute(0, 2, 3, 1)
            with torch.enable_grad():
                values = refine(self.model, self.rig, x, values, self.refining)
        return Lattice(values, torch.tensor(UNIT_BOX))


def load_predictor(path: Path, refining: bool = True) -> Predictor:
    """A predictor from weights, or from a run folder.

    Args:
        path: of the weights or the folder.
        refining: make shapes agree with the picture, where the network can.

    Raises:
        InputError: no such file, no weights of ours, or those of another kind of network.
    """
    model, about = load_model(path)
    if isinstance(model, OccupancyNetwork | AutoDecoder):
        kind = model.description()["model"]
        raise InputError(f"{path}: need a network that predicts lattices, got {kind}")
    rig = None
    if about.get("rig") is not None:
        with expect(path, "the weights of a singleview network"):
            rig = Rig.from_dict(about["rig"])
    return Predictor(model, about, rig, RefineSettings() if refining else None)


@dataclass(frozen=True)
class Prediction:
    """What `predict` made of one picture.

    Args:
        picture: the input.
        folder: that was written.
        lattice: the shape.
    """

    picture: Path
    folder: Path
    lattice: Lattice


def predict(config: PredictConfig) -> list[Prediction]:
    """Predict a shape from each picture and write `OUT/NAME/`.

    In it: `mesh.ply`, `lattice.safetensors`, `turntable.gif`, and `sheet.png` with the input beside
    some views of the shape. All pictures are read before anything is written.

    Raises:
        InputError: weights or a picture that cannot be used.
    """
    weights = config.model or find_asset(*DEMO_WEIGHTS)
    model, about = load_model(weights)

    def draw(lattice: Lattice, folder: Path) -> None:
        write_views(lattice, None, folder, config)

    if isinstance(model, OccupancyNetwork):
        from singleview.predict.occupancy import OccupancyPredictor, predict_occupancy

        reader = OccupancyPredictor.of(model, about, weights)
        return [Prediction(*done) for done in predict_occupancy(reader, config, draw)]
    if isinstance(model, AutoDecoder):
        from singleview.predict.deepsdf import predict_deepsdf

        found = predict_deepsdf(model.decoder, about, config, draw)
        return [Prediction(*done) for done in found]
    if not config.images:
        raise InputError("INPUT: need at least one picture, got none")
    predictor = load_predictor(weights, config.refine)
    pictures = [load_picture(path, config.mask, config.linear) for path in config.images]
    names = _names(config.images)
    return [
        write_prediction(predictor, picture, path, config.out / name, config)
        for path, picture, name in zip(config.images, pictures, names, strict=True)
    ]


def write_prediction(
    predictor: Predictor, picture: Tensor, path: Path, folder: Path, config: PredictConfig
) -> Prediction:
    """Predict a shape from a picture `[S, S, C]` that came from `path`; write it to `folder`."""
    image = resize(picture, IMAGE_SIZE)
    batch = predictor(image[None])
    lattice = Lattice(batch.values[0], batch.bounds)
    try:
        mesh = keep_bodies(extract_mesh(lattice))
    except ValueError as error:
        raise InputError(f"{path}: the network sees no object in it ({error})") from None
    folder.mkdir(parents=True, exist_ok=True)
    save_lattice(folder / "lattice.safetensors", lattice)
    save_mesh(folder / "mesh.ply", mesh)
    write_views(lattice, picture, folder, config)
    return Prediction(path, folder, lattice)


def write_views(
    lattice: Lattice, picture: Tensor | None, folder: Path, config: PredictConfig
) -> None:
    """Write `turntable.gif`, and `sheet.png`: the picture `[S, S, C]` if any, and some views."""
    frames = turntable(lattice, config.frames, config.size)
    write_animation(folder / "turntable.gif", frames)
    shown = frames[:: max(1, len(frames) // SHEET_VIEWS)][:SHEET_VIEWS]
    first = shown[:0] if picture is None else resize(picture, config.size)[None]
    write_sheet(folder / "sheet.png", first, shown)


@torch.no_grad()
def turntable(lattice: Lattice, frames: int, size: int) -> Tensor:
    """`[frames, size, size, 1]` linear pictures from a ring around the shape, over black."""
    cameras = Cameras.orbit(frames, width=size)
    return render(lattice, cameras, lighting=STUDIO).images


def write_animation(path: Path, frames: Tensor) -> None:
    """Write linear pictures `[N, H, W, 1]` as an endless GIF."""
    with atomic_write(path) as partial:
        iio.imwrite(partial.absolute(), screen_pixels(frames)[..., 0], duration=FRAME_MS, loop=0)


def write_sheet(path: Path, pictures: Tensor, views: Tensor) -> None:
    """Write inputs `[n, S, S, C]` and views of the shape `[N, S, S, 1]` side by side."""
    write_picture(path, torch.cat([*pictures, *views.expand(-1, -1, -1, pictures.shape[-1])], 1))


def _names(pictures: Sequence[Path]) -> list[str]:
    """A folder's name for each picture, different for different ones."""
    names: list[str] = []
    for picture in pictures:
        name, number = picture.stem, 2
        while name in names:
            name, number = f"{picture.stem}-{number}", number + 1
        names.append(name)
    return names
