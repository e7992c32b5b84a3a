"""The command `multiview materials`."""

from __future__ import annotations

import json

from multiview.commands.options import RunFolder
from multiview.commands.show import show
from sdfrender.options import AsJson, Flag


def command(
    run_folder: RunFolder,
    /,
    specular: float = 0.04,
    metal: Flag = False,
    as_json: AsJson = False,
) -> None:
    """Solve for base colour, roughness and light of a finished run.

    The surface stays as it is. Its photographs are explained by a base colour and a roughness at
    each vertex (Lambert and GGX) and one light all around; sRGB photographs are decoded to linear
    light first. Base colours and light are known up to a common factor only. Writes
    materials.safetensors, environment.hdr and materials.glb; `sdfrender render RUN --light
    other.hdr` shows the object in another light. Needs the extra `texture`.

    Example: multiview materials runs/dino

    Args:
        run_folder: The run folder.
        specular: What the surface reflects of light from straight ahead, where it is no metal.
        metal: The object is bare metal.
        as_json: Print the figures as JSON instead of a table.
    """
    from multiview.materials.estimate import MaterialSettings
    from multiview.results.finished_run import materials_of_run

    found = materials_of_run(run_folder, MaterialSettings(specular, metal))
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show({"materials": found}, run_folder, False, "materials.glb")
