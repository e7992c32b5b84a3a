"""A batch: its scenes are handed out to workers; what each came to is written as it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from multiview.batch.jobs import Job, jobs_of
from multiview.batch.page import write_page
from multiview.batch.rows import Row, row_of, worst_first
from multiview.batch.task import fit_scene
from sdfrender.cluster.connect import connected, need_dask, threads_each
from sdfrender.cluster.settings import ClusterSettings
from sdfrender.cluster.work import outcomes
from sdfrender.files.atomic import write_json
from sdfrender.files.locks import locked

log = logging.getLogger("multiview")

TABLE = "batch.json"


@dataclass(frozen=True)
class BatchConfig:
    """All settings of a batch.

    Args:
        scenes: folders, camera files, folders of photographs or videos.
        out: the folder to write.
        options: of each fit: fields of `FitConfig` but for the scene, `out` and `resume`.
        cluster: where the work is done.
    """

    scenes: tuple[Path, ...]
    out: Path
    options: dict[str, Any] = field(default_factory=dict)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


Look = Callable[[Sequence[Row], Sequence[Job]], None]  # rows so far, and what workers have


def batch(config: BatchConfig, look: Look = lambda rows, running: None) -> tuple[list[Row], bool]:
    """Fit each scene in a task of its own, and write `index.html` and `batch.json`.

    A scene whose run is finished is not fitted again, and one that was begun goes on. What goes
    wrong with one is its row's `error`, and the others go on. Ctrl-C stops all: each run has its
    last checkpoint, and the page has what there is.

    Args:
        config: the settings.
        look: called about twice a second.

    Returns:
        The rows, worst first, and whether the batch was interrupted.

    Raises:
        InputError: no such scene, a folder that holds another run, or no such cluster; before
            anything is written, but for the last.
    """
    need_dask()
    config.cluster.need_files()
    jobs = jobs_of(config.scenes, config.out, config.options)
    rows = [row_of(job, kept=True) for job in jobs if job.state() == "finished"]
    left = [job for job in jobs if job.name not in {row["name"] for row in rows}]
    if rows:
        log.info("%d of %d scenes are finished already", len(rows), len(jobs))
    interrupted = False
    with locked(config.out):
        try:
            if left:
                _hand_out(config, left, rows, look)
        except KeyboardInterrupt:
            interrupted = True
            log.warning(
                "interrupted: %d of %d scenes are done; the same command goes on with the others, "
                "each from its last complete pass",
                *(len(rows), len(jobs)),
            )
        finally:
            done = {row["name"] for row in rows}
            waiting: list[Row] = [
                {"name": job.name, "scene": str(job.photographs or job.config.scene)}
                for job in jobs
                if job.name not in done
            ]
            ordered = worst_first([*rows, *waiting])
            _write(config, ordered)
            write_page(config.out, ordered, jobs)
    return ordered, interrupted


def _hand_out(config: BatchConfig, left: list[Job], rows: list[Row], look: Look) -> None:
    """Add a row for each job to `rows`, as they end."""
    by_name = {job.name: job for job in left}
    with connected(config.cluster, len(left)) as client:
        threads = threads_each(client, config.cluster)
        found = outcomes(
            client,
            fit_scene,
            {job.name: (job, threads) for job in left},
            config.cluster.demands,
            partial(_show, look, rows, by_name),
        )
        with closing(found):
            for outcome in found:
                rows.append(row_of(by_name[outcome.name], **_told(outcome.result, outcome.error)))
                _write(config, worst_first(rows))


def _told(result: dict[str, Any] | None, error: str | None) -> dict[str, Any]:
    return {"error": error} if result is None else result


def _show(look: Look, rows: list[Row], jobs: dict[str, Job], running: set[str]) -> None:
    look(rows, [jobs[name] for name in sorted(running)])


def _write(config: BatchConfig, rows: Sequence[Row]) -> None:
    settings = json.loads(json.dumps(asdict(config), default=str))
    write_json(config.out / TABLE, {"settings": settings, "scenes": list(rows)})
