"""What comes with the project: a scene to try, a network that is trained."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sdfrender.errors import InputError


def find_asset(package: str, name: str) -> Path:
    """A file or folder of `assets/`, beside a package in a checkout and inside it when installed.

    Args:
        package: name of the package that needs it.
        name: path below `assets/`.

    Raises:
        InputError: it is not there.
    """
    home = Path(str(import_module(package).__file__)).parent
    places = [folder / "assets" / name for folder in (home, home.parent)]
    for path in places:
        if path.exists():
            return path
    raise InputError(f"{places[-1]}: need what comes with the project, it is not there")
