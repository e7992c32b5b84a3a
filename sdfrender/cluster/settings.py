"""Where work is done: the options that commands have for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sdfrender.errors import InputError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
UNITS |= {f"{unit}i": 2 ** (10 * n) for n, unit in enumerate("kmgt", 1)}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)


@dataclass(frozen=True)
class SchedulerSettings:
    """A Dask scheduler that runs, if the work is done there; the fields are options.

    Args:
        scheduler: Address of a Dask scheduler that runs, as tcp://HOST:8786 or tls://HOST:8786; its
            workers need this program and the same folders. Default: processes of this machine.
        tls_ca: Certificate of who signed the others', PEM: traffic is encrypted then, and only who
            has a certificate takes part. Needs the following two as well.
        tls_cert: Certificate of this process and its workers, PEM.
        tls_key: Key of that certificate, PEM.
    """

    scheduler: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if self.scheduler is not None and not re.fullmatch(r"(tcp|tls|ucx)://\S+", self.scheduler):
            raise InputError(
                f"--scheduler: need an address such as tcp://HOST:8786, got {self.scheduler!r}"
            )
        files = {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        missing = [name for name, file in files.items() if file is None]
        if missing and len(missing) < len(files):
            raise InputError(f"{missing[0]}: need all three of {', '.join(files)}, or none")
        if self.scheduler is not None and self.scheduler.startswith("tls:") and missing:
            raise InputError(f"--tls-ca: need {', '.join(files)} for {self.scheduler}")

    def need_files(self) -> None:
        """Check that the certificates are there.

        Raises:
            InputError: names the option and the file.
        """
        for name in ("tls_ca", "tls_cert", "tls_key"):
            file = getattr(self, name)
            if file is not None and not file.is_file():
                option = name.replace("_", "-")
                raise InputError(f"--{option}: need a file, there is no {file}")

    @property
    def encrypted(self) -> bool:
        """Whether there are certificates."""
        return self.tls_ca is not None

    @property
    def demands(self) -> dict[str, float]:
        """What a task asks of a worker, by the names under which Dask's workers announce it."""
        return {}


@dataclass(frozen=True)
class ClusterSettings(SchedulerSettings):
    """Where work is done, here or there; the fields are options.

    Args:
        workers: Processes of this machine that work at once. Default: as many as there are
            processors, with 2 GB of memory at least for each.
        memory: What a task needs, as 8GB: on this machine workers are as few as that allows; with
            a scheduler only workers that announce so much (--resources MEMORY=8e9) get one.
        gpus: GPUs that a task needs; with a scheduler only workers that announce them
            (--resources GPU=1) get one.
        retries: How often a task whose worker was lost is given to another one. A scheduler that
            runs has its own number (distributed.scheduler.allowed-failures).
    """

    workers: int | None = None
    memory: str | None = None
    gpus: int = 0
    retries: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheduler is not None and self.workers is not None:
            raise InputError(
                f"--workers: {self.scheduler} has workers of its own, "
                f"need none with --scheduler, got {self.workers}"
            )
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers: need at least 1, got {self.workers}")
        if self.gpus < 0:
            raise InputError(f"--gpus: need at least 0, got {self.gpus}")
        if self.retries < 0:
            raise InputError(f"--retries: need at least 0, got {self.retries}")
        if self.memory is not None and self.memory_bytes == 0:
            raise InputError(f"--memory: need an amount such as 8GB, got {self.memory!r}")

    @property
    def memory_bytes(self) -> int:
        """What a task needs, bytes; 0 where nothing was said or it is no amount."""
        found = AMOUNT.fullmatch((self.memory or "").strip())
        return 0 if found is None else int(float(found[1]) * UNITS[found[2].lower()])

    @property
    def demands(self) -> dict[str, float]:
        """What a task asks of a worker, by the names under which Dask's workers announce it."""
        wanted = {"MEMORY": float(self.memory_bytes), "GPU": float(self.gpus)}
        return {name: amount for name, amount in wanted.items() if amount}
