"""The command `singleview complete`: depth images to whole shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from sdfrender import Cameras, InputError, Lattice, render, save_lattice, save_mesh
from sdfrender.files.atomic import atomic_write, write_json
from sdfrender.latent.field import LatentField
from sdfrender.meshes.extraction import keep_bodies
from sdfrender.meshes.mise import mise
from sdfrender.view.lighting import STUDIO
from singleview.data.samples import PADDED_BOX
from singleview.models.latent import need_canonical
from singleview.pictures.contact_sheet import write_picture
from singleview.predict.completion import complete, depth_noise
from singleview.predict.depth_view import DepthView, load_depth
from singleview.predict.inputs import distinct
from singleview.settings.prediction import CompleteConfig

COARSE = 48  # cells that the surface is looked for in
VIEWS = 4  # from all around, of a sheet


def complete_depths(config: CompleteConfig, quiet: bool = False) -> list[Path]:
    """Complete each depth image and write `OUT/NAME/`; returns the folders.

    In it: `mesh.ply` in the frame of the input, `lattice.safetensors` and `code.json` in the
    canonical frame, `points.ply`, what was seen, and `sheet.png`: the depth image, the shape from
    its camera, and from all around. All input is read before anything is written.

    Raises:
        InputError: weights or an image that cannot be used.
    """
    if not config.depths:
        raise InputError("DEPTH: need at least one depth image, got none")
    family = LatentField.load(config.model)
    need_canonical(family, config.model)
    views = [load_depth(path) for path in config.depths]
    names = folder_names(config.depths)
    folders = []
    for path, name, view in tqdm(
        list(zip(config.depths, names, views, strict=True)), desc="completing", disable=quiet
    ):
        found = complete(family, view, config.settings)
        write_completion(config.out / name, path, family, found.code, view, config)
        folders.append(config.out / name)
    return folders


def write_completion(
    folder: Path,
    path: Path,
    family: LatentField,
    code: Tensor,
    view: DepthView,
    config: CompleteConfig,
) -> None:
    """Write what a code `[C]` says of the image in `path`; see `complete_depths`."""
    try:
        shape = mise(family.field(code), PADDED_BOX, COARSE, config.levels)
    except InputError as error:
        raise InputError(f"{path}: the network sees no object in it ({error})") from None
    mesh = keep_bodies(shape.mesh())
    folder.mkdir(parents=True, exist_ok=True)
    center = np.array(view.center)
    placed = trimesh.Trimesh(mesh.vertices * view.scale + center, mesh.faces, process=False)
    save_mesh(folder / "mesh.ply", placed)
    seen = view.points().double().numpy() * view.scale + center
    with atomic_write(folder / "points.ply") as partial:
        trimesh.PointCloud(seen).export(partial)  # type: ignore[no-untyped-call]
    lattice = shape.lattice.redistance()
    save_lattice(folder / "lattice.safetensors", lattice)
    about = {"input": str(path), "code": code.tolist(), "noise": depth_noise(view)}
    write_json(folder / "code.json", about)
    write_sheet(folder / "sheet.png", lattice, view, config.size)


@torch.no_grad()
def write_sheet(path: Path, lattice: Lattice, view: DepthView, size: int) -> None:
    """The depth image, near is bright; the shape from the same camera; and from all around."""
    width = max(1, round(size * view.camera.width / view.camera.height))
    same = render(lattice, view.camera.resized(width, size), lighting=STUDIO).images[0, ..., 0]
    around = render(lattice, Cameras.orbit(VIEWS, width=size), lighting=STUDIO).images[..., 0]
    parts = [depth_picture(view, width, size), same, *around]
    write_picture(path, torch.cat(parts, 1)[..., None])


def depth_picture(view: DepthView, width: int, height: int) -> Tensor:
    """`[height, width]` from 0.2, the farthest, to 1, the nearest; 0 where nothing is seen."""
    z = view.depths[view.seen]
    low, high = z.min(), z.max()
    near = 1 - 0.8 * (view.depths - low) / (high - low).clamp(min=1e-9)
    shown = torch.where(view.seen, near, 0.0)[None, None]
    return interpolate(shown, (height, width), mode="nearest")[0, 0]


def folder_names(paths: tuple[Path, ...]) -> list[str]:
    """A folder's name for each file, different for different ones.

    A depth image of DVR is named after its object too.
    """
    return distinct(
        [
            f"{path.parent.parent.name}-{path.stem}"
            if path.parent.name == "depth" and path.suffix.lower() == ".exr"
            else path.stem
            for path in paths
        ]
    )
