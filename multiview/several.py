"""A fit on several processes, which `torchrun` starts: they share the photographs.

All run the same program on the same lattice, colours and light. Each has the photographs of its own
views and their Jacobian; a step's products are summed over all. What looks at small pictures of all
views, or at some of them, gets these from their processes and is done in each: the hull, the choice
of a model, exposures, concavities, stereo, and the results. The first process writes and prints;
the others write to folders that are thrown away.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from multiview.config import FitConfig
from sdfrender.cluster.ranks import Ranks, joined
from sdfrender.errors import InputError
from sdfrender.system import processors

GOING_ON = " (continue with the same command and --resume)"
KEPT = ("config.json", "losses.csv", "checkpoints/latest.safetensors")  # what a fit goes on from


def several() -> bool:
    """Whether `torchrun` started this process among others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def need_shareable(config: FitConfig, live: bool) -> None:
    """Refuse what several processes cannot do together.

    Raises:
        InputError: names the option.
    """
    where = "on several processes (torchrun)"
    if config.preset not in ("best", "fast"):
        raise InputError(f"--preset: need best or fast {where}, got {config.preset}")
    if config.refine_cameras:
        raise InputError(f"--refine-cameras: cameras stay as given {where}")
    if config.prior is not None:
        raise InputError(f"--prior: need one process, got several {where}")
    if config.silhouettes == "none":
        raise InputError(f"--silhouettes none: need masks {where}")
    if config.mask_threshold is not None:
        raise InputError(f"--mask-threshold: need mask files or alpha channels {where}")
    if config.colors == "off":
        raise InputError(f"--colors off: need colours {where}")
    if config.device == "cuda":
        raise InputError(f"--device cuda: need one process, got several {where}")
    if live:
        raise InputError(f"--live: need one process, got several {where}")


@contextmanager
def sharing(config: FitConfig) -> Iterator[tuple[FitConfig, Ranks]]:
    """Join the other processes; the settings of this one's part, and who it is.

    Processors are shared out among the processes of a machine, if the settings do not say.

    Raises:
        ProcessLost: another process has ended.
    """
    with joined(going_on=GOING_ON) as ranks, tempfile.TemporaryDirectory() as away:
        here = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        threads = config.threads or max(1, processors() // here)
        config = replace(config, threads=threads)
        if not ranks.first:
            logging.getLogger("multiview").setLevel(logging.ERROR)
            logging.getLogger("sdfrender").setLevel(logging.ERROR)
            config = replace(config, out=_beside(config, Path(away)))
        ranks.any(False)  # nobody writes before all have read
        yield config, ranks


def _beside(config: FitConfig, folder: Path) -> Path:
    """A folder in place of the run's, with what is needed to go on from there."""
    if config.resume:
        for name in KEPT:
            if (config.folder / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(config.folder / name, folder / name)
    return folder
