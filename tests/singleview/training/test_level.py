"""A network's surfaces are put where the silhouettes of held-out objects are."""

from __future__ import annotations

import pytest
import torch
from singleview_tiny import tiny_dataset
from torch import Tensor

from singleview.models import Small
from singleview.training.level import best_level
from singleview.training.validate import predicted


@pytest.mark.parametrize("off", [0.03, -0.02])
def test_the_level_is_by_how_much_all_distances_are_off(off: float) -> None:
    held_out = tiny_dataset(size=24).split("val")
    assert held_out.values is not None
    true = held_out.values[0].float()

    def network(images: Tensor) -> Tensor:
        return (true + off).expand(len(images), -1, -1, -1)

    said = predicted(network, held_out, torch.device("cpu"))
    assert best_level(said, held_out) == pytest.approx(off, abs=0.003)


def test_a_lowered_network_says_as_much_less() -> None:
    model, images = Small(1, 12).eval(), torch.rand(2, 16, 16, 1)
    with torch.no_grad():
        before = model(images)
        model.lower(0.02)
        torch.testing.assert_close(model(images), before - 0.02)
