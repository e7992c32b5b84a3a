"""What memory is too small for is told before work starts, with what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from multiview import memory
from multiview.config import FitConfig
from multiview.photo.targets import Targets
from multiview.recipes import adam, best, sdfdiff
from sdfrender import InputError

BOX = tiny.BOX


def views(count: int, width: int) -> Targets:
    cameras = tiny.ring(count, width, 2 * width // 3)
    masks = torch.ones(count, cameras.height, cameras.width)
    return Targets(cameras, masks[..., None].expand(-1, -1, -1, 3), masks, masks, masks)


def free(monkeypatch: pytest.MonkeyPatch, gigabytes: float | None) -> None:
    told = None if gigabytes is None else int(gigabytes * 1e9)
    monkeypatch.setattr(memory, "free_memory", lambda: told)


def test_it_grows_with_the_lattice_the_views_and_their_colours() -> None:
    few, more, larger = views(4, 60), views(8, 60), views(4, 120)
    at = memory.expected_memory(64, best(64), few, BOX, False)
    assert memory.expected_memory(128, best(128), few, BOX, False) > at
    assert memory.expected_memory(64, best(64), more, BOX, False) > at
    assert memory.expected_memory(64, best(64), larger, BOX, False) > at
    assert memory.expected_memory(64, best(64), few, BOX, True) > at
    assert memory.expected_memory(64, sdfdiff(64), few, BOX, False) < at  # a view at a time
    assert memory.views_of_a_step(adam(64), 9) == 4
    assert memory.views_of_a_step(best(64), 90) == 32


def test_what_does_not_fit_is_refused_with_what_would(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    targets = views(3, 90)
    config = FitConfig(tmp_path, resolution=1024)
    free(monkeypatch, 2.0)
    with pytest.raises(InputError, match=r"--resolution: 1024 needs about \d+\.\d GB") as caught:
        memory.check_memory(config, targets, BOX, False)
    largest = int(str(caught.value).split("fits is ")[1].split(",")[0])
    recipe = best(largest)
    assert memory.expected_memory(largest, recipe, targets, BOX, False) <= 2e9
    above = largest + memory.STEP
    assert memory.expected_memory(above, best(above), targets, BOX, False) > 2e9
    free(monkeypatch, 1000.0)
    memory.check_memory(config, targets, BOX, False)
    free(monkeypatch, None)  # a system that does not tell
    memory.check_memory(config, targets, BOX, False)
    free(monkeypatch, 0.1)
    with pytest.raises(InputError, match="need fewer views"):
        memory.check_memory(config, targets, BOX, False)
