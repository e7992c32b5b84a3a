"""Whether the CUDA engine can be used here, and if not, why and what helps."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec

import torch
from numba import config

OLDEST = (7, 5)  # compute capability that CUDA 13 still compiles for
INSTALL = 'pip install "sdfrender[cuda]"'


def simulated() -> bool:
    """Whether numba simulates a card on the CPU, as `NUMBA_ENABLE_CUDASIM=1` asks for."""
    return bool(getattr(config, "ENABLE_CUDASIM", False))


def installed() -> bool:
    """Whether numba-cuda is; numba has an older target of its own, which is not used."""
    return find_spec("numba_cuda") is not None


def obstacle() -> str | None:
    """Why no card can be used here, and what to do; None if the current one can."""
    if simulated():
        return device_obstacle(torch.device("cpu"))
    if torch.version.cuda is None or not torch.cuda.is_available():
        return _no_card()
    return card_obstacle(torch.cuda.current_device())


def device_obstacle(device: torch.device) -> str | None:
    """Why the engine cannot take tensors of this device, and what to do; None if it can."""
    if simulated():
        if device.type != "cpu":
            return f"it is simulated, on the CPU, not on {device}: unset NUMBA_ENABLE_CUDASIM"
        if os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0"):
            return "the simulator runs what is not compiled: set NUMBA_DISABLE_JIT=1, too"
        return None
    if device.type != "cuda":
        return f"it does not know a lattice on {device}: {_bring_here()}"
    return card_obstacle(device.index if device.index is not None else torch.cuda.current_device())


def _bring_here() -> str:
    """What to do with a lattice that is not on the card."""
    if torch.version.cuda is None or not torch.cuda.is_available():
        return _no_card()
    return 'lattice.to("cuda") takes it to the card'


def _no_card() -> str:
    """Why torch has no card."""
    if torch.version.cuda is None:
        return "install a torch that was built with CUDA (this one was not), see pytorch.org"
    return "torch sees no card (`nvidia-smi` says whether the driver does)"


@lru_cache
def card_obstacle(index: int) -> str | None:
    """Why card `index` cannot be used, and what to do; None if it can."""
    capability = torch.cuda.get_device_capability(index)
    if capability < OLDEST:
        return (
            f"{torch.cuda.get_device_name(index)} has compute capability "
            f"{'.'.join(map(str, capability))}, and it needs {'.'.join(map(str, OLDEST))}: "
            'engine="reference" runs on it'
        )
    if not installed():
        return f"it needs the package numba-cuda: {_install()}"
    from numba import cuda

    try:
        cuda.gpus[index]  # opens the driver
    except Exception as error:  # whatever a driver or a loader says
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"numba-cuda cannot open the card ({reason}): {_install()}"
    return None


def _install() -> str:
    """What installs numba-cuda for the CUDA that torch has."""
    major = (torch.version.cuda or "13").partition(".")[0]
    return INSTALL if major != "12" else 'pip install "sdfrender[cuda12]"'
