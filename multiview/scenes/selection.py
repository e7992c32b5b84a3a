"""Which views to fit and which to hold out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from multiview.scenes.scene import View
from sdfrender.errors import InputError

_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sorting key that puts `r_2` before `r_10`."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def split_views(
    views: Sequence[View], selection: str | None, has_test_split: bool, least: int = 2
) -> tuple[list[View], tuple[int, ...], tuple[int, ...]]:
    """Sort the views by name and divide them.

    Args:
        views: of the scene, in any order.
        selection: as in `select`, or None for every view that is not a test view.
        has_test_split: whether the scene says itself what is held out. Then views that are neither
            selected nor test views are left out altogether; otherwise they are held out.
        least: views to train on.

    Returns:
        The views in natural order of their names, and the positions among them of those to train
        on and of those held out.

    Raises:
        InputError: as `select`, or fewer than `least` views to train on.
    """
    candidates = sorted((v for v in views if not v.test), key=lambda v: natural_key(v.name))
    names = [view.name for view in candidates]
    chosen = {names[i] for i in select(selection, names)} if selection is not None else set(names)
    if len(chosen) < least:
        listed = ", ".join(sorted(chosen)) or "none"
        raise InputError(f"train views: need at least {least}, got {len(chosen)} ({listed})")
    kept = [view for view in views if view.test or not has_test_split or view.name in chosen]
    kept.sort(key=lambda view: natural_key(view.name))
    train = tuple(i for i, view in enumerate(kept) if view.name in chosen)
    return kept, train, tuple(i for i in range(len(kept)) if i not in set(train))


def select(selection: str, names: Sequence[str]) -> list[int]:
    """Positions in `names` that a selection picks, in order and without repetition.

    Args:
        selection: comma-separated names, globs, or slices over the sorted names. A name may leave
            out its folder, and may have an extension or the folder of the pictures.
        names: sorted.

    Raises:
        InputError: a part of the selection picks nothing.

    Worked value: `select("2::3", ["a", "b", "c", "d", "e", "f"])` is `[2, 5]`.
    """
    picked: set[int] = set()
    for part in (part.strip() for part in selection.split(",")):
        found = _select_one(part, names)
        if not found:
            some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            raise InputError(
                f"train views: '{part}' picks none of the {len(names)} views; "
                f"need names, globs or a slice of: {some}"
            )
        picked.update(found)
    return sorted(picked)


def _select_one(part: str, names: Sequence[str]) -> list[int]:
    match = _SLICE.fullmatch(part)
    if match:
        start, stop, step = (int(group) if group else None for group in match.groups())
        if step == 0:
            raise InputError(f"train views: need a slice with a step other than 0, got '{part}'")
        return list(range(len(names))[start:stop:step])
    wanted = (part, part.removesuffix(PurePosixPath(part).suffix)) if part else ()
    named = [  # also those with brackets, which globs mean otherwise
        i
        for i, name in enumerate(names)
        if any(f"/{w}".endswith(f"/{name}") or f"/{name}".endswith(f"/{w}") for w in wanted)
    ]
    return named or [
        i
        for i, name in enumerate(names)
        if any(fnmatchcase(name, w) or fnmatchcase(PurePosixPath(name).name, w) for w in wanted)
    ]
