"""The command `singleview`: an image in, a shape out, learned from images alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.commands.process import run_command
from sdfrender.errors import InputError
from sdfrender.options import Flag
from singleview.config import PredictConfig, TrainConfig
from singleview.data.objects import Split
from singleview.evaluate.completion import CompletionStudy
from singleview.evaluate.evaluate import EvaluateConfig
from singleview.from_meshes.render_dataset import RenderDatasetConfig
from singleview.from_meshes.sample_points import SamplePointsConfig
from singleview.predict.complete import CompleteConfig
from singleview.predict.interpolate import InterpolateConfig

QUICK_OBJECTS = 10  # in the report that a training ends with
AsJson = Annotated[Flag, tyro.conf.arg(name="json")]


def main() -> int:
    """Run the command line; returns the exit code."""
    return run_command(
        lambda: tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="singleview", description="Learned shape from a single view."
        )
    )


def render_dataset(
    config: Annotated[RenderDatasetConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Photograph meshes from all around: a dataset to train and evaluate on.

    Every object is turned upright (alignment.json), centred and scaled to a longest side of 1.5 in
    the box [-1, 1]³, y up, and ray traced. The folder gets a file per object with images, masks and
    true distances, dataset.json with cameras, light and split, and a picture of each category to
    look at. When it is interrupted, the same command goes on where it stopped.

    Example: singleview render-dataset meshes --out data/five --categories chair table

    Args:
        config: the options.
        as_json: Print the number of objects per split and category as JSON.
    """
    from singleview.data.meshes import by_category
    from singleview.from_meshes.render_dataset import render_dataset

    splits = render_dataset(config).splits
    counts = {
        category: {s: [splits[n] for n in names].count(s) for s in ("train", "val", "test")}
        for category, names in by_category(list(splits)).items()
    }
    if as_json:
        print(json.dumps(counts, indent=2))
        return
    for category, count in counts.items():
        print(f"{category}: " + ", ".join(f"{n} {split}" for split, n in count.items()))
    print(f"wrote {config.out}; look at its pictures")


