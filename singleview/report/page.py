"""The page: gathers its parts and fills the template."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image
from tqdm import tqdm

from sdfrender import InputError, extract_mesh
from sdfrender.files.atomic import atomic_write, read_bytes
from sdfrender.files.tensors import expect, need_file
from sdfrender.meshes.extraction import keep_bodies
from sdfrender.report.model import Model, pack_model, stills
from sdfrender.report.page import fill
from sdfrender.report.pictures import data_address
from singleview.report.curves import loss_plot, read_table, score_distribution, score_plot
from singleview.report.family import Family, strips
from singleview.report.galleries import open_gallery
from singleview.report.gallery import Gallery, Guess
from singleview.settings.choices import Split

FOLDER = Path(__file__).parent
SHOWN = 40  # objects with pictures: the worst and the best, if there are more
SHEETS = 3  # pictures of predictions while training
UPRIGHT = torch.eye(3, dtype=torch.float64)  # canonical frames have y up


@dataclass(frozen=True)
class Card:
    """One object in the report; pictures as `data:` addresses."""

    name: str
    score: float
    mean: float
    seen: str | None
    guess: list[str]
    truth: list[str]

    @property
    def category(self) -> str:
        """The first part of the name."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Middle:
    """The object in the middle of the order, whose mesh turns."""

    name: str
    score: float
    model: Model
    stills: list[tuple[str, str]]


