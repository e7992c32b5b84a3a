"""How metrics are shown: as a table for people, or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def show(metrics: dict[str, Any], folder: Path, as_json: bool, mesh: str = "mesh.ply") -> None:
    """Print metrics as JSON or as a table with what to look at next."""
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(folder), show_header=False)
    for group, value in metrics.items():
        if isinstance(value, dict):
            for name, number in value.items():
                shown = f"{number:.5g}" if isinstance(number, float) else str(number)
                table.add_row(f"{group}: {name}", shown)
        else:
            table.add_row(group, str(value))
    console = Console()
    console.print(table)
    console.print(f"look at {folder / 'report.html'} and {folder / mesh}", soft_wrap=True)
