"""What a rendered scene says about itself: the key `"sdfrender"` of its `transforms.json`.

    {"color_space": "linear", "bounds": [[…], […]], "mesh": "mesh.ply",
     "lighting": {"ambient": 0.0, "headlight": {"intensity": 0.7, "falloff": false},
                  "directional": [{"to_light": [x, y, z], "intensity": 0.3}]}}

Every part may be left out. Intensities are a number or one per colour channel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sdfrender.errors import InputError
from sdfrender.files.tables import Table, numbers, only_keys, shown
from sdfrender.io.lights import lighting_from_table


def read_stated(file: Path, table: Table) -> dict[str, Any]:
    """The stated fields of `Description` as keyword arguments; those not stated are absent.

    Raises:
        InputError: an unknown key, a value of the wrong kind, or a mesh that is not there.
    """
    if "sdfrender" not in table:
        return {}
    where = f"{file}: 'sdfrender'"
    # "version" and the like may be added by writers; misspelt keys must not pass in silence.
    stated = only_keys(
        table["sdfrender"], ("color_space", "bounds", "mesh", "lighting", "version"), where
    )
    found: dict[str, Any] = {}
    if "color_space" in stated:
        if stated["color_space"] not in ("linear", "srgb"):
            got = shown(stated["color_space"])
            raise InputError(f'{where}: \'color_space\' needs "linear" or "srgb", got {got}')
        found["color_space"] = stated["color_space"]
    if "bounds" in stated:
        bounds = numbers(stated["bounds"], [(2, 3)], f"{where}: 'bounds'")
        if not (bounds[1] > bounds[0]).all():
            raise InputError(f"{where}: 'bounds' needs max > min, got {shown(bounds.tolist())}")
        found["bounds"] = torch.tensor(bounds, dtype=torch.float64)
    if "mesh" in stated:
        mesh = file.parent / str(stated["mesh"])
        if not mesh.is_file():
            raise InputError(f"{mesh}: need the mesh that {where} names, there is no such file")
        found["mesh"] = mesh
    if "lighting" in stated:
        found["lighting"] = lighting_from_table(stated["lighting"], f"{where}: 'lighting'")
    return found
