"""Files under the names that other files give them, which may be spelt in another way.

macOS stores names with accents in parts (NFD), other systems as one letter (NFC); Windows does not
tell upper from lower case and parts folders with a backslash.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path


def existing(path: Path) -> Path | None:
    """The file of that name, or the only one whose name is the same but for its spelling."""
    try:
        if path.exists():
            return path
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return None
    if "\\" in str(path):
        return existing(Path(str(path).replace("\\", "/")))
    if path == path.parent:
        return None
    folder = existing(path.parent)
    if folder is None or not folder.is_dir():
        return None
    names = [file.name for file in folder.iterdir()]
    for same in (composed, folded):
        found = [name for name in names if same(name) == same(path.name)]
        if len(found) == 1:
            return folder / found[0]
    return None


def is_file(path: Path) -> bool:
    """Whether there is such a file. Of names that other files give, which may have any length."""
    try:
        return path.is_file()
    except OSError:  # too long for a name
        return False


def composed(name: str) -> str:
    """A name with accents and letters as one (NFC)."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """The same, and without upper case."""
    return composed(name).casefold()


def is_litter(path: Path) -> bool:
    """Whether a file is no one's own: hidden, or what systems put beside pictures."""
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")
