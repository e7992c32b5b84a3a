"""The meshes that a dataset is rendered from: where they are, upright, and in which split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import trimesh

from sdfrender.errors import InputError
from sdfrender.files.extensions import MESHES
from sdfrender.files.find import is_litter
from sdfrender.files.tables import numbers, read_table, shown
from sdfrender.geometry.mesh_files import Doubles, load_mesh
from singleview.data.objects import LONGEST_SIDE, category_of
from singleview.settings.choices import SPLITS, Split

ALIGNMENT = "alignment.json"
# Of every 20 objects of a category, sorted by name: these are held out.
PERIOD = 20
TEST_POSITIONS = (3, 8, 13, 18)
VAL_POSITIONS = (2, 12)


@dataclass(frozen=True, eq=False)
class Source:
    """A mesh file and what becomes of it.

    Args:
        name: `CATEGORY/OBJECT`.
        path: of the mesh.
        rotation: `[3, 3]` to the canonical pose, applied to column vectors.
    """

    name: str
    path: Path
    rotation: Doubles


def absolute(source: Source) -> Source:
    """The same mesh, found from any folder."""
    return replace(source, path=source.path.resolve())


def find_meshes(
    folder: Path, alignment: Path | None = None, categories: Sequence[str] = ()
) -> list[Source]:
    """The meshes in the category folders of `folder`, or in `folder` itself, sorted by name.

    Args:
        folder: of folders of meshes, or of meshes: then it is itself the one category.
        alignment: JSON of a rotation per mesh, `{"chair/101.ply": [[…], […], […]]}`; keys are paths
            relative to `folder`, those that begin with `_` are comments. Meshes that are not in it
            stay as they are. Default: `alignment.json` in `folder`, if there is one.
        categories: the category folders to take. Default: all.

    Raises:
        InputError: no such folder, a category that is missing or empty, two meshes of one name, or
            an alignment that is not one or names a mesh that is not there.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: need a folder of meshes, there is no such folder")
    groups = _category_folders(folder, categories)
    if alignment is None and (folder / ALIGNMENT).is_file():
        alignment = folder / ALIGNMENT
    rotations = {} if alignment is None else read_alignment(alignment)
    for key in rotations:
        if not (folder / key).is_file():
            raise InputError(f"{alignment}: need the path of a mesh below {folder}, got {key!r}")
    sources: dict[str, Source] = {}
    for category, group in groups.items():
        files = [p for p in sorted(group.iterdir()) if not is_litter(p)]
        meshes = [p for p in files if p.suffix.lower() in MESHES]
        if not meshes:
            raise InputError(f"{group}: need a mesh ({' '.join(MESHES)}), it has none")
        for path in meshes:
            name = f"{category}/{path.stem}"
            if name in sources:
                raise InputError(f"{path}: need one mesh for the name {name!r}, got two")
            key = path.relative_to(folder).as_posix()
            sources[name] = Source(name, path, rotations.get(key, np.eye(3)))
    return [sources[name] for name in sorted(sources)]


def source_of(path: Path) -> Source:
    """A single mesh, upright as an `alignment.json` says that lies beside it or a folder above.

    Raises:
        InputError: an alignment that cannot be used.
    """
    name = f"{path.resolve().parent.name}/{path.stem}"
    for folder in (path.parent, path.parent / ".."):
        if (folder / ALIGNMENT).is_file():
            key = path.resolve().relative_to(folder.resolve()).as_posix()
            rotations = read_alignment(folder / ALIGNMENT)
            if key in rotations:
                return Source(name, path, rotations[key])
    return Source(name, path, np.eye(3))


def canonical_mesh(source: Source) -> trimesh.Trimesh:
    """The mesh turned upright, the middle of its box at the origin, its longest side 1.5.

    Raises:
        InputError: a mesh that cannot be read or has no extent.
    """
    mesh = load_mesh(source.path)
    verts = mesh.vertices @ source.rotation.T
    low, high = verts.min(0), verts.max(0)
    size = float((high - low).max())
    if not size > 0:
        raise InputError(
            f"{source.path}: need a mesh with an extent, all vertices are at one point"
        )
    verts = (verts - (low + high) / 2) * (LONGEST_SIDE / size)
    return trimesh.Trimesh(verts, mesh.faces, process=False)


# ---------------------------------------------------------------------- splits


