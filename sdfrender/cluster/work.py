"""Tasks are handed out, and what became of each is told as it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tqdm import tqdm

from sdfrender.cluster.connect import connected
from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.errors import InputError
from sdfrender.files.atomic import one_line

EVERY = 0.5  # seconds between looks at what runs
ALONE = threading.Lock()  # a worker's process does one task at a time


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its result, or in a line why there is none."""

    name: str
    result: Any = None
    error: str | None = None


class Stopped(Exception):  # nothing went wrong
    """A task ends early, since nobody waits for it any more."""


@dataclass(frozen=True)
class Stop:
    """Whether the tasks of a command are to end; sent along with each.

    Args:
        name: of an event of the scheduler.
    """

    name: str

    def asked(self) -> bool:
        """Whether they are; asks the scheduler, and is called where the task runs."""
        from distributed import Event

        return bool(Event(self.name).is_set())


class Patience:
    """Asks a question of others seldom: at most once in some seconds."""

    def __init__(self, question: Callable[[], bool], seconds: float = 1.0) -> None:
        self.question, self.seconds, self.asked = question, seconds, -float("inf")

    def __call__(self) -> bool:
        """The answer if it is time to ask, else no."""
        now = time.monotonic()
        if now - self.asked < self.seconds:
            return False
        self.asked = now
        return self.question()


def outcomes(
    client: Any,
    work: Callable[..., Any],
    tasks: Mapping[str, tuple[Any, ...]],
    demands: Mapping[str, float],
    look: Callable[[set[str]], None] = lambda running: None,
) -> Generator[Outcome, None, None]:
    """Hand out tasks, and yield what becomes of each when it ends.

    A task whose worker is lost goes to another one. Where the caller goes away, by Ctrl-C or
    otherwise, tasks that run are asked to stop, and those that wait are taken back.

    Args:
        client: of Dask.
        work: called as `work(*arguments, stop)` in a process of a worker, where it alone runs.
        tasks: by name, the arguments.
        demands: what a task needs of a worker; see `ClusterSettings.demands`.
        look: called twice a second with the names of the tasks that workers have.

    Raises:
        InputError: the scheduler has gone.
    """
    from distributed import Event, wait

    stop = Stop(f"stop-{uuid4().hex}")
    wanted = {"resources": dict(demands)} if demands else {}
    futures = {
        client.submit(_alone, work, *given, stop, key=f"{name}-{uuid4().hex}", **wanted): name
        for name, given in tasks.items()
    }
    keys = {future.key: name for future, name in futures.items()}
    try:
        while futures:
            done: set[Any] = set()
            with suppress(TimeoutError):
                done = wait([*futures], EVERY, return_when="FIRST_COMPLETED").done
            for future in done:
                yield outcome(futures.pop(future), future)
            with suppress(OSError):
                busy = client.processing().values()
                look({keys[key] for names in busy for key in names if key in keys})
    finally:
        if futures:
            with suppress(OSError, TimeoutError):
                Event(stop.name, client).set()
                client.cancel([*futures])


def on_workers(
    settings: SchedulerSettings, work: Callable[..., Any], tasks: Mapping[str, tuple[Any, ...]]
) -> Generator[Outcome, None, None]:
    """The same on the workers that the settings name; see `connected`."""
    if tasks:
        with connected(settings, len(tasks)) as client:
            yield from outcomes(client, work, tasks, settings.demands)


def finish_all(
    settings: SchedulerSettings,
    work: Callable[..., Any],
    tasks: Mapping[str, tuple[Any, ...]],
    doing: str,
    quiet: bool = False,
) -> None:
    """The same with a progress bar, where one task that fails ends all.

    Args:
        settings: see `connected`.
        work: see `outcomes`.
        tasks: see `outcomes`.
        doing: what is done, in a word, for the bar.
        quiet: no bar.

    Raises:
        InputError: what went wrong with the task that failed.
    """
    with (
        closing(on_workers(settings, work, tasks)) as ended,
        tqdm(total=len(tasks), desc=doing, unit="task", disable=quiet) as bar,
    ):
        for found in ended:
            if found.error is not None:
                raise InputError(found.error)
            bar.update()


def outcome(name: str, future: Any) -> Outcome:
    """What became of a task that has ended.

    Raises:
        InputError: the scheduler has gone.
    """
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        raise InputError("the scheduler has gone; the same command goes on with another one")
    error = future.exception()
    if error is None:
        return Outcome(name, future.result())
    if isinstance(error, KilledWorker):
        return Outcome(
            name,
            error=f"{error.allowed_failures + 1} workers were lost while they did it: did they "
            "have too little memory? (--memory, or fewer --workers)",
        )
    return Outcome(name, error=one_line(error))


def _alone(work: Callable[..., Any], *given: Any) -> Any:
    with ALONE:
        return work(*given)
