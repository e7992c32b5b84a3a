"""A client of Dask: of workers that are started here, or of a scheduler that runs.

What is started here listens on 127.0.0.1 alone, its status page too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from sdfrender.cluster.settings import ClusterSettings, SchedulerSettings
from sdfrender.errors import InputError
from sdfrender.system import processors

log = logging.getLogger("sdfrender")

LEAST_MEMORY = 2 * 10**9  # bytes of a worker, where nothing else is said
TIMEOUT = 20  # seconds until a scheduler has to answer


def need_dask() -> None:
    """Check that Dask can be used.

    Raises:
        InputError: the package distributed is not installed.
    """
    if find_spec("distributed") is None:
        raise InputError(
            "work on several processes or machines: need the package distributed: "
            'pip install "sdfrender[cluster]"'
        )


@contextmanager
def connected(settings: SchedulerSettings, tasks: int) -> Iterator[Any]:
    """A `distributed.Client`; workers that were started for it end with it.

    Args:
        settings: where the work is done.
        tasks: how many there are, more workers are not started.

    Raises:
        InputError: no such scheduler, or this machine has not what a task needs.
    """
    need_dask()
    settings.need_files()
    import dask
    from distributed import Client, LocalCluster

    if settings.scheduler is not None:
        try:
            client = Client(settings.scheduler, timeout=TIMEOUT, security=_security(settings))
        except (OSError, TimeoutError) as error:
            raise InputError(
                f"--scheduler: need a Dask scheduler that answers, {settings.scheduler} does not: "
                f"{error}"
            ) from None
        with client:
            tell_workers(client, settings)
            yield client
        return
    local = settings if isinstance(settings, ClusterSettings) else ClusterSettings()
    options = local_options(local, tasks)
    own = {
        "distributed.scheduler.allowed-failures": local.retries,
        "distributed.scheduler.worker-saturation": 1.0,  # tasks are long: none waits at a worker
    }
    with (
        dask.config.set(own),
        LocalCluster(
            **options,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            security=_security(settings),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def local_options(settings: ClusterSettings, tasks: int) -> dict[str, Any]:
    """How many workers this machine gets, and what each has.

    Raises:
        InputError: a task needs more than there is.
    """
    from distributed.system import MEMORY_LIMIT  # of the control group, where there is one

    needed = settings.memory_bytes
    if needed > MEMORY_LIMIT:
        raise InputError(
            f"--memory: need at most the {MEMORY_LIMIT / 1e9:.1f} GB that this machine has, got "
            f"{settings.memory}"
        )
    gpus = _gpus() if settings.gpus else 0
    if settings.gpus > gpus:
        raise InputError(f"--gpus: need at most the {gpus} of this machine, got {settings.gpus}")
    fitting = max(1, MEMORY_LIMIT // (needed or LEAST_MEMORY))
    if settings.workers is not None and needed and settings.workers > fitting:
        raise InputError(
            f"--workers: need at most {fitting} for tasks of {settings.memory} each, got "
            f"{settings.workers}"
        )
    count = min(settings.workers or min(processors(), fitting), max(1, tasks))
    if settings.gpus:
        count = min(count, gpus // settings.gpus)
    share = MEMORY_LIMIT // count
    resources = {"MEMORY": share, "GPU": gpus // count} if settings.demands else {}
    return {"n_workers": count, "memory_limit": share, "resources": resources}


def tell_workers(client: Any, settings: SchedulerSettings) -> None:
    """Say what is wrong with the workers of a scheduler that runs.

    Raises:
        InputError: some do several tasks at once in one process.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"]
    wide = [address for address, worker in workers.items() if worker["nthreads"] > 1]
    if wide:
        raise InputError(
            f"--scheduler: need workers that do one task at a time (--nthreads 1), {len(wide)} of "
            f"{len(workers)} do several, as {wide[0]}"
        )
    if not workers:
        log.warning("%s: has no workers yet, they are waited for", settings.scheduler)
    for name, amount in settings.demands.items():
        if workers and not any(w["resources"].get(name, 0) >= amount for w in workers.values()):
            log.warning(
                "%s: no worker announces %s=%g yet, and tasks wait for one: dask worker … "
                "--resources %s=%g",
                *(settings.scheduler, name, amount, name, amount),
            )


def threads_each(client: Any, settings: SchedulerSettings) -> int:
    """Processors for each task on this machine; all of theirs on others (0)."""
    if settings.scheduler is not None:
        return 0
    return max(1, processors() // max(1, len(client.scheduler_info(n_workers=-1)["workers"])))


def _security(settings: SchedulerSettings) -> Any:
    from distributed.security import Security

    if not settings.encrypted:
        return None  # what Dask's own settings say
    files = {
        f"tls_{role}_{what}": str(file)
        for role in ("client", "scheduler", "worker")
        for what, file in (("cert", settings.tls_cert), ("key", settings.tls_key))
    }
    return Security(tls_ca_file=str(settings.tls_ca), require_encryption=True, **files)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
