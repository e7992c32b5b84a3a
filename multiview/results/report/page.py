"""The page: gathers its parts and fills the template."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from multiview.photo.appearance import Appearance
from multiview.results.evaluate import ViewScore
from multiview.results.report.choice import beyond_rows, candidate_rows
from multiview.results.report.forming import forming, stages
from multiview.results.report.pictures import DIFFERENCE_GAIN, NOT_COMPARED, SCALE
from multiview.results.report.plot import TERMS, level_rows, loss_plot
from multiview.results.report.views import ViewCard, large_look, view_cards
from multiview.run_folder import RunFolder
from multiview.scenes import Scene
from multiview.stereo.agreement import Agreement
from sdfrender import Lattice
from sdfrender.files.atomic import atomic_write
from sdfrender.files.tables import read_table
from sdfrender.report.model import load_colored, pack_model, stills
from sdfrender.report.page import fill
from sdfrender.report.turntable import display_frame

FOLDER = Path(__file__).parent
COMPARABLE = 0.5  # share of the object that has to be compared before its mean says much

MEASURES = (  # of views: key, name, unit, decimals
    ("psnr", "PSNR inside the mask", "dB", 2),
    ("psnr_full", "PSNR of the whole image", "dB", 2),
    ("ssim", "SSIM", "", 4),
    ("silhouette_iou", "silhouette IoU", "", 4),
    ("zncc", "ZNCC between photographs", "", 3),
)


def write_report(
    run: RunFolder,
    scene: Scene,
    lattice: Lattice,
    appearance: Appearance,
    scores: dict[str, list[ViewScore]],
    summary: dict[str, Any],
    agreed: Agreement,
) -> None:
    """Write `report.html` into the run's folder.

    Args:
        run: where to write, and whose mesh, log, snapshots and settings to show.
        scene: the photographs.
        lattice: the result.
        appearance: its colour and light.
        scores: per view, by group.
        summary: the contents of `metrics.json`.
        agreed: how photographs agree over the surface.
    """
    config, told = (read_table(run.path / name) for name in ("config.json", "appearance.json"))
    log = run.read_log()
    frame = display_frame(scene.cameras)
    moments = stages(run, lattice, scene.offset)
    cards = view_cards(scene, moments[0].lattice, lattice, appearance, scores, agreed)
    worst = cards[0]
    films = forming(scene, appearance, moments, worst.index)
    titles = [moment.title for moment in moments]
    agreement = _agreement(scene, summary, agreed)
    comparable = bool(agreement) and agreement[0][-1] >= COMPARABLE  # held out, if there are
    page = fill(
        FOLDER,
        title=scene.name,
        sentence=_sentence(summary),
        summary=summary,
        held_out=summary.get("held_out", {}),
        tiles=_tiles(summary, comparable),
        warnings=[_sentence_of(text) for text in summary.get("warnings", [])],
        model=pack_model(load_colored(run.path / "mesh.ply"), frame),
        stills=stills(lattice, frame),
        stages=titles,
        forming=films,
        forming_data={"stages": titles, "views": [asdict(film) for film in films]},
        worst=worst,
        large=large_look(scene, worst.index, moments[0].lattice, lattice, appearance),
        cards=cards,
        gain=DIFFERENCE_GAIN,
        agreement=agreement,
        comparable=comparable,
        least_agreeing=_least_agreeing(cards),
        scale=SCALE,
        not_compared=NOT_COMPARED,
        candidates=candidate_rows(told),
        again="candidates_on_hull" in told,
        beyond=beyond_rows(told),
        stereo=told.get("stereo", False),
        plot=Markup(loss_plot(log)) if log else None,
        terms=TERMS[1:],
        levels=level_rows(log),
        measures=MEASURES,
        other_figures=_other_figures(summary),
        command=shlex.join(config["command"]),
        config=config,
        config_text=json.dumps(config, indent=2),
    )
    with atomic_write(run.path / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _sentence(summary: dict[str, Any]) -> str:
    grid = "×".join(str(n) for n in summary["resolution"])
    views = summary["views"]
    held = f" and {views['held_out']} held out" if views["held_out"] else ""
    peak = summary["peak_memory_mb"]
    memory = "" if peak is None else f", {peak / 1000:.1f} GB of memory"
    return (
        f"{views['train']} views fitted{held}, lattice {grid}, {summary['seconds']:.0f} s{memory}."
    )


def _sentence_of(warning: str) -> Markup:
    """A warning as a sentence, its options as code that no line breaks."""
    whole = str(escape(f"{warning[:1].upper()}{warning[1:]}".rstrip(".") + "."))
    return Markup(re.sub(r"(?<![\w-])(--[a-z][\w-]*)", r"<code>\1</code>", whole))


def _tiles(summary: dict[str, Any], comparable: bool) -> list[tuple[str, str]]:
    """The figures that matter most: value with unit, and what it is."""
    group, of = ("held_out", "held out") if "held_out" in summary else ("train", "fitted views")
    found = summary[group]
    tiles = [
        (f"{found['psnr']:.1f} dB", f"PSNR inside the mask, {of}"),
    ]
    if "silhouette_iou" in found:
        tiles.append((f"{found['silhouette_iou']:.3f}", f"silhouette IoU, {of}"))
    if "ssim" in found:
        tiles.insert(1, (f"{found['ssim']:.3f}", f"SSIM, {of}"))
    if comparable:
        tiles.append((f"{found['zncc']:.3f}", f"agreement between photographs (ZNCC), {of}"))
    if "reference" in summary:
        tiles.append(
            (f"{summary['reference']['chamfer_l1']:.5f}", "Chamfer to the reference, of its length")
        )
    return tiles


def _agreement(
    scene: Scene, summary: dict[str, Any], agreed: Agreement
) -> list[tuple[str, int, float, float]]:
    """Of each group: its name, how many views were scored, the mean ZNCC, the share compared."""
    rows = []
    for key, group, views in (
        ("held_out", "held out", scene.held_out),
        ("train", "fitted", scene.train),
    ):
        scored = [view for view in views if agreed.map_of(view) is not None]
        mean, share = agreed.mean(scored), agreed.share(scored)
        if key in summary and mean is not None and share is not None:
            rows.append((group, len(scored), mean, share))
    return rows


def _least_agreeing(cards: list[ViewCard]) -> ViewCard | None:
    """The view over which photographs agree least; None if they could be compared in none."""
    scored = [card for card in cards if card.look.agreement is not None and card.score.zncc]
    return min(scored, key=lambda card: card.score.zncc or 0.0, default=None)


def _other_figures(summary: dict[str, Any]) -> list[tuple[str, object]]:
    """What `metrics.json` holds beside the means over views."""
    rows: list[tuple[str, object]] = []
    for name, value in summary.items():
        if name in ("train", "held_out", "warnings"):
            continue
        if isinstance(value, dict):
            rows += [(f"{name} {key}", number) for key, number in value.items()]
        elif isinstance(value, list):
            rows.append((name, "×".join(map(str, value))))
        else:
            rows.append((name, value))
    return rows
