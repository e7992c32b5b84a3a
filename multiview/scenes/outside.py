"""Pictures that a scene names outside of its own folder.

They are read, with a warning. Data sets share pictures between scenes in this way (`../images`,
links), and whoever runs a fit may read them anyway; only what decodes as a picture is used. But a
scene from elsewhere could so bring a private picture into a report that is passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multiview.scenes.scene import View


def outside(folder: Path, views: Sequence[View]) -> list[str]:
    """A warning with the paths of files, links resolved, that are not below the scene's folder."""
    home = folder.resolve()
    files = [
        file
        for view in views
        for file in (view.image, view.mask, view.ignore, view.depth, view.normal)
        if file is not None and not file.resolve().is_relative_to(home)
    ]
    if not files:
        return []
    places = sorted({str(file.resolve().parent) for file in files})
    more = ", …" if len(places) > 3 else ""
    return [
        f"{len(files)} files that the scene names are not in its folder but in "
        f"{', '.join(places[:3])}{more}: do not pass results on if you did not mean these"
    ]
