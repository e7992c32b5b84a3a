"""One scene of a batch, in a process of a worker: its fit, its log and its small picture."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from multiview.batch.jobs import Job
from multiview.batch.thumbnails import make_thumbnail
from multiview.fit import fit
from multiview.photographs.chain import scene_of_photographs
from multiview.results.live import Stoppable
from sdfrender import InputError
from sdfrender.cluster.work import Stop, Stopped
from sdfrender.commands.messages import messages_in
from sdfrender.files.atomic import one_line
from sdfrender.system import forget_peak_memory

log = logging.getLogger("multiview")


def fit_scene(job: Job, threads: int, stop: Stop) -> dict[str, Any]:
    """Fit one scene, or go on with it, or find it finished.

    Args:
        job: what to do.
        threads: of the fit, unless its settings say; 0: all of this machine.
        stop: whether the batch has ended; looked at after each update.

    Returns:
        `metrics` as in metrics.json, or `error`, a line; `kept` if there was nothing to do.

    Raises:
        Stopped: the batch has ended. The run's last checkpoint is there.
    """
    with messages_in(job.log):
        try:
            return _fit_scene(job, threads, stop)
        except Stopped:
            log.info("stopped: the same command goes on")
            raise
        except InputError as error:
            log.error("%s", error)
            return {"error": one_line(error)}
        except Exception as error:  # the other scenes are worth having
            log.exception("a bug")
            return {"error": f"{one_line(error)} (a bug: {job.log} has where it came up)"}


def _fit_scene(job: Job, threads: int, stop: Stop) -> dict[str, Any]:
    state = job.state()
    if state == "finished":
        found = job.metrics()
        assert found is not None
        return {"metrics": found, "kept": True}
    forget_peak_memory()  # of the scene before
    config = replace(job.config, resume=state == "begun")
    if config.threads is None and threads:
        config = replace(config, threads=threads)
    if job.photographs is not None:
        places = config.scene.parent
        scene_of_photographs(job.photographs, config.threads, True, places, config.scene.name)
    metrics = fit(config, watcher=Stoppable(stop))
    make_thumbnail(config.folder, job.thumbnail)
    return {"metrics": metrics}
