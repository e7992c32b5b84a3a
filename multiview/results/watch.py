"""`multiview watch`: the losses of a running fit, drawn in the terminal as they come."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from multiview.results.report.plot import energies
from multiview.run_folder import COLUMNS
from sdfrender.errors import InputError
from sdfrender.files.run_files import complete_rows

Floats = NDArray[np.float64]

TERMS = COLUMNS[COLUMNS.index("total") :]
HEIGHT = 14  # lines of the plot
MARGIN = 11  # columns of its scale
# The eight dots of a braille letter, [row, column] → bit (Unicode 15, chapter 21.1).
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
BLANK = 0x2800
STALE = 60.0  # seconds without an update that are worth a word


@dataclass(frozen=True)
class Losses:
    """The rows of `losses.csv` so far; energies per view before each of U updates."""

    rows: list[dict[str, str]]

    @classmethod
    def read(cls, file: Path) -> Losses:
        """Read what is complete: a last line may still be being written.

        Raises:
            InputError: no such file, or not the log of a run.
        """
        try:
            head, *rows = complete_rows(file) or [[]]
        except OSError as error:
            raise InputError(f"{file}: need the log of a run, {error.strerror}") from None
        if head != list(COLUMNS) or any(len(row) != len(COLUMNS) for row in rows):
            raise InputError(f"{file}: need the log of a run, with columns {', '.join(COLUMNS)}")
        return cls([dict(zip(head, row, strict=True)) for row in rows])

    def energies(self, term: str) -> Floats:
        """`[U]`, per view."""
        return energies(self.rows, term)


class Screen:
    """What is shown: a heading, the curve of the whole energy, the last value of each term."""

    def __init__(self, run: Path, losses: Losses, state: str) -> None:
        self.run, self.losses, self.state = run, losses, state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(f"{self.run}: {self.state}", "bold")
        rows = self.losses.rows
        if not rows:
            yield Text("no update yet")
            return
        last = rows[-1]
        yield Text(
            f"update {last['update']}, level {int(last['level']) + 1} "
            f"({last['resolution'].replace('x', '×')}), pass {int(last['pass']) + 1}, "
            f"{float(last['seconds']):.0f} s"
        )
        total = self.losses.energies("total")
        yield Group(*plot(total, max(10, options.max_width - MARGIN), HEIGHT))
        yield Text(
            f"{'':>{MARGIN}}update 1 to {last['update']}; energy per view (cells), log scale"
        )
        table = Table(box=None, pad_edge=False)
        for term in TERMS:
            table.add_column(term, justify="right")
        table.add_row(*(f"{self.losses.energies(term)[-1]:.4g}" for term in TERMS))
        yield table


def watch(run: Path, once: bool, every: float = 1.0) -> None:
    """Show a run until it has finished.

    Args:
        run: the folder.
        once: show what there is and return.
        every: seconds between looks at the file.

    Raises:
        InputError: the folder holds no run.
    """
    if not (run / "config.json").is_file():
        raise InputError(f"{run}: need the folder of a run, there is no config.json in it")
    console = Console()
    if once:
        console.print(_look(run))
        return
    with Live(_look(run), console=console, auto_refresh=False, transient=False) as live:
        while not finished(run):
            time.sleep(every)
            live.update(_look(run), refresh=True)
        live.update(_look(run), refresh=True)
    console.print(f"finished: look at {run / 'report.html'}", soft_wrap=True)


def finished(run: Path) -> bool:
    """Whether the report has been written since the last update."""
    results, log = run / "report.html", run / "losses.csv"
    return results.exists() and results.stat().st_mtime >= log.stat().st_mtime


def _look(run: Path) -> Screen:
    log = run / "losses.csv"
    losses = Losses.read(log)
    if finished(run):
        return Screen(run, losses, "finished")
    age = time.time() - log.stat().st_mtime
    return Screen(run, losses, f"no update for {age:.0f} s" if age > STALE else "running")


def plot(values: Floats, width: int, height: int) -> list[Text]:
    """A curve in braille, the logarithm of the values upwards: `height` lines.

    Args:
        values: `[U]`; those not above zero leave a gap.
        width: letters of the curve; the scale takes `MARGIN` more.
        height: lines.

    A letter has 2×4 dots. Values that share a column of dots become a stroke from the smallest to
    the largest; between two values the line is drawn through.
    """
    good = np.isfinite(values) & (values > 0)
    if not good.any():
        return [Text("nothing above zero to draw")]
    logs = np.log10(np.where(good, values, 1.0))
    low, high = float(logs[good].min()), float(logs[good].max())
    reach = max(high - low, 1e-9)
    steps = max(2 * width, len(values))
    dots = np.zeros((4 * height, 2 * width), bool)
    at = np.linspace(0, len(values) - 1, steps)
    curve = np.interp(at, np.flatnonzero(good), logs[good])
    columns = np.minimum((np.arange(steps) * 2 * width) // steps, 2 * width - 1)
    rows = np.rint((high - curve) / reach * (4 * height - 1)).astype(int)
    before = rows[0]
    for column, row in zip(columns, rows, strict=True):
        dots[min(before, row) : max(before, row) + 1, column] = True
        before = row
    cells = dots.reshape(height, 4, width, 2).astype(int)
    letters = BLANK + np.einsum("hrwc,rc->hw", cells, DOTS)
    lines = []
    for line, row in enumerate(letters):
        value = high - reach * line / max(1, height - 1)
        scale = f"{10**value:.3g}" if line % 4 == 0 or line == height - 1 else ""
        label = f"{scale:>{MARGIN - 3}} ┤ " if scale else f"{'│':>{MARGIN - 1}} "
        lines.append(Text.assemble((label, "dim"), ("".join(map(chr, row)), "cyan"), no_wrap=True))
    return lines
