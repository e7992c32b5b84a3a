"""The CUDA engine against the CPU engine: on a simulated card, and on a real one where one is.

The formulas are shared and everything is in float64 but for the lattice and the images, so what
differs is the order of sums.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import card_scenes
import pytest
import torch
from filelock import FileLock
from odd_scenes import rough
from places import ROOT
from safetensors.torch import load_file
from torch import Tensor

import sdfrender as sr
from sdfrender.engines.cuda import arrays, available
from sdfrender.geometry.padding import add_unpadded, pad
from sdfrender.rendering import render as renderer

PROCESSES = ROOT / "tests" / "support" / "processes"
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-6}  # of the norm; seen: 3e-14 and 7e-8
LINEAR_ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}
MOST_REGISTERS = 255  # that a thread can have
MOST_SPILLED = 128  # bytes
ON_CARD = torch.cuda.is_available() and available.device_obstacle(torch.device("cuda")) is None


def run(script: str, *arguments: str) -> str:
    """What a script of `support/processes` prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, PROCESSES / script, *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def simulated(shared_folder: Path) -> dict[str, Tensor]:
    """What a simulated card shows of every scene, made once."""
    file = shared_folder / "simulated_card.safetensors"
    with FileLock(shared_folder / "simulated_card.lock"):
        if not file.exists():
            run("simulated_card.py", str(file), *card_scenes.NAMES, "nothing")
    return load_file(file)


def of(found: dict[str, Tensor], title: str) -> dict[str, Tensor]:
    """What is kept under a title."""
    return {k.removeprefix(f"{title}/"): x for k, x in found.items() if k.startswith(f"{title}/")}


def assert_same(mine: dict[str, Tensor], others: dict[str, Tensor], tolerance: float) -> None:
    """Same names, same hits, and everything else to rounding."""
    assert mine.keys() == others.keys()
    if "hits" in others:
        assert torch.equal(mine["hits"], others["hits"])
    for name, x in others.items():
        assert mine[name].dtype == x.dtype, name
        assert torch.equal(torch.isfinite(mine[name]), torch.isfinite(x)), name
        a, b = (torch.where(torch.isfinite(y), y, 0.0).double() for y in (mine[name], x))
        assert float((a - b).norm()) <= tolerance * float(b.norm()), name


@pytest.mark.parametrize("name", card_scenes.NAMES)
def test_a_simulated_card_shows_what_the_cpu_engine_shows(
    name: str, simulated: dict[str, Tensor]
) -> None:
    scene = card_scenes.scene(name)
    mine = of(simulated, name)
    expected = scene.results("cpu")
    assert 30 < int(expected["hits"].sum()) < expected["hits"].numel()
    assert_same(mine, expected, ROUNDING[scene.values.dtype])


@pytest.mark.parametrize("name", card_scenes.DETERMINISTIC)
def test_sums_in_whole_numbers_are_the_same_sums(name: str, simulated: dict[str, Tensor]) -> None:
    mine = of(simulated, f"deterministic {name}")
    scene = card_scenes.scene(name)
    assert_same(mine, scene.results("cpu"), max(ROUNDING[scene.values.dtype], 1e-10))


def test_sums_in_whole_numbers_do_not_hide_what_is_no_number(simulated: dict[str, Tensor]) -> None:
    assert bool(simulated["not finite/values"].isnan().all())


@pytest.mark.parametrize("name", card_scenes.LINEAR)
def test_products_with_the_jacobian_are_those_of_the_cpu_engine(
    name: str, simulated: dict[str, Tensor]
) -> None:
    scene = card_scenes.scene(name)
    mine = of(simulated, f"linear {name}")
    assert_same(mine, scene.products("cpu"), LINEAR_ROUNDING[scene.values.dtype])


@pytest.mark.skipif(not ON_CARD, reason="needs an NVIDIA card and the package numba-cuda")
@pytest.mark.parametrize("name", card_scenes.NAMES)
def test_a_card_shows_what_the_cpu_engine_shows(name: str) -> None:
    scene = card_scenes.scene(name)
    tolerance = 1e-9 if scene.values.dtype == torch.float64 else 1e-5
    assert_same(scene.results("cuda", "cuda"), scene.results("cpu"), tolerance)


@pytest.mark.skipif(not ON_CARD, reason="needs an NVIDIA card and the package numba-cuda")
@pytest.mark.parametrize("name", card_scenes.LINEAR)
def test_products_on_a_card_are_those_of_the_cpu_engine(name: str) -> None:
    scene = card_scenes.scene(name)
    tolerance = 1e-9 if scene.values.dtype == torch.float64 else 1e-4
    assert_same(scene.products("cuda", "cuda"), scene.products("cpu"), tolerance)


