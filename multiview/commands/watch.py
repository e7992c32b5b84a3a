"""The command `multiview watch`."""

from __future__ import annotations

from multiview.commands.options import RunFolder
from sdfrender.options import Flag


def command(
    run_folder: RunFolder,
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
