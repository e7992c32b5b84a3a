"""The way through the levels: what is done before each."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import tiny
import torch

from multiview.levels import coarse_to_fine
from sdfrender import SparseLattice


def test_fine_lattices_are_made_near_their_surface_only(tmp_path: Path) -> None:
    scene = tiny.write_torus(tmp_path / "scene")
    dense = tiny.optimize_tiny(scene, tmp_path / "dense", tiny.SHORT["fast"]).lattice
    resample = SparseLattice.resample
    with (
        patch.object(coarse_to_fine, "SPARSE_ABOVE", 8),
        patch.object(SparseLattice, "resample", autospec=True, side_effect=resample) as made,
    ):
        sparse = tiny.optimize_tiny(scene, tmp_path / "sparse", tiny.SHORT["fast"]).lattice
    assert made.call_count == 2  # once a level
    cell = float(dense.spacing.min())
    near = dense.values.abs() < 2 * cell
    assert torch.equal(dense.values < 0, sparse.values < 0)
    assert (dense.values - sparse.values)[near].abs().max() < 1e-4 * cell
