"""The command `singleview render-dataset`: meshes to a dataset of posed images.

Images are ray traced from the meshes, so they share no code with the renderer that learns from
them. Objects are rendered in parallel, each by one process; finished ones are not rendered again.
"""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.geometry.lattice import Lattice
from sdfrender.kernels.torch_threads import torch_threads
from sdfrender.rendering.raytrace import raytrace
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Directional, Headlight, Lighting
from singleview.data.layouts.folder import (
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
    SPLIT_RULES,
    Source,
    by_category,
    canonical_mesh,
    find_meshes,
    split_by,
)
from singleview.from_meshes.rigs import Rig, rig_cameras
from singleview.pictures.contact_sheet import write_contact_sheet

# A soft light from the camera and some from the upper right; white surfaces stay at most 1.
LIGHT = Lighting(
    headlight=Headlight(0.7), directional=(Directional((0.3, 0.8, 0.5), intensity=0.3),)
)
ALBEDO = 1.0


@dataclass(frozen=True)
class RenderDatasetConfig:
    """What `singleview render-dataset` is told; its fields are the options.

    Args:
        meshes: folder of category folders of meshes (.obj .ply .glb .stl .off), or of meshes.
        out: folder to write. One that holds a part of the same dataset is completed.
        categories: category folders to take. Default: all.
        alignment: JSON with a rotation per mesh that turns it upright. Default: alignment.json in
            MESHES, if there is one.
        size: pixels on a side of the images.
        cameras: elevations: looking from several elevations in turn, also from below. paper: one
            ring from above, as in SDFDiff.
        views: of each object, at even azimuths.
        resolution: samples along each side of the true lattice, which is for evaluation.
        supersampling: rays per pixel side, odd.
        split: protocol: of every 20 objects of a category, sorted by name and counted from 0, those
            at 3, 8, 13, 18 are for testing, 2 and 12 for validation. random: a fifth and a tenth,
            by lot. Or a JSON file {"train": [names], "val": [names], "test": [names]}.
        jobs: processes.
        seed: of the random split.
    """

    meshes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MESHES")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    categories: tuple[str, ...] = ()
    alignment: Path | None = None
    size: int = 64
    cameras: Rig = "elevations"
    views: int = 24
    resolution: int = 64
    supersampling: int = 5
    split: str = "protocol"
    jobs: int = 2
    seed: int = 0


def render_dataset(config: RenderDatasetConfig) -> Manifest:
    """Render every mesh of `config.meshes` and write the dataset to `config.out`.

    Returns:
        What `dataset.json` says.

    Raises:
        InputError: an option out of range, meshes, an alignment or a split that cannot be used, an
            object that leaves the picture, or a folder that holds something else.
    """
    _check(config)
    sources = find_meshes(config.meshes, config.alignment, config.categories)
    cameras = rig_cameras(config.cameras, config.views, config.size)
    splits = split_by(config.split, [source.name for source in sources], config.seed)
    manifest = Manifest(splits, cameras, LIGHT, _settings(config))
    _open_folder(config.out, manifest)
    todo = [s for s in sources if not object_file(config.out, s.name).exists()]
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
            mesh, cameras, lighting=LIGHT, albedo=[ALBEDO], supersampling=config.supersampling
        )
        lattice = Lattice.from_mesh(mesh, (config.resolution,) * 3, UNIT_BOX)
        write_object(file, seen.images, seen.silhouettes, lattice.values)
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


def _leave_interrupts() -> None:
    """Ctrl-C is for the parent, which lets each process finish its object."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_folder(out: Path, manifest: Manifest) -> None:
    """Make the folder and its manifest, or make sure that it holds a part of the same dataset."""
    if (out / MANIFEST).is_file():
        old, new = manifest_to_dict(read_manifest(out)), manifest_to_dict(manifest)
        for key, value in new["settings"].items():
            if old["settings"].get(key) != value:
                was = old["settings"].get(key)
                raise InputError(f"{out}: was rendered with {key} {was!r}, now {value!r}: "
                                 "choose another --out")  # fmt: skip
        if old["objects"] != new["objects"]:
            raise InputError(f"{out}: holds a dataset of other meshes: choose another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not a dataset (no {MANIFEST})")
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


def _check(config: RenderDatasetConfig) -> None:
    """Refuse options out of range, in the words of the command line."""
    rules = {
        "size": (8 <= config.size <= 1024, "from 8 to 1024"),
        "views": (1 <= config.views <= 1000, "from 1 to 1000"),
        "resolution": (2 <= config.resolution <= 512, "from 2 to 512"),
        "supersampling": (config.supersampling in range(1, 100, 2), "odd, from 1 to 99"),
        "split": (
            config.split in SPLIT_RULES or Path(config.split).is_file(),
            "protocol, random or a JSON file",
        ),
        "jobs": (config.jobs >= 1, "at least 1"),
        "seed": (0 <= config.seed < 2**63, "from 0 to 2^63 - 1"),
    }
    for name, (holds, rule) in rules.items():
        if not holds:
            raise InputError(f"--{name}: need {rule}, got {getattr(config, name)}")
