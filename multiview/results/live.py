"""`--live`: what a fit tells the viewer, if anyone wants to look on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from multiview.levels.state import Fit
from multiview.results.viewed import views_of
from sdfrender.cluster.work import Patience, Stop, Stopped
from sdfrender.viewer.exhibit import Exhibit
from sdfrender.viewer.live import Live, Moment

log = logging.getLogger("multiview")

WRITING = "The fit has ended: its results are being written. `sdfrender view` shows them."


class Unwatched:
    """Nobody looks on."""

    def after_update(self, state: Fit, loss: float) -> float:
        """Seconds that the fit is to leave out of account: none."""
        return 0.0

    def finish(self) -> None:
        """Nobody is to be told."""


class Stoppable(Unwatched):
    """Ends a fit, after an update, when who asked for it has gone; its checkpoints are left."""

    def __init__(self, stop: Stop) -> None:
        self.ended = Patience(stop.asked)

    def after_update(self, state: Fit, loss: float) -> float:
        """See `Unwatched`.

        Raises:
            Stopped: the command has ended.
        """
        if self.ended():
            raise Stopped
        return 0.0


class Watched(Unwatched):
    """A page in the browser shows a fit, and can hold, step and stop it.

    Args:
        state: before the first update.
        allowed: see `Viewer`.
    """

    def __init__(self, state: Fit, allowed: Sequence[str] = ()) -> None:
        exhibit = Exhibit(state.scene.name, state.lattice, views=views_of(state.scene))
        self.live = Live(exhibit, allowed=allowed)

    def after_update(self, state: Fit, loss: float) -> float:
        """Show the state if the page is ready for it; returns seconds that it was held."""
        note = f"{state.seconds:.0f} s"
        return self.live.after_update(Moment(state.updates, loss, state.lattice, note))

    def finish(self) -> None:
        """Tell that the fit has ended."""
        self.live.finish(WRITING)


@contextmanager
def watching(state: Fit, live: bool, allowed: Sequence[str] = ()) -> Iterator[Unwatched]:
    """Show a fit in the browser until its results are written, if `live`."""
    if not live:
        yield Unwatched()
        return
    watched = Watched(state, allowed)
    log.info("%s", watched.live.viewer.directions)
    try:
        yield watched
    finally:
        watched.live.close()
