"""A scheduler of Dask whose workers are threads of this process: commands reach it by address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sdfrender.cluster.settings import SchedulerSettings


@contextmanager
def scheduler_in_threads(**options: Any) -> Iterator[SchedulerSettings]:
    """Where it is; `options` go to `LocalCluster`."""
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    asked = {"n_workers": 2, "threads_per_worker": 1, **options}
    with distributed.LocalCluster(
        processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0", **asked
    ) as cluster:
        yield SchedulerSettings(scheduler=cluster.scheduler_address)
