"""How the light was chosen: each candidate, and how well it predicted photographs held back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COLORS = {
    "constant": "one colour",
    "albedo": "many colours",
    "radiance": "many colours, no light",
}
LIGHTS = {
    "scene": "fixed to the scene",
    "camera": "fixed to the camera",
    "view": "one per photograph",
}
EXPOSURES = {"same": "one for all", "per-view": "one per photograph"}

Key = tuple[str, str | None, str]


@dataclass(frozen=True)
class CandidateRow:
    """One model of colour, light and exposure, in words.

    Args:
        colors: of the surface.
        light: that falls on it; None where the model has none.
        exposure: of the photographs.
        psnr: of what was held back, dB, in the last choice; None if it was not tried then.
        psnr_on_hull: the same in the first choice, if there were two.
        chosen: whether it is the one.
    """

    colors: str
    light: str | None
    exposure: str
    psnr: float | None
    psnr_on_hull: float | None
    chosen: bool


def candidate_rows(told: dict[str, Any]) -> list[CandidateRow]:
    """The candidates of `appearance.json`, the best first; none where nothing was to be chosen."""
    last = {_key(one): one for one in told.get("candidates", [])}
    first = {_key(one): one for one in told.get("candidates_on_hull", [])}
    rows = []
    for key in {**last, **first}:  # each in its order, the best first
        model, light, exposure = key
        rows.append(
            CandidateRow(
                COLORS[model],
                None if light is None else LIGHTS[light],
                EXPOSURES[exposure],
                last.get(key, {}).get("held_back_psnr"),
                first.get(key, {}).get("held_back_psnr"),
                last.get(key, {}).get("chosen", False),
            )
        )
    return rows


def beyond_rows(told: dict[str, Any]) -> list[tuple[str, float, bool]]:
    """What was tried beyond colour and light: in words, its prediction in dB, whether chosen."""
    candidates = told.get("beyond", {}).get("candidates", [])
    words = {None: "nothing more", 0: "finer colours"}
    both = "finer colours, and colours that depend on the view"
    rows = []
    for x in candidates:
        held = f", held {x['hold']:g} times as strongly" if x.get("hold", 1) != 1 else ""
        rows.append((words.get(x["degree"], both) + held, x["held_back_psnr"], x["chosen"]))
    return rows


def _key(candidate: dict[str, Any]) -> Key:
    return candidate["model"], candidate.get("light"), candidate["exposure"]
