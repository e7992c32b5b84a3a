"""The command `multiview texture`."""

from __future__ import annotations

import json

from multiview.commands.options import RunFolder
from multiview.commands.show import show
from sdfrender.commands.messages import bars_hidden
from sdfrender.options import AsJson


def command(
    run_folder: RunFolder,
    /,
    size: int | None = None,
    faces: int = 20_000,
    as_json: AsJson = False,
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
    from multiview.results.finished_run import texture_run

    found = texture_run(run_folder, size, faces, bars_hidden())
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show({"texture": found}, run_folder, False, "textured.glb")
