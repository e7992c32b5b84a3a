"""What the rooms of singleview import, imports in functions counted, is what their texts say."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import singleview

ROOT = Path(singleview.__file__).parent
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def imported_rooms(room: str) -> set[str]:
    """Rooms and single files of the package that the files of a room, or one file, import."""
    found = set()
    for path in (ROOT / room).rglob("*.py") if room in ROOMS else [ROOT / f"{room}.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("singleview."):
                found.add(str(node.module).split(".")[1])
    return found - {room}


def test_a_room_imports_what_its_text_names() -> None:
    assert len(ROOMS) > 10
    for room in ROOMS:
        text = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
        named = set(re.findall(r"`(?:singleview\.)?(\w+)`", str(text))) | {"settings"}
        if room != "commands":  # they open every room
            assert imported_rooms(room) <= named, room


def test_no_room_imports_one_that_imports_it() -> None:
    files = [path.stem for path in ROOT.glob("*.py") if not path.stem.startswith("__")]
    order = TopologicalSorter({room: imported_rooms(room) for room in (*ROOMS, *files)})
    assert next(iter(order.static_order())) in {"settings", "pictures"}
