"""What a batch has to do: a run folder for each scene, and how far each has come."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from multiview.config import FitConfig
from multiview.photographs.chain import VIDEOS, is_photographs
from multiview.run_folder import RunFolder, finished_metrics, holds_run
from sdfrender import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.files.tensors import expect

RUNS, SCENES, LOGS, THUMBNAILS = "runs", "scenes", "logs", "thumbnails"  # folders of a batch

State = Literal["new", "begun", "finished"]


@dataclass(frozen=True)
class Job:
    """One scene of a batch; paths are absolute, since workers may be elsewhere.

    Args:
        name: unique in the batch.
        config: the settings of its fit, without `resume`.
        out: the folder of the batch.
        photographs: what the scene is made from first, if it is none yet.
    """

    name: str
    config: FitConfig
    out: Path
    photographs: Path | None = None

    @property
    def log(self) -> Path:
        """What the fit told."""
        return self.out / LOGS / f"{self.name}.log"

    @property
    def thumbnail(self) -> Path:
        """A small picture of the result."""
        return self.out / THUMBNAILS / f"{self.name}.webp"

    def state(self) -> State:
        """How far the run is, by what its folder holds.

        Raises:
            InputError: it holds a run of another scene or with other settings.
        """
        if not (self.config.folder / "config.json").exists():
            return "new"
        if not any(holds_run(self.config, photographs) for photographs in (False, True)):
            RunFolder(replace(self.config, resume=True))  # which says what differs
            raise InputError(
                f"{self.config.folder}: holds a run with these settings by another recipe, as of "
                "another version: choose another --out, or delete it"
            )
        return "begun" if self.metrics() is None else "finished"

    def metrics(self) -> dict[str, Any] | None:
        """What the run measured, if it is finished and has all that is asked for now."""
        folder, config = self.config.folder, self.config
        if config.texture and not (folder / "textured.glb").is_file():
            return None
        file = folder / "config.json"
        with expect(file, "the settings of a run"):
            closed = json.loads(read_bytes(file))["settings"].get("closed", False)
        return finished_metrics(folder) if closed == config.closed else None


def jobs_of(scenes: Sequence[Path], out: Path, options: Mapping[str, Any]) -> list[Job]:
    """The jobs of a batch, in the order of the scenes.

    Args:
        scenes: folders, camera files, folders of photographs or videos.
        out: the folder of the batch.
        options: of each fit: fields of `FitConfig`.

    Raises:
        InputError: no such scene, one that is named twice, or settings that make no sense.
    """
    if not scenes:
        raise InputError("SCENES: need at least one scene, got none")
    gone = [str(scene) for scene in scenes if not scene.exists()]
    if gone:
        raise InputError(f"SCENES: need scenes that are there, there is no {', no '.join(gone)}")
    places = [scene.resolve() for scene in scenes]
    twice = [str(place) for place, count in Counter(places).items() if count > 1]
    if twice:
        raise InputError(f"SCENES: need each scene once, got {', '.join(twice)} more than once")
    out = out.resolve()
    return [
        _job(name, place, out, options)
        for name, place in zip(short_names(places), places, strict=True)
    ]


def _job(name: str, place: Path, out: Path, options: Mapping[str, Any]) -> Job:
    photographs = place if is_photographs(place) else None
    scene = out / SCENES / name if photographs else place
    return Job(name, FitConfig(scene, out / RUNS / name, **options), out, photographs)


def short_names(places: Sequence[Path]) -> list[str]:
    """A name for each scene: that of its folder, after those above it where several have it.

    `a/scan` and `b/scan` are `a-scan` and `b-scan`; a scene that is named by its camera file is its
    folder.
    """
    stems = [_parts(place) for place in places]
    names = [stem[-1] for stem in stems]
    for depth in range(2, max(map(len, stems)) + 1):
        counts = Counter(names)
        names = [
            name if counts[name] == 1 else "-".join(stem[-depth:])
            for name, stem in zip(names, stems, strict=True)
        ]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name}-{names[:n].count(name) + 1}"
        for n, name in enumerate(names)
    ]


def _parts(place: Path) -> tuple[str, ...]:
    """The names on the way to a scene, without the root."""
    if place.is_file():
        video = place.suffix.lower() in VIDEOS
        place = place.with_suffix("") if video else place.parent
    return place.parts[1:] or ("scene",)
