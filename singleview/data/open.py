"""Datasets and samples from a folder, whichever layout it has."""

from __future__ import annotations

from pathlib import Path

from sdfrender.errors import InputError
from singleview.data.dataset import Dataset
from singleview.data.layouts.dvr import has_dvr, read_dvr
from singleview.data.layouts.folder import MANIFEST as DATASET
from singleview.data.layouts.folder import read_folder
from singleview.data.layouts.nmr import has_nmr, read_nmr
from singleview.data.layouts.onet import has_onet, read_onet
from singleview.data.resize import resized
from singleview.data.samples import Samples
from singleview.data.samples_on_disk import MANIFEST as SAMPLES
from singleview.data.samples_on_disk import read_shards
from singleview.settings.choices import Where


def open_dataset(path: Path, image_size: int | None = None) -> Dataset:
    """Read a dataset; the layout is recognised by the files in the folder.

    `dataset.json`: what `singleview render-dataset` writes. `*_images.npz`: Neural Mesh Renderer
    and SoftRas. `CLASS/OBJECT/cameras.npz`, or `…/img_choy2016/cameras.npz`: DVR and Occupancy
    Networks.

    Args:
        path: the folder.
        image_size: pixels on a side to average the images down to. Default: as stored.

    Raises:
        InputError: no such folder, no layout that is known, or a file that is missing, damaged or
            does not fit the others. It names the file.
    """
    folder = Path(path)
    if image_size is not None and image_size < 8:
        raise InputError(f"image_size: need at least 8 pixels, got {image_size}")
    if not folder.is_dir():
        raise InputError(f"{folder}: need the folder of a dataset, there is no such folder")
    if (folder / DATASET).is_file():
        dataset = read_folder(folder)
    elif has_nmr(folder):
        dataset = read_nmr(folder)
    elif has_dvr(folder):
        dataset = read_dvr(folder)
    else:
        raise InputError(
            f"{folder}: need a dataset: {DATASET}, *_images.npz or CLASS/OBJECT/cameras.npz"
        )
    return resized(dataset, image_size)


def open_samples(path: Path, where: Where = "memory") -> Samples:
    """Read samples; the layout is recognised by the files in the folder.

    `samples.json`: what `singleview sample-points` writes. `CLASS/OBJECT/points.npz`: Occupancy
    Networks and DVR.

    Args:
        path: the folder.
        where: the arrays are to lie, see `singleview.data.columns.stays_on_disk`.

    Raises:
        InputError: no such folder, no layout that is known, or a file that is missing, damaged or
            does not fit the others. It names the file.
    """
    if not path.is_dir():
        raise InputError(f"{path}: need a folder of samples, there is no such folder")
    if (path / SAMPLES).is_file():
        return read_shards(path, where)
    if has_onet(path):
        return read_onet(path, where)
    raise InputError(
        f"{path}: need samples of occupancy: {SAMPLES} or CLASS/OBJECT/points.npz "
        "(write them with singleview sample-points)"
    )
