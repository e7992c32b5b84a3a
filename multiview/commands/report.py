"""The command `multiview report`."""

from __future__ import annotations

from multiview.commands.options import RunFolder


def command(run_folder: RunFolder, /) -> None:
    """Build a run's report.html again.

    Args:
        run_folder: The run folder.
    """
    from multiview.results.finished_run import evaluate_run

    evaluate_run(run_folder, None)
    print(run_folder / "report.html")