def sample_points(
    config: Annotated[SamplePointsConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Sample occupancy in and around meshes: what occupancy networks learn from.

    Every object is turned upright (alignment.json), centred and scaled to a longest side of 1.5, y
    up. The folder gets samples.json, with the split, and shards of points: uniform in the box
    around, near the surface, on the surface. It may be the folder of render-dataset. When it is
    interrupted, the same command goes on with the shard where it stopped.

    With --sdf it samples signed distances instead, which DeepSDF learns from.

    Example: singleview sample-points meshes --out data/five --categories chair table

    singleview sample-points meshes --out data/chairs --categories chair --sdf 250000 --split all

    Args:
        config: the options.
        as_json: Print the split of each object as JSON.
    """
    from singleview.from_meshes.sample_points import sample_points

    splits = sample_points(config)
    if as_json:
        print(json.dumps(splits, indent=2))
        return
    counts = {split: list(splits.values()).count(split) for split in ("train", "val", "test")}
    print(f"{len(splits)} objects: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
    model = "occupancy" if config.sdf is None else "deepsdf"
    print(f"wrote {config.out}; next: singleview train {config.out} --model {model} --out RUN")


def train(config: Annotated[TrainConfig, tyro.conf.arg(name="")], as_json: AsJson = False) -> None:
    """Train a network that predicts a shape: from one image, from images alone, or from points.

    --model sdfdiff (the default) learns a lattice from an image, from images alone. --model
    occupancy learns occupancy at any point from an image, a point cloud, voxels or nothing
    (--input), from the samples that sample-points wrote. --model deepsdf learns the distance
    fields of a family of shapes, and a code for each, from what sample-points --sdf wrote.

    The run folder gets config.json, losses.csv, validation.csv, pictures of predictions as they get
    better, checkpoints/, metrics.json, and in the end model.safetensors. Ctrl-C saves what there
    is; --resume goes on. Several processes share a training under torchrun, with the same result:
    torchrun --nproc_per_node 2 -m singleview train ...

    Example: singleview train data/five --out runs/five

    singleview train data/five --out runs/clouds --model occupancy --input points --size small

    Args:
        config: the options.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from singleview.train import train
    from singleview.training.distributed import ProcessLost

    try:
        metrics = train(config)
    except ProcessLost as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if int(os.environ.get("RANK", "0")):
        return  # the first process speaks for all
    from singleview.report.page import write_report

    try:
        write_report(config.out, views=1, objects=QUICK_OBJECTS, refine=False)
    except InputError as error:  # the training is done all the same
        print(f"warning: no report: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    scores = ", ".join(f"{k} {x:.3f}" for k, x in metrics["validation"].items() if k != "step")
    print(f"{metrics['steps']} steps in {metrics['seconds']:.0f} s; validation: {scores or 'none'}")
    print(f"wrote {config.out}; look at {config.out / 'report.html'}")
    print(f"next: singleview evaluate {config.dataset} {config.out}")


def report(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    split: Split | None = None,
    views: int = 2,
    objects: int | None = None,
) -> None:
    """Write a training's report.html: how it went, and what the network makes of unseen objects.

    One file without a network: input, prediction and reference of each object from the same sides,
    the worst first; how the scores are spread; the curves of the training; a mesh to turn. Scores
    are IoU at 64³, or at random points for occupancy networks. Of DeepSDF it shows shapes whose
    codes it finds, and the way between known ones. Where the dataset has gone it shows the
    training alone.

    Example: singleview report runs/five

    Args:
        run: The run folder.
        split: Objects to show: train, val or test. Default: test, or what there is.
        views: Pictures or clouds of each object that are judged; the first of them is shown.
        objects: How many to judge, evenly spread over the split. Default: all.
    """
    from singleview.report.page import write_report

    for name, value in (("views", views), ("objects", objects)):
        if value is not None and value < 1:
            raise InputError(f"--{name}: need at least 1, got {value}")
    print(write_report(run, split, views, objects))


def predict(
    config: Annotated[PredictConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Predict a shape from each input: a picture of one object, or what the network was taught.

    In a picture, what is object is told by the alpha channel, a plain background, or --mask.
    DIR/NAME/ gets mesh.ply, lattice.safetensors, turntable.gif and sheet.png, the picture beside
    views of the shape, in the object's canonical frame: the box [-1, 1]³, y up.

    Occupancy networks also take point clouds or voxels and give meshes in the input's frame; one
    without an input makes up --count shapes, and some --between them. DeepSDF takes meshes, and
    gives the member of its family that is most like each; or names of shapes that it knows.

    Example: singleview predict mug.png --model runs/five --out predictions

    Args:
        config: the options.
        as_json: Print the folders written as JSON.
    """
    from singleview.predict.predict import predict

    _tell([prediction.folder for prediction in predict(config)], as_json)


def _tell(folders: Sequence[Path], as_json: bool) -> None:
    """Print the folders that were written."""
    names = [str(folder) for folder in folders]
    print(json.dumps(names, indent=2) if as_json else "\n".join(f"wrote {x}" for x in names))


def evaluate(
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")],
    as_json: AsJson = False,
    markdown: Flag = False,
) -> None:
    """Measure networks and baselines on objects that they have not seen, in one table.

    IoU at R³: prediction and truth resampled trilinearly to R samples along each side of the box,
    inside is below 0; mean over all input views, then over objects, then over categories. Chamfer
    distance, normal consistency, and silhouette IoU on the other views come beside.

    Occupancy networks are measured at random points instead, and their meshes as in their paper,
    beside the nearest training object by input, the category's mean and the input itself.

    DeepSDF is measured on meshes (--meshes) as in its paper: on --split train with the codes that
    it learned, on others with codes that are found from samples of the distance.

    Example: singleview evaluate data/five runs/five --baselines

    Args:
        config: the options.
        as_json: Print JSON, with every object's numbers.
        markdown: Print a Markdown table.
    """
    from singleview.evaluate.evaluate import evaluate

    if as_json and markdown:
        raise InputError("--json, --markdown: need one of them, got both")
    result = evaluate(config)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    from rich.console import Console

    from singleview.measures import tables

    if markdown:
        print(tables.markdown(result))
    else:
        console = Console()
        console.print(tables.terminal(result, console.width))


def complete(
    config: Annotated[CompleteConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Complete the shape of which a depth image shows one side.

    The code of a DeepSDF network is found that explains the depths, and the empty space before and
    beside them, by Levenberg-Marquardt. DIR/NAME/ gets mesh.ply and points.ply (what was seen) in
    the frame of the input, lattice.safetensors and code.json in the canonical frame, and sheet.png.

    DEPTH is OBJECT/depth/NNN.exr with OBJECT/cameras.npz, the layout of DVR, or an .npz with depths
    [H, W] (camera z), K [3, 3] (pixels, centres at +0.5) and c2w [4, 4] (OpenCV axes): in the
    network's canonical frame, or in another whose units per canonical unit and origin `scale` and
    `center` [3] state. Depths that are infinite say that nothing is there, 0 that nothing is known.

    Example: singleview complete chair.npz --model runs/chairs --out completed

    Args:
        config: the options.
        as_json: Print the folders written as JSON.
    """
    from singleview.predict.complete import complete_depths

    _tell(complete_depths(config), as_json)


def evaluate_completion(
    config: Annotated[CompletionStudy, tyro.conf.arg(name="")],
    as_json: AsJson = False,
    markdown: Flag = False,
) -> None:
    """Measure completions of meshes from one depth image of each, also under noise.

    Beside them: the nearest mesh that the network knows, and the hull of the silhouette. DIR gets
    completion.json, completion.md, noise.png and shapes.png: the depth image, the completion, the
    truth.

    Example: singleview evaluate-completion meshes --model runs/chairs --out study

    Args:
        config: the options.
        as_json: Print JSON, with every object's numbers.
        markdown: Print Markdown tables.
    """
    from singleview.evaluate.completion import evaluate_completion, markdown_of, terminal

    if as_json and markdown:
        raise InputError("--json, --markdown: need one of them, got both")
    result = evaluate_completion(config)
    if as_json:
        print(json.dumps(result, indent=2))
    elif markdown:
        print(markdown_of(result), end="")
    else:
        from rich.console import Console

        Console().print(*terminal(result))
        print(f"wrote {config.out}; look at shapes.png and noise.png in it")


def interpolate(
    config: Annotated[InterpolateConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Draw a strip of shapes on the way from one to another.

    A DeepSDF network is drawn itself, by sphere tracing, for codes on the line from A's to B's.

    Example: singleview interpolate chair/101 chair/105 --model runs/chairs --out strip.png

    Args:
        config: the options.
        as_json: Print the files written as JSON.
    """
    from singleview.predict.interpolate import interpolate

    files = [str(file) for file in interpolate(config)]
    print(json.dumps(files, indent=2) if as_json else "\n".join(f"wrote {x}" for x in files))


def demo(out: Path = Path("runs/singleview-demo"), as_json: AsJson = False) -> None:
    """Predict a mug from the picture that comes with the project; no arguments needed.

    Example: singleview demo

    Args:
        out: folder to write; a prediction that is there is replaced.
        as_json: Print the folder written as JSON.
    """
    from singleview.demo import demo

    folder = demo(out).folder
    print(json.dumps(str(folder)) if as_json else f"wrote {folder}; look at sheet.png in it")


# Each command is a function; its signature and docstring are the command line and its help.
COMMANDS: dict[str, Callable[..., None]] = {
    "render-dataset": render_dataset,
    "sample-points": sample_points,
    "train": train,
    "evaluate": evaluate,
    "report": report,
    "predict": predict,
    "complete": complete,
    "evaluate-completion": evaluate_completion,
    "interpolate": interpolate,
    "demo": demo,
}
