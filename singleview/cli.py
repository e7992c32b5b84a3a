"""The command `singleview`: an image in, a shape out, learned from images alone."""

from __future__ import annotations

from collections.abc import Callable

from sdfrender.commands.process import run_program
from singleview.commands import (
    align,
    complete,
    demo,
    evaluate,
    evaluate_completion,
    import_weights,
    interpolate,
    predict,
    render_dataset,
    report,
    sample_points,
    train,
)

# Each command is a function; its signature and docstring are the command line and its help.
COMMANDS: dict[str, Callable[..., None]] = {
    "align": align.command,
    "render-dataset": render_dataset.command,
    "sample-points": sample_points.command,
    "train": train.command,
    "evaluate": evaluate.command,
    "report": report.command,
    "predict": predict.command,
    "complete": complete.command,
    "evaluate-completion": evaluate_completion.command,
    "interpolate": interpolate.command,
    "import": import_weights.command,
    "demo": demo.command,
}

# What one wants to do, and the commands for it.
GROUPS = {
    "Predict a shape": ("demo", "predict", "complete", "interpolate"),
    "Make a data set from meshes": ("align", "render-dataset", "sample-points"),
    "Train": ("train", "report", "import"),
    "Measure": ("evaluate", "evaluate-completion"),
}


def main() -> int:
    """Run the command line; returns the exit code."""
    return run_program(COMMANDS, "singleview", "Learned shape from a single view.", groups=GROUPS)
