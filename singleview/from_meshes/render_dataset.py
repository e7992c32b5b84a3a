"""The command `singleview render-dataset`: meshes to a dataset of posed images.

Images are ray traced from the meshes, so they share no code with the renderer that learns from
them. Objects are rendered in parallel, each by one process; finished ones are not rendered again.
"""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.cluster.work import Stop, finish_all
from sdfrender.errors import InputError
from sdfrender.files.locks import NAME as LOCK
from sdfrender.files.locks import locked
from sdfrender.geometry.grid import UNIT_BOX, grid_points
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_distance import inside_mesh
from sdfrender.kernels.torch_threads import torch_threads
from sdfrender.rendering.raytrace import raytrace
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import STUDIO
from singleview.data.layouts.folder import (
    COARSE,
    MANIFEST,
    Manifest,
    manifest_to_dict,
    object_file,
    read_manifest,
    read_object,
    write_manifest,
    write_object,
)
from singleview.data.meshes import (
    Source,
    absolute,
    by_category,
    canonical_mesh,
    find_meshes,
    split_by,
)
from singleview.data.shards import stored_rotations
from singleview.from_meshes.rigs import rig_cameras
from singleview.pictures.contact_sheet import write_contact_sheet
from singleview.settings.datasets import RenderDatasetConfig

ALBEDO = 1.0  # white


def render_dataset(
    config: RenderDatasetConfig, cluster: SchedulerSettings | None = None
) -> Manifest:
    """Render every mesh of `config.meshes` and write the dataset to `config.out`.

    Args:
        config: what `singleview render-dataset` is told.
        cluster: a scheduler whose workers render, if it is not to be done here.

    Returns:
        What `dataset.json` says.

    Raises:
        InputError: an option out of range, meshes, an alignment or a split that cannot be used, an
            object that leaves the picture, or a folder that holds something else, or that another
            process writes to.
    """
    sources = find_meshes(config.meshes, config.alignment, config.categories)
    cameras = rig_cameras(config.cameras, config.views, config.size)
    splits = split_by(config.split, [source.name for source in sources], config.seed)
    rotations = {source.name: source.rotation for source in sources}
    manifest = Manifest(splits, cameras, STUDIO, _settings(config), rotations)
    _check_free(config.out)
    with locked(config.out):
        _open_folder(config.out, manifest)
        todo = [s for s in sources if not object_file(config.out, s.name).exists()]
        if cluster is not None and cluster.scheduler is not None:
            _render_there(config, todo, cameras, cluster)
        else:
            _render_all(config, todo, cameras)
        for category, names in by_category(list(splits)).items():
            files = [object_file(config.out, name) for name in names]
            pictures = [read_object(file, cameras)["images"] for file in files]
            write_contact_sheet(config.out / f"{category}.png", pictures)
    return manifest


def render_object(source: Source, file: Path, cameras: Cameras, config: RenderDatasetConfig) -> str:
    """Render one object and write its file; returns its name.

    Raises:
        InputError: a mesh that cannot be read, or that leaves the picture.
    """
    with torch_threads(1):
        mesh = canonical_mesh(source)
        uv, _ = cameras.project(torch.from_numpy(mesh.vertices).float())  # (V, P, 2)
        outside = ((uv < 0) | (uv > config.size)).any(-1).any(-1)
        if bool(outside.any()):
            raise InputError(
                f"{source.path}: need an object that the pictures hold, it leaves view "
                f"{int(outside.int().argmax())} of --cameras {config.cameras}: leave it out"
            )
        seen = raytrace(
            mesh, cameras, lighting=STUDIO, albedo=[ALBEDO], supersampling=config.supersampling
        )
        try:
            lattice = Lattice.from_mesh(mesh, (config.resolution,) * 3, UNIT_BOX)
        except InputError as error:
            raise InputError(f"{source.path}: {error}: repair it, or leave it out") from None
        places = grid_points((COARSE,) * 3, torch.tensor(UNIT_BOX)).reshape(-1, 3)
        inside = torch.from_numpy(inside_mesh(mesh, places.double().numpy()))
        inside = inside.reshape((COARSE,) * 3)
        write_object(file, seen.images, seen.silhouettes, lattice.values, inside)
    return source.name


def _render_all(config: RenderDatasetConfig, sources: list[Source], cameras: Cameras) -> None:
    """Render `sources`, in this process or in `config.jobs` others."""
    with tqdm(total=len(sources), desc="rendering", unit="object") as bar, ExitStack() as stack:
        tasks = [(s, object_file(config.out, s.name), cameras, config) for s in sources]
        if min(config.jobs, len(tasks)) <= 1:
            for task in tasks:
                render_object(*task)
                bar.update()
            return
        # Forking a process whose libraries have started threads may block it.
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(
            min(config.jobs, len(tasks)), mp_context=spawn, initializer=_leave_interrupts
        )
        stack.callback(pool.shutdown, cancel_futures=True)
        futures: list[Future[str]] = [pool.submit(render_object, *task) for task in tasks]
        for future in as_completed(futures):
            future.result()
            bar.update()


def _render_there(
    config: RenderDatasetConfig,
    sources: list[Source],
    cameras: Cameras,
    cluster: SchedulerSettings,
) -> None:
    """Render `sources`, each in a task of a cluster."""
    out = config.out.resolve()
    tasks = {s.name: (absolute(s), object_file(out, s.name), cameras, config) for s in sources}
    finish_all(cluster, _render_task, tasks, "rendering")


def _render_task(
    source: Source, file: Path, cameras: Cameras, config: RenderDatasetConfig, stop: Stop
) -> str:
    return render_object(source, file, cameras, config)


def _leave_interrupts() -> None:
    """Ctrl-C is for the parent, which lets each process finish its object."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_free(out: Path) -> None:
    """Refuse a folder that holds something else."""
    if (out / MANIFEST).is_file() or not out.exists():
        return
    if not out.is_dir() or any(path.name != LOCK for path in out.iterdir()):
        raise InputError(f"{out}: exists and is not a dataset (no {MANIFEST})")


def _open_folder(out: Path, manifest: Manifest) -> None:
    """Make the folder and its manifest, or make sure that it holds a part of the same dataset."""
    if (out / MANIFEST).is_file():
        old, new = manifest_to_dict(read_manifest(out)), manifest_to_dict(manifest)
        for key, value in new["settings"].items():
            if old["settings"].get(key) != value:
                was = old["settings"].get(key)
                raise InputError(f"{out}: was rendered with {key} {was!r}, now {value!r}: "
                                 "choose another --out")  # fmt: skip
        told = stored_rotations(out / MANIFEST) is not None
        if told and old["rotations"] != new["rotations"]:
            raise InputError(f"{out}: its meshes were aligned in another way: choose another --out")
        if old["objects"] != new["objects"]:
            raise InputError(f"{out}: holds a dataset of other meshes: choose another --out")
    for category in by_category(list(manifest.splits)):
        (out / category).mkdir(parents=True, exist_ok=True)
    write_manifest(out, manifest)


def _settings(config: RenderDatasetConfig) -> dict[str, Any]:
    """What changes the result, as plain values."""
    settings = asdict(config)
    for name in ("meshes", "out", "alignment", "jobs"):
        del settings[name]
    settings["categories"] = list(config.categories)
    return settings
