"""Samples made from meshes: the command `singleview sample-points`.

What it writes is told in `singleview.data.samples_on_disk`. Shards
that are there are not made again, so that an interrupted command goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import trimesh
import tyro
from torch import Tensor
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.files.tensors import save_tensors
from sdfrender.geometry.mesh_distance import inside_mesh
from sdfrender.geometry.mesh_files import Doubles
from singleview.data.meshes import (
    SPLIT_RULES,
    Source,
    canonical_mesh,
    find_meshes,
    split_by,
)
from singleview.data.objects import LONGEST_SIDE, Split
from singleview.data.samples import HALF_BOX
from singleview.data.samples_on_disk import FORMAT, MANIFEST, shard_file
from singleview.data.shards import begin_shards
from singleview.from_meshes.sample_distances import sample_distances

PER_SHARD = 20
# Of points near the surface: standard deviations, as parts of the longest side, of one half each.
NEAR = (0.01, 0.05)


@dataclass(frozen=True)
class SamplePointsConfig:
    """What `singleview sample-points` is told; its fields are the options.

    Args:
        meshes: folder of category folders of watertight meshes (.obj .ply .glb .stl .off);
            with --sdf they may have holes.
        out: folder to write; it may hold the pictures of the same objects.
        categories: category folders to take. Default: all.
        alignment: JSON with a rotation per mesh that turns it upright. Default: alignment.json in
            MESHES, if there is one.
        points: of each object, uniform in the box that is a tenth wider than the object.
        near: points of each object near its surface.
        surface: points of each object on its surface, with normals.
        split: protocol: of every 20 objects of a category, sorted by name and counted from 0, those
            at 3, 8, 13, 18 are for testing, 2 and 12 for validation. random: a fifth and a tenth,
            by lot. all: all for training. Or a JSON file {"train": [names], "val": …, "test": …}.
        seed: of the points and of the random split.
        sdf: instead of all that, so many points of each object with their signed distance, most of
            them near its surface: what DeepSDF learns from. Meshes need not be watertight.
        warped: with --sdf: so many warped copies of each training object too. Default: 0.
    """

    meshes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MESHES")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    categories: tuple[str, ...] = ()
    alignment: Path | None = None
    points: int = 100_000
    near: int = 50_000
    surface: int = 50_000
    split: str = "protocol"
    seed: int = 0
    sdf: int | None = None
    warped: int = 0


def sample_points(config: SamplePointsConfig, quiet: bool = False) -> dict[str, Split]:
    """Sample every mesh of `config.meshes` and write the shards to `config.out`.

    Returns:
        The split of each object.

    Raises:
        InputError: an option out of range, meshes, an alignment or a split that cannot be used, or
            a folder that holds other samples.
    """
    _check(config)
    if config.sdf is not None:
        return sample_distances(config, quiet)
    sources = find_meshes(config.meshes, config.alignment, config.categories)
    splits = split_by(config.split, [source.name for source in sources], config.seed)
    groups = [sources[i : i + PER_SHARD] for i in range(0, len(sources), PER_SHARD)]
    _open_folder(config, splits)
    with tqdm(total=len(sources), desc="sampling", unit="object", disable=quiet) as bar:
        for number, group in enumerate(groups):
            if not shard_file(config.out, number).exists():
                tensors: dict[str, Tensor] = {}
                for source in group:
                    tensors |= sample_object(source, config)
                    bar.update()
                save_tensors(shard_file(config.out, number), tensors, {"format": FORMAT})
    return splits


def sample_object(source: Source, config: SamplePointsConfig) -> dict[str, Tensor]:
    """The arrays of one object, by `NAME/ARRAY`."""
    mesh = canonical_mesh(source)
    if not mesh.is_watertight:
        raise InputError(
            f"{source.path}: need a watertight mesh, inside and outside are not told apart"
        )
    rng = np.random.default_rng((config.seed, *source.name.encode()))
    surface, normals = _on_surface(mesh, config.surface, rng)
    uniform = rng.uniform(-HALF_BOX, HALF_BOX, (config.points, 3)).astype(np.float16)
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


def _open_folder(config: SamplePointsConfig, splits: dict[str, Split]) -> None:
    """Write the manifest, or make sure that the folder holds a part of the same samples."""
    settings: dict[str, Any] = asdict(config)
    for name in ("meshes", "out", "alignment", "sdf", "warped"):
        del settings[name]
    begin_shards(config.out / MANIFEST, FORMAT, settings, splits, PER_SHARD)


def _check(config: SamplePointsConfig) -> None:
    """Refuse options out of range, in the words of the command line."""
    rules = {
        "points": (1 <= config.points <= 10**7, "from 1 to 10 million"),
        "near": (0 <= config.near <= 10**7, "from 0 to 10 million"),
        "surface": (1 <= config.surface <= 10**7, "from 1 to 10 million"),
        "split": (
            config.split in SPLIT_RULES or Path(config.split).is_file(),
            "protocol, random, all or a JSON file",
        ),
        "seed": (0 <= config.seed < 2**62, "from 0 to 2^62 - 1"),
        "sdf": (config.sdf is None or 100 <= config.sdf <= 10**7, "from 100 to 10 million"),
        "warped": (
            config.warped == 0 or (config.sdf is not None and 0 < config.warped <= 1000),
            "0, or up to 1000 with --sdf",
        ),
    }
    for name, (holds, rule) in rules.items():
        if not holds:
            raise InputError(f"--{name}: need {rule}, got {getattr(config, name)}")
