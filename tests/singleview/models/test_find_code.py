"""Codes are found from several starts: none of them alone would do better."""

from __future__ import annotations

import pytest
import torch
from tiny_family import bench, family

from sdfrender.latent.fit import distance_term, fit_code, norm_term
from singleview.models.latent import CODE_WEIGHT, NEAREST, energy_of, find_code, starts


@pytest.mark.parametrize("size", [(0.4, 0.55), (0.62, 0.3)])
def test_no_single_start_ends_lower(size: tuple[float, float]) -> None:
    field = family()
    generator = torch.Generator().manual_seed(0)
    points = 1.6 * torch.rand(3000, 3, generator=generator) - 0.8
    values = bench(*size)(points)
    begun = starts(field, points[:128], values[:128], 0.1)
    assert len(begun) == 1 + NEAREST
    torch.testing.assert_close(begun[0], field.codes.mean(0))
    few = [energy_of(field, code, points[:128], values[:128]) for code in begun[1:]]
    assert few == sorted(few)
    found = find_code(field, points, values)
    terms = [distance_term(field, points, values, 0.1), norm_term(CODE_WEIGHT)]
    alone = [fit_code(terms, start).energies[-1] for start in begun]
    assert found.energies[-1] < 1.02 * min(alone)


def test_fewer_known_codes_than_starts() -> None:
    field = family()
    points = torch.zeros(4, 3)
    values = bench(0.4, 0.5)(points)
    few = type(field)(field.shape, field.names[:2], field.codes[:2].detach())
    few.load_state_dict({**field.state_dict(), "codes": field.codes[:2]})
    assert len(starts(few, points, values, 0.1)) == 3
