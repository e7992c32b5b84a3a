"""The command `multiview`: from posed images to a lattice and a watertight mesh."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from sdfrender.commands.process import run_command
from sdfrender.errors import InputError
from sdfrender.options import Flag

if TYPE_CHECKING:
    from multiview.config import FitConfig

Bounds = tuple[float, float, float, float, float, float]


def main() -> int:
    """Run the command line; returns the exit code."""
    return run_command(
        lambda: tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="multiview", description="Posed images to a watertight mesh."
        )
    )


def fit(
    scene: tyro.conf.Positional[Path],
    /,
    out: Path | None = None,
    preset: Literal["best", "fast", "adam", "sdfdiff"] = "best",
    init: Literal["hull", "sphere"] = "hull",
    resolution: int = 64,
    train_views: str | None = None,
    refine_cameras: Flag = False,
    refine_intrinsics: Flag = False,
    exposure: Literal["same", "per-view"] = "same",
    light: str = "auto",
    appearance: Literal["auto", "constant", "albedo", "radiance"] = "auto",
    schedule: Literal["shuffled", "greedy"] | None = None,
    loss: Literal["l2", "huber"] = "l2",
    bounds: Bounds | None = None,
    mask_threshold: float | None = None,
    image_size: int = 800,
    seed: int = 0,
    threads: int | None = None,
    prior: Path | None = None,
    prior_up: Literal["x", "y", "z", "-x", "-y", "-z"] = "y",
    prior_hold: float = 0.01,
    resume: Flag = False,
    texture: Flag = False,
    live: Flag = False,
    logs: Literal["tensorboard"] | None = None,
    as_json: Annotated[Flag, tyro.conf.arg(name="json")] = False,
) -> None:
    """Fit a shape to posed images and write a run folder.

    The scene is a folder with transforms.json (nerfstudio, instant-ngp, `sdfrender render`),
    transforms_train.json (NeRF-synthetic), sparse/0 and images/ (COLMAP), cameras_sphere.npz or
    cameras.npz with image/ and mask/ (IDR, NeuS, DVR, ONet), or NAME_par.txt (Middlebury).
    Distorted photographs are undistorted. Silhouettes come from masks/NAME.png (white = object),
    the alpha channel, a threshold on a dark background, or the colour of a plain background.

    The run folder gets config.json, losses.csv, metrics.json, lattice.safetensors, mesh.ply and
    mesh.glb (in the photographs' colours), report.html, progress.mp4 and checkpoints/. Ctrl-C saves
    what there is; --resume goes on. `multiview watch` follows a fit that runs.

    Few views leave much of a shape open. With --prior it is looked for among the shapes that a
    DeepSDF network knows (singleview train --model deepsdf), then fitted to the views but held to
    what the network says; prior.json and prior.ply tell what that was. One view is enough then, if
    the scene states its box.

    Example: multiview fit photos/dino --train-views 2::3

    multiview fit photos/chair --train-views front,left --prior runs/chairs --prior-up z

    Args:
        scene: The scene's folder, or its camera file.
        out: The run folder to write. Default: runs/SCENE, or runs/SCENE-2 and so on if that holds
            a run; with --resume the last of them.
        preset: best (Gauss-Newton), fast (a third of its time), adam (first order, a few views at a
            time), or sdfdiff (the method of that paper; use it with --init sphere).
        init: Start from the visual hull of the masks, or from a sphere.
        resolution: Lattice samples along the longest side of the box.
        train_views: Views to fit: names, globs or slices over the name-sorted views, separated by
            commas (2::3, front_*). The others are held out for metrics.json. Default: all, or the
            scene's own training split.
        refine_cameras: Also move the cameras of the views to fit, each by a small rotation and
            translation, where that agrees better with the photographs; cameras.json tells how far.
        refine_intrinsics: With refine_cameras: focal length and principal point too, the same
            correction for all views.
        exposure: same, or per-view: the camera chose its own exposure or white balance for each
            photograph; exposures.json tells the gains, and photographs are compared at a common
            exposure (those held out too: each by its own best gain).
        light: auto (the scene's own if it states one, else whichever of the following three
            predicts views that were held back, the simplest if in doubt), estimate (order-2
            spherical harmonics fixed to the scene), camera (the same fixed to the camera: the
            object was on a turntable, or the lamp beside the lens), per-view (another light in each
            photograph), scene, or a .json file with the keys of a scene's lighting.
        appearance: What the light falls on: constant (one colour), albedo (a lattice of colours),
            radiance (a lattice of colours without light), or auto: whichever predicts views that
            were held back, the simplest if in doubt.
        schedule: Of adam, views per update: shuffled batches, or SDFDiff's greedy order.
        loss: l2, or huber: residuals beyond 0.05 count linearly (highlights, shadows, wrong masks).
        bounds: World box of the lattice, min x y z then max x y z. Default: the scene's, or from
            the masks.
        mask_threshold: Take pixels brighter than this fraction of full scale as the object.
        image_size: Longest side of the images to load, in pixels; larger ones are averaged down.
        seed: Of the order of the views.
        threads: Default: all cores, one for adam.
        prior: Weights of a DeepSDF network, or the run folder of its training; for --preset best
            or fast.
        prior_up: Axis of the scene along which the network's shapes stand, about.
        prior_hold: How strongly the lattice is held to the network's shape; 0 only starts from it.
        resume: Continue the run in OUT from its last complete pass.
        texture: Also write textured.glb: the mesh with the photographs as its texture (needs the
            extra `texture`). `multiview texture` does it later.
        live: Show the fit in the browser while it runs: the surface, the cameras and the loss, with
            buttons to pause, step, and stop and save (needs the extra `viewer`).
        logs: Also write losses.csv for TensorBoard (needs the extra `logs`); then
            tensorboard --logdir OUT shows it.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from multiview.config import FitConfig

    run(
        FitConfig(
            scene=scene,
            out=out
            or default_run((scene.parent if scene.is_file() else scene).resolve().name, resume),
            preset=preset,
            init=init,
            resolution=resolution,
            train_views=train_views,
            refine_cameras=refine_cameras,
            refine_intrinsics=refine_intrinsics,
            prior=prior,
            prior_up=prior_up,
            prior_hold=prior_hold,
            exposure=exposure,
            light=light,
            appearance=appearance,
            schedule=schedule,
            loss=loss,
            bounds=bounds,
            mask_threshold=mask_threshold,
            image_size=image_size,
            seed=seed,
            threads=threads,
            resume=resume,
            texture=texture,
            logs=logs,
        ),
        as_json,
        live,
    )


def demo(
    out: Path | None = None,
    preset: Literal["best", "fast", "adam", "sdfdiff"] = "best",
    resolution: int = 64,
    seed: int = 0,
    resume: Flag = False,
    live: Flag = False,
    as_json: Annotated[Flag, tyro.conf.arg(name="json")] = False,
) -> None:
    """Fit the demo scene that comes with the project; no arguments needed.

    Args:
        out: As in `multiview fit`. Default: runs/demo, or runs/demo-2 and so on.
        preset: As in `multiview fit`.
        resolution: As in `multiview fit`.
        seed: Of the order of the views.
        resume: Continue the run in OUT.
        live: As in `multiview fit`.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from multiview.config import FitConfig

    run(
        FitConfig(
            scene=demo_scene(),
            out=out or default_run("demo", resume),
            preset=preset,
            resolution=resolution,
            seed=seed,
            resume=resume,
        ),
        as_json,
        live,
    )


def evaluate(
    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")],
    /,
    mesh: Path | None = None,
    as_json: Annotated[Flag, tyro.conf.arg(name="json")] = False,
) -> None:
    """Measure a finished run again: its views, and its mesh against a reference.

    Writes metrics.json and report.html anew.

    Args:
        run_folder: The run folder.
        mesh: Reference mesh in the scene's frame. Default: the one that was given the last time,
            else the one the scene states, if any.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from multiview.results.results import evaluate_run

    show(evaluate_run(run_folder, mesh), run_folder, as_json)


def report(run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")], /) -> None:
    """Build a run's report.html again.

    Args:
        run_folder: The run folder.
    """
    from multiview.results.results import evaluate_run

    evaluate_run(run_folder, None)
    print(run_folder / "report.html")


def watch(
    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")],
    /,
    once: Flag = False,
) -> None:
    """Draw the losses of a running fit in the terminal, until it has finished.

    Run it beside the fit, in another terminal; Ctrl-C ends it and leaves the fit alone.

    Example: multiview watch runs/dino

    Args:
        run_folder: The run folder, finished or not.
        once: Draw what there is and end.
    """
    from multiview.results.watch import watch

    watch(run_folder, once)


def texture(
    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")],
    /,
    size: int | None = None,
    faces: int = 20_000,
    as_json: Annotated[Flag, tyro.conf.arg(name="json")] = False,
) -> None:
    """Lay the photographs of a finished run onto its mesh.

    Writes textured.glb: the mesh, simplified and cut into charts, and one texture that is fitted to
    all training views. Tells how close renderings of it come to the photographs inside their masks,
    beside the mesh with a colour at each vertex. Needs the extra `texture`.

    Example: multiview texture runs/dino --size 4096

    Args:
        run_folder: The run folder.
        size: Texels along the longer side of the texture. Default: a power of two at which they are
            no larger than the photographs' pixels.
        faces: Triangles of the mesh; with more than 50000, charts take minutes.
        as_json: Print the figures as JSON instead of a table.
    """
    from multiview.results.results import texture_run

    found = texture_run(run_folder, size, faces)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show({"texture": found}, run_folder, False, "textured.glb")


def benchmark(
    meshes: tyro.conf.Positional[tuple[Path, ...]],
    /,
    out: Path = Path("runs/benchmark"),
    resolutions: tuple[int, ...] = (64, 128),
    preset: Literal["best", "fast", "adam", "sdfdiff"] = "best",
    init: Literal["hull", "sphere"] = "hull",
    views: int = 26,
    image_size: int = 256,
    noise: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
    again: Flag = False,
    paint: Flag = False,
    lamps: Literal["scene", "camera", "view"] = "scene",
    as_json: Annotated[Flag, tyro.conf.arg(name="json")] = False,
    as_markdown: Annotated[Flag, tyro.conf.arg(name="markdown")] = False,
) -> None:
    """Reconstruct meshes from images of them, and print how close that came.

    The images are ray traced from the mesh, which is scaled to a longest side of 1.5: 26 views
    from the faces, edges and corners of a cube and 6 held out, 3×3 rays a pixel, known light,
    albedo 1. Scenes and finished runs stay in OUT and are not made again; OUT/benchmark.md and
    OUT/benchmark.json hold the table.

    Example: multiview benchmark meshes/ --resolutions 64

    Args:
        meshes: Mesh files (.obj .ply .off .stl), and folders that are searched for them.
        out: Folder of scenes, runs and tables.
        resolutions: Lattice samples along the longest side, a fit for each; ascending.
        preset: As in `multiview fit`.
        init: As in `multiview fit`.
        views: Views to fit: 26, 8 (from the faces of a cube and two corners) or 4 (a tetrahedron).
        image_size: Width and height of the images, pixels.
        noise: Standard deviation of Gaussian noise on the colour of the training views, 0 to 1.
        seed: Of the noise, and of the fits.
        threads: As in `multiview fit`. The ray tracer takes all processors.
        again: Fit also where a finished run has the same settings.
        paint: Give the meshes colours and light them by lamps; the fits know neither.
        lamps: What these lamps are fixed to: the scene, the camera (as on a turntable), or the
            view: each has others.
        as_json: Print JSON instead of a table.
        as_markdown: Print Markdown instead of a table.
    """
    if as_json and as_markdown:
        raise InputError("--json: need one form of output, got --markdown too")
    from rich.console import Console

    from multiview.benchmark import run as of_meshes
    from multiview.benchmark.table import markdown, terminal_table

    config = of_meshes.BenchmarkConfig(
        meshes,
        out,
        resolutions,
        preset,
        init,
        views,
        image_size,
        noise,
        seed,
        threads,
        again,
        paint,
        lamps,
    )
    result = of_meshes.benchmark(config)
    rows = result["meshes"]
    if as_json:
        print(json.dumps(result, indent=2))
    elif as_markdown:
        print(markdown(config.title, rows, resolutions), end="")
    else:
        table = terminal_table(config.title, rows, resolutions)
        console = Console()
        needed = console.measure(table, options=console.options.update(width=1000)).maximum
        Console(width=max(console.width, needed)).print(table)  # rather wrapped than cut off
    failed = of_meshes.failed(rows)
    if failed:
        raise InputError(f"{len(failed)} of {len(rows)} meshes failed: {'; '.join(failed)}")


def default_run(name: str, resume: bool) -> Path:
    """The first of runs/NAME, runs/NAME-2, … that holds no run; to resume, the last that does."""
    before = folder = Path("runs") / name
    for number in itertools.count(2):
        if not folder.exists():
            break
        before, folder = folder, Path("runs") / f"{name}-{number}"
    return before if resume else folder


def demo_scene() -> Path:
    """The scene in `assets/`, beside the package in a checkout and inside it when installed."""
    package = Path(__file__).parent
    for assets in (package / "assets", package.parent / "assets"):
        if (assets / "demo").is_dir():
            return assets / "demo"
    raise InputError(f"{package.parent / 'assets' / 'demo'}: the demo scene is not there")


COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit,
    "demo": demo,
    "benchmark": benchmark,
    "evaluate": evaluate,
    "report": report,
    "watch": watch,
    "texture": texture,
}


def run(config: FitConfig, as_json: bool, live: bool) -> None:
    """Fit and show the result."""
    from multiview.fit import fit

    show(fit(config, live=live), config.out, as_json)


def show(metrics: dict[str, Any], folder: Path, as_json: bool, mesh: str = "mesh.ply") -> None:
    """Print metrics as JSON or as a table with what to look at next."""
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(folder), show_header=False)
    for group, value in metrics.items():
        if isinstance(value, dict):
            for name, number in value.items():
                shown = f"{number:.5g}" if isinstance(number, float) else str(number)
                table.add_row(f"{group}: {name}", shown)
        else:
            table.add_row(group, str(value))
    console = Console()
    console.print(table)
    console.print(f"look at {folder / 'report.html'} and {folder / mesh}", soft_wrap=True)
