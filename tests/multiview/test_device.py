"""`multiview fit --device`: what goes where, on a card that is pretended; what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import tiny
import torch
from processes.cpu_as_card import cpu_as_card

import multiview.device
from multiview.config import FitConfig
from multiview.device import device_for
from multiview.optimize.gauss_newton import GaussNewton
from multiview.several import need_shareable
from sdfrender import InputError
from sdfrender.rendering.cards import card_obstacle


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="known light"),
        pytest.param(
            {"light": "estimate", "appearance": "albedo", "exposure": "per-view"}, id="photographs"
        ),
    ],
)
def test_a_fit_with_its_steps_on_a_card_is_that_of_the_cpu(
    settings: dict[str, Any], torus_scene: Path, tmp_path: Path
) -> None:
    recipe = replace(tiny.NEWTON, views=4)  # in turns
    cpu = tiny.optimize_tiny(torus_scene, tmp_path / "cpu", recipe, **settings)
    places, step = [], GaussNewton.iterate

    def seen(self: GaussNewton, turn: int = 0) -> Any:
        places.append(self._lattice.values.device.type)
        return step(self, turn)

    with cpu_as_card(), patch.object(GaussNewton, "iterate", seen):
        card = tiny.optimize_tiny(torus_scene, tmp_path / "card", recipe, device="cuda", **settings)
    assert places == ["cuda"] * cpu.updates
    assert card.lattice.values.device == card.appearance.albedo.device == torch.device("cpu")
    cell = float(cpu.lattice.spacing.max())
    assert float((card.lattice.values - cpu.lattice.values).abs().max()) < 1e-5 * cell
    torch.testing.assert_close(card.appearance.albedo, cpu.appearance.albedo, rtol=0, atol=1e-5)
    torch.testing.assert_close(card.appearance.light.sh, cpu.appearance.light.sh, rtol=0, atol=1e-5)


def test_a_card_that_cannot_be_used_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with (
        patch.object(multiview.device, "card_obstacle", lambda: "it rains: wait"),
        pytest.raises(
            InputError, match=r"^--device cuda: no card can be used here: it rains: wait$"
        ),
    ):
        tiny.fit_tiny(tmp_path / "no such scene", tmp_path / "out", tiny.NEWTON, device="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_the_reason_says_what_helps() -> None:
    assert any(word in str(card_obstacle()) for word in ("pytorch.org", "nvidia-smi"))


def test_a_card_that_is_too_small_says_how_to_go_on(torus_scene: Path, tmp_path: Path) -> None:
    with (
        patch("multiview.fit.optimize", side_effect=torch.OutOfMemoryError("2 GiB")),
        pytest.raises(InputError, match=r"^--device: .*too small.*--resume --device cpu"),
    ):
        tiny.fit_tiny(torus_scene, tmp_path / "out", tiny.NEWTON)


def test_auto_takes_the_cpu_where_no_card_can_be_used(
    torus_scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with patch.object(multiview.device, "card_obstacle", lambda: "it rains"):
        state = tiny.optimize_tiny(torus_scene, tmp_path / "out", tiny.QUICK["fast"], device="auto")
    assert state.device.type == "cpu"
    assert "device:" not in caplog.text
    with (
        patch.object(multiview.device, "card_obstacle", lambda: "it rains"),
        patch.object(torch.cuda, "is_available", lambda: True),
    ):
        config = FitConfig(torus_scene, tmp_path / "other", device="auto")
        assert device_for(config, state.scene, True).type == "cpu"
    assert "device: steps stay on the CPU: it rains" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "adam"}, "--device cuda: need --preset best or fast, got adam"),
        ({"silhouettes": "none"}, "--device cuda: need silhouettes, got --silhouettes none"),
        ({"colors": "off"}, "--device cuda: need colours, got --colors off"),
    ],
)
def test_what_has_no_steps_for_a_card(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        FitConfig(tmp_path, tmp_path / "out", device="cuda", **settings)


def test_several_processes_need_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--device cuda: need one process"):
        need_shareable(FitConfig(tmp_path, tmp_path / "out", device="cuda"), live=False)
