"""What concavities alone need is compiled by another process, for the types that are called."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from numba import typeof

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.surgery import ahead
from multiview.surgery.photo_consistency import Looks, Photographs, fill_consistency
from sdfrender import Cameras, Headlight, Lattice, Lighting


def test_the_types_are_those_that_are_called() -> None:
    """A new argument of the kernel needs a new one there: else it would be compiled twice."""
    look = Appearance(1, Lighting(headlight=Headlight(0.8)))
    cameras = Cameras.cube(3.0, width=12)[[0, 1, 2]]
    masks = torch.ones(3, 12, 12)
    ball = Lattice.sphere(0.4, resolution=9)
    targets = Targets(cameras, masks[..., None], masks, masks, masks)
    photographs = Photographs(targets, look.render(ball, targets))
    points = torch.tensor([[[0.0, 0.0, 0.4]]])
    photographs.consistency(
        points, points[:, 0] / 0.4, torch.ones(1), Looks.under(look, targets), 1
    )
    ((function, arguments),) = ahead.work()
    assert function is fill_consistency
    called = fill_consistency.signatures  # type: ignore[attr-defined]
    assert tuple(map(typeof, arguments)) in called


def test_it_is_started_once_and_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ahead, "_helper", None)
    monkeypatch.setattr(ahead, "worth_a_process", lambda kernel: True)
    done = tmp_path / "done"
    monkeypatch.setattr(ahead, "HELPER", f"open({str(done)!r}, 'x')")
    ahead.begin()
    started = ahead._helper
    assert started is not None
    ahead.begin()
    assert ahead._helper is started
    ahead.finish()
    assert done.exists()


def test_where_it_is_compiled_or_no_process_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(ahead, "_helper", None)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(ahead, "worth_a_process", lambda kernel: False)
    ahead.begin()  # does not ask for one
    monkeypatch.setattr(ahead, "worth_a_process", lambda kernel: True)
    ahead.begin()
    ahead.finish()
    assert ahead._helper is None
