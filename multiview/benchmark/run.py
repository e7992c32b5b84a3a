"""The benchmark: scene, hull and fits of each mesh, one after the other, and what they reached."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from multiview.benchmark.config import RING, BenchmarkConfig
from multiview.benchmark.gloss_truth import compare
from multiview.benchmark.meshes import Topology, find_meshes
from multiview.benchmark.scenes import make_scene, well_spread
from multiview.benchmark.table import Row, markdown
from multiview.config import FitConfig
from multiview.fit import fit
from multiview.materials.estimate import MaterialSettings
from multiview.results.finished_run import materials_of_run
from multiview.results.live import Stoppable
from multiview.run_folder import finished_metrics, holds_run
from multiview.scenes import load_scene
from sdfrender import InputError, extract_mesh, load_mesh, metrics
from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.cluster.work import Stop, Stopped, on_workers
from sdfrender.commands.messages import message_level, tell_from_now_on, told_on_stderr
from sdfrender.files.atomic import one_line, read_bytes, write_bytes, write_json
from sdfrender.files.expect import expect
from sdfrender.files.locks import locked
from sdfrender.hull.visual_hull import visual_hull
from sdfrender.materials.surface import FILE, MaterialMesh
from sdfrender.meshes.atlas import need_xatlas
from sdfrender.system import forget_peak_memory

log = logging.getLogger("multiview")

HULL_RESOLUTION = 64  # samples along the longest side of the hull that fits are compared with
Fitter = Callable[[FitConfig, bool], dict[str, Any]]


def benchmark(
    config: BenchmarkConfig,
    fitter: Fitter | None = None,
    quiet: bool = True,
    cluster: SchedulerSettings | None = None,
) -> dict[str, Any]:
    """Reconstruct each mesh from images of it.

    What went wrong with one mesh is its row's `error`, and the others go on. After each mesh
    `benchmark.json` and `benchmark.md` are written anew. Scenes and finished runs are found again.

    Args:
        config: the settings.
        fitter: does one fit, given its settings and whether to be quiet; by default `fit` in a
            process of its own, so that its memory is its own too.
        quiet: no progress bars.
        cluster: a scheduler whose workers do the meshes, a task each, in place of this machine.

    Returns:
        The contents of `benchmark.json`: `settings`, and `meshes`, a row for each; see
        `measure_mesh`.

    Raises:
        InputError: no such mesh, or settings that make no sense; before anything is written.
    """
    files = find_meshes(config.meshes)
    if config.gloss:
        need_xatlas()
    with locked(config.out):
        if cluster is not None and cluster.scheduler is not None:
            return _benchmark(config, files, on_cluster(config, files, cluster))
        return _benchmark(config, files, one_by_one(config, files, fitter or fit_apart, quiet))


def _benchmark(
    config: BenchmarkConfig, files: dict[str, Path], found: Iterator[Row]
) -> dict[str, Any]:
    """Write the table anew with each row that is `found`; rows in the order of the files."""
    settings = json.loads(json.dumps(asdict(config), default=str))
    by_name: dict[str, Row] = {}
    rows: list[Row] = []
    for row in found:
        by_name[row["mesh"]] = row
        rows = [by_name[name] for name in files if name in by_name]
        write_json(config.out / "benchmark.json", {"settings": settings, "meshes": rows})
        table = markdown(config.title, rows, config.resolutions)
        write_bytes(config.out / "benchmark.md", table.encode())
    return {"settings": settings, "meshes": rows}


def one_by_one(
    config: BenchmarkConfig, files: dict[str, Path], fitter: Fitter, quiet: bool
) -> Iterator[Row]:
    """The rows of the meshes, each made when the one before is done."""
    for number, (name, file) in enumerate(files.items(), 1):
        log.info("%s (%d of %d)", name, number, len(files))
        yield row_of(config, name, file, fitter, quiet)


def on_cluster(
    config: BenchmarkConfig, files: dict[str, Path], cluster: SchedulerSettings
) -> Iterator[Row]:
    """The rows of the meshes as workers end with them, a task each."""
    there = replace(config, out=config.out.resolve())
    tasks = {name: (there, name, file.resolve()) for name, file in files.items()}
    for number, outcome in enumerate(on_workers(cluster, _row_there, tasks), 1):
        file = str(files[outcome.name])
        row: Row = {"mesh": outcome.name, "file": file, "error": outcome.error}
        if outcome.error is None:
            row = {**outcome.result, "file": file}
        told = "failed" if "error" in row else "done"
        log.info("%s: %s (%d of %d)", outcome.name, told, number, len(files))
        yield row


def _row_there(config: BenchmarkConfig, name: str, file: Path, stop: Stop) -> Row:
    """One mesh in the process of a worker."""

    def fitter(settings: FitConfig, quiet: bool) -> dict[str, Any]:
        forget_peak_memory()  # of the fit before
        return fit(settings, quiet, watcher=Stoppable(stop))

    return row_of(config, name, file, fitter, quiet=True)


def row_of(config: BenchmarkConfig, name: str, file: Path, fitter: Fitter, quiet: bool) -> Row:
    """What `measure_mesh` returns, or an `error` in a line."""
    try:
        return measure_mesh(config, name, file, fitter, quiet)
    except Stopped:
        raise
    except Exception as error:  # the other meshes are worth having
        if not isinstance(error, InputError):
            log.exception("%s: a bug", name)
        return {"mesh": name, "file": str(file), "error": one_line(error)}


def measure_mesh(
    config: BenchmarkConfig, name: str, file: Path, fitter: Fitter, quiet: bool
) -> Row:
    """Scene, hull and fits of one mesh.

    Returns:
        `mesh` and `file`; `topology` of the mesh; `hull_chamfer`; `runs`, by resolution the groups
        of the run's metrics.json with the `topology` of its mesh and its `folder`.
    """
    spec = config.scene_spec
    key = f"{name}-{spec.key(file)}"
    scene = config.out / "scenes" / key
    if not (scene / "transforms.json").is_file():
        make_scene(file, scene, spec, quiet)
    runs = config.out / "runs" / f"{key}-{config.views}-views"
    runs.mkdir(parents=True, exist_ok=True)
    topology = Topology.of(load_mesh(scene / "mesh.ply"))
    if not topology.watertight:
        log.warning("%s is not watertight, its IoU means little", file)
    row: Row = {
        "mesh": name,
        "file": str(file),
        "topology": asdict(topology),
        "hull_chamfer": hull_chamfer(scene, config, runs / "hull.json"),
        "runs": {},
    }
    for resolution in config.resolutions:
        folder = runs / f"{config.preset}-{config.init}-{resolution}-{config.seed}"
        settings = config.fit_config(scene, folder, resolution, train_views(config))
        # The lamps of a painted scene are not stated.
        found = finished_run(settings, config.painted, config.again, fitter, quiet)
        row["runs"][str(resolution)] = {
            **found,
            "topology": asdict(Topology.of(load_mesh(folder / "mesh.ply"))),
            "folder": str(folder.relative_to(config.out)),
        }
        if config.gloss:
            row["runs"][str(resolution)]["gloss"] = gloss_figures(config, scene, folder)
    return row


def gloss_figures(config: BenchmarkConfig, scene: Path, run: Path) -> dict[str, Any]:
    """How near the materials of a run are to those of its scene; see `gloss_truth.compare`."""
    if config.again or not (run / FILE).is_file():
        materials_of_run(run, MaterialSettings())
    loaded = load_scene(scene)
    views = loaded.held_out
    surface = MaterialMesh.load(run / FILE)
    return compare(surface, scene, loaded.cameras[list(views)], views, config.paint == "fine")


def train_views(config: BenchmarkConfig) -> str | None:
    """The training views that are used, as `FitConfig.train_views`."""
    chosen = [f"view_{n:03d}" for n in well_spread(config.views)]
    return None if config.views in (RING, 26) else ",".join(chosen)


def hull_chamfer(scene: Path, config: BenchmarkConfig, file: Path) -> float:
    """Chamfer distance of the visual hull, as a fraction of the longest side; kept in `file`."""
    if not file.is_file():
        loaded = load_scene(scene, train_views(config))
        views = list(loaded.train)
        assert loaded.bounds is not None  # our own scenes state both
        assert loaded.mesh is not None
        silhouettes, known = loaded.silhouettes[views], loaded.silhouette_weights[views]
        cameras = loaded.cameras[views]
        hull = visual_hull(cameras, silhouettes, known, HULL_RESOLUTION, loaded.bounds)
        truth = load_mesh(loaded.mesh)
        distance = metrics.chamfer(extract_mesh(hull), truth) / float(truth.extents.max())
        write_json(file, {"chamfer_l1": distance, "resolution": HULL_RESOLUTION})
    with expect(file, "the distance of a hull (delete the file to measure it again)"):
        return float(json.loads(read_bytes(file))["chamfer_l1"])


# ---------------------------------------------------------------------- one fit


def finished_run(
    config: FitConfig, photographs: bool, again: bool, fitter: Fitter, quiet: bool
) -> dict[str, Any]:
    """The metrics of a run with these settings: found, or finished, or made.

    A run that was interrupted goes on; one with other settings or another recipe is replaced.

    Args:
        config: the settings.
        photographs: the light is not known, which changes the recipe; see `FitConfig.recipe`.
        again: make it also where it is found.
        fitter: see `benchmark`.
        quiet: no progress bar.

    Raises:
        InputError: the fit could not be done, or was interrupted.
    """
    going_on = replace(config, resume=True)
    resumable = not again and holds_run(going_on, photographs)
    if resumable:
        found = finished_metrics(config.folder)
        if found is not None:
            return found
    elif config.folder.exists():
        shutil.rmtree(config.folder)
    summary = fitter(going_on if resumable else config, quiet)
    if summary.get("interrupted"):
        raise KeyboardInterrupt
    return summary


def fit_apart(config: FitConfig, quiet: bool) -> dict[str, Any]:
    """`fit` in a fresh process: its peak memory is its own, and a crash is only its own."""
    told = (tell_from_now_on, (message_level(),)) if told_on_stderr() else (None, ())
    with ProcessPoolExecutor(1, get_context("spawn"), *told) as pool:
        return pool.submit(fit, config, quiet).result()


def failed(rows: Sequence[Row]) -> list[str]:
    """The meshes that something went wrong with, and what."""
    return [f"{row['mesh']}: {row['error']}" for row in rows if "error" in row]
