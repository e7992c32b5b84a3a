"""Files of learned shape: networks, data sets, inputs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import imageio.v3 as iio
import numpy as np
import torch
from latent_tiny import random_field
from numpy.typing import NDArray
from published import occupancy_network
from target import Target, corpus

from sdfrender.errors import InputError
from singleview.data.columns import Column
from singleview.data.distances import open_distances
from singleview.data.layouts.dvr import find_objects, read_dvr, read_splits
from singleview.data.layouts.folder import read_folder
from singleview.data.layouts.nmr import read_nmr
from singleview.data.layouts.onet import read_onet as read_onet_samples
from singleview.data.meshes import canonical_mesh, read_alignment, source_of, split_from_file
from singleview.data.samples_on_disk import read_shards
from singleview.models.image_encoders import ImageEncoder
from singleview.predict.depth_view import load_depth
from singleview.predict.interpolate import read_code
from singleview.predict.occupancy import read_grid, read_points
from singleview.published.deepsdf import names_of, read_codes, read_deepsdf
from singleview.published.onet import read_onet
from singleview.report.curves import binned, loss_plot, read_table, score_plot
from singleview.training.checkpoint import load_model


def _npz(place: str, **arrays: NDArray[Any]) -> Callable[[Path], object]:
    """Writes an archive, a member of which is to be replaced."""

    def prepare(folder: Path) -> None:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / place, **arrays)  # type: ignore[arg-type]

    return prepare


DRAWN = 40

family = cache(random_field)


def _all(*writers: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [write(folder) for write in writers]


def _both(path: Path, read: Callable[..., object]) -> object:
    """A data set that is read at once, and one that stays on disk: all its objects."""
    try:
        return read(path, "memory")
    finally:  # what is refused at once does no harm object by object either
        with suppress(InputError):
            for column in vars(read(path, "disk")).values():
                if isinstance(column, Column):
                    for i in range(len(column)):
                        assert column[i].shape == column.shape[1:]


def _dataset(folder: Path) -> None:
    (folder / "chair").mkdir()
    (folder / "dataset.json").write_bytes(corpus("dataset_json"))
    (folder / "chair" / "1.npz").write_bytes(corpus("dataset_object"))


def _shards(kind: str) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        (folder / f"{kind}.json").write_bytes(corpus(f"{kind}_json"))
        (folder / f"{kind}_000.safetensors").write_bytes(corpus(f"{kind}_shard"))

    return prepare


def _dvr(folder: Path) -> None:
    """One object, seen whole by two cameras."""
    home = folder / "chair" / "1"
    (home / "img_choy2016").mkdir(parents=True)
    matrices = {}
    for n in range(2):
        pixels = np.full((6, 8, 3), 255, np.uint8)
        pixels[2:4, 3:6] = 90
        iio.imwrite(home / "img_choy2016" / f"{n:03d}.png", pixels)
        matrices[f"camera_mat_{n}"] = np.array([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]])
        matrices[f"world_mat_{n}"] = np.eye(4)[:3] + 3 * np.eye(3, 4, 3)[::-1]
    np.savez(home / "img_choy2016" / "cameras.npz", **matrices)  # type: ignore[arg-type]
    np.savez(home / "pointcloud.npz", loc=np.zeros(3), scale=np.array(1.0))
    (folder / "chair" / "train.lst").write_bytes(b"1\n")


_onet = _all(
    _npz("chair/1/points.npz", points=np.zeros((9, 3)), occupancies=np.ones(9, bool)),
    _npz("chair/1/pointcloud.npz", points=np.zeros((4, 3)), normals=np.ones((4, 3))),
    lambda folder: (folder / "chair" / "train.lst").write_bytes(b"1\n"),
)
_nmr = _all(
    _npz("02691156_train_images.npz", arr_0=np.full((1, 24, 4, 2, 2), 200, np.uint8)),
    _npz("02691156_train_voxels.npz", arr_0=np.ones((1, 4, 4, 4), bool)),
)
_depth = _npz("d.npz", depths=np.full((4, 5), 2.0), c2w=np.eye(4),
              K=np.array([[5.0, 0, 2.5], [0, 5, 2], [0, 0, 1]]))  # fmt: skip


def _onet_weights(folder: Path) -> None:
    torch.manual_seed(0)
    state = {"model": occupancy_network("none").state_dict(), "loss_val_best": np.float64(0.5)}
    torch.serialization.save(state, folder / "model.pt")


def _deepsdf(folder: Path) -> None:
    for name in ("ModelParameters", "LatentCodes"):
        (folder / name).mkdir()
    (folder / "ModelParameters" / "latest.pth").write_bytes(corpus("deepsdf_weights"))
    (folder / "LatentCodes" / "latest.pth").write_bytes(corpus("deepsdf_codes"))
    (folder / "specs.json").write_bytes(corpus("deepsdf_specs"))
    (folder / "split.json").write_bytes(corpus("deepsdf_split"))


def _mesh(folder: Path) -> None:
    (folder / "meshes" / "ball").mkdir(parents=True)
    (folder / "meshes" / "ball" / "0.obj").write_bytes(corpus("obj"))


def _upright(path: Path) -> object:
    """As `singleview predict` takes a mesh whose folder, or the one above, has an alignment."""
    return canonical_mesh(source_of(path.parent / "ball" / "0.obj"))


@cache
def _encoder() -> ImageEncoder:
    """A ResNet-18 of one channel: as deep, and small."""
    return ImageEncoder(2, width=1, size=32)


def _splits(path: Path) -> object:
    return read_splits(path.parents[1], find_objects(path.parents[1]))


def _dvr_coarse(folder: Path) -> object:
    """The hull of so few voxels takes a tenth of the time."""
    with patch("singleview.data.layouts.dvr.RESOLUTION", 8):
        return read_dvr(folder)


def _curves(path: Path) -> object:
    """All tables are read; of those that can be, one in `DRAWN` is drawn, which takes .1 s."""
    table = read_table(path)
    means = [binned(column) for column in table.values()]
    if crc32(path.read_bytes()) % DRAWN:
        return means
    return loss_plot(table), score_plot(table)


LEARNING: dict[str, Target] = {
    "network": Target(load_model, "model.safetensors", executions=200),
    "onet_pickle": Target(lambda p: read_onet(p, 0.2), "model.pt", _onet_weights, "model/data.pkl",
                          executions=30, asks=True),
    "deepsdf_specs": Target(lambda p: read_deepsdf(p.parent), "specs.json", _deepsdf),
    "deepsdf_split": Target(lambda p: names_of(p.parent, {"TrainSplit": p.name}, 3), "split.json"),
    "deepsdf_codes": Target(lambda p: read_codes(p, 6), "latest.pth", asks=True),
    "deepsdf_weights": Target(lambda p: read_deepsdf(p.parents[1]), "ModelParameters/latest.pth",
                              _deepsdf, executions=100, asks=True),
    "alignment": Target(read_alignment, "alignment.json"),
    "alignment_beside": Target(_upright, "meshes/alignment.json", _mesh),
    "resnet": Target(lambda p: _encoder().load_weights(p), "resnet.safetensors"),
    "resnet_torch": Target(lambda p: _encoder().load_weights(p), "resnet.pth", executions=100,
                           asks=True),
    "split_json": Target(lambda p: split_from_file(("ball/0", "ball/1"), p), "split.json"),
    "dataset_json": Target(lambda p: read_folder(p.parent), "dataset.json", _dataset),
    "dataset_object": Target(lambda p: read_folder(p.parents[1]), "chair/1.npz", _dataset),
    "dataset_values": Target(lambda p: read_folder(p.parents[1]), "chair/1.npz", _dataset,
                             "values.npy"),
    "samples_json": Target(lambda p: _both(p.parent, read_shards), "samples.json",
                           _shards("samples")),
    "samples_shard": Target(lambda p: _both(p.parent, read_shards), "samples_000.safetensors",
                            _shards("samples")),
    "distances_json": Target(lambda p: _both(p.parent, open_distances), "distances.json",
                             _shards("distances")),
    "distances_shard": Target(lambda p: _both(p.parent, open_distances),
                              "distances_000.safetensors", _shards("distances")),
    "dvr_cameras": Target(lambda p: _dvr_coarse(p.parents[3]), "chair/1/img_choy2016/cameras.npz",
                          _dvr, "world_mat_0.npy", executions=20),
    "dvr_cloud": Target(lambda p: _dvr_coarse(p.parents[2]), "chair/1/pointcloud.npz", _dvr,
                        "scale.npy", executions=20),
    "dvr_list": Target(_splits, "chair/train.lst", _dvr),
    "onet_points": Target(lambda p: read_onet_samples(p.parents[2]), "chair/1/points.npz", _onet,
                          "occupancies.npy"),
    "onet_pointcloud": Target(lambda p: read_onet_samples(p.parents[2]), "chair/1/pointcloud.npz",
                              _onet, "normals.npy"),
    "nmr_images": Target(lambda p: read_nmr(p.parent), "02691156_train_images.npz", _nmr,
                         "arr_0.npy"),
    "nmr_voxels": Target(lambda p: read_nmr(p.parent), "02691156_train_voxels.npz", _nmr,
                         "arr_0.npy"),
    "depth_view": Target(load_depth, "d.npz", _depth, "depths.npy"),
    "depth_camera": Target(load_depth, "d.npz", _depth, "c2w.npy"),
    "voxels": Target(read_grid, "v.npz", _npz("v.npz", voxels=np.ones((4, 4, 4))), "voxels.npy"),
    "cloud_ply": Target(read_points, "c.ply"),
    "cloud_npz": Target(read_points, "c.npz", _npz("c.npz", points=np.ones((5, 3))), "points.npy"),
    "code_json": Target(lambda p: read_code(p, family()), "code.json"),
    "curves": Target(_curves, "losses.csv", executions=100),
}  # fmt: skip
