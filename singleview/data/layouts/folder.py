"""The dataset layout of this project, on disk.

    DIR/dataset.json         what there is: objects with their split, cameras, light, settings
    DIR/chair/101.npz        one object: images, silhouettes, values
    DIR/chair.png            contact sheet: a row per object, a column per view

An object's file holds `images` `[V, H, W, C]` uint8 (linear, premultiplied over black),
`silhouettes` `[V, H, W]` uint8 coverage, and `values` `[R, R, R]` float16 true signed distances.
`inside_32` holds the bits of the mesh sampled at 32³, C order, so that nothing is judged at 32³ by
what was interpolated from other samples; data sets from before do without.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.files.atomic import one_line, write_bytes, write_json
from sdfrender.files.find import is_file
from sdfrender.files.tables import read_table
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.geometry.mesh_files import Doubles
from sdfrender.io.cameras import read_arrays
from sdfrender.io.lights import lighting_from_table
from sdfrender.io.scene_writer import lighting_to_dict
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting
from singleview.data.dataset import Dataset, to_bytes
from singleview.data.shards import stored_form, stored_rotations
from singleview.settings.choices import SPLITS, Split

MANIFEST = "dataset.json"
FORMAT = "singleview.dataset"
INSIDE, COARSE = "inside_32", 32  # name of an array, and samples along each side


@dataclass(frozen=True, eq=False)
class Manifest:
    """What `dataset.json` says.

    Args:
        splits: of each object, by its name `CATEGORY/OBJECT`, in order.
        cameras: V, the same for all objects.
        lighting: that made the images, with albedo 1.
        settings: how the dataset was rendered, as plain values.
        rotations: `[3, 3]` by which the mesh of an object was turned; the others were not.
    """

    splits: Mapping[str, Split]
    cameras: Cameras
    lighting: Lighting
    settings: Mapping[str, Any]
    rotations: Mapping[str, Doubles] = field(default_factory=dict)


def object_file(folder: Path, name: str) -> Path:
    """Where the object `CATEGORY/OBJECT` is stored."""
    return folder / f"{name}.npz"


# ---------------------------------------------------------------------- writing


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `dataset.json`."""
    write_json(folder / MANIFEST, manifest_to_dict(manifest))


