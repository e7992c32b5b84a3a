"""The command `multiview batch`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import tyro

from multiview.commands.fit import GROUPS
from multiview.config import FitConfig
from sdfrender.cluster.settings import ClusterSettings
from sdfrender.commands.grouped import grouped
from sdfrender.commands.messages import bars_hidden
from sdfrender.errors import InputError
from sdfrender.options import AsJson

PER_SCENE = ("scene", "out", "resume")  # which a batch says for each


def command(
    scenes: tyro.conf.Positional[tuple[Path, ...]],
    out: Path,
    options: Annotated[
        dict[str, Any],
        tyro.conf.arg(
            name="", constructor=grouped(FitConfig, GROUPS, make=dict, without=PER_SCENE)
        ),
        tyro.conf.OmitArgPrefixes,
    ],
    cluster: Annotated[ClusterSettings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    as_json: AsJson = False,
) -> None:
    """Fit many scenes, several at once, on this machine or on many.

    Each scene is what `multiview fit` takes, and has the same options. OUT/runs/NAME is its run,
    OUT/logs/NAME.log what its fit told. OUT/index.html links all reports, the worst first;
    OUT/batch.json has the numbers. Needs the extra `cluster`.

    What goes wrong with one scene does not stop the others. Ctrl-C stops all. The same command goes
    on: finished scenes are left as they are, and those that were begun go on from their last
    complete pass.

    With --scheduler the scenes are tasks of a Dask cluster that runs, on as many machines as it
    has, which need the same folders; its workers do one task at a time (--nthreads 1). Who can
    reach a scheduler can run programs on it: one that is started here listens on 127.0.0.1 alone,
    and --tls-ca, --tls-cert and --tls-key let in only who has a certificate.

    Example: multiview batch museum/* --out runs/museum --resolution 128

    Args:
        scenes: Scenes, as in `multiview fit`.
        out: Folder of runs, logs and the page.
        options: The options of each fit.
        cluster: Where the work is done.
        as_json: Print batch.json to the terminal instead of a table.
    """
    from rich.console import Console

    from multiview.batch.rows import failures
    from multiview.batch.run import BatchConfig, batch
    from multiview.batch.table import final_table, told

    config = BatchConfig(scenes, out, options, cluster)
    with told(len(scenes), bars_hidden()) as look:
        rows, interrupted = batch(config, look)
    if as_json:
        print(json.dumps({"scenes": rows}, indent=2))
    else:
        console = Console()
        console.print(final_table(str(out), rows))
        console.print(f"look at {out / 'index.html'}", soft_wrap=True)
    if interrupted:
        raise KeyboardInterrupt
    errors = failures(rows)
    if errors:
        raise InputError(f"{len(errors)} of {len(rows)} scenes failed: {'; '.join(errors)}")
