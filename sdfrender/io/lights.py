"""A light as a JSON object, as `transforms.json`, `dataset.json` and `--light FILE.json` hold it.

    {"ambient": 0.0, "headlight": {"intensity": 0.7, "falloff": false},
     "directional": [{"to_light": [x, y, z], "intensity": 0.3}], "sh": [c0, …, c8]}

Every part may be left out. Intensities are a number or one per colour channel.
`sdfrender.io.scene_writer.lighting_to_dict` writes it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from sdfrender.errors import InputError
from sdfrender.files.tables import Table, numbers, only_keys, read_table, shown
from sdfrender.view.lighting import Directional, Headlight, Intensity, Lighting


def read_lighting(file: Path) -> Lighting:
    """A light from a JSON file with the keys of `"lighting"`.

    Raises:
        InputError: no such file, not JSON, an unknown key or a value of the wrong kind.
    """
    return lighting_from_table(read_table(file), str(file))


def lighting_from_table(stated: object, where: str) -> Lighting:
    """A light from such an object, already read; `where` opens the error message.

    Raises:
        InputError: an unknown key or a value of the wrong kind.
    """
    light = only_keys(stated, ("ambient", "headlight", "directional", "sh"), where)
    given = light.get("headlight")
    headlight = None if given is None else _headlight(given, where)
    directional = light.get("directional", [])
    if not isinstance(directional, list):
        raise InputError(f"{where}: 'directional' needs a list, got {shown(directional)}")
    lights = [_directional(d, f"{where}: 'directional'") for d in directional]
    sh = _sh(light["sh"], where) if light.get("sh") is not None else None
    try:
        return Lighting(_intensity(light, "ambient", 0.0, where), headlight, lights, sh)
    except ValueError as error:
        raise InputError(
            str(error) if str(error).startswith(where) else f"{where}: {error}"
        ) from None


def _headlight(stated: object, where: str) -> Headlight:
    head = only_keys(stated, ("intensity", "falloff"), f"{where}: 'headlight'")
    falloff = head.get("falloff", False)
    if not isinstance(falloff, bool):
        raise InputError(f"{where}: 'falloff' needs true or false, got {shown(falloff)}")
    intensity = _intensity(head, "intensity", 1.0, f"{where}: 'headlight'")
    try:
        return Headlight(intensity, falloff)
    except ValueError as error:
        raise InputError(f"{where}: 'headlight': {error}") from None


def _directional(stated: object, where: str) -> Directional:
    light = only_keys(stated, ("to_light", "intensity"), where)
    to_light = numbers(light.get("to_light"), [(3,)], f"{where}: 'to_light'")
    if not to_light.any():
        raise InputError(f"{where}: 'to_light' needs a direction, got 0 0 0")
    intensity = _intensity(light, "intensity", 1.0, where)
    try:
        return Directional(tuple(to_light.tolist()), intensity)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _sh(stated: object, where: str) -> torch.Tensor:
    coefficients = numbers(stated, [(9,), (9, 1), (9, 3)], f"{where}: 'sh'")
    return torch.tensor(coefficients, dtype=torch.float32)


def _intensity(light: Table, key: str, default: float, where: str) -> Intensity:
    """A number, or `[3]` for three channels."""
    value = numbers(light.get(key, default), [(), (3,)], f"{where}: '{key}'")
    return torch.tensor(value, dtype=torch.float32) if value.ndim else float(value)
