"""README and documentation keep their word."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from pages import DOCS, PAGES, README, START, blocks, name, text
from places import ROOT
from prose import grade, sentences, words

import multiview.cli
import sdfrender.cli
import singleview.cli

COMMANDS = {
    "multiview": multiview.cli.COMMANDS,
    "sdfrender": sdfrender.cli.COMMANDS,
    "singleview": singleview.cli.COMMANDS,
}
TABLE = DOCS / "guides" / "commands.md"  # of all commands


def test_the_readme_is_short() -> None:
    assert len(text(README).splitlines()) <= 150
    assert len(text(README).split()) <= 1200


@pytest.mark.parametrize("page", START, ids=name)
def test_what_is_read_first_is_easy_to_read(page: Path) -> None:
    assert grade(text(page)) <= 11
    for sentence in sentences(text(page)):
        assert len(words(sentence)) <= 30, sentence


def test_the_api_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(README, "python")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(block.text, encoding="utf-8")
    names = runpy.run_path("example.py")
    assert (tmp_path / "shape.ply").stat().st_size > 1000
    assert float(names["values"].grad.abs().max()) > 0
    assert names["images"].shape == names["out"].images.shape
    assert len(block.text.split("\n\n")[1].strip().splitlines()) <= 10


@pytest.mark.parametrize("page", [p for p in PAGES[1:] if blocks(p, "python")], ids=name)
def test_python_in_the_documentation_runs(page: Path, tmp_path: Path) -> None:
    code = "\n".join(block.text for block in blocks(page, "python"))
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    runpy.run_path(str(tmp_path / "example.py"))


def test_every_command_that_is_named_exists() -> None:
    commands = set()
    for page in PAGES:
        named = re.findall(r"\b(multiview|sdfrender|singleview) ([a-z][a-z-]+)\b", text(page))
        commands |= {(p, c) for p, c in named if re.search(f"(^|[`/]){p} {c}", text(page), re.M)}
    assert len(commands) >= 22
    for program, command in commands:
        assert command in COMMANDS[program], f"{program} {command}"


def test_the_table_of_commands_has_every_command() -> None:
    for program, table in COMMANDS.items():
        for command in table:
            assert f"`{program} {command}" in text(TABLE), f"{program} {command}"


def test_files_that_are_named_exist() -> None:
    rooms = "assets|tests|sdfrender|multiview|singleview|docs"
    count = 0
    for page in PAGES:
        paths = re.findall(rf"(?<![\w/.-])((?:{rooms})/[\w./]+)", text(page))
        for path in paths:
            made = path.startswith("docs/_build")
            assert made or (ROOT / path.rstrip(".")).exists(), f"{name(page)}: {path}"
        count += len(paths)
    assert count >= 60


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text(README))
    assert len(links) >= 12
    for link in links:
        assert (ROOT / link).exists(), link


def test_notebooks_are_listed_and_kept_without_outputs() -> None:
    notebooks = sorted((DOCS / "examples").glob("*.ipynb"))
    assert len(notebooks) >= 7
    for notebook in notebooks:
        assert f"\n{notebook.stem}\n" in text(DOCS / "examples" / "index.md")
        cells = json.loads(text(notebook))["cells"]
        assert cells[0]["source"][0].startswith("# ")
        for cell in cells:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


def test_the_layout_names_every_folder() -> None:
    (layout,) = (block.text for block in blocks(DOCS / "developing" / "rooms.md", "text"))
    trees = re.split(r"^(?=\S)", layout, flags=re.MULTILINE)[1:]
    assert len(trees) >= 5
    for tree in trees:
        top, _, rest = tree.partition("/")
        assert (ROOT / top).is_dir(), top
        named = set(re.findall(r"(\w+)/", rest))
        real = {path.parent.name for path in (ROOT / top).rglob("*.py")} - {top}
        assert named <= real | {"support", "benchmarks"}, (top, named - real)
        if top in COMMANDS:
            direct = {path.parent.name for path in (ROOT / top).glob("*/__init__.py")}
            assert direct <= named, (top, direct - named)


def test_install_commands_use_the_constraints() -> None:
    for marker in ("run", "test"):
        (block,) = (b.text for b in blocks(README, "bash") if b.mark == marker)
        assert "-c constraints.txt" in block
        assert block.count("\n") == 1, "one command"
