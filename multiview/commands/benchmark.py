"""The command `multiview benchmark`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from multiview.benchmark.config import BenchmarkConfig
from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.commands.messages import bars_hidden
from sdfrender.errors import InputError
from sdfrender.options import AsJson, Flag


def command(
    config: Annotated[BenchmarkConfig, tyro.conf.arg(name="")],
    cluster: Annotated[SchedulerSettings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    as_json: AsJson = False,
    as_markdown: Annotated[Flag, tyro.conf.arg(name="markdown")] = False,
) -> None:
    """Reconstruct meshes from images of them, and print how close that came.

    The images are ray traced from the mesh, which is scaled to a longest side of 1.5: 26 views
    from the faces, edges and corners of a cube and 6 held out, 3×3 rays a pixel, known light,
    albedo 1. Scenes and finished runs stay in OUT and are not made again; OUT/benchmark.md and
    OUT/benchmark.json hold the table.

    Example: multiview benchmark meshes/ --resolutions 64

    Args:
        config: The options.
        cluster: Where the meshes are done, if not here: each is a task.
        as_json: Print JSON instead of a table.
        as_markdown: Print Markdown instead of a table.
    """
    if as_json and as_markdown:
        raise InputError("--json: need one form of output, got --markdown too")
    from rich.console import Console

    from multiview.benchmark.run import benchmark, failed
    from multiview.benchmark.table import markdown, terminal_table

    result = benchmark(config, quiet=bars_hidden(), cluster=cluster)
    rows = result["meshes"]
    if as_json:
        print(json.dumps(result, indent=2))
    elif as_markdown:
        print(markdown(config.title, rows, config.resolutions), end="")
    else:
        table = terminal_table(config.title, rows, config.resolutions)
        console = Console()
        needed = console.measure(table, options=console.options.update(width=1000)).maximum
        Console(width=max(console.width, needed)).print(table)  # rather wrapped than cut off
    errors = failed(rows)
    if errors:
        raise InputError(f"{len(errors)} of {len(rows)} meshes failed: {'; '.join(errors)}")
