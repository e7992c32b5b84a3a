"""Mask files of views, by the names that programs give them; and those that fit no picture.

Masks of the object, white on it, lie in `masks` or `mask` (in any case, nested as the pictures are)
or beside the pictures: `NAME.png`, `NAME.jpg.png` (COLMAP), `NAME_mask.png` (Metashape),
`mask_NAME.png`, `NAME.alpha.png`. instant-ngp's `dynamic_mask_NAME.png` is white where the picture
is to be ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from multiview.scenes.scene import Description, View
from sdfrender.files.extensions import IMAGES
from sdfrender.files.find import folded
from sdfrender.files.images import is_image

FOLDERS = ("masks", "mask", "silhouettes", "silhouette")
ENDS = ("_mask", "-mask", ".mask", " mask", "_masks", "_silhouette", "_alpha", ".alpha")
STARTS = ("mask_", "mask-", "mask.", "silhouette_")
DYNAMIC = "dynamic_mask_"
NAMED = 3  # files that a note names

Files = dict[str, Path]  # by what they are a mask of, without upper case


def with_masks(scene: Description) -> Description:
    """The scene with mask files for views whose reader found none, and a note of unused ones."""
    pictures = {view.image.resolve() for view in scene.views}
    homes = sorted({view.image.parent for view in scene.views})
    near = {scene.folder, *homes, *(home.parent for home in homes)}
    places = sorted(place for place in near if place.is_relative_to(scene.folder))
    folders = [f for place in places for f in sorted(_folders(place))]
    inside = {f.resolve(): [p for p in sorted(f.rglob("*")) if is_image(p)] for f in folders}
    beside = [
        file
        for home in homes
        if home.resolve() not in inside
        for file in sorted(home.iterdir())
        if is_image(file) and file.resolve() not in pictures
    ]
    objects: Files = {}
    ignored: Files = {}
    _sort_in(_keys(scene.folder, folders), objects, ignored, exact=True)
    _sort_in([(_key(scene.folder, file), file) for file in beside], objects, ignored, exact=False)
    tails = Counter(tail for view in scene.views for tail in set(_tails(scene.folder, view.image)))
    views = [_masked(scene.folder, view, objects, ignored, tails) for view in scene.views]
    return replace(
        scene, views=views, notes=(*scene.notes, *_unused(scene.folder, folders, views, beside))
    )


def masks_in(folder: Path, pictures: Iterable[str]) -> dict[str, Path]:
    """Masks of the object in a folder, by the names of the pictures that have one."""
    files = [(_key(folder, file), file) for file in sorted(folder.rglob("*")) if is_image(file)]
    objects: Files = {}
    _sort_in(files, objects, {}, exact=True)
    found = {}
    for name in pictures:
        fitting = (objects[tail] for tail in _tails(folder, Path(name)) if tail in objects)
        mask = next(fitting, None)
        if mask is not None:
            found[name] = mask
    return found


def _masked(folder: Path, view: View, objects: Files, ignored: Files, tails: Counter[str]) -> View:
    """The view with its mask files, by the longest part of its picture's path that fits one."""
    fitting = [t for t in _tails(folder, view.image) if tails[t] == 1]
    mask = view.mask or next((objects[t] for t in fitting if t in objects), None)
    # nerfstudio keeps its ignore-masks in masks/ too.
    if mask is not None and view.ignore is not None and mask.samefile(view.ignore):
        mask = None
    dynamic = next((ignored[t] for t in fitting if t in ignored), None)
    if view.ignore is None and dynamic is not None:
        return replace(view, mask=mask, ignore=dynamic, ignore_white=True)
    return replace(view, mask=mask)


def _folders(place: Path) -> Iterable[Path]:
    if not place.is_dir():
        return ()
    return (f for f in place.iterdir() if folded(f.name) in FOLDERS and f.is_dir())


def _keys(scene: Path, folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Mask files, as if they lay where their folder does; then as if it were not there at all."""
    files = [(f, p) for f in folders for p in sorted(f.rglob("*")) if is_image(p)]
    there = [(_key(scene, f.parent / p.relative_to(f)), p) for f, p in files]
    return there + [(_key(f, p), p) for f, p in files]


def _key(folder: Path, file: Path) -> str:
    """The path of a file in a folder, or its name."""
    inside = file.relative_to(folder) if file.is_relative_to(folder) else Path(file.name)
    return inside.as_posix()


def _tails(folder: Path, image: Path) -> list[str]:
    """`images/a/1`, `a/1`, `1` of a picture `images/a/1.jpg`: what masks may be called after."""
    found = []
    path = PurePosixPath(_key(folder, image))
    for parts in (path.parts, path.with_suffix("").parts):
        found += [folded("/".join(parts[k:])) for k in range(len(parts))]
    return sorted(found, key=lambda tail: -tail.count("/"))


def _sort_in(
    files: Sequence[tuple[str, Path]], objects: Files, ignored: Files, exact: bool
) -> None:
    """Sort files by what they are a mask of; the plainest name first.

    Args:
        files: to sort in, each under its path.
        objects: masks of the object, added to.
        ignored: masks of what is to be ignored, added to.
        exact: whether a file of the picture's own name is a mask.
    """
    found: list[tuple[int, str, Path]] = []
    for path, file in files:
        above, slash, _ = folded(path).rpartition("/")
        place, stem = above + slash, folded(file.stem)
        if stem.startswith(DYNAMIC):
            ignored.setdefault(place + _plain(stem.removeprefix(DYNAMIC)), file)
            continue
        if exact:
            found.append((0, place + stem, file))
            found.append((1, place + _plain(stem), file))
        for end in ENDS:
            if stem.endswith(end):
                found.append((2, place + _plain(stem.removesuffix(end)), file))
        for start in STARTS:
            if stem.startswith(start):
                found.append((2, place + _plain(stem.removeprefix(start)), file))
    for _, key, file in sorted(found, key=lambda each: each[0]):
        objects.setdefault(key, file)


def _plain(stem: str) -> str:
    """A stem without the extension of a picture that it may end in: `a.jpg` is `a`."""
    return stem.rpartition(".")[0] if stem.endswith(IMAGES) else stem


def _unused(
    scene: Path,
    folders: Sequence[Path],
    views: Sequence[View],
    beside: Sequence[Path],
) -> list[str]:
    """A note for each folder with masks that fit neither a view nor another picture."""
    used = {f.resolve() for view in views for f in (view.mask, view.ignore) if f is not None}
    others = {tail for file in beside for tail in _tails(scene, file)}
    notes = []
    for folder in folders:
        left = []
        for file in (f for f in sorted(folder.rglob("*")) if is_image(f)):
            keys: Files = {}
            _sort_in([(_key(folder, file), file)], keys, keys, exact=True)
            if file.resolve() not in used and not set(keys) & others:
                left.append(_key(folder, file))
        if left:
            names = ", ".join(left[:NAMED]) + (", …" if len(left) > NAMED else "")
            notes.append(
                f"{len(left)} files in {_key(scene, folder)}/ fit no picture and are not used "
                f"({names}): masks are called as their pictures, NAME.png or NAME_mask.png"
            )
    return notes