def manifest_to_dict(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain values for JSON."""
    cameras = manifest.cameras
    return {
        "format": FORMAT,
        "version": 1,
        "settings": dict(manifest.settings),
        "rotations": stored_form(manifest.rotations),
        "bounds": UNIT_BOX,
        "lighting": lighting_to_dict(manifest.lighting),
        "cameras": {
            "axes": "c2w, OpenCV: right, down, forward",
            "width": cameras.width,
            "height": cameras.height,
            "c2w": cameras.c2w.tolist(),
            "Ks": cameras.Ks.tolist(),
        },
        "objects": [{"name": name, "split": split} for name, split in manifest.splits.items()],
    }


def write_object(
    path: Path, images: Tensor, silhouettes: Tensor, values: Tensor, inside: Tensor | None = None
) -> None:
    """Write an object's file, whole or not at all.

    Args:
        path: to write; its folder must exist.
        images: `[V, H, W, C]` in [0, 1].
        silhouettes: `[V, H, W]` in [0, 1].
        values: `[R, R, R]` signed distances.
        inside: `[32, 32, 32]` bool, sampled from the mesh.
    """
    arrays = {
        "images": to_bytes(images).numpy(),
        "silhouettes": to_bytes(silhouettes).numpy(),
        "values": values.half().numpy(),
    }
    if inside is not None:
        arrays[INSIDE] = np.packbits(inside.numpy())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


# ---------------------------------------------------------------------- reading


def read_folder(folder: Path) -> Dataset:
    """Read a dataset that `singleview render-dataset` wrote.

    Raises:
        InputError: a manifest that is not one, an object's file that is missing or damaged, or one
            that does not fit the cameras.
    """
    manifest = read_manifest(folder)
    names = list(manifest.splits)
    objects = [
        read_object(object_file(folder, name), manifest.cameras)
        for name in tqdm(names, desc="dataset", unit="object", disable=len(names) < 50)
    ]
    for key in ("images", "values"):
        odd = next((i for i, o in enumerate(objects) if o[key].shape != objects[0][key].shape), 0)
        if odd:
            need, got = (list(objects[i][key].shape) for i in (0, odd))
            file = object_file(folder, names[odd])
            raise InputError(f"{file}: '{key}' needs shape {need} as in {names[0]}, got {got}")
    images, silhouettes, values = (
        torch.from_numpy(np.stack([o[key] for o in objects]))
        for key in ("images", "silhouettes", "values")
    )
    insides = [o[INSIDE] for o in objects if INSIDE in o]
    bits = np.unpackbits(np.stack(insides), axis=1) if len(insides) == len(objects) else None
    shape = (-1, COARSE, COARSE, COARSE)
    return Dataset(
        tuple(names),
        tuple(manifest.splits.values()),
        images,
        silhouettes,
        manifest.cameras.c2w[None],
        manifest.cameras.Ks[None],
        lighting=manifest.lighting,
        values=values,
        occupancy=None if bits is None else torch.from_numpy(bits.reshape(shape)).bool(),
    )


def read_manifest(folder: Path) -> Manifest:
    """Read `dataset.json`.

    Raises:
        InputError: not a manifest, an unknown split, an object twice, cameras that are none.
    """
    path = folder / MANIFEST
    table = read_table(path)
    if table.get("format") != FORMAT or table.get("version") != 1:
        got = f"{table.get('format')!r} version {table.get('version')!r}"
        raise InputError(f"{path}: need the format {FORMAT!r} version 1, got {got}")
    try:
        stored, objects = table["cameras"], table["objects"]
        pairs = [(str(o["name"]), o["split"]) for o in objects]
        c2w, Ks = (torch.tensor(stored[key], dtype=torch.float32) for key in ("c2w", "Ks"))
        cameras = Cameras(c2w, Ks, int(stored["width"]), int(stored["height"]))
        lighting = lighting_from_table(table["lighting"], f"{path}: 'lighting'")
        settings = dict(table["settings"])
    except KeyError as error:
        raise InputError(f"{path}: need the key {error}, it is missing") from None
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: a value of the wrong kind: {one_line(error)}") from None
    splits = dict(pairs)
    if not pairs or len(splits) != len(pairs):
        raise InputError(f"{path}: 'objects' need at least one, and each name once")
    outside = [name for name in splits if name.startswith("/") or ".." in PurePath(name).parts]
    if outside:
        raise InputError(f"{path}: need names of files in its folder, got {outside[0]!r}")
    unknown = sorted(str(split) for split in splits.values() if split not in SPLITS)
    if unknown:
        raise InputError(f"{path}: a split is one of {', '.join(SPLITS)}, got {unknown[0]!r}")
    return Manifest(splits, cameras, lighting, settings, stored_rotations(path) or {})


def read_object(path: Path, cameras: Cameras) -> Mapping[str, NDArray[Any]]:
    """The arrays of an object's file, checked.

    Returns:
        `images` `[V, H, W, C]` and `silhouettes` `[V, H, W]` uint8; `values` `[R, R, R]` float16,
        canonical units over the dataset's box; `inside_32` `[4096]` uint8 if it is there.

    Raises:
        InputError: missing, damaged, without a mask or image array, or not as many views or pixels
            as the cameras have.
    """
    if not is_file(path):
        raise InputError(
            f"{path!s:.300}: the object is not there (run `singleview render-dataset` again?)"
        )
    size = (len(cameras), cameras.height, cameras.width)
    arrays = dict(read_arrays(path, ("images", "silhouettes", "values")))
    if INSIDE in (stored := read_arrays(path)):
        arrays[INSIDE] = stored[INSIDE]
    images, silhouettes, values = arrays["images"], arrays["silhouettes"], arrays["values"]
    if len(images) != len(cameras):
        raise InputError(
            f"{path}: need {len(cameras)} images as there are cameras, got {len(images)}"
        )
    if images.dtype != np.uint8 or images.shape[:-1] != size or images.shape[-1] not in (1, 3):
        need = f"uint8 {[*size, '1 or 3']}"
        raise InputError(f"{path}: 'images' need {need}, got {images.dtype} {list(images.shape)}")
    if silhouettes.dtype != np.uint8 or silhouettes.shape != size:
        got = f"{silhouettes.dtype} {list(silhouettes.shape)}"
        raise InputError(f"{path}: 'silhouettes' need uint8 {list(size)}, got {got}")
    if not silhouettes.any():
        raise InputError(f"{path}: need an object in its masks, all of them are empty")
    if values.dtype != np.float16 or values.ndim != 3 or not np.isfinite(values).all():
        got = f"{values.dtype} {list(values.shape)}"
        raise InputError(f"{path}: 'values' need finite float16 [R, R, R], got {got}")
    bits = arrays.get(INSIDE)
    if bits is not None and (bits.dtype != np.uint8 or bits.shape != (COARSE**3 // 8,)):
        got = f"{bits.dtype} {list(bits.shape)}"
        raise InputError(f"{path}: '{INSIDE}' needs uint8 [{COARSE**3 // 8}], got {got}")
    return arrays
