"""A batch whose worker is killed: what has to be true of it, for few scenes or many."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny
import torch

from multiview.batch.jobs import Job
from multiview.batch.run import BatchConfig, batch
from multiview.config import FitConfig
from multiview.fit import fit
from sdfrender import load_lattice
from sdfrender.cluster.settings import ClusterSettings

OPTIONS = {"preset": "fast", "resolution": 16}


def scenes_in(folder: Path, scene: Path, names: str) -> tuple[Path, ...]:
    """Copies of a scene, and one that is broken if its name is."""
    for name in names.split():
        if name == "broken":
            (folder / name).mkdir(parents=True)
            (folder / name / "transforms.json").write_text("{")
        else:
            shutil.copytree(scene, folder / name)
    return tuple(folder / name for name in names.split())


class Killer:
    """Kills the process of a worker once, in the middle of a fit; then it is left alone."""

    def __init__(self) -> None:
        self.killed: str | None = None

    def __call__(self, rows: Sequence[Any], running: Sequence[Job]) -> None:
        for job in running:
            lock, log = job.config.folder / ".lock", job.config.folder / "losses.csv"
            if self.killed is None and log.is_file() and len(log.read_text().split("\n")) > 3:
                self.killed = job.name
                os.kill(json.loads(lock.read_text())["process"], signal.SIGKILL)


def check_batch(scene: Path, folder: Path, names: str) -> None:
    """Two workers, one of which is killed, do what single fits do, and nothing twice.

    Args:
        scene: all scenes are copies of it.
        folder: to work in.
        names: of the scenes, with a "broken" one among them.
    """
    scenes = scenes_in(folder / "scenes", scene, names)
    good = [name for name in names.split() if name != "broken"]
    config = BatchConfig(scenes, folder / "out", OPTIONS, ClusterSettings(workers=2))
    killer = Killer()
    rows, interrupted = batch(config, killer)
    assert not interrupted
    assert killer.killed in good
    assert [row["name"] for row in rows if "error" in row] == ["broken"] == [rows[0]["name"]]
    assert "need valid JSON" in rows[0]["error"]
    assert "need valid JSON" in (folder / "out" / rows[0]["log"]).read_text()
    check_same(folder, rows[1:], scenes[names.split().index(good[0])])
    page = (folder / "out" / "index.html").read_text()
    links = [page.index(f'href="runs/{row["name"]}/report.html"') for row in rows[1:]]
    assert page.index(">broken<") < min(links)
    assert page.count("data:image/webp") == len(good)

    # Nothing is done again, and the broken one is tried again when it is whole.
    before = {p: p.stat().st_mtime_ns for p in (folder / "out" / "runs").rglob("*.*")}
    shutil.rmtree(folder / "scenes" / "broken")
    shutil.copytree(scene, folder / "scenes" / "broken")
    again, _ = batch(config)
    kept = {row["name"]: row.get("kept", False) for row in again}
    assert kept == {**dict.fromkeys(good, True), "broken": False}
    assert not [row for row in again if "error" in row]
    assert all(p.stat().st_mtime_ns == before[p] for p in before)
    table = json.loads((folder / "out" / "batch.json").read_text())
    assert table["scenes"] == json.loads(json.dumps(again))


def check_same(folder: Path, rows: Sequence[dict[str, Any]], scene: Path) -> None:
    """The rows' runs came to what a single fit of a scene comes to."""
    single = FitConfig(scene, folder / "single", threads=1, **OPTIONS)  # type: ignore[arg-type]
    metrics = fit(single)
    wanted = load_lattice(single.folder / "lattice.safetensors")
    for row in rows:
        run = folder / "out" / row["run"]
        assert torch.equal(load_lattice(run / "lattice.safetensors").values, wanted.values)
        assert tiny.read_losses(run) == tiny.read_losses(single.folder)
        for group in ("train", "held_out"):
            assert row["metrics"][group] == metrics[group]
