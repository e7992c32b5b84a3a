"""A fit, watched and steered from the browser, without holding it up.

The fit's own thread hands a copy of its lattice over only when the drawing thread waits for one.
That thread rests after each drawing, so that drawing takes at most `SHARE` of a processor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfrender.geometry.lattice import Lattice
from sdfrender.viewer import PORT
from sdfrender.viewer.exhibit import Exhibit
from sdfrender.viewer.server import Viewer

if TYPE_CHECKING:
    from viser.uplot import Scale

SHARE = 0.02  # of a processor's time that drawing may take
POINTS = 500  # of the curve of losses, at most


@dataclass(frozen=True)
class Moment:
    """Where a fit is after an update.

    Args:
        update: how many there have been.
        loss: before the last of them.
        lattice: the shape; may be changed in place by the next update.
        note: what else to tell, in words.
    """

    update: int
    loss: float
    lattice: Lattice
    note: str = ""


class Live:
    """A page that follows a fit.

    Args:
        exhibit: the start: its lattice and the cameras.
        port: see `Viewer`.
        allowed: see `Viewer`.
    """

    def __init__(self, exhibit: Exhibit, port: int = PORT, allowed: Sequence[str] = ()) -> None:
        self.viewer = Viewer(exhibit, port, allowed)
        self.paused = False
        self._losses: list[tuple[int, float]] = []
        self._changed = threading.Condition()  # guards all that follows
        self._pending: Moment | None = None
        self._offered: int | None = None  # the last update that was handed over
        self._idle = True  # the drawing thread waits for a moment
        self._steps = 0  # to make before pausing again
        self._stopping = self._finished = self._closed = False
        self._add_controls()
        self._thread = threading.Thread(target=self._draw_until_closed, daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ the fit's thread

    def after_update(self, moment: Moment) -> float:
        """Take note of an update, and wait while the fit is paused.

        Returns:
            Seconds waited.

        Raises:
            KeyboardInterrupt: the fit is to stop and save what there is.
        """
        self._losses.append((moment.update, moment.loss))
        with self._changed:
            self._offer(moment)
            began = time.monotonic()
            while self.paused and not self._stopping:
                if self._steps:
                    self._steps -= 1
                    break
                self._changed.wait()
                self._offer(moment)
            if self._stopping:
                raise KeyboardInterrupt
            return time.monotonic() - began

    def _offer(self, moment: Moment) -> None:
        if self._idle and self._offered != moment.update:
            own = moment.lattice.with_values(moment.lattice.values.clone())
            self._pending = replace(moment, lattice=own)
            self._offered, self._idle = moment.update, False
            self._changed.notify_all()

    def finish(self, words: str) -> None:
        """Tell that the fit has ended, and let nothing steer it any more."""
        self._finished = True
        self._status.content = words
        for button in (self._pause, self._step, self._stop):
            button.disabled = True

    def close(self) -> None:
        """End the page."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self.viewer.close()

    # ------------------------------------------------------------------ what the page asks for

    def pause(self, paused: bool) -> None:
        """Hold the fit after its current update, or let it go on."""
        with self._changed:
            self.paused, self._steps = paused, 0
            self._changed.notify_all()
        self._pause.label = "Continue" if paused else "Pause"
        self._step.disabled = not paused

    def step(self) -> None:
        """Let a paused fit make one update."""
        with self._changed:
            self._steps += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """End the fit after its current update; it saves what there is."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.finish("Stopping: the results are being written.")

    def _add_controls(self) -> None:
        gui = self.viewer.server.gui
        with gui.add_folder("Fit"):
            self._status = gui.add_markdown("Before the first update.")
            self._pause = gui.add_button("Pause")
            self._step = gui.add_button("Step", disabled=True)
            self._stop = gui.add_button("Stop and save")
            self._curve = gui.add_uplot(
                (np.zeros(0), np.zeros(0)),
                ({"label": "update"}, {"label": "loss", "stroke": "#56b4e9", "width": 2}),
                scales=scales_of([]),
                axes=({}, {"size": 60}),
                aspect=1.8,
            )
        self._pause.on_click(lambda _: self.pause(not self.paused))
        self._step.on_click(lambda _: self.step())
        self._stop.on_click(lambda _: self.stop())

    # ------------------------------------------------------------------ the drawing thread

    def _draw_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._pending is not None)
                moment, self._pending = self._pending, None
            if self._closed or moment is None:
                return
            began = time.thread_time()
            self._draw(moment)
            cost = time.thread_time() - began
            with self._changed:
                # A fit that is paused is not held up.
                self._changed.wait_for(lambda: self._closed or self.paused, cost / SHARE)
                self._idle = True
                self._changed.notify_all()

    def _draw(self, moment: Moment) -> None:
        self.viewer.show_lattice(moment.lattice)
        if not self._finished:
            grid = "×".join(str(n) for n in moment.lattice.resolution)
            parts = (f"Update {moment.update}", grid, f"loss {moment.loss:.4g}", moment.note)
            self._status.content = ", ".join(part for part in parts if part) + "."
        self._curve.data = curve(self._losses)
        self._curve.scales = scales_of(self._losses)


def scales_of(losses: list[tuple[int, float]]) -> dict[str, Scale]:
    """What the axes of the curve cover: the page does not find out by itself when points come."""
    shown = [loss for _, loss in losses if loss > 0] or [1.0]
    return {
        "x": {"time": False, "range": (0, max(losses[-1][0] if losses else 1, 1))},
        "y": {"distr": 3, "log": 10, "range": (0.9 * min(shown), 1.1 * max(shown))},
    }


def curve(losses: list[tuple[int, float]]) -> tuple[np.ndarray[Any, Any], ...]:
    """Updates and losses as the page draws them: few, and none that has no logarithm."""
    shown = np.array([row for row in losses if row[1] > 0], float).reshape(-1, 2)
    chosen = np.unique(np.linspace(0, len(shown) - 1, min(len(shown), POINTS)).round().astype(int))
    return tuple(shown[chosen].T.copy())
