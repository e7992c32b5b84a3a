"""From a picture to a shape with a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
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
from singleview.models.small import IMAGE_SIZE, Small, split_coverage
from singleview.pictures.contact_sheet import screen_pixels, write_picture
from singleview.pictures.input_pictures import resize
from singleview.predict.inputs import distinct, each_input, framed_picture
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
                middle; any size and 1 or 3 channels. A second or fourth channel is coverage;
                without it, what is not black is object.

        Returns:
            A batch of B lattices.

        Raises:
            ValueError: another shape, or numbers that are not finite.
        """
        if images.ndim != 4 or images.shape[-1] not in (1, 2, 3, 4) or not len(images):
            raise ValueError(f"images: need [B, H, W, 1 to 4], got {tuple(images.shape)}")
        if not bool(images.isfinite().all()):
            raise ValueError("images: need finite numbers, got NaN or infinity")
        x = self._as_taught(images)
        values = lattices(self.model, x)
        return Lattice(self.refined(x, values), torch.tensor(UNIT_BOX))

    @property
    def refines(self) -> bool:
        """Whether it makes shapes agree with the picture."""
        able = self.rig is not None and isinstance(self.model, Small)
        return able and self.refining is not None

    def refined(self, images: Tensor, values: Tensor) -> Tensor:
        """Lattices made to agree with their pictures, where it `refines`; else as they are.

        Args:
            images: `[B, H, W, C]` as for a prediction.
            values: `[B, R, R, R]` over [-1, 1]³, canonical units, R the model's.
        """
        if not self.refines:
            return values
        assert self.rig is not None
        assert isinstance(self.model, Small)
        size = (self.rig.cameras.height, self.rig.cameras.width)
        x = self._as_taught(images)
        if x.shape[1:3] != size:
            x = interpolate(x.permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
            x = x.permute(0, 2, 3, 1)
        with torch.enable_grad():
            return refine(self.model, self.rig, x, values, self.refining)

    def _as_taught(self, images: Tensor) -> Tensor:
        """Images with as many channels as the model's, and coverage where it knows what that is."""
        x, coverage = split_coverage(images.float())
        if x.shape[-1] != self.model.channels:
            x = x.mean(-1, keepdim=True).expand(-1, -1, -1, self.model.channels)
        if coverage is not None and isinstance(self.model, Small):
            x = torch.cat((x, coverage[..., None]), -1)
        return x


def load_predictor(path: Path, refining: bool = True, white: bool = True) -> Predictor:
    """A predictor from weights, or from a run folder.

    Args:
        path: of the weights or the folder.
        refining: make shapes agree with the picture, where the network can.
        white: objects are as white as in the training pictures; else their albedo is estimated.

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
    return Predictor(model, about, rig, RefineSettings(white=white) if refining else None)


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
    """Predict a shape from each input and write `OUT/NAME/`.

    In it: `mesh.ply`, `lattice.safetensors`, `turntable.gif`, and `sheet.png` with the input beside
    some views of the shape; of a picture also `input.png` and `mask.png`, what the network saw of
    it, even if it makes no shape of that. An input that cannot be used is told, and left out.

    Raises:
        InputError: weights that cannot be used, or no input that can.
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
    predictor = load_predictor(weights, config.refine, white=False)
    folders = [config.out / name for name in distinct([path.stem for path in config.images])]
    return each_input(
        [
            (path, partial(write_prediction, predictor, path, folder, config))
            for path, folder in zip(config.images, folders, strict=True)
        ]
    )


def write_prediction(
    predictor: Predictor, path: Path, folder: Path, config: PredictConfig
) -> Prediction:
    """Predict a shape from the picture in `path`; write it to `folder`."""
    picture = framed_picture(path, folder, config)
    batch = predictor(picture.planes(IMAGE_SIZE)[None])
    lattice = Lattice(batch.values[0], batch.bounds)
    try:
        mesh = keep_bodies(extract_mesh(lattice))
    except ValueError as error:
        raise InputError(f"{path}: the network sees no object in it ({error})") from None
    save_lattice(folder / "lattice.safetensors", lattice)
    save_mesh(folder / "mesh.ply", mesh)
    write_views(lattice, picture.image, folder, config)
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
