"""The command `multiview evaluate`."""

from __future__ import annotations

from pathlib import Path

from multiview.commands.options import RunFolder
from multiview.commands.show import show
from sdfrender.options import AsJson


def command(
    run_folder: RunFolder,
    /,
    mesh: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Measure a finished run again: its views, and its mesh against a reference.

    Writes metrics.json and report.html anew.

    Args:
        run_folder: The run folder.
        mesh: Reference mesh in the scene's frame. Default: the one that was given the last time,
            else the one the scene states, if any.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from multiview.results.finished_run import evaluate_run

    show(evaluate_run(run_folder, mesh), run_folder, as_json)
