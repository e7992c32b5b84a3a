"""Signed distances around meshes: `singleview sample-points --sdf`.

What it writes is told in `singleview.data.distances`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

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
from sdfrender.geometry.grid import UNIT_BOX, grid_points
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.geometry.mesh_files import Doubles
from sdfrender.kernels.torch_threads import torch_threads
from singleview.augment.symmetry import GRID, X, side_axes
from singleview.augment.warps import WarpSettings, random_warp
from singleview.data.distances import FORMAT, MANIFEST, WARPED, shard_file
from singleview.data.meshes import Source, absolute, canonical_mesh, find_meshes, split_by
from singleview.data.objects import LONGEST_SIDE, category_of
from singleview.data.shards import PER_SHARD, begin_shards
from singleview.settings.choices import Split
from singleview.settings.datasets import SamplePointsConfig

NEAR_SHARE = 0.95  # of the points; 47 of 50 in the paper
# Standard deviations from the surface, as parts of the longest side, of a fifth of them each. The
# paper's variances, 0.0025 and 0.00025 in the unit ball, are about the first two; the last keeps
# phantoms out of the space around.
NEAR = (0.03, 0.01, 0.03, 0.01, 0.1)
HALF_UNIT_BOX = 1.0  # canonical units; the uniform points lie in `UNIT_BOX`
LONGEST_EDGE = 0.1  # of a mesh that is warped, in canonical units


def sample_distances(
    config: SamplePointsConfig, quiet: bool = False, cluster: SchedulerSettings | None = None
) -> dict[str, Split]:
    """Sample distances around every mesh of `config.meshes`, write the shards to `config.out`.

    Args:
        config: what `singleview sample-points` is told.
        quiet: no progress bar.
        cluster: a scheduler whose workers measure, a shard each, if it is not to be done here.

    Returns:
        The split of each object, warped copies included.

    Raises:
        InputError: meshes, an alignment or a split that cannot be used, or a folder that holds
            other samples, or that another process writes to.
    """
    sources = find_meshes(config.meshes, config.alignment, config.categories)
    splits = split_by(config.split, [source.name for source in sources], config.seed)
    jobs = [
        (source, copy)
        for source in sources
        for copy in range(1 + (config.warped if splits[source.name] == "train" else 0))
    ]
    found = {_name(source, copy): splits[source.name] for source, copy in jobs}
    settings = {key: getattr(config, key) for key in ("sdf", "warped", "split", "seed")}
    rotations = {source.name: source.rotation for source in sources}
    with locked(config.out):
        begin_shards(config.out / MANIFEST, FORMAT, settings, found, PER_SHARD, rotations)
        trained = [source for source in sources if splits[source.name] == "train"]
        _sample_all(config, jobs, sides_of(trained) if config.warped else {}, quiet, cluster)
    return found


def _sample_all(
    config: SamplePointsConfig,
    jobs: Sequence[tuple[Source, int]],
    sides: Mapping[str, int],
    quiet: bool,
    cluster: SchedulerSettings | None,
) -> None:
    """Write the shards that are not there, each the distances of some objects and copies."""
    groups = [jobs[i : i + PER_SHARD] for i in range(0, len(jobs), PER_SHARD)]
    if cluster is not None and cluster.scheduler is not None:
        there = replace(config, out=config.out.resolve())
        tasks = {
            f"shard {number}": (there, number, [(absolute(s), copy) for s, copy in group], sides)
            for number, group in enumerate(groups)
            if not shard_file(config.out, number).exists()
        }
        finish_all(cluster, _sample_there, tasks, "measuring distances", quiet)
        return
    with tqdm(total=len(jobs), desc="measuring distances", unit="object", disable=quiet) as bar:
        for number, group in enumerate(groups):
            if not shard_file(config.out, number).exists():
                _sample_shard(config, number, group, sides, bar.update)


def _sample_shard(
    config: SamplePointsConfig,
    number: int,
    group: Sequence[tuple[Source, int]],
    sides: Mapping[str, int],
    on_object: Callable[[], object] = lambda: None,
) -> None:
    """Write one shard, the samples of some objects and warped copies."""
    tensors: dict[str, Tensor] = {}
    for source, copy in group:
        tensors |= _sample_object(source, copy, sides.get(source.name, X), config)
        on_object()
    save_tensors(shard_file(config.out, number), tensors, {"format": FORMAT})


def _sample_there(
    config: SamplePointsConfig,
    number: int,
    group: Sequence[tuple[Source, int]],
    sides: Mapping[str, int],
    stop: Stop,
) -> None:
    """The same in the process of a worker."""
    with torch_threads(1):
        _sample_shard(config, number, group, sides)


def sides_of(sources: Sequence[Source]) -> dict[str, int]:
    """The axis along which the left and right of each object lie."""
    places = grid_points((GRID,) * 3, torch.tensor(UNIT_BOX)).double().numpy()
    flat = places.reshape(-1, 3)
    inside = [signed_distances(canonical_mesh(source), flat) < 0 for source in sources]
    solids = torch.from_numpy(np.stack(inside)).reshape(len(sources), *places.shape[:3])
    axes = side_axes([category_of(source.name) for source in sources], solids)
    return {source.name: int(axis) for source, axis in zip(sources, axes, strict=True)}


def _sample_object(
    source: Source, copy: int, side: int, config: SamplePointsConfig
) -> dict[str, Tensor]:
    """The arrays of one object or of a warped copy, by `NAME/ARRAY`."""
    assert config.sdf is not None  # else occupancy is sampled
    name = _name(source, copy)
    rng = np.random.default_rng((config.seed, *name.encode()))
    mesh = mesh_of_copy(source, copy, side, rng)
    points = points_around(mesh, config.sdf, rng).astype(np.float16)
    values = signed_distances(mesh, points.astype(np.float64))
    if not (values < 0).any():
        raise InputError(
            f"{source.path}: need a mesh with an inside, none of {len(values)} points around it is "
            "within: close it, or leave it out"
        )
    tensors = {"points": torch.from_numpy(points), "values": torch.from_numpy(values).half()}
    return {f"{name}/{key}": x for key, x in tensors.items()}


def mesh_of_copy(source: Source, copy: int, side: int, rng: np.random.Generator) -> trimesh.Trimesh:
    """The mesh of an object, or of a warped copy of it, by the first draw of `rng`; canonical."""
    mesh = canonical_mesh(source)
    if not copy:
        return mesh
    return warped_mesh(mesh, torch.Generator().manual_seed(int(rng.integers(2**62))), side)


def warped_copies(
    sources: Sequence[Source], names: Sequence[str], seed: int
) -> Callable[[str], trimesh.Trimesh]:
    """Makes the meshes of training objects and of their warped copies again, by their names.

    Args:
        sources: of all training objects, turned as they were then.
        names: that will be asked for.
        seed: of the samples.
    """
    by_name = {source.name: source for source in sources}
    sides = sides_of(sources) if any(WARPED in name for name in names) else {}

    @cache
    def make(name: str) -> trimesh.Trimesh:
        base, _, copy = name.partition(WARPED)
        rng = np.random.default_rng((seed, *name.encode()))
        return mesh_of_copy(by_name[base], int(copy or 0), sides.get(base, X), rng)

    return make


def points_around(mesh: trimesh.Trimesh, count: int, rng: np.random.Generator) -> Doubles:
    """`[count, 3]` points near the surface and some uniform ones, in no order.

    Args:
        mesh: in the canonical frame.
        count: of points.
        rng: that draws them.
    """
    near = round(NEAR_SHARE * count)
    seed = int(rng.integers(2**31))
    close = trimesh.sample.sample_surface(mesh, near, seed=seed)[0]
    sigma = LONGEST_SIDE * np.resize(NEAR, (near, 1))
    uniform = rng.uniform(-HALF_UNIT_BOX, HALF_UNIT_BOX, (count - near, 3))
    points = np.concatenate((close + sigma * rng.standard_normal((near, 3)), uniform))
    return rng.permutation(points)


def warped_mesh(
    mesh: trimesh.Trimesh, generator: torch.Generator, side: int = X
) -> trimesh.Trimesh:
    """A random deformation of a mesh (`singleview.augment.warps`), in the canonical frame again."""
    fine, faces = trimesh.remesh.subdivide_to_size(  # type: ignore[no-untyped-call]
        mesh.vertices, mesh.faces, LONGEST_EDGE
    )
    warp = random_warp(WarpSettings(), generator, side)
    verts = warp.to_new(torch.from_numpy(fine).float()).double().numpy()
    low, high = verts.min(0), verts.max(0)
    verts = (verts - (low + high) / 2) * (LONGEST_SIDE / (high - low).max())
    return trimesh.Trimesh(verts, faces, process=False)


def _name(source: Source, copy: int) -> str:
    return f"{source.name}{WARPED}{copy}" if copy else source.name