@pytest.mark.skipif(not ON_CARD, reason="needs an NVIDIA card and the package numba-cuda")
def test_deterministic_derivatives_repeat_to_the_bit() -> None:
    scene = card_scenes.scene("colours")
    first = scene.results("cuda", "cuda", deterministic=True)
    for _ in range(5):
        again = scene.results("cuda", "cuda", deterministic=True)
        assert all(torch.equal(x, again[name]) for name, x in first.items())


def has_compiler() -> bool:
    """Whether kernels can be compiled and assembled here."""
    nvidia = importlib.util.find_spec("nvidia")
    places = (nvidia and nvidia.submodule_search_locations) or []
    return available.installed() and any(True for x in places for _ in Path(x).glob("*/bin/ptxas"))


@pytest.mark.skipif(
    not has_compiler(), reason="needs the packages numba-cuda, nvidia-nvvm and nvidia-cuda-nvcc"
)
@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param("float32", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.release),
    ],
)
def test_every_kernel_fits_into_the_registers_of_a_thread(dtype: str) -> None:
    found = json.loads(run("card_code.py", dtype).splitlines()[-1])
    assert len(found) > 6
    for name, cards in found.items():
        for card, numbers in cards.items():
            assert numbers["registers"] <= MOST_REGISTERS, (name, card, numbers)
            assert numbers["spilled"] <= MOST_SPILLED, (name, card, numbers)
            assert (numbers["atomics"] > 0) == name.startswith(("pull", "push", "normal")), (
                name,
                card,
                numbers,
            )


@pytest.mark.parametrize("size", [(2, 3, 2), (9, 10, 17), (8, 18, 5)])
def test_a_lattice_is_made_ready_as_on_the_cpu(size: tuple[int, int, int]) -> None:
    values = rough(size, 1).values.float()
    padded = arrays.padded(values)
    assert torch.equal(padded, torch.from_numpy(pad(values.numpy(), 1)))
    expected = torch.zeros(size)
    add_unpadded([padded.numpy()], expected.numpy(), 1)
    torch.testing.assert_close(arrays.unpadded(padded), expected)
    low = arrays.block_minima(values)
    for block in torch.cartesian_prod(*(torch.arange(n) for n in low.shape)).tolist():
        box = values[tuple(slice(8 * b, 8 * b + 9) for b in block)]
        assert low[tuple(block)] == box.min()
    assert low.shape == tuple(-(-(n - 1) // 8) for n in size)


# ---------------------------------------------------------------- where it cannot be used


def test_linearize_says_which_engines_there_are() -> None:
    camera, ball = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=8), sr.Lattice.sphere(resolution=9)
    with pytest.raises(ValueError, match=r"^engine: need one of auto, cpu, cuda, got 'reference'"):
        sr.linearize(ball, camera, engine="reference")
    with pytest.raises(ValueError, match=r"^engine='cuda': it does not know a lattice on cpu"):
        sr.linearize(ball, camera, engine="cuda")


def test_a_lattice_on_the_cpu_is_refused_with_what_to_do() -> None:
    camera = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=8)
    with pytest.raises(ValueError, match=r"^engine='cuda': it does not know a lattice on cpu: \w+"):
        sr.render(sr.Lattice.sphere(0.5, resolution=9), camera, engine="cuda")
    with pytest.raises(ValueError, match="engine='cuda': it does not know tracer='sphere'"):
        sr.render(
            sr.Lattice.sphere(0.5, resolution=9), camera, engine="cuda", tracer="sphere",
            coverage=False,
        )  # fmt: skip


def test_reasons_name_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    obstacle = available.card_obstacle.__wrapped__
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Old Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (6, 1))
    assert "Old Card has compute capability 6.1, and it needs 7.5: " in (obstacle(0) or "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(available, "installed", lambda: False)
    for version, extra in (("13.0", "cuda"), ("12.8", "cuda12")):
        monkeypatch.setattr(torch.version, "cuda", version)
        assert (obstacle(0) or "").endswith(f': pip install "sdfrender[{extra}]"')


def test_auto_tells_why_it_takes_the_slower_engine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class OnCard:
        values = torch.zeros(0, device="meta")  # not a card, but not the CPU either

    monkeypatch.setattr(renderer, "device_obstacle", lambda device: "it rains")
    renderer._tell_once.cache_clear()
    assert renderer.chosen_engine(OnCard, "exact") == "reference"  # type: ignore[arg-type]
    assert not caplog.messages
    monkeypatch.setattr(OnCard, "values", FakeTensor())
    assert renderer.chosen_engine(OnCard, "exact") == "reference"  # type: ignore[arg-type]
    assert renderer.chosen_engine(OnCard, "exact") == "reference"  # type: ignore[arg-type]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("slower than engine='cuda': it rains")
    monkeypatch.setattr(renderer, "device_obstacle", lambda device: None)
    assert renderer.chosen_engine(OnCard, "exact") == "cuda"  # type: ignore[arg-type]


class FakeTensor:
    """On a card."""

    device = torch.device("cuda", 0)
