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

from multiview.scenes.fields import Table, numbers, only_keys, read_table, shown
from sdfrender.errors import InputError
from sdfrender.lighting import Directional, Headlight, Intensity, Lighting


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
        found["bounds"] = torch.tensor(bounds, dtype=torch.float32)
    if "mesh" in stated:
        mesh = file.parent / str(stated["mesh"])
        if not mesh.is_file():
            raise InputError(f"{mesh}: need the mesh that {where} names, there is no such file")
        found["mesh"] = mesh
    if "lighting" in stated:
        found["lighting"] = _lighting(stated["lighting"], f"{where}: 'lighting'")
    return found


def read_lighting(file: Path) -> Lighting:
    """A light from a JSON file with the keys of `"lighting"`.

    Raises:
        InputError: no such file, not JSON, an unknown key or a value of the wrong kind.
    """
    return _lighting(read_table(file), str(file))


def _lighting(stated: object, where: str) -> Lighting:
    light = only_keys(stated, ("ambient", "headlight", "directional", "sh"), where)
    headlight = None
    if light.get("headlight") is not None:
        head = only_keys(light["headlight"], ("intensity", "falloff"), f"{where}: 'headlight'")
        falloff = head.get("falloff", False)
        if not isinstance(falloff, bool):
            raise InputError(f"{where}: 'falloff' needs true or false, got {shown(falloff)}")
        headlight = Headlight(_intensity(head, "intensity", 1.0, where), falloff)
    directional = light.get("directional", [])
    if not isinstance(directional, list):
        raise InputError(f"{where}: 'directional' needs a list, got {shown(directional)}")
    return Lighting(
        ambient=_intensity(light, "ambient", 0.0, where),
        headlight=headlight,
        directional=[_directional(d, f"{where}: 'directional'") for d in directional],
        sh=_sh(light["sh"], where) if light.get("sh") is not None else None,
    )


def _directional(stated: object, where: str) -> Directional:
    light = only_keys(stated, ("to_light", "intensity"), where)
    to_light = numbers(light.get("to_light"), [(3,)], f"{where}: 'to_light'")
    if not to_light.any():
        raise InputError(f"{where}: 'to_light' needs a direction, got 0 0 0")
    return Directional(tuple(to_light.tolist()), _intensity(light, "intensity", 1.0, where))


def _sh(stated: object, where: str) -> torch.Tensor:
    coefficients = numbers(stated, [(9,), (9, 1), (9, 3)], f"{where}: 'sh'")
    return torch.tensor(coefficients, dtype=torch.float32)


def _intensity(light: Table, key: str, default: float, where: str) -> Intensity:
    """A number, or `[3]` for three channels."""
    value = numbers(light.get(key, default), [(), (3,)], f"{where}: '{key}'")
    return torch.tensor(value, dtype=torch.float32) if value.ndim else float(value)
