"""`--version` of every command: what a bug report should tell of a machine."""

from __future__ import annotations

import os
from importlib.metadata import version

LIBRARIES = ("numpy", "scipy", "safetensors")  # beside those that `describe` names
SETTINGS = ("OMP_", "NUMBA_", "SDFRENDER_", "CUDA_VISIBLE")  # variables that change what runs how


def show_versions() -> None:
    """Print versions, engines, threads, devices and the system, one a line."""
    for name, value in versions().items():
        print(f"{name}: {value}")


def versions() -> dict[str, str]:
    """What results and times depend on, by name. Imports torch, which knows the devices."""
    import torch

    import sdfrender
    from sdfrender.bench.machine import describe
    from sdfrender.engines.cuda.available import device_obstacle
    from sdfrender.rendering.render import ENGINES

    cuda = range(torch.cuda.device_count())
    usable = bool(cuda) and device_obstacle(torch.device("cuda", 0)) is None
    engines = [name for name in ENGINES if name != "auto" and (name != "cuda" or usable)]
    told = {
        "sdfrender": sdfrender.__version__,
        **describe(torch.get_num_threads()),
        **{name: version(name) for name in LIBRARIES},
        "engines": ", ".join(engines),
        "devices": ", ".join(["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in cuda)]),
    }
    told |= {name: os.environ[name] for name in sorted(os.environ) if name.startswith(SETTINGS)}
    return {name.replace("_", " ") if name.islower() else name: str(x) for name, x in told.items()}
