"""The benchmark: scene, hull and fits of each mesh, one after the other, and what they reached."""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from multiview.benchmark.meshes import Topology, find_meshes
from multiview.benchmark.scenes import SceneSpec, make_scene, well_spread
from multiview.benchmark.table import Row, markdown
from multiview.config import FitConfig, Preset, Start
from multiview.fit import fit
from multiview.photo.unknown_light import FixedTo
from multiview.run_folder import holds_run
from multiview.scenes import load_scene
from sdfrender import InputError, extract_mesh, load_mesh, metrics
from sdfrender.files.atomic import one_line, read_bytes, write_bytes, write_json
from sdfrender.hull.visual_hull import visual_hull

HULL_RESOLUTION = 64  # samples along the longest side of the hull that fits are compared with
Fitter = Callable[[FitConfig, bool], dict[str, Any]]


@dataclass(frozen=True)
class BenchmarkConfig:
    """All settings of a benchmark.

    Args:
        meshes: mesh files, and folders of them.
        out: folder of the scenes, the runs and the tables.
        resolutions: lattice samples along the longest side, coarse to fine; a fit for each.
        preset, init, threads: as in `FitConfig`.
        views: training views: 26, 8 or 4; see `well_spread`.
        image_size: of the images, pixels.
        noise: standard deviation of the noise on the training views.
        seed: of the noise and of the fits.
        again: fit also where a finished run has the same settings.
        paint: meshes with colours, under a light that the fits have to find.
        lamps: what that light is fixed to, which they have to find as well.
    """

    meshes: tuple[Path, ...]
    out: Path
    resolutions: tuple[int, ...] = (64, 128)
    preset: Preset = "best"
    init: Start = "hull"
    views: int = 26
    image_size: int = 256
    noise: float = 0.0
    seed: int = 0
    threads: int | None = None
    again: bool = False
    paint: bool = False
    lamps: FixedTo = "scene"

    def __post_init__(self) -> None:
        if not self.resolutions or sorted(set(self.resolutions)) != list(self.resolutions):
            raise InputError(
                "--resolutions: need one or more, each larger than the one before, "
                f"got {' '.join(map(str, self.resolutions))}"
            )
        well_spread(self.views)
        if self.lamps != "scene" and not self.paint:
            raise InputError(f"--lamps: need --paint as well, to light by those of {self.lamps}")
        if not 0 <= self.noise <= 1:
            raise InputError(f"--noise: need a number from 0 to 1, got {self.noise}")
        for resolution in self.resolutions:
            self.fit_config(Path(), Path(), resolution)  # for its checks

    @property
    def scene_spec(self) -> SceneSpec:
        """What defines the scenes."""
        return SceneSpec(self.image_size, self.noise, self.seed, self.paint, self.lamps)

    @property
    def train_views(self) -> str | None:
        """The training views that are used, as `FitConfig.train_views`."""
        chosen = [f"view_{n:03d}" for n in well_spread(self.views)]
        return None if self.views == 26 else ",".join(chosen)

    def fit_config(self, scene: Path, out: Path, resolution: int) -> FitConfig:
        """The settings of one fit."""
        return FitConfig(
            scene,
            out,
            preset=self.preset,
            init=self.init,
            resolution=resolution,
            train_views=self.train_views,
            image_size=self.image_size,
            seed=self.seed,
            threads=self.threads,
        )

    @property
    def title(self) -> str:
        """The settings in one line."""
        noise = f", noise {self.noise:g}" if self.noise else ""
        lamps = f", lamps of the {self.lamps}" if self.lamps != "scene" else ""
        paint = f", painted{lamps}" if self.paint else ""
        return (
            f"--preset {self.preset} --init {self.init}, "
            f"{self.views} views of {self.image_size}²{noise}{paint}"
        )


def benchmark(config: BenchmarkConfig, fitter: Fitter | None = None) -> dict[str, Any]:
    """Reconstruct each mesh from images of it.

    What went wrong with one mesh is its row's `error`, and the others go on. After each mesh
    `benchmark.json` and `benchmark.md` are written anew. Scenes and finished runs are found again.

    Args:
        config: the settings.
        fitter: does one fit, given its settings and whether to be quiet; by default `fit` in a
            process of its own, so that its memory is its own too.

    Returns:
        The contents of `benchmark.json`: `settings`, and `meshes`, a row for each; see
        `measure_mesh`.

    Raises:
        InputError: no such mesh, or settings that make no sense; before anything is written.
    """
    files = find_meshes(config.meshes)
    config.out.mkdir(parents=True, exist_ok=True)
    settings = json.loads(json.dumps(asdict(config), default=str))
    rows: list[Row] = []
    for number, (name, file) in enumerate(files.items(), 1):
        print(f"{name} ({number} of {len(files)})", file=sys.stderr)
        try:
            row = measure_mesh(config, name, file, fitter or fit_apart)
        except Exception as error:  # the other meshes are worth having
            if not isinstance(error, InputError):
                traceback.print_exc()
            row = {"mesh": name, "file": str(file), "error": one_line(error)}
        rows.append(row)
        write_json(config.out / "benchmark.json", {"settings": settings, "meshes": rows})
        table = markdown(config.title, rows, config.resolutions)
        write_bytes(config.out / "benchmark.md", table.encode())
    return {"settings": settings, "meshes": rows}


