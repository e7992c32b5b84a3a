"""Which light a fit uses: the scene's own, one from a file, or one that it has to find."""

from __future__ import annotations

from pathlib import Path

from multiview.config import FixedTo
from multiview.scenes import Scene
from sdfrender import InputError, Lighting
from sdfrender.io.lights import read_lighting

# What a light that is asked to be estimated is fixed to.
ESTIMATED: dict[str, FixedTo] = {"estimate": "scene", "camera": "camera", "per-view": "view"}


def choose_light(choice: str, scene: Scene) -> Lighting | None:
    """Resolve `--light`.

    Args:
        choice: `auto` (the scene's light where it states one, else estimate), a key of `ESTIMATED`,
            `scene`, or a JSON file with the keys of a scene's `lighting`.
        scene: the loaded scene.

    Returns:
        The known light, or None to estimate it.

    Raises:
        InputError: the scene states no light, or the file is not one.
    """
    if choice in ESTIMATED or (choice == "auto" and scene.lighting is None):
        return None
    if choice in ("auto", "scene"):
        if scene.lighting is None:
            raise InputError(f"--light scene: {scene.name} states no light (use --light estimate)")
        return scene.lighting
    file = Path(choice)
    if file.suffix.lower() != ".json":
        raise InputError(
            f"--light: need auto, {', '.join(ESTIMATED)}, scene or a .json file, got '{choice}'"
        )
    return read_lighting(file)
