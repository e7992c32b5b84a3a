"""What systems differ in is found where it is, and done without where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from multiview.results.report.page import _sentence
from multiview.run_folder import read_metrics
from sdfrender import system

ROOT = Path(__file__).parents[2]

# Windows has none of these; macOS has no affinity mask and no /proc.
ELSEWHERE = """
import json, os, pathlib, pkgutil, importlib, sys
import numba, scipy.sparse, skimage.measure, torch, tqdm, trimesh, tyro
import multiprocessing, concurrent.futures, matplotlib.pyplot, imageio, PIL.Image, igl

system = sys.argv[1]
for name in ("sched_getaffinity", "sched_setaffinity", "getloadavg"):
    delattr(os, name)
if system == "Windows":
    for name in ("register_at_fork", "fork", "getuid", "sysconf"):
        delattr(os, name)
    for name in ("resource", "fcntl", "pwd", "grp", "termios"):
        sys.modules[name] = None
open_text = pathlib.Path.read_text
def read_text(path, *arguments, **options):
    if str(path).startswith("/proc/"):
        raise FileNotFoundError(path)
    return open_text(path, *arguments, **options)
pathlib.Path.read_text = read_text

found = []
for package in ("sdfrender", "multiview", "singleview"):
    found.append(package)
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            found.append(module.name)

import sdfrender as sr
from multiview.config import FitConfig
from multiview.results.results import peak_memory_mb
from multiview.results.report.page import _sentence
from multiview.run_folder import read_metrics
from sdfrender import system
from sdfrender.bench.machine import describe
from sdfrender.engines.cpu import ahead
from sdfrender.kernels.threads import run_all
torch.set_num_threads(2)
seen = sr.render(sr.Lattice.sphere(0.5, resolution=8), sr.Cameras.look_at([[0.0, 0.0, 3.0]]))
describe(1)
print(json.dumps({
    "modules": len(found),
    "hits": int(seen.hit_mask.sum()),
    "results": run_all(lambda n: n * n, range(4), 2),
    "processors": system.processors(),
    "threads": FitConfig(pathlib.Path("a"), pathlib.Path("b")).num_threads,
    "wanted": ahead._wanted() in (True, False),
    "peak_mb": peak_memory_mb(),
    "free": system.free_memory(),
    "working": system.working_memory(),
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a Linux to take away from")
@pytest.mark.parametrize("name", ["Windows", "macOS"])
def test_everything_is_imported_and_works_where_a_system_lacks_parts(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, name],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["modules"] > 100
    assert found["hits"] > 10
    assert found["results"] == [0, 1, 4, 9]
    assert found["processors"] == found["threads"] == (os.cpu_count() or 1)
    assert found["wanted"]
    assert (found["peak_mb"] is None) == (name == "Windows")
    assert found["free"] is None
    assert found["working"] == system.UNKNOWN_WORKING


def test_processors_are_those_of_the_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert system.processors() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert system.processors() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.processors() == 1


@pytest.mark.parametrize(
    ("free", "working"),
    [
        (None, system.UNKNOWN_WORKING),
        (0, system.LEAST_WORKING),
        (4 << 30, 1 << 30),
        (1 << 40, system.MOST_WORKING),
    ],
)
def test_working_memory_is_a_share_of_what_is_free(
    free: Any, working: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "free_memory", lambda: free)
    assert system.working_memory() == working


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_memory_is_in_bytes() -> None:
    peak, free = system.peak_memory(), system.free_memory()
    assert peak is not None
    assert free is not None
    pages = int(Path("/proc/self/statm").read_text().split()[1])  # resident
    assert pages * os.sysconf("SC_PAGE_SIZE") <= 1.05 * peak
    assert 1 << 20 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# ---------------------------------------------------------------------- how threads wait

# Tells the policy at the moment that torch is first looked for, and is done.
POLICY = """
import json, os, runpy, sys
sys.path.insert(0, os.getcwd())
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
            print(json.dumps({k: os.environ.get(k) for k in names}), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
name = sys.argv[1]
sys.argv[1:] = []
sys.argv.append("--help")
if name.startswith("-m "):
    try:
        runpy.run_module(name[3:], run_name="__main__")
    except SystemExit:
        pass
else:
    __import__(name)
import torch
"""


def policy(name: str, **own: str) -> dict[str, str | None]:
    """What is set when torch is loaded."""
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    run = subprocess.run(
        [sys.executable, "-c", POLICY, name],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**kept, **own},
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str | None] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "name",
    ["sdfrender", "multiview", "singleview"]
    + [f"{name}.cli" for name in ("sdfrender", "multiview", "singleview")]
    + [f"-m {name}" for name in ("sdfrender", "multiview", "singleview")],
)
def test_threads_sleep_while_they_wait(name: str) -> None:
    assert policy(name) == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": None}


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_the_user_says_about_waiting_stays(own: dict[str, str]) -> None:
    assert policy("multiview", **own) == {"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None, **own}


def test_the_number_of_torchs_threads_is_the_users() -> None:
    ask = "import torch; torch.set_num_threads(3); import sdfrender, multiview, singleview; "
    run = [sys.executable, "-c", ask + "print(torch.get_num_threads())"]
    assert subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "3\n"


def test_a_run_whose_memory_nobody_told_is_read_and_reported(tmp_path: Path) -> None:
    cost = {"seconds": 3, "peak_memory_mb": None}
    (tmp_path / "metrics.json").write_text(json.dumps(cost))
    found = read_metrics(tmp_path / "metrics.json")
    assert found == {"seconds": 3.0, "peak_memory_mb": None}
    summary = {**found, "resolution": [8, 9, 7], "views": {"train": 4, "held_out": 0}}
    assert _sentence(summary) == "4 views fitted, lattice 8×9×7, 3 s."
    assert _sentence({**summary, "peak_memory_mb": 1500.0}).endswith(" 3 s, 1.5 GB of memory.")
