"""MISE of fields whose slope is known: it finds what lies between the coarse samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdfrender import InputError
from sdfrender.geometry.primitives import sphere
from sdfrender.meshes.mise import mise

BOX = [[-1.0, -0.8, -0.9], [1.1, 0.9, 1.0]]
PLACE, SMALL = (0.575, 0.39, 0.43), 0.08  # in the middle of a coarse cell; 24 cells see it


def two_balls(p: Tensor) -> Tensor:
    """One that the coarse grid sees, and one between its samples."""
    return torch.minimum(sphere(0.4)(p), (p - torch.tensor(PLACE)).norm(dim=-1) - SMALL)


def test_the_surface_is_that_of_the_dense_grid() -> None:
    dense = mise(two_balls, BOX, (48, 40, 40), 0)
    found = mise(two_balls, BOX, 6, 3, slope=1.0)
    assert found.evaluations < 0.4 * dense.evaluations
    assert torch.equal(found.lattice.values < 0, dense.lattice.values < 0)
    assert torch.equal(torch.tensor(found.mesh().vertices), torch.tensor(dense.mesh().vertices))
    assert len(mise(two_balls, BOX, 6, 3).mesh().split()) < len(dense.mesh().split())


def test_an_object_that_no_coarse_sample_is_in() -> None:
    small = sphere(SMALL, PLACE)
    with pytest.raises(InputError, match="field: no surface"):
        mise(small, BOX, 6, 3)
    assert mise(small, BOX, 6, 3, slope=1.0).mesh().is_watertight
    with pytest.raises(InputError, match="field: no surface"):
        mise(lambda p: sphere(0.05)(p) + 1, BOX, 6, 3, slope=1.0)
    with pytest.raises(ValueError, match="slope: need"):
        mise(small, BOX, 6, 3, slope=0.0)