def split_by(rule: str, names: Sequence[str], seed: int) -> dict[str, Split]:
    """The split of each object.

    Args:
        rule: protocol, random, all (everything is for training), or the path of a JSON file.
        names: of the objects.
        seed: of the random split.

    Raises:
        InputError: a file that is no split of these objects, or no object to train on.
    """
    if rule == "protocol":
        splits = protocol_split(names)
    elif rule == "random":
        splits = random_split(names, seed)
    elif rule == "all":
        splits = dict.fromkeys(names, "train")
    else:
        splits = split_from_file(names, Path(rule))
    if "train" not in splits.values():
        raise InputError(f"--split: need an object to train on, none of {len(names)} is")
    return {name: splits[name] for name in names}


def protocol_split(names: Sequence[str]) -> dict[str, Split]:
    """Every fifth object for testing and every tenth for validation, in each category.

    Of the objects of a category, sorted by name and counted from 0, those at 3, 8, 13 and 18 of
    every 20 are for testing and those at 2 and 12 for validation.
    """
    splits: dict[str, Split] = {}
    for members in by_category(names).values():
        for position, name in enumerate(sorted(members)):
            place = position % PERIOD
            held_out: Split = "test" if place in TEST_POSITIONS else "val"
            splits[name] = held_out if place in TEST_POSITIONS + VAL_POSITIONS else "train"
    return splits


def random_split(names: Sequence[str], seed: int) -> dict[str, Split]:
    """In each category a fifth of the objects for testing and a tenth for validation, by lot."""
    generator = torch.Generator().manual_seed(seed)
    splits: dict[str, Split] = {}
    for members in by_category(names).values():
        count = len(members)
        test, val = round(0.2 * count), round(0.1 * count)
        for rank, n in enumerate(torch.randperm(count, generator=generator).tolist()):
            held_out: Split = "test" if rank < test else "val"
            splits[sorted(members)[n]] = held_out if rank < test + val else "train"
    return splits


def split_from_file(names: Sequence[str], path: Path) -> dict[str, Split]:
    """A split as JSON, `{"train": [names], "val": [names], "test": [names]}`.

    Raises:
        InputError: other keys, a name twice, or a name without an object or an object without one.
    """
    table = read_table(path)
    splits: dict[str, Split] = {}
    for split, members in table.items():
        if split not in SPLITS or not isinstance(members, list):
            raise InputError(f"{path}: need lists under {', '.join(SPLITS)}, got {split!r}")
        for name in members:
            if not isinstance(name, str):
                raise InputError(f"{path}: need the names of objects, got {shown(name)}")
            if name in splits:
                raise InputError(f"{path}: need each name once, {name!r} is there twice")
            splits[name] = split
    different = sorted(set(splits) ^ set(names))
    if different:
        where = "no mesh" if different[0] in splits else "no split"
        raise InputError(f"{path}: {different[0]!r} has {where} ({len(different)} such names)")
    return splits


def by_category(names: Sequence[str]) -> dict[str, list[str]]:
    """The names of each category, in the order given."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[category_of(name)].append(name)
    return dict(groups)


# ---------------------------------------------------------------------- files


def _category_folders(folder: Path, categories: Sequence[str]) -> dict[str, Path]:
    for category in categories:
        if not (folder / category).is_dir():
            raise InputError(f"--categories: {folder / category} is not a folder")
    if categories:
        return {category: folder / category for category in categories}
    groups = {p.name: p for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] != "."}
    return groups or {folder.resolve().name: folder}


def read_alignment(path: Path) -> dict[str, Doubles]:
    """The rotations `[3, 3]` of an alignment, by the paths of its meshes; see `find_meshes`.

    Raises:
        InputError: not a table, or a rotation that is none.
    """
    rotations: dict[str, Doubles] = {}
    for key, rows in read_table(path).items():
        if key.startswith("_"):
            continue
        R = numbers(rows, [(3, 3)], f"{path}: {key!r} needs a rotation")
        if np.abs(R).max() > 2 or not np.allclose(R @ R.T, np.eye(3), atol=1e-6):
            raise InputError(f"{path}: {key!r} needs a rotation of 3×3 numbers, got {rows}")
        if np.linalg.det(R) < 0:
            raise InputError(f"{path}: {key!r} needs a rotation, got a mirror image: {rows}")
        rotations[key] = R
    return rotations
