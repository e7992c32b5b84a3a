"""The command `singleview align`: a rotation for each mesh, so that a category stands alike.

Rotations that are told stay, and the others are found to them (`category`, then `closer`). What is
written is `alignment.json`, which every command that reads meshes reads too, and a picture of each
category to look at; a mesh that stands wrong is turned by hand with `--turn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.files.atomic import write_json
from sdfrender.files.locks import locked
from sdfrender.geometry.mesh_files import Doubles
from singleview.align.category import align_category, overlaps_with_others, pair_overlaps
from singleview.align.closer import closer
from singleview.align.sheet import DOUBTFUL, write_sheet
from singleview.align.turns import Solid, rotations
from singleview.data.meshes import ALIGNMENT, Source, canonical_mesh, find_meshes, read_alignment
from singleview.data.objects import category_of
from singleview.settings.alignment import TURN, AlignConfig

POINTS = 4000  # on each surface, to turn it by the last degrees
NEIGHBOURS = 3  # meshes of the category that it is turned to
GAIN = 0.02  # of overlap with the others, that the last degrees must gain
LEAST_TURN = np.radians(2)  # less is the shape's, not the pose's


@dataclass(frozen=True, eq=False)
class Aligned:
    """A mesh and how it fits its category.

    Args:
        source: with the rotation that was found or kept.
        overlap: mean overlap with the category's others, in [0, 1].
        kept: whether the rotation was told.
    """

    source: Source
    overlap: float
    kept: bool


def align(config: AlignConfig, quiet: bool = False) -> list[Aligned]:
    """Find a rotation for each mesh; writes the alignment, and CATEGORY.png beside it.

    Raises:
        InputError: meshes or an alignment that cannot be used, a turn of what is not there, or a
            folder that another process writes to.
    """
    out = config.out or config.meshes / ALIGNMENT
    if not out.parent.is_dir():
        raise InputError(f"--out: need a folder that exists, got {out.parent}")
    with locked(out.parent):
        return _align(config, out, quiet)


def _align(config: AlignConfig, out: Path, quiet: bool) -> list[Aligned]:
    """The same, in a folder that no other process writes to."""
    told = read_alignment(out) if out.is_file() else {}
    sources = find_meshes(config.meshes, out if told else None, config.categories)
    keys = {source.name: source.path.relative_to(config.meshes).as_posix() for source in sources}
    kept = {name: key in told and not config.again for name, key in keys.items()}
    sources = [s if kept[s.name] else replace(s, rotation=np.eye(3)) for s in sources]
    turns = _turns(config, sources, keys)
    done: list[Aligned] = []
    with tqdm(total=len(sources), desc="aligning", unit="mesh", disable=quiet) as bar:
        for category in sorted({category_of(source.name) for source in sources}):
            own = [s for s in sources if category_of(s.name) == category]
            found = aligned(own, [kept[s.name] for s in own], config.resolution, bar.update)
            found = [
                replace(one, source=_turned(one.source, turns[one.source.name])) for one in found
            ]
            write_sheet(out.parent / f"{category}.png", found)
            done += found
    others = {key: R.tolist() for key, R in told.items() if key not in set(keys.values())}
    table = {keys[one.source.name]: one.source.rotation.tolist() for one in done}
    overlaps = {keys[one.source.name]: round(one.overlap, 3) for one in done}
    write_json(out, {"_overlap": overlaps, **others, **table})
    return done


def aligned(
    sources: Sequence[Source], kept: Sequence[bool], resolution: int, done: object = None
) -> list[Aligned]:
    """The meshes of one category, each with its rotation.

    Args:
        sources: of one category, with the rotations that are told.
        kept: which of them are.
        resolution: cells along each side of the solids.
        done: called after each mesh that was read.
    """
    clouds = []
    for source in sources:
        clouds.append(cloud_of(source))
        if callable(done):
            done()
    group = align_category([shares(cloud, resolution) for cloud in clouds], kept)
    sources = [_turned(s, R) for s, R in zip(sources, group, strict=True)]
    clouds = [cloud @ R.T for cloud, R in zip(clouds, group, strict=True)]
    for i, source in enumerate(sources):
        if not kept[i] and len(sources) > 1:
            sources[i], clouds[i] = _last_degrees(i, source, clouds, resolution)
    scores = overlaps_with_others([shares(cloud, resolution) for cloud in clouds])
    return [Aligned(s, a, k) for s, a, k in zip(sources, scores, kept, strict=True)]


def doubtful(found: Sequence[Aligned]) -> list[Aligned]:
    """Those that fit their category much less than the others do, and were not told."""
    by_category: dict[str, list[float]] = {}
    for one in found:
        by_category.setdefault(category_of(one.source.name), []).append(one.overlap)
    middle = {category: float(np.median(x)) for category, x in by_category.items()}
    return [
        one
        for one in found
        if not one.kept and one.overlap < DOUBTFUL * middle[category_of(one.source.name)]
    ]


def cloud_of(source: Source) -> Doubles:
    """`[POINTS, 3]` on the surface of a mesh, canonical frame."""
    return np.asarray(canonical_mesh(source).sample(POINTS, seed=0), dtype=np.float64)


def shares(cloud: Doubles, resolution: int) -> Solid:
    """`[R, R, R]` the share of points `[P, 3]` in each voxel of the box [-1, 1]³."""
    voxels = ((cloud + 1) * (resolution / 2)).astype(int).clip(0, resolution - 1)
    counts = np.zeros((resolution,) * 3, np.float32)
    np.add.at(counts, tuple(voxels.T), 1 / len(cloud))
    return counts


def _last_degrees(
    i: int, source: Source, clouds: list[Doubles], resolution: int
) -> tuple[Source, Doubles]:
    """A mesh turned towards those that are most like it, if that fits it better to all."""
    others = [n for n in range(len(clouds)) if n != i]

    known = [shares(clouds[n], resolution) for n in others]

    def with_each(cloud: Doubles) -> Doubles:
        surfaces = [shares(cloud, resolution), *known]
        return pair_overlaps(surfaces, rotations()[:1])[0, 0, 1:].astype(np.float64)

    before = with_each(clouds[i])
    near = [others[n] for n in np.argsort(before)[::-1][:NEIGHBOURS]]
    R = closer(clouds[i], np.concatenate([clouds[n] for n in near]))
    if Rotation.from_matrix(R).magnitude() < LEAST_TURN:
        return source, clouds[i]
    trial = _turned(source, R)
    cloud = cloud_of(trial)  # in the middle of its box again
    gain = with_each(cloud).mean() - before.mean()
    return (trial, cloud) if gain > GAIN else (source, clouds[i])


def _turned(source: Source, R: Doubles) -> Source:
    return replace(source, rotation=R @ source.rotation)


def _turns(
    config: AlignConfig, sources: Sequence[Source], keys: dict[str, str]
) -> dict[str, Doubles]:
    """The rotation by hand of each mesh.

    Raises:
        InputError: one of a mesh or category that is not there.
    """
    turns = {source.name: np.eye(3) for source in sources}
    for text in config.turn:
        what, axis, degrees = TURN.fullmatch(text).groups()  # type: ignore[union-attr]
        R = Rotation.from_euler(axis, float(degrees), degrees=True).as_matrix()
        R = np.where(np.abs(R - R.round()) < 1e-9, R.round(), R)
        meant = [s.name for s in sources if what in (keys[s.name], s.name, category_of(s.name))]
        if not meant:
            raise InputError(
                f"--turn: need a mesh below {config.meshes} or a category, got {what!r}"
            )
        for name in meant:
            turns[name] = R @ turns[name]
    return turns
