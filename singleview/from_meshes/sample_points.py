"""Samples made from meshes: the command `singleview sample-points`.

What it writes is told in `singleview.data.samples_on_disk`. Shards
that are there are not made again, so that an interrupted command goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor
from tqdm import tqdm

from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.cluster.work import Stop, finish_all
from sdfrender.errors import InputError
from sdfrender.files.locks import locked
from sdfrender.files.tensors import save_tensors
from sdfrender.geometry.mesh_distance import inside_mesh
from sdfrender.geometry.mesh_files import Doubles
from sdfrender.kernels.torch_threads import torch_threads
from singleview.data.meshes import Source, absolute, canonical_mesh, find_meshes, split_by
from singleview.data.objects import LONGEST_SIDE
from singleview.data.samples import HALF_PADDED_BOX
from singleview.data.samples_on_disk import FORMAT, MANIFEST, shard_file
from singleview.data.shards import PER_SHARD, begin_shards
from singleview.from_meshes.sample_distances import sample_distances
from singleview.settings.choices import Split
from singleview.settings.datasets import SamplePointsConfig

# Of points near the surface: standard deviations, as parts of the longest side, of one half each.
NEAR = (0.01, 0.05)


def sample_points(
    config: SamplePointsConfig, quiet: bool = False, cluster: SchedulerSettings | None = None
) -> dict[str, Split]:
    """Sample every mesh of `config.meshes` and write the shards to `config.out`.

    Args:
        config: what `singleview sample-points` is told.
        quiet: no progress bar.
        cluster: a scheduler whose workers sample, a shard each, if it is not to be done here.

    Returns:
        The split of each object.

    Raises:
        InputError: an option out of range, meshes, an alignment or a split that cannot be used, or
            a folder that holds other samples, or that another process writes to.
    """
    if config.sdf is not None:
        return sample_distances(config, quiet, cluster)
    sources = find_meshes(config.meshes, config.alignment, config.categories)
    splits = split_by(config.split, [source.name for source in sources], config.seed)
    groups = [sources[i : i + PER_SHARD] for i in range(0, len(sources), PER_SHARD)]
    with locked(config.out):
        _open_folder(config, splits, {source.name: source.rotation for source in sources})
        _sample_all(config, groups, quiet, cluster)
    return splits


def _sample_all(
    config: SamplePointsConfig,
    groups: Sequence[Sequence[Source]],
    quiet: bool,
    cluster: SchedulerSettings | None,
) -> None:
    """Write the shards that are not there, each the samples of a group of objects."""
    if cluster is not None and cluster.scheduler is not None:
        there = replace(config, out=config.out.resolve())
        tasks = {
            f"shard {number}": (there, number, [absolute(source) for source in group])
            for number, group in enumerate(groups)
            if not shard_file(config.out, number).exists()
        }
        finish_all(cluster, _sample_there, tasks, "sampling", quiet)
        return
    with tqdm(total=sum(map(len, groups)), desc="sampling", unit="object", disable=quiet) as bar:
        for number, group in enumerate(groups):
            if not shard_file(config.out, number).exists():
                _sample_shard(config, number, group, bar.update)


def _sample_shard(
    config: SamplePointsConfig,
    number: int,
    group: Sequence[Source],
    on_object: Callable[[], object] = lambda: None,
) -> None:
    """Write one shard, the samples of some objects."""
    tensors: dict[str, Tensor] = {}
    for source in group:
        tensors |= sample_object(source, config)
        on_object()
    save_tensors(shard_file(config.out, number), tensors, {"format": FORMAT})


def _sample_there(
    config: SamplePointsConfig, number: int, group: Sequence[Source], stop: Stop
) -> None:
    """The same in the process of a worker."""
    with torch_threads(1):
        _sample_shard(config, number, group)


def sample_object(source: Source, config: SamplePointsConfig) -> dict[str, Tensor]:
    """The arrays of one object, by `NAME/ARRAY`, as `singleview.data.samples_on_disk` tells.

    Positions `[P, 3]` and normals `[S, 3]` are float16, canonical frame; occupancy is in bits
    `[P / 8]`.
    """
    mesh = canonical_mesh(source)
    if not mesh.is_watertight:
        raise InputError(
            f"{source.path}: need a watertight mesh, inside and outside are not told apart"
        )
    rng = np.random.default_rng((config.seed, *source.name.encode()))
    surface, normals = _on_surface(mesh, config.surface, rng)
    uniform = rng.uniform(-HALF_PADDED_BOX, HALF_PADDED_BOX, (config.points, 3)).astype(np.float16)
    close, _ = _on_surface(mesh, config.near, rng)
    sigma = LONGEST_SIDE * np.resize(NEAR, (config.near, 1))
    near = (close + sigma * rng.standard_normal(close.shape)).astype(np.float16)
    arrays = {
        "points": uniform,
        "inside": np.packbits(inside_mesh(mesh, uniform.astype(np.float64))),
        "near": near,
        "near_inside": np.packbits(inside_mesh(mesh, near.astype(np.float64))),
        "surface": surface.astype(np.float16),
        "normals": normals.astype(np.float16),
    }
    return {f"{source.name}/{key}": torch.from_numpy(x) for key, x in arrays.items()}


def _on_surface(
    mesh: trimesh.Trimesh, count: int, rng: np.random.Generator
) -> tuple[Doubles, Doubles]:
    """Points uniform by area, and the normals there: `[count, 3]` twice."""
    areas = mesh.area_faces
    faces = rng.choice(len(areas), count, p=areas / areas.sum())
    u = rng.random((count, 2))
    u = np.where(u.sum(1, keepdims=True) > 1, 1 - u, u)
    a, b, c = np.moveaxis(mesh.triangles[faces], 1, 0)
    points: Doubles = a + u[:, :1] * (b - a) + u[:, 1:] * (c - a)
    outward = 1.0 if mesh.volume > 0 else -1.0
    return points, outward * mesh.face_normals[faces]


def _open_folder(
    config: SamplePointsConfig, splits: dict[str, Split], rotations: dict[str, Doubles]
) -> None:
    """Write the manifest, or make sure that the folder holds a part of the same samples."""
    settings: dict[str, Any] = asdict(config)
    for name in ("meshes", "out", "alignment", "sdf", "warped"):
        del settings[name]
    begin_shards(config.out / MANIFEST, FORMAT, settings, splits, PER_SHARD, rotations)
