"""`index.html`: all scenes of a batch on one page, the worst first."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from multiview.batch.jobs import Job
from multiview.batch.rows import Row, judged
from multiview.batch.thumbnails import make_thumbnail
from sdfrender import InputError
from sdfrender.files.atomic import read_bytes, write_bytes
from sdfrender.report.page import fill

FOLDER = Path(__file__).parent

log = logging.getLogger("multiview")

MEASURES = (  # key, name, unit, decimals
    ("psnr", "PSNR inside the mask", "dB", 1),
    ("silhouette_iou", "silhouette IoU", "", 3),
    ("ssim", "SSIM", "", 3),
    ("chamfer", "Chamfer to the reference", "", 5),
    ("seconds", "time", "s", 0),
    ("memory", "most memory", "MB", 0),
)


def write_page(out: Path, rows: Sequence[Row], jobs: Sequence[Job]) -> None:
    """Write `index.html` into the folder of a batch.

    Args:
        out: the folder.
        rows: of the scenes, worst first.
        jobs: the same scenes.
    """
    by_name = {job.name: job for job in jobs}
    cards = [_card(row, by_name[row["name"]]) for row in rows]
    failed = sum("error" in row for row in rows)
    done = sum("metrics" in row for row in rows)
    tiles = [(str(done), "done"), (str(failed), "failed"), (str(len(rows) - done - failed), "left")]
    page = fill(FOLDER, title=out.resolve().name, cards=cards, tiles=tiles, measures=MEASURES)
    write_bytes(out / "index.html", page.encode())


def _card(row: Row, job: Job) -> dict[str, Any]:
    """What the page shows of a scene."""
    card: dict[str, Any] = {
        "name": row["name"],
        "scene": row["scene"],
        "error": row.get("error"),
        "picture": None,
        "figures": {},
        "group": None,
        "warnings": [],
        "state": "failed" if "error" in row else "not done",
        "report": None,
        "log": quote(row["log"]) if "log" in row and job.log.is_file() else None,
    }
    if "metrics" not in row:
        return card
    metrics, (group, means) = row["metrics"], judged(row)
    figures = {
        **means,
        "chamfer": metrics.get("reference", {}).get("chamfer_l1"),
        "seconds": metrics.get("seconds"),
        "memory": metrics.get("peak_memory_mb"),
    }
    return card | {
        "state": "done",
        "group": "held out" if group == "held_out" else "fitted",
        "figures": {key: figures.get(key) for key, *_ in MEASURES},
        "warnings": metrics.get("warnings", []),
        "report": quote(f"{row['run']}/report.html"),
        "picture": _picture(job),
    }


def _picture(job: Job) -> str | None:
    """The small picture as a `data:` address, made if it is not there."""
    try:
        if not job.thumbnail.is_file():
            make_thumbnail(job.config.folder, job.thumbnail)
        data = base64.b64encode(read_bytes(job.thumbnail)).decode()
    except (InputError, OSError) as error:
        log.warning("%s: no picture of it on the page: %s", job.name, error)
        return None
    return f"data:image/webp;base64,{data}"
