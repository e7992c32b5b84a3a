"""The command `singleview interpolate`: shapes on the way from one code to another (DeepSDF §6)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sdfrender import Cameras, InputError, save_mesh
from sdfrender.files.atomic import read_bytes
from sdfrender.files.extensions import MESHES
from sdfrender.files.images import area_average
from sdfrender.files.tensors import expect
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.latent.field import LatentField
from sdfrender.meshes.mise import mise
from sdfrender.rendering.field_render import TraceSettings, render_field
from sdfrender.view.lighting import STUDIO
from singleview.data.meshes import canonical_mesh, source_of
from singleview.data.samples import PADDED_BOX
from singleview.from_meshes.sample_distances import points_around
from singleview.models.latent import find_code, need_canonical
from singleview.pictures.contact_sheet import write_picture
from singleview.predict.completion import complete
from singleview.predict.depth_view import EXTENSIONS as DEPTHS
from singleview.predict.depth_view import load_depth
from singleview.settings.prediction import InterpolateConfig

POINTS = 8192  # of a mesh, to find its code
SAMPLES = 2  # rays along each side of a pixel
COARSE, LEVELS = 48, 1  # cells of a mesh
CLAMP = 0.1  # a distance that networks learned up to here may be trusted to


def interpolate(config: InterpolateConfig, quiet: bool = False) -> list[Path]:
    """Draw a strip of shapes from A to B; returns the files written.

    Raises:
        InputError: weights that cannot be used, or an A or B that is no shape.
    """
    field = LatentField.load(config.model)
    need_canonical(field, config.model)
    first, last = (code_told(field, text, config.seed) for text in (config.first, config.last))
    shares = torch.linspace(0, 1, config.between + 2)
    codes = [torch.lerp(first, last, share) for share in shares]
    pictures = [
        draw(field, code, config)
        for code in tqdm(codes, desc="drawing", unit="shape", disable=quiet)
    ]
    write_picture(config.out, torch.cat(pictures, 1))
    written = [config.out]
    if config.meshes:
        folder = config.out.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        for n, code in enumerate(codes):
            written.append(folder / f"{n:03d}.ply")
            save_mesh(written[-1], mise(field.field(code), PADDED_BOX, COARSE, LEVELS).mesh())
    return written


def draw(field: LatentField, code: Tensor, config: InterpolateConfig) -> Tensor:
    """`[size, size, 1]` linear over black: the field of a code `[C]`, by sphere tracing."""
    azimuth, elevation = torch.tensor([config.azimuth_deg, config.elevation_deg]).deg2rad()
    eye = 3.2 * torch.stack(
        (
            azimuth.sin() * elevation.cos(),
            elevation.sin(),
            azimuth.cos() * elevation.cos(),
        )
    )
    cameras = Cameras.look_at(eye[None], width=SAMPLES * config.size)
    out = render_field(
        field.field(code),
        cameras,
        PADDED_BOX,
        lighting=STUDIO,
        settings=TraceSettings(longest=CLAMP),
    )
    small = area_average(out.images[0].numpy(), config.size, config.size)
    return torch.from_numpy(small)


def code_told(field: LatentField, text: str, seed: int = 0) -> Tensor:
    """The code `[C]` of a known shape's name, a mesh, a depth image or a code.json.

    Raises:
        InputError: none of these.
    """
    if text in field.names:
        return field.code_of(text)
    path = Path(text)
    kind = path.suffix.lower()
    if kind == ".json":
        return read_code(path, field)
    if kind in DEPTHS:
        return complete(field, load_depth(path)).code
    if kind in MESHES:
        mesh = canonical_mesh(source_of(path))
        points = points_around(mesh, POINTS, np.random.default_rng(seed))
        distances = torch.from_numpy(signed_distances(mesh, points)).float()
        return find_code(field, torch.from_numpy(points).float(), distances, CLAMP).code
    known = ", ".join(field.names[:5]) or "none"
    files = ", ".join((".json", *DEPTHS, *MESHES))
    raise InputError(f"{text}: need a known shape ({known}, …) or a file, one of {files}")


def read_code(path: Path, field: LatentField) -> Tensor:
    """The code `[C]` in the code.json of a completion.

    Raises:
        InputError: missing, damaged, or of another network.
    """
    with expect(path, "the code of a shape"):
        code = torch.tensor(json.loads(read_bytes(path))["code"], dtype=torch.float32)
        if code.shape != (field.shape.code,) or not bool(code.isfinite().all()):
            raise ValueError(f"{tuple(code.shape)}, of a network with {field.shape.code} numbers")
        return code
