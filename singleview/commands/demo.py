"""The command `singleview demo`."""

from __future__ import annotations

import json
from pathlib import Path

from sdfrender.options import AsJson


def command(out: Path = Path("runs/singleview-demo"), as_json: AsJson = False) -> None:
    """Predict a mug from the picture that comes with the project; no arguments needed.

    Example: singleview demo

    Args:
        out: folder to write; a prediction that is there is replaced.
        as_json: Print the folder written as JSON.
    """
    from singleview.demo import demo

    folder = demo(out).folder
    print(json.dumps(str(folder)) if as_json else f"wrote {folder}; look at sheet.png in it")
