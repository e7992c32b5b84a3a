"""A batch in the terminal: while it runs, and when it has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from multiview.batch.jobs import Job
from multiview.batch.rows import Row, judged
from multiview.batch.run import Look, log
from sdfrender.files.locks import NAME
from sdfrender.files.run_files import complete_rows

LAST = 8  # scenes that have ended, shown while others run
COLUMNS = ("scene", "state", "PSNR", "IoU", "Chamfer", "warnings", "s")


@contextmanager
def told(count: int, quiet: bool) -> Iterator[Look]:
    """What `batch` calls while it runs: a live table in a terminal, a line for each scene else.

    Args:
        count: scenes in all.
        quiet: neither.
    """
    console = Console(stderr=True)
    if quiet:
        yield lambda rows, running: None
    elif not console.is_terminal:
        yield Lines(count)
    else:
        with Live(console=console, transient=True, refresh_per_second=2) as live:
            began = time.monotonic()

            def show(rows: Sequence[Row], running: Sequence[Job]) -> None:
                live.update(live_table(rows, running, count, time.monotonic() - began))

            yield show


class Lines:
    """Tells each scene in a line when it has ended."""

    def __init__(self, count: int) -> None:
        self.count, self.shown = count, 0

    def __call__(self, rows: Sequence[Row], running: Sequence[Job]) -> None:
        """Tell of those that have ended since."""
        for number, row in enumerate(rows[self.shown :], self.shown + 1):
            if row.get("kept"):
                continue
            name, state, psnr, *_ = cells(row)
            score = f", {psnr} dB" if psnr != "–" else ""
            log.info("%s: %s%s (%d of %d)", name, state, score, number, self.count)
        self.shown = len(rows)


def live_table(rows: Sequence[Row], running: Sequence[Job], count: int, seconds: float) -> Table:
    """What runs and how far it is, and what ended last."""
    failed = sum("error" in row for row in rows)
    title = f"{len(rows)} of {count} scenes, {failed} failed, {seconds:.0f} s"
    table = _empty(title)
    for row in rows[-LAST:]:
        table.add_row(*cells(row))
    for job in running:
        table.add_row(job.name, progress(job), *["–"] * (len(COLUMNS) - 2))
    return table


def progress(job: Job) -> str:
    """How far a fit is, by its run's folder."""
    folder = job.config.folder
    if not (folder / NAME).exists():
        return "begins"
    try:
        rows = complete_rows(folder / "losses.csv")
    except OSError:
        return "begins"
    if len(rows) < 2:
        return "first shape"
    last = dict(zip(rows[0], rows[-1], strict=False))
    return f"update {last.get('update')}, {last.get('resolution', '').replace('x', '×')}"


def final_table(title: str, rows: Sequence[Row]) -> Table:
    """All scenes, in the order of the rows."""
    table = _empty(title)
    for row in rows:
        table.add_row(*cells(row))
    return table


def cells(row: Row) -> list[str]:
    """One scene: a cell per column. What is not known is a dash."""
    if "metrics" not in row:
        state = f"failed: {row['error']}" if "error" in row else "not done"
        return [row["name"], state, *["–"] * (len(COLUMNS) - 2)]
    metrics, (_, means) = row["metrics"], judged(row)
    return [
        row["name"],
        "was finished" if row.get("kept") else "done",
        _number(means.get("psnr"), ".1f"),
        _number(means.get("silhouette_iou"), ".3f"),
        _number(metrics.get("reference", {}).get("chamfer_l1"), ".5f"),
        str(len(metrics.get("warnings", ()))),
        _number(metrics.get("seconds"), ".0f"),
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _empty(title: str) -> Table:
    table = Table(title=title, box=SIMPLE)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in COLUMNS[:2] else "right")
    return table
