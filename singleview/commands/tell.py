"""How commands tell what they wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def tell_written(paths: Sequence[Path], as_json: bool) -> None:
    """Print the files or folders that were written."""
    names = [str(path) for path in paths]
    print(json.dumps(names, indent=2) if as_json else "\n".join(f"wrote {x}" for x in names))
