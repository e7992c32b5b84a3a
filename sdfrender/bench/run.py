"""What `sdfrender bench` does: times, memory, starts, and then the report."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch
import trimesh
from tqdm import tqdm

from sdfrender.bench.candidates import Candidate, Task, engines
from sdfrender.bench.card import CARD, card_candidates, card_numbers, floors
from sdfrender.bench.config import BenchConfig
from sdfrender.bench.machine import describe
from sdfrender.bench.measure import exact_hits, measure
from sdfrender.bench.peers.by_name import peers
from sdfrender.bench.processes import ProbeError, measure_memory, measure_start
from sdfrender.bench.report import numbers_of, print_markdown, print_tables
from sdfrender.bench.scaling import scaling, table
from sdfrender.bench.workloads import WORKLOADS, Workload, creature, fit_into_box, make_scene
from sdfrender.errors import InputError
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.kernels.torch_threads import torch_threads
from sdfrender.rendering.render import ENGINES
from sdfrender.system import processors


def run(config: BenchConfig, quiet: bool) -> None:
    """Measure and print.

    Raises:
        InputError: an option out of range, or a mesh that cannot be read.
    """
    if config.scaling:
        measured = scaling(config.resolutions, config.threads or processors())
        print(json.dumps(measured, indent=2) if config.json else table(measured))
        return
    document = bench(config, quiet)
    if config.json:
        print(json.dumps(document, indent=2))
    elif config.markdown:
        print_markdown(document)
    else:
        print_tables(document)


def bench(config: BenchConfig, quiet: bool = True) -> dict[str, Any]:
    """Measure, `quiet` without a progress bar; returns what `--json` prints."""
    works = [_workload(name) for name in config.workloads]
    if config.repeats < 1:
        raise InputError(f"--repeats: need at least 1, got {config.repeats}")
    if config.threads is not None and config.threads < 1:
        raise InputError(f"--threads: need at least 1, got {config.threads}")
    entries = _entries(config)
    mesh = fit_into_box(load_shape(config))
    threads = config.threads or processors()
    starting = [] if config.quick else [name for name in ENGINES if name not in ("auto", "cuda")]
    turns = len(entries) * (config.repeats + (1 if config.quick else 2))
    total = len(works) * turns + len(starting)
    with torch_threads(threads), tqdm(total=total, unit="turn", disable=quiet) as bar:
        progress = Progress(bar)
        measured = [_workload_numbers(w, mesh, entries, config, progress) for w in works]
        starts = []
        for engine in starting:
            progress(f"{engine}: start")
            starts += [asdict(start) for start in measure_start(engine, threads)]
    return {
        "machine": describe(threads) | card_numbers(),
        "mesh": config.mesh.name if config.mesh else "creature",
        "repeats": config.repeats,
        "workloads": measured,
        "start": starts,
    }


def load_shape(config: BenchConfig) -> trimesh.Trimesh:
    """The user's mesh, or ours."""
    if config.mesh is None:
        return creature()
    mesh = load_mesh(config.mesh)
    if mesh.is_empty or not mesh.extents.max() > 0:
        raise InputError(f"{config.mesh}: all vertices are in one place, there is nothing to see")
    return mesh


class Progress:
    """A bar that names what runs now and counts what has ended."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar = bar
        self.started = 0

    def __call__(self, label: str) -> None:
        """Another turn starts."""
        self.bar.set_description(label, refresh=False)
        self.bar.update(min(self.started, 1))
        self.started += 1


def _workload(name: str) -> Workload:
    if name not in WORKLOADS:
        raise InputError(f"--workloads: need some of {', '.join(WORKLOADS)}, got {name!r}")
    return WORKLOADS[name]


def _entries(config: BenchConfig) -> list[tuple[Candidate, Task]]:
    """Each candidate with each of its tasks."""
    candidates = engines() + (peers() if config.peers else [])
    if torch.cuda.is_available() or any("cuda" in word for word in config.only):
        candidates += card_candidates()
    if config.only:
        known = ", ".join(c.name for c in candidates)
        candidates = [c for c in candidates if any(word in c.name for word in config.only)]
        if not candidates:
            raise InputError(f"--only: need words of {known}, got {' '.join(config.only)}")
    return [(candidate, task) for candidate in candidates for task in candidate.tasks]


def _workload_numbers(
    work: Workload,
    mesh: trimesh.Trimesh,
    entries: list[tuple[Candidate, Task]],
    config: BenchConfig,
    progress: Progress,
) -> dict[str, Any]:
    """All about one workload, as it stands in the document."""
    progress.bar.set_description(f"{work.name}: lattice")
    scene = make_scene(work, mesh)
    hit_mask = exact_hits(scene)
    measured = measure(
        scene, hit_mask, entries, config.repeats, lambda label: progress(f"{work.name} {label}")
    )
    rows = numbers_of(measured.rows, work.rays)
    available = [(c, t) for c, t in entries if c.name not in measured.unavailable]
    lowest = floors(scene, hit_mask) if any(c.place == CARD for c, _ in available) else {}
    for row, (candidate, task) in zip(rows, available, strict=True):
        if candidate.place == CARD:
            row.update(lowest)
        elif not config.quick:
            progress(f"{work.name} {candidate.name}, {task}: memory")
            try:
                memory = measure_memory(scene, hit_mask, candidate, task, torch.get_num_threads())
                row.update(asdict(memory))
            except ProbeError as error:
                row["memory_error"] = str(error)
    return {
        **asdict(work),
        "rays": work.rays,
        "hit_fraction": float(hit_mask.float().mean()),
        "rows": rows,
        "unavailable": measured.unavailable,
    }