def write_report(
    run: Path,
    split: Split | None = None,
    views: int = 4,
    objects: int | None = None,
    refine: bool = True,
    quiet: bool = False,
) -> Path:
    """Write `report.html` into the folder of a training.

    Args:
        run: the folder; what its tables hold is shown even where its objects are not at hand.
        split: of the objects that are judged. Default: test, or what there is.
        views: observations of each object that are judged.
        objects: how many to judge, evenly spread. Default: all.
        refine: make predictions agree with the pictures, where the network can; that takes longer.
        quiet: no progress bar.

    Raises:
        InputError: no training, or damaged files.
    """
    config, summary = _read(run / "config.json"), _read(run / "metrics.json", needed=False)
    gallery: Gallery | None = None
    missing = None
    try:
        gallery = open_gallery(run, config["settings"], split, views, refine)
    except InputError as error:
        missing = str(error)
    names, means, cards, middle = ([], [], [], None) if gallery is None else judge(
        gallery, objects, quiet
    )  # fmt: skip
    losses, scores = read_table(run / "losses.csv"), read_table(run / "validation.csv")
    page = fill(
        FOLDER,
        title=run.resolve().name,
        sentence=_sentence(config["settings"], summary),
        summary=summary,
        missing=missing,
        gallery=gallery,
        tiles=_tiles(gallery, means),
        middle=middle,
        cards=cards,
        judged=len(names),
        views=views,
        spread=Markup(score_distribution(names, means, gallery.measure)) if gallery else None,
        losses=_markup(loss_plot(losses)),
        scores=_markup(score_plot(scores)),
        sheets=sheets(run / "predictions"),
        strips=_strips(gallery),
        figures=_figures(summary),
        command=shlex.join(config["command"]),
        config=config,
        config_text=json.dumps(config, indent=2),
    )
    with atomic_write(run / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run / "report.html"


def judge(
    gallery: Gallery, objects: int | None, quiet: bool
) -> tuple[list[str], list[float], list[Card], Middle | None]:
    """Guess the objects: names and scores of all, cards of the worst and the best, the middle."""
    count = len(gallery.names)
    chosen = np.unique(np.linspace(0, count - 1, min(count, objects or count)).round().astype(int))
    guesses: list[tuple[int, Guess]] = [
        (int(i), gallery.guess(int(i))) for i in tqdm(chosen, desc="objects", disable=quiet)
    ]
    guesses.sort(key=lambda pair: pair[1].mean)
    half = SHOWN // 2
    shown = guesses if len(guesses) <= SHOWN else [*guesses[:half], *guesses[-half:]]
    cards = [_card(gallery, i, guess) for i, guess in tqdm(shown, desc="pictures", disable=quiet)]
    names = [gallery.names[i] for i, _ in guesses]
    return names, [guess.mean for _, guess in guesses], cards, _middle(gallery, guesses)


def _card(gallery: Gallery, i: int, guess: Guess) -> Card:
    truth = [data_address(picture) for picture in gallery.truth(i)]
    drawn = gallery.drawn(i, guess.lattice) if guess.lattice is not None else ()
    return Card(
        gallery.names[i],
        guess.score,
        guess.mean,
        None if guess.seen is None else data_address(guess.seen),
        [data_address(picture) for picture in drawn],
        truth,
    )


def _middle(gallery: Gallery, guesses: list[tuple[int, Guess]]) -> Middle | None:
    i, guess = guesses[len(guesses) // 2]
    if guess.lattice is None:
        return None
    model = pack_model(keep_bodies(extract_mesh(guess.lattice)), UPRIGHT)
    return Middle(gallery.names[i], guess.score, model, stills(guess.lattice, UPRIGHT))


def _strips(gallery: Gallery | None) -> list[tuple[str, str, list[str]]]:
    """The ways between known shapes: from, to, and pictures; of DeepSDF only."""
    if not isinstance(gallery, Family):
        return []
    return [(s.start, s.end, [data_address(x) for x in s.pictures]) for s in strips(gallery.field)]


def sheets(folder: Path) -> list[tuple[str, str, int, int]]:
    """Pictures that the training drew, the first and the last among them: title, address, size."""
    files = sorted(folder.glob("step_*.png"))
    picked = np.unique(np.linspace(0, len(files) - 1, min(len(files), SHEETS)).round().astype(int))
    found = []
    for file in (files[k] for k in picked):
        with expect(file, "a picture of a training"), Image.open(file) as image:
            pixels = torch.from_numpy(np.asarray(image.convert("RGB")) / 255)
        step = int(file.stem.removeprefix("step_"))
        found.append((f"step {step}", data_address(pixels), image.width, image.height))
    return found


def _read(file: Path, needed: bool = True) -> dict[str, Any]:
    if not needed and not file.exists():
        return {}
    need_file(file, "the folder of a training")
    with expect(file, "a file of a training"):
        found = dict(json.loads(read_bytes(file)))
        if needed and not {"settings", "command", "versions"} <= found.keys():
            raise ValueError("no settings of a training")
        return found


def _markup(text: str | None) -> Markup | None:
    return None if text is None else Markup(text)


def _sentence(settings: dict[str, Any], summary: dict[str, Any]) -> str:
    parts = [f"{settings.get('model', 'sdfdiff')}"]
    if summary.get("size"):
        parts.append(f"size {summary['size']}")
    if summary.get("supervision"):
        parts.append(f"learned from {summary['supervision']}")
    if summary.get("input"):
        parts.append(f"input: {summary['input']}")
    if "steps" in summary:
        parts.append(f"{summary['steps']} steps in {summary['seconds'] / 60:.0f} minutes")
    return ", ".join(parts) + "."


def _tiles(gallery: Gallery | None, means: list[float]) -> list[tuple[str, str]]:
    """The figures that matter most: value, and what it is."""
    if gallery is None:
        return []
    return [
        (f"{np.mean(means):.3f}", f"mean {gallery.measure}"),
        (f"{np.median(means):.3f}", "median"),
        (f"{means[0]:.3f}", "worst"),
        (f"{means[-1]:.3f}", "best"),
    ]


def _figures(summary: dict[str, Any]) -> list[tuple[str, object]]:
    """What `metrics.json` holds, one figure a row."""
    rows: list[tuple[str, object]] = []
    for name, value in summary.items():
        pairs = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{name} {key}".strip().replace("_", " "), number) for key, number in pairs]
    return rows
