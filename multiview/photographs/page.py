"""`cameras.html`: cameras, points and photographs, to look at; one file without a network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from sdfrender.files.atomic import write_bytes
from sdfrender.report.page import fill
from sdfrender.view.upright import upright_frame

SIDE = 256  # pixels, the longer side of a small picture
MOST_POINTS = 20_000  # on the page
NEAR = 0.9  # share of the points that the page's first look shows, with all cameras


class Thumbnails:
    """Small pictures of a scene, each decoded once.

    Args:
        images: the folder.
        names: in it.
    """

    def __init__(self, images: Path, names: Sequence[str]) -> None:
        self.images, self.names = images, names
        self.small: dict[str, Pillow.Image] = {}

    def __getitem__(self, name: str) -> Pillow.Image:
        """In colour, no side longer than `SIDE`."""
        if name not in self.small:
            with Pillow.open(self.images / name) as picture:
                picture.draft("RGB", (2 * SIDE, 2 * SIDE))  # JPEG decodes to a fraction at once
                upright = ImageOps.exif_transpose(picture).convert("RGB")
            upright.thumbnail((SIDE, SIDE))
            self.small[name] = upright
        return self.small[name]

    def address(self, name: str) -> str:
        """A `data:` address."""
        data = io.BytesIO()
        self[name].save(data, "WEBP", quality=80, method=2)
        return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"

    def color(self, model: Any) -> None:
        """Give each point of a model the mean of its colours in the pictures."""
        pixels, scales, places = {}, {}, {}
        for identity, image in model.images.items():
            small = self[image.name]
            pixels[identity] = np.asarray(small)
            camera = model.cameras[image.camera_id]
            scales[identity] = np.array((small.width / camera.width, small.height / camera.height))
            places[identity] = image.points2D
        for point in model.points3D.values():
            seen = []
            for element in point.track.elements:
                xy = places[element.image_id][element.point2D_idx].xy * scales[element.image_id]
                H, W, _ = pixels[element.image_id].shape
                column, row = min(W - 1, max(0, int(xy[0]))), min(H - 1, max(0, int(xy[1])))
                seen.append(pixels[element.image_id][row, column])
            point.color = np.mean(seen, axis=0).round().astype(np.uint8)


def write_page(
    file: Path, model: Any | None, told: Mapping[str, Any], thumbnails: Thumbnails
) -> None:
    """Write the page.

    Args:
        file: to write.
        model: of cameras and coloured points, if there is one.
        told: the contents of `cameras.json`.
        thumbnails: of all pictures.
    """
    pictures = [
        (name, thumbnails.address(name), name in set(told["placed"])) for name in thumbnails.names
    ]
    drawn = {} if model is None else _drawn(model)
    page = fill(
        Path(__file__).parent,
        title=file.resolve().parent.name,
        told=told,
        pictures=pictures,
        drawn=Markup(json.dumps(drawn).replace("<", "\\u003c")),
    )
    write_bytes(file, page.encode())


def _drawn(model: Any) -> dict[str, Any]:
    """Points and cameras as the page's script draws them: in a frame that is upright and small."""
    images = [image for _, image in sorted(model.images.items()) if image.has_pose]
    rotations = np.stack([image.cam_from_world().rotation.matrix() for image in images])
    centres = np.stack([image.projection_center() for image in images])
    ids = np.array(sorted(model.points3D), np.int64)
    shown = ids[:: max(1, -(-len(ids) // MOST_POINTS))]
    points = np.array([model.points3D[i].xyz for i in shown]).reshape(-1, 3)
    colors = np.array([model.points3D[i].color for i in shown]).reshape(-1, 3)
    turn = upright_frame(torch.from_numpy(rotations).mT).numpy()
    cloud = points if len(points) else centres
    middle = (np.median(cloud, 0) + centres.mean(0)) / 2
    away = [np.linalg.norm(some - middle, axis=1) for some in (cloud, centres)]
    reach = max(float(np.quantile(away[0], NEAR)), float(away[1].max())) or 1.0

    def placed(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = (xyz - middle) @ turn.T / reach
        return moved

    cameras = []
    for image, rotation, centre in zip(images, rotations, centres, strict=True):
        camera = model.cameras[image.camera_id]
        w, h, f = camera.width / 2, camera.height / 2, camera.params[0]
        corners = np.array(((-w, -h, f), (w, -h, f), (w, h, f), (-w, h, f))) / np.hypot(w, f)
        ends = centre + 0.08 * reach * corners @ rotation
        cameras.append(
            {
                "name": image.name,
                "at": placed(centre).round(4).tolist(),
                "corners": placed(ends).round(4).tolist(),
            }
        )
    return {
        "points": placed(points).round(4).ravel().tolist(),
        "colors": colors.ravel().tolist(),
        "ids": shown.tolist(),
        "cameras": cameras,
    }
