"""The true meshes of a data set's objects, as they stood when it was made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from sdfrender import InputError
from singleview.data.meshes import Source, canonical_mesh, find_meshes
from singleview.data.objects import category_of
from singleview.data.shards import stored_rotations

log = logging.getLogger("singleview")


def true_sources(folder: Path, names: Sequence[str], manifest: Path) -> dict[str, Source]:
    """The mesh files of some objects, with the rotations that a manifest holds.

    A manifest from before these were stored leaves it to the folder's `alignment.json`.

    Raises:
        InputError: one that is not there.
    """
    categories = sorted({category_of(name) for name in names})
    found = {source.name: source for source in find_meshes(folder, categories=categories)}
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{folder}: need the mesh of {missing[0]!r}, it is not there")
    stored = stored_rotations(manifest)
    if stored is None:
        log.warning(
            "%s: does not say how meshes were turned, %s is taken as it is", manifest, folder
        )
        return {name: found[name] for name in names}
    truths = {name: replace(found[name], rotation=stored.get(name, np.eye(3))) for name in names}
    turned = [n for n in names if not np.allclose(truths[n].rotation, found[n].rotation, atol=1e-6)]
    if turned:
        log.warning(
            "%s: its alignment has changed for %d of %d meshes since %s was made; they are judged "
            "as they stood then",
            folder, len(turned), len(names), manifest,
        )  # fmt: skip
    return truths


def true_meshes(folder: Path, names: Sequence[str], manifest: Path) -> dict[str, trimesh.Trimesh]:
    """The meshes of some objects, in the canonical frame; see `true_sources`."""
    sources = true_sources(folder, names, manifest)
    return {name: canonical_mesh(source) for name, source in sources.items()}
