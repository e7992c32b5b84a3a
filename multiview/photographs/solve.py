"""From pictures in a folder of work to models of their cameras, and what to think of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from multiview.photographs import mapping, trust
from multiview.photographs.intake import Picture
from multiview.photographs.mapping import Group, Work
from multiview.photographs.pairs import choose_pairs
from multiview.photographs.principal_point import with_principal_points
from sdfrender.files.extensions import IMAGES
from sdfrender.files.images import read_image


def solve(
    work: Work, pictures: Sequence[Picture], numbers: Mapping[str, str], ordered: bool
) -> tuple[list[Any], trust.Links, trust.Verdict]:
    """Models of the cameras, the best first, how the pictures hang together, and a verdict.

    Args:
        work: with the pictures, and masks if there are any.
        pictures: all of them.
        numbers: the name in the folder of work of each name.
        ordered: neighbours overlap, as in a video.

    Raises:
        InputError: a damaged picture.
    """
    names = [numbers[picture.name] for picture in pictures]
    counts = mapping.find_features(work, _groups(work, pictures, numbers))
    for picture in pictures:
        if counts[numbers[picture.name]] == 0 and picture.source.suffix.lower() in IMAGES:
            read_image(picture.source)  # says so if it is damaged
    pairs = choose_pairs(work, names, ordered)
    mapping.match(work, pairs)
    seed = work.settings.seed
    masked = work.masks.is_dir()
    links = trust.read_links(work, names)
    models = []
    if masked or not links.stand_still:
        models = mapping.map_cameras(work, seed)
        rest = set(names) - (trust.placed_names(models[0]) if models else set())
        cut = {name for name, count in counts.items() if count > mapping.FEATURES}
        again = [pair for pair in pairs if rest.intersection(pair) and cut.intersection(pair)]
        if again:
            mapping.match_again(work, again)
            models = max(models, mapping.map_cameras(work, seed), key=placed_count)
            links = trust.read_links(work, names)
    back = {number: name for name, number in numbers.items()}
    for model in models:
        _rename(model, back)
    links = replace(
        links,
        names=[picture.name for picture in pictures],
        inliers={(back[a], back[b]): n for (a, b), n in links.inliers.items()},
    )
    verdict = trust.judge(models, links, masked)
    if models and verdict.refusal is None and trust.worth_another(models, links):
        straight = models[0].num_reg_images() < trust.TINY
        others = mapping.map_cameras(work, seed + 1, short_tracks=True, straight=straight)
        for other in others:
            _rename(other, back)
        trust.judge_again(models[0], others[0] if others else None, verdict)
    if models and verdict.refusal is None:
        models[0] = with_principal_points(models[0]) or models[0]
    return models, links, verdict


def placed_count(models: Sequence[Any]) -> int:
    """Pictures in the first of some models."""
    return models[0].num_reg_images() if models else 0


def _groups(work: Work, pictures: Sequence[Picture], numbers: Mapping[str, str]) -> list[Group]:
    """The pictures by the camera that took them."""
    groups: dict[tuple[Any, ...], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.camera, []).append(picture)
    return [
        Group(
            [numbers[picture.name] for picture in group],
            group[0].size,
            work.settings.focal or group[0].focal,
        )
        for group in groups.values()
    ]


def _rename(model: Any, names: Mapping[str, str]) -> None:
    """Give pictures of a model their own names back."""
    for image in model.images.values():
        image.name = names[image.name]