def measure_mesh(config: BenchmarkConfig, name: str, file: Path, fitter: Fitter) -> Row:
    """Scene, hull and fits of one mesh.

    Returns:
        `mesh` and `file`; `topology` of the mesh; `hull_chamfer`; `runs`, by resolution the groups
        of the run's metrics.json with the `topology` of its mesh and its `folder`.
    """
    spec = config.scene_spec
    key = f"{name}-{spec.key(file)}"
    scene = config.out / "scenes" / key
    if not (scene / "transforms.json").is_file():
        make_scene(file, scene, spec)
    runs = config.out / "runs" / f"{key}-{config.views}-views"
    runs.mkdir(parents=True, exist_ok=True)
    topology = Topology.of(load_mesh(scene / "mesh.ply"))
    if not topology.watertight:
        print(f"warning: {file} is not watertight, its IoU means little", file=sys.stderr)
    row: Row = {
        "mesh": name,
        "file": str(file),
        "topology": asdict(topology),
        "hull_chamfer": hull_chamfer(scene, config, runs / "hull.json"),
        "runs": {},
    }
    for resolution in config.resolutions:
        folder = runs / f"{config.preset}-{config.init}-{resolution}-{config.seed}"
        settings = config.fit_config(scene, folder, resolution)
        # The lamps of a painted scene are not stated.
        found = finished_run(settings, config.paint, config.again, fitter)
        row["runs"][str(resolution)] = {
            **found,
            "topology": asdict(Topology.of(load_mesh(folder / "mesh.ply"))),
            "folder": str(folder.relative_to(config.out)),
        }
    return row


def hull_chamfer(scene: Path, config: BenchmarkConfig, file: Path) -> float:
    """Chamfer distance of the visual hull, as a fraction of the longest side; kept in `file`."""
    if not file.is_file():
        loaded = load_scene(scene, config.train_views)
        views = list(loaded.train)
        assert loaded.bounds is not None  # our own scenes state both
        assert loaded.mesh is not None
        silhouettes, known = loaded.silhouettes[views], loaded.silhouette_weights[views]
        cameras = loaded.cameras[views]
        hull = visual_hull(cameras, silhouettes, known, HULL_RESOLUTION, loaded.bounds)
        truth = load_mesh(loaded.mesh)
        distance = metrics.chamfer(extract_mesh(hull), truth) / float(truth.extents.max())
        write_json(file, {"chamfer_l1": distance, "resolution": HULL_RESOLUTION})
    return float(json.loads(read_bytes(file))["chamfer_l1"])


# ---------------------------------------------------------------------- one fit


def finished_run(
    config: FitConfig, photographs: bool, again: bool, fitter: Fitter
) -> dict[str, Any]:
    """The metrics of a run with these settings: found, or finished, or made.

    A run that was interrupted goes on; one with other settings or another recipe is replaced.

    Args:
        config: the settings.
        photographs: the light is not known, which changes the recipe; see `FitConfig.recipe`.
        again: make it also where it is found.
        fitter: see `benchmark`.

    Raises:
        InputError: the fit could not be done, or was interrupted.
    """
    going_on = replace(config, resume=True)
    resumable = not again and holds_run(going_on, photographs)
    if resumable:
        found = _metrics(config.out)
        if found is not None:
            return found
    elif config.out.exists():
        shutil.rmtree(config.out)
    summary = fitter(going_on if resumable else config, False)
    if summary.get("interrupted"):
        raise KeyboardInterrupt
    return summary


def _metrics(run: Path) -> dict[str, Any] | None:
    """What a finished run measured; None where it was not finished."""
    file = run / "metrics.json"
    if not file.is_file() or not (run / "mesh.ply").is_file():
        return None
    found = dict(json.loads(read_bytes(file)))
    return None if found.get("interrupted") else found


def fit_apart(config: FitConfig, quiet: bool = False) -> dict[str, Any]:
    """`fit` in a fresh process: its peak memory is its own, and a crash is only its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(fit, config, quiet).result()


def failed(rows: Sequence[Row]) -> list[str]:
    """The meshes that something went wrong with, and what."""
    return [f"{row['mesh']}: {row['error']}" for row in rows if "error" in row]
