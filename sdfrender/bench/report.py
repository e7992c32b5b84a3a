"""From times to numbers to tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sdfrender.bench.measure import Row, fastest_baseline, ratio

Numbers = dict[str, Any]


def numbers_of(rows: Sequence[Row], rays: int) -> list[Numbers]:
    """What the document says about each row.

    Times are medians and minima in milliseconds, `mrays_per_s` is of forward and backward together.
    `speedup` is over the fastest PyTorch path at the same task, named in `over`.
    """
    numbers = []
    for row in rows:
        known: Numbers = {"candidate": row.candidate, "task": row.task}
        for name, times in (
            ("forward", row.forward),
            ("forward_backward", row.forward_backward),
        ):
            known[f"{name}_ms"] = 1e3 * statistics.median(times)
            known[f"{name}_min_ms"] = 1e3 * min(times)
        known["mrays_per_s"] = rays / statistics.median(row.forward_backward) / 1e6
        baseline = fastest_baseline(rows, row.task, row.place)
        known["over"] = baseline.candidate if baseline else None
        known["forward_speedup"] = ratio(baseline.forward, row.forward) if baseline else None
        known["speedup"] = (
            ratio(baseline.forward_backward, row.forward_backward) if baseline else None
        )
        numbers.append({**known, **asdict(row.agreement)})
    return numbers


Columns = dict[str, Callable[[Numbers], str]]  # heading, and what stands below it for a row

SPEED: Columns = {
    "candidate": lambda row: f"{row['candidate']}, {row['task']}",
    "fwd ms": lambda row: f"{row['forward_ms']:.0f}",
    "f+b ms": lambda row: f"{row['forward_backward_ms']:.0f}",
    "min": lambda row: f"{row['forward_backward_min_ms']:.0f}",
    "Mray/s": lambda row: f"{row['mrays_per_s']:.2f}",
    "× torch": lambda row: f"{row['speedup']:.1f}" if row["speedup"] else "–",
    "MB": lambda row: f"{row['peak_mb'] - row['inputs_mb']:.0f}" if "peak_mb" in row else "–",
}
FLOORS: Columns = {
    "candidate": lambda row: f"{row['candidate']}, {row['task']}",
    "fwd ms": lambda row: f"{row['forward_ms']:.2f}",
    "f+b ms": lambda row: f"{row['forward_backward_ms']:.2f}",
    "bytes ms": lambda row: f"{row['bytes_floor_ms']:.2f}",
    "operations ms": lambda row: f"{row['operations_floor_ms']:.2f}",
}
FLOORS_CAPTION = (
    "on the card, between two of its events, nothing in its cache; bytes, operations: the least "
    "that f+b can take for those, as fast as the card copies, multiplies and adds"
)
SPEED_CAPTION = (
    "fwd: without derivatives; f+b: forward and backward into the lattice, and its Mray/s; "
    "× torch: times as fast as the fastest PyTorch path at the task, median over the rounds; "
    "MB: peak memory of one f+b, above that of its inputs"
)
AGREEMENT: Columns = {
    "candidate": lambda row: f"{row['candidate']}, {row['task']}",
    "other hits": lambda row: f"{row['mask_mismatch']:.1e}",
    "depth error": lambda row: f"{row['depth_error_median']:.1e}",
    "99%": lambda row: f"{row['depth_error_p99']:.1e}",
    "gradient error": lambda row: f"{row['gradient_error']:.1e}",
}
AGREEMENT_CAPTION = (
    "against torch exact in float64: fraction of rays that hit for one only; median and 99th "
    "percentile of the depth error in voxels; relative error of the gradient"
)
START: Columns = {
    "engine": lambda row: row["engine"],
    "numba cache": lambda row: row["cache"],
    "import torch s": lambda row: f"{row['import_torch_s']:.2f}",
    "import sdfrender s": lambda row: f"{row['import_sdfrender_s']:.2f}",
    "first image s": lambda row: f"{row['first_image_s']:.2f}",
    "first gradient s": lambda row: f"{row['first_gradient_s']:.2f}",
}
START_TITLE = "A new process, to its first gradient"


def print_tables(document: Numbers) -> None:
    """Print to the terminal."""
    console = Console()
    console.print(machine_line(document), highlight=False)
    for work in document["workloads"]:
        console.print(_table(SPEED, work["rows"], title(work), SPEED_CAPTION))
        if on_card(work):
            console.print(_table(FLOORS, on_card(work), title(work), FLOORS_CAPTION))
        console.print(_table(AGREEMENT, work["rows"], title(work), AGREEMENT_CAPTION))
        for line in remarks(work):
            console.print(line, highlight=False, markup=False)
    if document["start"]:
        console.print(_table(START, document["start"], START_TITLE, ""))


def print_markdown(document: Numbers) -> None:
    """Print what a table can quote."""
    print(machine_line(document))
    for work in document["workloads"]:
        print(f"\n**{title(work)}**\n")
        for columns in (SPEED, AGREEMENT):
            print(f"{markdown(columns, work['rows'])}\n")
        if on_card(work):
            print(f"{markdown(FLOORS, on_card(work))}\n")
        for line in remarks(work):
            print(f"* {line}")
    print(f"\n{SPEED_CAPTION}.\n\n{AGREEMENT_CAPTION}.")
    if document["start"]:
        print(f"\n**{START_TITLE}**\n\n{markdown(START, document['start'])}")


def _table(columns: Columns, rows: Sequence[Numbers], heading: str, caption: str) -> Table:
    """A table for the terminal."""
    first, *others = columns
    table = Table(first, box=SIMPLE, title=heading, caption=caption)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*[column(row) for column in columns.values()])
    return table


def markdown(columns: Columns, rows: Sequence[Numbers]) -> str:
    """A Markdown table."""
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[column(row) for column in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def on_card(work: Numbers) -> list[Numbers]:
    """The rows of what ran on a card."""
    return [row for row in work["rows"] if "bytes_floor_ms" in row]


def title(work: Numbers) -> str:
    """What a workload is."""
    return (
        f"{work['name']}: {work['resolution']}³, {work['views']} × {work['size']}², "
        f"{work['hit_fraction']:.0%} of the rays hit"
    )


def machine_line(document: Numbers) -> str:
    """Where and how it was measured."""
    machine = document["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"torch {machine['torch']}, numba {machine['numba']}, "
        f"median of {document['repeats']}, {document['mesh']}"
    )


def remarks(work: Numbers) -> list[str]:
    """What could not be measured, and why."""
    lines = [f"{name}: {reason}" for name, reason in work["unavailable"].items()]
    return lines + [
        f"{row['candidate']}, {row['task']}: memory: {row['memory_error']}"
        for row in work["rows"]
        if "memory_error" in row
    ]
